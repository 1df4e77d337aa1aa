"""Scores of single-object tracking, each equal to the number that one of the field's toolkits prints.

Many ways of counting are in use, and the same boxes get another "AUC" from each (docs/metrics.md). Here are those of
the Python toolkits, in official.py those of the benchmarks' own programs:

- `got10k`: the got-10k toolkit's ExperimentGOT10k, as on the GOT-10k server. Overall: over the frames of all sequences.
- `got10k_otb`, `got10k_lasot`: its ExperimentOTB, ExperimentLaSOT. Overall, here and below: mean over sequences.
- `pytracking`: GRM's lib/test/analysis; shares of the frames that have a target.
- `ostrack`: the same of OSTrack, STARK, SimTrack and MixFormerV2; shares of all frames.

Boxes are (T, 4) x, y, w, h in pixels. All scores are fractions; pytracking and OSTrack print them times 100.
All take the same few steps; a toolkit is an entry of `TOOLKITS` plus its rules for frames without a target.
`python -m trackers.evaluation.rules` shows one result under all of them.
"""

import dataclasses

import numpy as np

from trackers.errors import InputError
from trackers.io.numbers import counted

OVERLAP_STEPS = np.linspace(0, 1, 21)
PIXEL_STEPS = np.arange(51)
RELATIVE_STEPS = np.arange(51) / 100
_EPS = np.finfo(np.float64).eps


@dataclasses.dataclass(frozen=True)
class Toolkit:
    """What a toolkit reports.

    numbers: (name, curve, index); index None is the mean of the curve, "area" the area under it by trapezoids; curve
      "overlap" holds the IoU of every frame.
    program: the implementation that it equals. agrees: largest difference of a fraction from that program's, tested;
      None where it is no program's.
    overlap_steps, pixel_steps, relative_steps: thresholds of its curves: IoU above, strictly; center error in pixels,
      and relative to the box, at most.
    pooled: overall numbers over the frames of all sequences, instead of the mean over sequences.
    skips_lost: whether that mean leaves out sequences whose curve is 0 throughout.
    """

    numbers: tuple
    program: str
    agrees: float | None
    overlap_steps: np.ndarray = dataclasses.field(default_factory=lambda: OVERLAP_STEPS)
    pixel_steps: np.ndarray = dataclasses.field(default_factory=lambda: PIXEL_STEPS)
    relative_steps: np.ndarray = dataclasses.field(default_factory=lambda: RELATIVE_STEPS)
    pooled: bool = False
    skips_lost: bool = False


_PYTRACKING_NUMBERS = (
    ("AUC", "success", None),
    ("OP50", "success", 10),
    ("OP75", "success", 15),
    ("Precision", "precision", 20),
    ("NormPrecision", "norm_precision", 20),
    ("AO", "overlap", None),
)
_OTB_NUMBERS = (("success", "success", None), ("precision20", "precision", 20), ("SR0.5", "success", 10))
_MATLAB_NUMBERS = (("AUC", "success", None), ("OP50", "success", 10), ("Precision", "precision", 20))
_LASOT_NUMBERS = (*_MATLAB_NUMBERS, ("NormPrecision", "norm_precision", 20))
# Float64 in the programs, of which 12 digits and more are recorded, and float32.
_FLOAT64, _FLOAT32 = 1e-12, 1.3e-7
TOOLKITS = {
    "got10k": Toolkit(
        (("AO", "overlap", None), ("SR0.5", "success", 50), ("SR0.75", "success", 75)),
        "got-10k toolkit, ExperimentGOT10k",
        _FLOAT64,
        overlap_steps=np.linspace(0, 1, 101),
        pooled=True,
    ),
    "got10k_otb": Toolkit(_OTB_NUMBERS, "got-10k toolkit, ExperimentOTB", _FLOAT64),
    "got10k_lasot": Toolkit(
        (
            *_OTB_NUMBERS,
            ("norm_precision", "norm_precision", None),
            ("norm_precision_at_0.20", "norm_precision", 20),
        ),
        "got-10k toolkit, ExperimentLaSOT",
        _FLOAT64,
    ),
    "pytracking": Toolkit(_PYTRACKING_NUMBERS, "pytracking's analysis in GRM", _FLOAT32),
    "ostrack": Toolkit(_PYTRACKING_NUMBERS, "pytracking's analysis in OSTrack", _FLOAT32),
    "avist": Toolkit(_PYTRACKING_NUMBERS, "pytracking's analysis of AVisT", _FLOAT32),
    "lasot_toolkit": Toolkit(_LASOT_NUMBERS, "LaSOT's MATLAB toolkit", _FLOAT64, skips_lost=True),
    "lasot_visible": Toolkit(_LASOT_NUMBERS, "the same, of visible frames", None, skips_lost=True),
    "otb_toolkit": Toolkit(_MATLAB_NUMBERS, "OTB's MATLAB toolkit", _FLOAT64, skips_lost=True),
    "trackingnet": Toolkit(
        (
            ("success", "success", "area"),
            ("precision", "precision", "area"),
            ("norm_precision", "norm_precision", "area"),
        ),
        "TrackingNet's server (metrics.py)",
        _FLOAT64,
        pixel_steps=np.linspace(0, 50, 21),
        relative_steps=np.linspace(0, 0.5, 21),
    ),
}
# Those that every evaluation reports; the others are the benchmarks' own.
COMMON = ("got10k", "got10k_otb", "got10k_lasot", "pytracking", "ostrack")


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
    prediction, truth = as_boxes(prediction), as_boxes(truth)
    if len(prediction) != len(truth):
        raise InputError(
            f"{counted(len(prediction), 'box')} for {counted(len(truth), 'frame')}: the got-10k toolkit"
            " wants one a frame"
        )
    counts = np.ones(len(truth), bool) if cover is None else np.asarray(cover) > 0
    counts[:1] = False
    inside = overlap(_clip(prediction[counts], image_size), _clip(truth[counts], image_size))
    return score_of("got10k", {"overlap": inside})


def got10k_otb(prediction, truth):
    """Success, precision at 20 pixels and SR0.5 of the got-10k toolkit's ExperimentOTB, equal to 12 digits.

    The first frame counts as found exactly. NaN boxes are failures. Of unequal lengths the shorter one counts.
    A perfect tracker has success 20/21: the last threshold is IoU > 1.
    """
    return score_of("got10k_otb", _got10k_errors(*_first_found(prediction, truth)))


def got10k_lasot(prediction, truth):
    """`got10k_otb` and normalized precision (mean of its curve) of ExperimentLaSOT, equal to 12 digits.

    Rows with a NaN ground truth do not count; rows of zeros do, and are failures. Absence flags are not used.
    """
    prediction, truth = _first_found(prediction, truth)
    known = ~np.isnan(truth).any(axis=1)
    prediction, truth = prediction[known], truth[known]
    errors = _got10k_errors(prediction, truth)
    shift = (centers(prediction) - centers(truth)) / np.maximum(1.0, truth[:, 2:])
    return score_of("got10k_lasot", errors | {"norm_precision": np.hypot(*shift.T)})


def pytracking(prediction, truth, visible=None, dataset="otb"):
    """AUC, OP50, OP75, Precision, NormPrecision and AO of GRM's analysis, equal to 1e-6 (its float32).

    Args:
      prediction, truth: (T, 4) pixels; the first frame counts as found exactly. Surplus boxes are cut; missing
        ones are failures, for "lasot" an InputError. An empty box (w or h is 0) repeats the one before it, not where
        ground truth is NaN.
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
        return score_of(scores[0].toolkit, {"overlap": overlaps})
    names = [name for name in scores[0].curves if name != "overlap"]
    curves = {name: _mean_curve([score.curves[name] for score in scores], toolkit.skips_lost) for name in names}
    if toolkit.skips_lost:
        values = _values(toolkit, curves)
    else:
        values = {name: float(np.mean([score.values[name] for score in scores])) for name in scores[0].values}
    return Score(scores[0].toolkit, len(overlaps), {"overlap": overlaps, **curves}, values)


def _mean_curve(curves, skips_lost):
    if skips_lost:
        curves = [curve for curve in curves if curve.sum() > _EPS] or [np.full_like(curves[0], np.nan)]
    return np.mean(curves, axis=0)


def overlap(prediction, truth, inclusive=False):
    """IoU (T,) of boxes (T, 4), in [0, 1], NaN for NaN boxes.

    inclusive: as pytracking computes it, with x+w-1 as the last pixel and no epsilon: not limited to 1, by rounding.
      As in MATLAB and pandas a NaN x or y beside a size is passed over: the edges are the other box's.
    """
    one = 1.0 if inclusive else 0.0
    larger, smaller = (np.fmax, np.fmin) if inclusive else (np.maximum, np.minimum)
    near = larger(prediction[:, :2], truth[:, :2])
    far = smaller(prediction[:, :2] + prediction[:, 2:] - one, truth[:, :2] + truth[:, 2:] - one)
    common = np.prod(np.maximum(far - near + one, 0.0), axis=1)
    union = np.prod(prediction[:, 2:], axis=1) + np.prod(truth[:, 2:], axis=1) - common
    if inclusive:
        with np.errstate(divide="ignore", invalid="ignore"):
            return common / union
    return np.clip(common / (union + _EPS), 0.0, 1.0)


def as_boxes(values):
    """(T, 4) float64, a copy."""
    return np.array(values, np.float64).reshape(-1, 4)


def centers(boxes):
    """(T, 2) centers of boxes (T, 4) whose last pixel is x+w-1."""
    return boxes[:, :2] + (boxes[:, 2:] - 1.0) / 2


def _clip(boxes, image_size):
    size = np.asarray(image_size, np.float64)
    near = np.clip(boxes[:, :2], 0.0, size)
    return np.concatenate([near, np.clip(boxes[:, 2:], 0.0, size - near)], axis=1)


def _first_found(prediction, truth):
    prediction, truth = as_boxes(prediction), as_boxes(truth)
    frames = min(len(prediction), len(truth))
    prediction, truth = prediction[:frames], truth[:frames]
    prediction[:1] = truth[:1]
    return prediction, truth


def _got10k_errors(prediction, truth):
    return {
        "overlap": overlap(prediction, truth),
        "precision": np.hypot(*(centers(prediction) - centers(truth)).T),
    }


def _analysis(toolkit, prediction, truth, visible, dataset, of_all):
    prediction, truth = as_boxes(prediction), as_boxes(truth)
    if np.isnan(prediction).any() or (prediction[:, 2:] < 0).any():
        raise InputError("a predicted box is NaN or has a negative size: pytracking refuses such results")
    if dataset != "uav" and np.isnan(truth).any():
        raise InputError("the ground truth has NaN boxes: pytracking takes them for the benchmark uav only")
    if dataset == "lasot" and len(prediction) < len(truth):
        raise InputError(
            f"{counted(len(prediction), 'box')} for {counted(len(truth), 'frame')}: pytracking refuses that for LaSOT"
        )
    prediction = prediction[: len(truth)]
    empty = (prediction[:, 2:] == 0).any(axis=1)
    prediction = repeated(prediction, empty & ~np.isnan(truth[: len(prediction)]).any(axis=1))
    prediction = np.concatenate([prediction, np.zeros((len(truth) - len(prediction), 4))])
    prediction[:1] = truth[:1]

    sizes = truth if dataset == "avist" else truth[:, 2:]
    valid = (sizes > 0).all(axis=1)
    if visible is not None:
        valid &= np.asarray(visible, bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = centers(prediction) / truth[:, 2:] - centers(truth) / truth[:, 2:]
    inside = overlap(prediction, truth, inclusive=True)
    pixels, relative = np.hypot(*(centers(prediction) - centers(truth)).T), np.hypot(*shift.T)
    # An error of -1 is below every threshold, so the program counts such a frame as found.
    inside[~valid], relative[~valid] = -1.0, -1.0
    pixels[~valid] = -1.0 if dataset == "uav" else np.inf
    if dataset == "lasot" and visible is not None:
        relative[~np.asarray(visible, bool)] = np.inf

    errors = {"overlap": inside, "precision": pixels, "norm_precision": relative}
    return score_of(toolkit, errors, valid, len(truth) if of_all else valid.sum())


def repeated(boxes, invalid):
    """The boxes (T, 4) with the last valid row before them in place of invalid rows; the first row stays.

    invalid: (T,) bool.
    """
    rows = np.where(invalid, 0, np.arange(len(boxes)))
    return boxes[np.maximum.accumulate(rows)]


def score_of(name, errors, valid=None, denominator=None):
    """The Score of one sequence by a toolkit.

    Args:
      name: key of TOOLKITS.
      errors: {"overlap": (F,) IoU, "precision": (F,) center error in pixels, "norm_precision": (F,) relative to the
        box}; the last two where the toolkit has them.
      valid: (F,) bool, the frames that have a target; None: all.
      denominator: number of frames that the curves are shares of; None: F.
    """
    toolkit = TOOLKITS[name]
    inside = errors["overlap"]
    denominator = len(inside) if denominator is None else denominator
    steps = {"precision": toolkit.pixel_steps, "norm_precision": toolkit.relative_steps}
    counts = {"success": (inside[:, None] > toolkit.overlap_steps).sum(axis=0)}
    counts |= {key: (errors[key][:, None] <= steps[key]).sum(axis=0) for key in errors if key in steps}
    with np.errstate(divide="ignore", invalid="ignore"):
        curves = {key: count / np.float64(denominator) for key, count in counts.items()}
    curves = {"overlap": inside if valid is None else inside[valid], **curves}
    return Score(name, len(curves["overlap"]), curves, _values(toolkit, curves))


def _values(toolkit, curves):
    return {key: _number(curves[curve], index) for key, curve, index in toolkit.numbers}


def _number(curve, index):
    if index == "area":
        return float(np.mean(curve[1:] + curve[:-1]) / 2)
    if index is not None:
        return float(curve[index])
    return float(np.mean(curve)) if len(curve) else float("nan")
