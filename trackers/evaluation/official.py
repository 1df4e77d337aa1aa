"""Scores of single-object tracking as the benchmarks' own programs count them.

- `lasot_toolkit`: LaSOT's MATLAB toolkit (eval_tracker.m, calc_seq_err_robust.m), which TNL2K's and VastTrack's copy.
- `otb_toolkit`: OTB's MATLAB toolkit (calcSeqErrRobust.m, genPerfMat.m), one-pass evaluation.
- `trackingnet`: TrackingNet's server (metrics.py of its devkit).
- `avist`: AVisT's, which is pytracking's analysis with a rule of its own: OP50 and OP75.

Boxes are (T, 4) x, y, w, h in pixels, scores fractions, as in scores.py; its `combine` makes the benchmark's row.
MATLAB's thresholds are taken as k * 0.05: its own may differ from that in the last bit, so an IoU that equals a
threshold can fall on the other side there.
"""

import dataclasses

import numpy as np

from trackers.errors import InputError
from trackers.evaluation import scores
from trackers.io.numbers import counted


def lasot_toolkit(prediction, truth, absent=None, of_all=True):
    """AUC, OP50, Precision (20 px) and NormPrecision (0.20) of LaSOT's MATLAB toolkit, equal to 12 digits.

    Args:
      prediction, truth: (T, 4); surplus boxes are cut. The first frame counts as found exactly.
      absent: (T,) bool or None, the frames in which the target is absent.
      of_all: shares of all frames, as the program counts: it takes absent frames out of what is found, then divides by
        all frames, so that each of them is a miss. False: shares of the other frames, as no program counts.

    A box that is NaN in part, or has no area, repeats the one before it. Where ground truth has a number that is not
    above 0 (an x of 0, too) a frame is a miss of AUC and a hit of both precisions. Sequences in which nothing is found
    are left out of the overall mean.

    Raises: InputError for fewer boxes than frames, which stops the program.
    """
    prediction, truth = scores.as_boxes(prediction), scores.as_boxes(truth)
    if len(prediction) < len(truth):
        raise InputError(
            f"{counted(len(prediction), 'box')} for {counted(len(truth), 'frame')}: LaSOT's toolkit wants one a frame"
        )
    prediction = prediction[: len(truth)]
    invalid = np.isnan(prediction).any(axis=1) | (prediction[:, 2:] <= 0).any(axis=1)
    prediction = scores.repeated(prediction, invalid & ~np.isnan(truth).any(axis=1))
    prediction[:1] = truth[:1]
    present = np.ones(len(truth), bool) if absent is None else ~np.asarray(absent, bool)
    errors = _matlab_errors(prediction[present], truth[present])
    name = "lasot_toolkit" if of_all else "lasot_visible"
    return scores.score_of(name, errors, denominator=len(truth) if of_all else int(present.sum()))


def otb_toolkit(prediction, truth):
    """AUC, OP50 and Precision (20 px) of OTB's MATLAB toolkit, equal to 12 digits.

    The first frame counts as found exactly. A box without area, or NaN throughout, repeats the one before it; one that
    is NaN in part is a miss of Precision, and of AUC where a size is NaN: of a NaN x or y MATLAB's min and max take
    the ground truth's. Ground truth and overall mean as in `lasot_toolkit`; there are no absent frames.

    Raises: InputError for other lengths, which stop the program.
    """
    prediction, truth = scores.as_boxes(prediction), scores.as_boxes(truth)
    if len(prediction) != len(truth):
        raise InputError(
            f"{counted(len(prediction), 'box')} for {counted(len(truth), 'frame')}: OTB's toolkit wants one a frame"
        )
    invalid = np.isnan(prediction).all(axis=1) | (prediction[:, 2:] <= 0).any(axis=1)
    prediction = scores.repeated(prediction, invalid & ~np.isnan(truth).any(axis=1))
    prediction[:1] = truth[:1]
    errors = _matlab_errors(prediction, truth)
    return scores.score_of("otb_toolkit", {key: errors[key] for key in ("overlap", "precision")})


def trackingnet(prediction, truth):
    """Success, precision and normalized precision of TrackingNet's server, equal to 12 digits.

    Boxes are rounded to whole pixels (halves to even), their last pixel is x+w-1, the first frame counts as found
    exactly. Each number is the area under a curve of 21 thresholds: IoU above 0 to 1, center error up to 50 pixels, up
    to 0.5 of the box. A perfect tracker has success 0.975: the last threshold is IoU > 1. Missing and NaN boxes are
    failures, surplus ones are cut; of a NaN x or y beside a size pandas takes the ground truth's for success.
    """
    prediction, truth = np.round(scores.as_boxes(prediction)), np.round(scores.as_boxes(truth))
    missing = np.full((max(0, len(truth) - len(prediction)), 4), np.nan)
    prediction = np.concatenate([prediction[: len(truth)], missing])
    prediction[:1] = truth[:1]
    shift = scores.centers(prediction) - scores.centers(truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        # In the server's order of operations: an error may equal a threshold.
        squares = shift / truth[:, 2:] * shift / truth[:, 2:]
    errors = {
        "overlap": scores.overlap(prediction, truth, inclusive=True),
        "precision": _length(shift * shift),
        "norm_precision": _length(squares),
    }
    return scores.score_of("trackingnet", errors)


def avist(prediction, truth, visible=None):
    """AUC, OP50 and OP75 of AVisT, equal to 1e-6: `scores.pytracking` with shares of all frames.

    visible: (T,) bool or None. A frame has no target where its x, y, w or h is 0, or it is not visible.
    """
    return dataclasses.replace(scores.pytracking(prediction, truth, visible, "avist"), toolkit="avist")


def _matlab_errors(prediction, truth):
    """Errors as both MATLAB toolkits have them: -1, below every threshold, where ground truth is not above 0."""
    known = (truth > 0).all(axis=1)
    near, there = scores.centers(prediction), scores.centers(truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = near / truth[:, 2:] - there / truth[:, 2:]
        errors = {
            "overlap": scores.overlap(prediction, truth, inclusive=True),
            "precision": _length((near - there) ** 2),
            "norm_precision": _length(relative**2),
        }
    return {name: np.where(known, values, -1.0) for name, values in errors.items()}


def _length(squares):
    return np.sqrt(squares.sum(axis=1))
