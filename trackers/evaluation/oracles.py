"""What costs a tracker its overlap: its own boxes, of which one thing at a time is told by the truth.

Each kind of `KINDS` takes the tracker's boxes and puts the true value in the place of one of their quantities. What AO
gains by it is what the tracker loses by not knowing that quantity. Our choice; detection has the like in TIDE (Bolya et
al., ECCV 2020), where each kind of error is mended alone.
"""

import dataclasses

import numpy as np

from trackers.errors import InputError
from trackers.evaluation import benchmark


def true_size(boxes, truth):
    """The true width and height at the tracker's centers. Arguments and result as of `mended`."""
    return _around(_centers(boxes), truth[:, 2:])


def true_aspect(boxes, truth):
    """The true width over height in a box of the tracker's center and area."""
    return _around(_centers(boxes), truth[:, 2:] * _side(boxes) / _side(truth))


def true_area(boxes, truth):
    """The true area in a box of the tracker's center and width over height."""
    return _around(_centers(boxes), boxes[:, 2:] * _side(truth) / _side(boxes))


def true_center(boxes, truth):
    """The tracker's width and height at the true centers."""
    return _around(_centers(truth), boxes[:, 2:])


KINDS = {"size": true_size, "aspect": true_aspect, "area": true_area, "center": true_center}


def mended(kind, boxes, truth):
    """The boxes with one quantity of the truth.

    Args:
      kind: key of KINDS.
      boxes, truth: (T, 4) x, y, w, h in pixels.

    Returns: (T, 4) float64. A box stays as it is in a frame where it or the truth has no area or is not finite.
    """
    boxes, truth = np.asarray(boxes, np.float64), np.asarray(truth, np.float64)
    with np.errstate(invalid="ignore"):
        usable = np.all([np.isfinite(each).all(axis=1) & (each[:, 2:] > 0).all(axis=1) for each in (boxes, truth)], 0)
    result = boxes.copy()
    result[usable] = KINDS[kind](boxes[usable], truth[usable])
    return result


@dataclasses.dataclass(frozen=True)
class Losses:
    """Of one tracker in one sequence; fractions.

    ao: of its own boxes (got-10k toolkit). auc, precision: pytracking's, at 20 pixels.
    told: {kind of KINDS: AO with that told}. touching: share of the frames that count whose box overlaps the target.
    """

    ao: float
    auc: float
    precision: float
    told: dict
    touching: float


def of_sequence(name, sequence, boxes, image_size):
    """Losses of a tracker in one sequence.

    Args:
      name: the benchmark's. sequence: data_pipelines Sequence with public truth. boxes: (T, 4) x, y, w, h in pixels.
      image_size: (width, height) in pixels.

    Raises: InputError where the got-10k toolkit or pytracking takes other numbers of boxes.
    """

    def scored(boxes, toolkits):
        found = benchmark.score(name, [sequence], {sequence.name: boxes}, {sequence.name: image_size}, toolkits)
        for each in found.values():
            if "error" in each:
                raise InputError(each["error"])
        return {toolkit: each["sequences"][sequence.name] for toolkit, each in found.items()}

    own = scored(boxes, ("got10k", "pytracking"))
    told = {kind: scored(mended(kind, boxes, sequence.boxes), ("got10k",))["got10k"].values["AO"] for kind in KINDS}
    values, inside = own["pytracking"].values, own["got10k"].curves["overlap"]
    touching = float(np.mean(inside > 0)) if len(inside) else float("nan")
    return Losses(own["got10k"].values["AO"], values["AUC"], values["Precision"], told, touching)


def mean(losses):
    """Losses of means over sequences. losses: list of Losses."""
    told = {kind: _mean([each.told[kind] for each in losses]) for kind in KINDS}
    others = {
        field: _mean([getattr(each, field) for each in losses]) for field in ("ao", "auc", "precision", "touching")
    }
    return Losses(told=told, **others)


def _mean(values):
    return float(np.mean(values))


def _centers(boxes):
    return boxes[:, :2] + 0.5 * boxes[:, 2:]


def _side(boxes):
    """Square root of the area (T, 1)."""
    return np.sqrt(boxes[:, 2:].prod(axis=1, keepdims=True))


def _around(centers, sizes):
    return np.concatenate([centers - 0.5 * sizes, sizes], axis=1)
