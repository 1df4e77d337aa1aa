"""Videos in which the target is away for a while, and what a tracker does with them."""

from typing import NamedTuple

import numpy as np

from trackers.evaluation import scores

# Frames that a return may take; the IoU that is right, and the one below which the box is elsewhere.
_IN_TIME, _RIGHT, _WRONG = 30, 0.5, 0.1


class Case(NamedTuple):
    """A video: frames, list of (H, W, 3) uint8; boxes (T, 4) x, y, w, h; the target is away in [first, last)."""

    frames: list
    boxes: np.ndarray
    first: int
    last: int


def outcome(case, found, lost):
    """What a tracker's boxes (T, 4) and lost (T,) are worth: dict of the columns of experiments/lost_and_found.py."""
    overlap = scores.overlap(found, case.boxes)
    shown = np.ones(len(lost), bool)
    shown[case.first : case.last] = False
    back = slice(case.last, case.last + _IN_TIME)
    again = np.flatnonzero(lost[:-1] & ~lost[1:]) + 1
    return {
        "returns": bool(((overlap[back] > _RIGHT) & ~lost[back]).any()),
        "noticed": bool(lost[case.first : case.last].any()),
        "false": int((~shown[again] | (overlap[again] < _WRONG)).sum()),
        "false loss": float(lost[: case.first].mean()),
        "AO": float(np.nanmean(overlap[1:][shown[1:]])),
        "after": float(np.nanmean(overlap[case.last :])),
    }
