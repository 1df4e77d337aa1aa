"""Scores of single-object tracking, each equal to the number that one of the field's toolkits prints.

Five ways of counting are in use, and the same boxes get another "AUC" from each:

- `got10k`: the got-10k toolkit's ExperimentGOT10k, as on the GOT-10k server. Overall: over the frames of all sequences.
- `got10k_otb`, `got10k_lasot`: its ExperimentOTB, ExperimentLaSOT. Overall, here and below: mean over sequences.
- `pytracking`: GRM's lib/test/analysis; shares of the frames that have a target.
- `ostrack`: the same of OSTrack, STARK, SimTrack and MixFormerV2; shares of all frames.

Boxes are (T, 4) x, y, w, h in pixels. All scores are fractions; pytracking and OSTrack print them times 100.
All take the same few steps; a toolkit is an entry of `TOOLKITS` plus its rules for frames without a target.
"""

import dataclasses

import numpy as np

from trackers.errors import InputError

OVERLAP_STEPS = np.linspace(0, 1, 21)
PIXEL_STEPS = np.arange(51)
RELATIVE_STEPS = np.arange(51) / 100
_EPS = np.finfo(np.float64).eps


@dataclasses.dataclass(frozen=True)
class Toolkit:
    """What a toolkit reports.

    overlap_steps: thresholds of its success curve (IoU above, strictly).
    pooled: overall numbers over the frames of all sequences, instead of the mean over sequences.
    numbers: (name, curve, index); index None is the mean of the curve; curve "overlap" holds the IoU of every frame.
    """

    overlap_steps: np.ndarray
    pooled: bool
    numbers: tuple


_PYTRACKING = Toolkit(
    OVERLAP_STEPS,
    pooled=False,
    numbers=(
        ("AUC", "success", None),
        ("OP50", "success", 10),
        ("OP75", "success", 15),
        ("Precision", "precision", 20),
        ("NormPrecision", "norm_precision", 20),
        ("AO", "overlap", None),
    ),
)
_OTB_NUMBERS = (("success", "success", None), ("precision20", "precision", 20), ("SR0.5", "success", 10))
TOOLKITS = {
    "got10k": Toolkit(
        np.linspace(0, 1, 101),
        pooled=True,
        numbers=(("AO", "overlap", None), ("SR0.5", "success", 50), ("SR0.75", "success", 75)),
    ),
    "got10k_otb": Toolkit(OVERLAP_STEPS, pooled=False, numbers=_OTB_NUMBERS),
    "got10k_lasot": Toolkit(
        OVERLAP_STEPS,
        pooled=False,
        numbers=(
            *_OTB_NUMBERS,
            ("norm_precision", "norm_precision", None),
            ("norm_precision_at_0.20", "norm_precision", 20),
        ),
    ),
    "pytracking": _PYTRACKING,
    "ostrack": _PYTRACKING,
}


@dataclasses.dataclass(frozen=True)
class Score:
    """One sequence, or all of them, as one toolkit counts it.

    toolkit: key of TOOLKITS. frames: how many frames count. values: {name: fraction}, NaN where the toolkit says NaN.
    curves: {"overlap": (frames,) IoU, "success": (S,), "precision": (51,), "norm_precision": (51,)}; GOT-10k has no
    center errors, OTB no normalized ones.
    """

    toolkit: str
    frames: int
    curves: dict
    values: dict


def got10k(prediction, truth, image_size, cover=None):
    """AO, SR0.5 and SR0.75 of the got-10k toolkit's ExperimentGOT10k, equal to 12 digits.

    Args:
      prediction, truth: (T, 4) pixels. The first frame does not count; both are clipped to the image before.
      image_size: (width, height) pixels.
      cover: (T,) visible share of the target in eighths (cover.label); frames with 0 do not count. None: all count.

    A NaN box makes AO NaN and is a failure for SR; an empty or negative box has IoU 0. Other lengths: InputError.
    """
    prediction, truth = _boxes(prediction), _boxes(truth)
    if len(prediction) != len(truth):
        raise InputError(f"{len(prediction)} boxes for {len(truth)} frames: the got-10k toolkit wants one a frame")
    counts = np.ones(len(truth), bool) if cover is None else np.asarray(cover) > 0
    counts[:1] = False
    inside = overlap(_clip(prediction[counts], image_size), _clip(truth[counts], image_size))
    return _score("got10k", {"overlap": inside})


def got10k_otb(prediction, truth):
    """Success, precision at 20 pixels and SR0.5 of the got-10k toolkit's ExperimentOTB, equal to 12 digits.

    The first frame counts as found exactly. NaN boxes are failures. Of unequal lengths the shorter one counts.
    A perfect tracker has success 20/21: the last threshold is IoU > 1.
    """
    return _score("got10k_otb", _got10k_errors(*_first_found(prediction, truth)))


def got10k_lasot(prediction, truth):
    """`got10k_otb` and normalized precision (mean of its curve) of ExperimentLaSOT, equal to 12 digits.

    Rows with a NaN ground truth do not count; rows of zeros do, and are failures. Absence flags are not used.
    """
    prediction, truth = _first_found(prediction, truth)
    known = ~np.isnan(truth).any(axis=1)
    prediction, truth = prediction[known], truth[known]
    errors = _got10k_errors(prediction, truth)
    shift = (_centers(prediction) - _centers(truth)) / np.maximum(1.0, truth[:, 2:])
    return _score("got10k_lasot", errors | {"norm_precision": np.hypot(*shift.T)})


def pytracking(prediction, truth, visible=None, dataset="otb"):
    """AUC, OP50, OP75, Precision, NormPrecision and AO of GRM's analysis, equal to 1e-6 (its float32).

    Args:
      prediction, truth: (T, 4) pixels; the first frame counts as found exactly. Surplus boxes are cut; missing
        ones are failures, for "lasot" an InputError. An empty box (w or h is 0) repeats the one before it.
      visible: (T,) bool or None; shares are of the frames with a target (ground truth not empty, and visible).
      dataset: "lasot", "uav" and "avist" have rules of their own for frames without a target; "avist" divides by all.

    Frames without a target are hits of NormPrecision (except "lasot"), so it can exceed 1. A NaN or negative
    prediction, or a NaN ground truth (except "uav"), is an InputError, as in the program.
    """
    return _analysis("pytracking", prediction, truth, visible, dataset, of_all=dataset == "avist")


def ostrack(prediction, truth, visible=None, dataset="otb"):
    """The analysis of OSTrack, STARK, SimTrack and MixFormerV2: `pytracking` with shares of ALL frames.

    Equal to `pytracking` where every frame has a target; on LaSOT with absent frames several points lower.
    """
    return _analysis("ostrack", prediction, truth, visible, dataset, of_all=True)


def combine(scores):
    """The benchmark's row: `Score` of all sequences, from the list of theirs (one toolkit)."""
    toolkit = TOOLKITS[scores[0].toolkit]
    overlaps = np.concatenate([score.curves["overlap"] for score in scores])
    if toolkit.pooled:
        return _score(scores[0].toolkit, {"overlap": overlaps})
    curves = {
        name: np.mean([score.curves[name] for score in scores], axis=0)
        for name in scores[0].curves
        if name != "overlap"
    }
    values = {name: float(np.mean([score.values[name] for score in scores])) for name in scores[0].values}
    return Score(scores[0].toolkit, len(overlaps), {"overlap": overlaps, **curves}, values)


def overlap(prediction, truth, inclusive=False):
    """IoU (T,) of boxes (T, 4), in [0, 1], NaN for NaN boxes.

    inclusive: as pytracking computes it, with x+w-1 as the last pixel and no epsilon: not limited to 1, by rounding.
    """
    one = 1.0 if inclusive else 0.0
    near = np.maximum(prediction[:, :2], truth[:, :2])
    far = np.minimum(prediction[:, :2] + prediction[:, 2:] - one, truth[:, :2] + truth[:, 2:] - one)
    common = np.prod(np.maximum(far - near + one, 0.0), axis=1)
    union = np.prod(prediction[:, 2:], axis=1) + np.prod(truth[:, 2:], axis=1) - common
    if inclusive:
        with np.errstate(divide="ignore", invalid="ignore"):
            return common / union
    return np.clip(common / (union + _EPS), 0.0, 1.0)


def _boxes(values):
    return np.array(values, np.float64).reshape(-1, 4)


def _centers(boxes):
    return boxes[:, :2] + (boxes[:, 2:] - 1.0) / 2


def _clip(boxes, image_size):
    size = np.asarray(image_size, np.float64)
    near = np.clip(boxes[:, :2], 0.0, size)
    return np.concatenate([near, np.clip(boxes[:, 2:], 0.0, size - near)], axis=1)


def _first_found(prediction, truth):
    prediction, truth = _boxes(prediction), _boxes(truth)
    frames = min(len(prediction), len(truth))
    prediction, truth = prediction[:frames], truth[:frames]
    prediction[:1] = truth[:1]
    return prediction, truth


def _got10k_errors(prediction, truth):
    return {
        "overlap": overlap(prediction, truth),
        "precision": np.hypot(*(_centers(prediction) - _centers(truth)).T),
    }


def _analysis(toolkit, prediction, truth, visible, dataset, of_all):
    prediction, truth = _boxes(prediction), _boxes(truth)
    if np.isnan(prediction).any() or (prediction[:, 2:] < 0).any():
        raise InputError("a predicted box is NaN or has a negative size: pytracking refuses such results")
    if dataset != "uav" and np.isnan(truth).any():
        raise InputError("the ground truth has NaN boxes: pytracking takes them for the benchmark uav only")
    if dataset == "lasot" and len(prediction) < len(truth):
        raise InputError(f"{len(prediction)} boxes for {len(truth)} frames: pytracking refuses that for LaSOT")
    prediction = _repeat_empty(prediction)[: len(truth)]
    prediction = np.concatenate([prediction, np.zeros((len(truth) - len(prediction), 4))])
    prediction[:1] = truth[:1]

    sizes = truth if dataset == "avist" else truth[:, 2:]
    valid = (sizes > 0).all(axis=1)
    if visible is not None:
        valid &= np.asarray(visible, bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = _centers(prediction) / truth[:, 2:] - _centers(truth) / truth[:, 2:]
    inside = overlap(prediction, truth, inclusive=True)
    pixels, relative = np.hypot(*(_centers(prediction) - _centers(truth)).T), np.hypot(*shift.T)
    # An error of -1 is below every threshold, so the program counts such a frame as found.
    inside[~valid], relative[~valid] = -1.0, -1.0
    pixels[~valid] = -1.0 if dataset == "uav" else np.inf
    if dataset == "lasot" and visible is not None:
        relative[~np.asarray(visible, bool)] = np.inf

    errors = {"overlap": inside, "precision": pixels, "norm_precision": relative}
    return _score(toolkit, errors, valid, len(truth) if of_all else valid.sum())


def _repeat_empty(boxes):
    """Rows with a zero width or height take the last row before them that has neither; the first row stays."""
    rows = np.where((boxes[:, 2:] == 0).any(axis=1), 0, np.arange(len(boxes)))
    return boxes[np.maximum.accumulate(rows)]


def _score(name, errors, valid=None, denominator=None):
    """IoU and center errors per frame -> Score; curves are counts over `denominator` frames (None: all)."""
    toolkit = TOOLKITS[name]
    inside = errors["overlap"]
    denominator = len(inside) if denominator is None else denominator
    steps = {"precision": PIXEL_STEPS, "norm_precision": RELATIVE_STEPS}
    counts = {"success": (inside[:, None] > toolkit.overlap_steps).sum(axis=0)}
    counts |= {key: (errors[key][:, None] <= steps[key]).sum(axis=0) for key in errors if key in steps}
    with np.errstate(divide="ignore", invalid="ignore"):
        curves = {key: count / np.float64(denominator) for key, count in counts.items()}
    curves = {"overlap": inside if valid is None else inside[valid], **curves}
    values = {key: _number(curves[curve], index) for key, curve, index in toolkit.numbers}
    return Score(name, len(curves["overlap"]), curves, values)


def _number(curve, index):
    if index is not None:
        return float(curve[index])
    return float(np.mean(curve)) if len(curve) else float("nan")
