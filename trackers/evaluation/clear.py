"""CLEAR MOT (Bernardin and Stiefelhagen, 2008): MOTA and what it counts, equal to the official TrackEval.

Boxes match from an IoU of 0.5 on, first those of an object and a track that were matched in the frame before, then so
that the sum of the overlaps is largest.
"""

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment

from trackers.evaluation import hota

THRESHOLD = 0.5
FIELDS = ("MOTA", "MOTP")
COUNTS = ("IDSW", "MT", "PT", "ML", "Frag")
# What a pair that goes on from the frame before is worth beside an overlap of at most 1, as in TrackEval.
_GOES_ON = 1000


@dataclasses.dataclass(frozen=True)
class Clear:
    """What can be pooled over sequences, by sums.

    tp, fn, fp: boxes matched, missed, wrong. iou_sum: over the matched pairs. switches: matches of an object with
    another track than that of its last match. mostly, partly, lost: objects matched in more than 80 %, in 20 % or more,
    in less of their boxes. fragments: times that an object's matches begin anew. pooled: whether several sequences
    are one here.
    """

    tp: int
    fn: int
    fp: int
    iou_sum: float
    switches: int
    mostly: int
    partly: int
    lost: int
    fragments: int
    pooled: bool = False

    def values(self):
        """{field of FIELDS: float, fraction; of COUNTS: int}; MOTP is the mean IoU of the matches."""
        meant = self.tp + self.fn
        # TrackEval leaves the row of a sequence without ground truth at 0, and computes the one of all sequences.
        counts = meant or self.pooled
        return {
            "MOTA": (self.tp - self.fp - self.switches) / max(1, meant) if counts else 0.0,
            "MOTP": self.iou_sum / max(1, self.tp),
            "IDSW": self.switches,
            "MT": self.mostly,
            "PT": self.partly,
            "ML": self.lost,
            "Frag": self.fragments,
        }


def score(truth, tracks):
    """Clear of one sequence. Args: truth, tracks: Tracks, frames numbered alike; rows of truth with confidence 0 do not
    count."""
    truth = truth.select(truth.confidence != 0)
    objects, object_of = np.unique(truth.ids, return_inverse=True)
    _, track_of = np.unique(tracks.ids, return_inverse=True)
    none = -1
    # Each object's track: of its last match, and of the frame before.
    last, before = np.full(len(objects), none), np.full(len(objects), none)
    matches, begins = np.zeros(len(objects), int), np.zeros(len(objects), int)
    iou_sum, switches = 0.0, 0
    for rows, columns, overlaps in hota.common_frames(truth, tracks):
        here, there = object_of[rows], track_of[columns]
        worth = _GOES_ON * (before[here][:, None] == there[None, :]) + overlaps
        worth[overlaps < THRESHOLD - hota.EPS] = 0
        i, j = linear_sum_assignment(-worth)
        matched = worth[i, j] > hota.EPS
        i, j = i[matched], j[matched]
        switches += int(((last[here[i]] != none) & (last[here[i]] != there[j])).sum())
        last[here[i]] = there[j]
        begins[here[i]] += before[here[i]] == none
        before[:] = none
        before[here[i]] = there[j]
        matches[here[i]] += 1
        iou_sum += float(overlaps[i, j].sum())
    share = matches / np.bincount(object_of, minlength=len(objects))
    mostly, partly = int((share > 0.8).sum()), int((share >= 0.2).sum())
    tp = int(matches.sum())
    return Clear(
        tp=tp, fn=len(truth) - tp, fp=len(tracks) - tp, iou_sum=iou_sum, switches=switches,
        mostly=mostly, partly=partly - mostly, lost=len(objects) - partly,
        fragments=int(np.maximum(begins - 1, 0).sum()),
    )  # fmt: skip


def combine(parts):
    """All sequences as one (TrackEval's COMBINED row). Args: parts: list of Clear."""
    names = [field.name for field in dataclasses.fields(Clear) if field.name != "pooled"]
    return Clear(**{name: sum(getattr(part, name) for part in parts) for name in names}, pooled=True)
