"""HOTA and its parts (Luiten et al., IJCV 2021), equal to the official TrackEval on the same files.

Conventions of TrackEval's MotChallenge2DBox: IoU of x,y,w,h without +1, boxes without area overlap nothing; thresholds
0.05, 0.10, ..., 0.95; a score is the mean over them. Rows of ground truth with confidence 0 never count. Confidence and
class of a tracker's boxes are not used.

The package `trackeval` gives the same numbers but pulls in opencv-python, which overwrites the headless OpenCV that the
rest needs; hence this module. Only SciPy's assignment is used (JAX requires SciPy).
"""

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment

from trackers.errors import InputError
from trackers.io import limits
from trackers.io.mot_files import Tracks

# As TrackEval makes them: some differ from k / 20 in the last bit, and an IoU may equal one.
THRESHOLDS = np.arange(0.05, 0.99, 0.05)
FIELDS = ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA")
# What TrackEval takes for rounding.
EPS = np.finfo(float).eps
# Classes of MOT17's and MOT20's ground truth: all, those of interest, and by benchmark those whose detections are
# neither right nor wrong (person on vehicle, static person, distractor, reflection; MOT20: non-motor vehicles, too).
_CLASSES, _PEDESTRIAN = range(1, 14), 1
DISTRACTORS = {"mot17": (2, 7, 8, 12), "mot20": (2, 6, 7, 8, 12)}


@dataclasses.dataclass(frozen=True)
class Hota:
    """What can be pooled over sequences; arrays (19,) over THRESHOLDS.

    tp, fn, fp: boxes matched, missed, wrong. iou_sum: over the matched pairs. ass_a, ass_re, ass_pr: means over tp.
    """

    tp: np.ndarray
    fn: np.ndarray
    fp: np.ndarray
    iou_sum: np.ndarray
    ass_a: np.ndarray
    ass_re: np.ndarray
    ass_pr: np.ndarray

    def curves(self):
        """{field of FIELDS: (19,) float64}. LocA is 1 where nothing is matched, as in TrackEval."""
        det_a = self.tp / np.maximum(1, self.tp + self.fn + self.fp)
        return {
            "HOTA": np.sqrt(det_a * self.ass_a),
            "DetA": det_a,
            "AssA": self.ass_a,
            "DetRe": self.tp / np.maximum(1, self.tp + self.fn),
            "DetPr": self.tp / np.maximum(1, self.tp + self.fp),
            "AssRe": self.ass_re,
            "AssPr": self.ass_pr,
            "LocA": np.maximum(1e-10, self.iou_sum) / np.maximum(1e-10, self.tp),
        }

    def values(self):
        """{field of FIELDS: float}, means over the thresholds, fractions."""
        return {name: float(curve.mean()) for name, curve in self.curves().items()}


def score(truth, tracks):
    """HOTA of one sequence.

    Args: truth, tracks: Tracks of the ground truth and of a tracker, frames numbered alike.
    """
    truth = truth.select(truth.confidence != 0)
    truth_ids, truth_index = np.unique(truth.ids, return_inverse=True)
    track_ids, track_index = np.unique(tracks.ids, return_inverse=True)
    frames = [
        (truth_index[rows], track_index[columns], overlaps) for rows, columns, overlaps in common_frames(truth, tracks)
    ]
    truth_count = np.bincount(truth_index, minlength=len(truth_ids))
    found_count = np.bincount(track_index, minlength=len(track_ids))

    # How well each pair of identities fits over the whole sequence decides the matching in every frame.
    potential = np.zeros((len(truth_ids), len(track_ids)))
    for rows, columns, overlaps in frames:
        union = overlaps.sum(0)[None, :] + overlaps.sum(1)[:, None] - overlaps
        share = np.divide(overlaps, union, out=np.zeros_like(overlaps), where=union > EPS)
        potential[np.ix_(rows, columns)] += share
    alignment = potential / (truth_count[:, None] + found_count[None, :] - potential)

    matched_truth, matched_found, matched_iou = [], [], []
    for rows, columns, overlaps in frames:
        i, j = linear_sum_assignment(-(alignment[np.ix_(rows, columns)] * overlaps))
        matched_truth.append(rows[i])
        matched_found.append(columns[j])
        matched_iou.append(overlaps[i, j])
    pairs = _concatenate(matched_truth, int) * len(track_ids) + _concatenate(matched_found, int)
    return _counts(pairs, _concatenate(matched_iou, float), truth_count, found_count)


def _counts(pairs, overlaps, truth_count, found_count):
    """Hota from all matches: pairs (m,) = truth index * number of tracks ids + tracks index; overlaps (m,)."""
    columns = {field.name: np.zeros(len(THRESHOLDS)) for field in dataclasses.fields(Hota)}
    for k, threshold in enumerate(THRESHOLDS):
        kept = overlaps >= threshold - EPS
        tp = int(kept.sum())
        kinds, counts = np.unique(pairs[kept], return_counts=True)
        in_truth = truth_count[kinds // max(1, len(found_count))]
        in_found = found_count[kinds % max(1, len(found_count))]
        columns["tp"][k] = tp
        columns["fn"][k] = truth_count.sum() - tp
        columns["fp"][k] = found_count.sum() - tp
        columns["iou_sum"][k] = overlaps[kept].sum()
        columns["ass_a"][k] = (counts * (counts / (in_truth + in_found - counts))).sum() / max(1, tp)
        columns["ass_re"][k] = (counts * (counts / in_truth)).sum() / max(1, tp)
        columns["ass_pr"][k] = (counts * (counts / in_found)).sum() / max(1, tp)
    return Hota(**columns)


def combine(parts):
    """All sequences as one (TrackEval's COMBINED row): counts summed, association weighted by the matches.

    Args: parts: non-empty list of Hota.
    """
    sums = {name: sum(getattr(part, name) for part in parts) for name in ("tp", "fn", "fp", "iou_sum")}
    for name in ("ass_a", "ass_re", "ass_pr"):
        sums[name] = sum(getattr(part, name) * part.tp for part in parts) / np.maximum(1, sums["tp"])
    return Hota(**sums)


def without_distractors(truth, tracks, benchmark="mot17", place="ground truth"):
    """(truth, tracks) as TrackEval's preprocessing for MOT16/17 or MOT20 leaves them (its option DO_PREPROC).

    In each frame the tracker's boxes are matched to all of the ground truth at IoU 0.5; those matched to a distractor
    class go. Of the ground truth pedestrians with a confidence other than 0 stay.

    Args: benchmark: of DISTRACTORS. place: names the ground truth in the message.

    Raises: InputError where the ground truth has classes that these benchmarks have not, as MOT15's -1.
    """
    unknown = np.setdiff1d(truth.labels, _CLASSES)
    if len(unknown):
        raise InputError(
            f"{place}: class {unknown[0]} is none of MOT17's or MOT20's (1 to 13): where classes mean nothing, as in"
            " MOT15, give --preprocessing none"
        )
    removed = np.zeros(len(tracks), bool)
    for rows, columns, overlaps in common_frames(truth, tracks):
        overlaps = np.where(overlaps < 0.5 - EPS, 0.0, overlaps)
        i, j = linear_sum_assignment(-overlaps)
        matched = overlaps[i, j] > EPS
        distractor = np.isin(truth.labels[rows][i], DISTRACTORS[benchmark])
        removed[columns[j[matched & distractor]]] = True
    kept = (truth.confidence != 0) & (truth.labels == _PEDESTRIAN)
    return truth.select(kept), tracks.select(~removed)


def box_iou(a, b):
    """IoU (n, m) of boxes (n, 4) and (m, 4), x, y, w, h, float64; 0 for boxes without area."""
    a, b = (np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1) for box in (a, b))
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.prod(np.maximum(high - low, 0), axis=-1)
    area_a, area_b = np.prod(a[:, 2:] - a[:, :2], axis=1), np.prod(b[:, 2:] - b[:, :2], axis=1)
    union = area_a[:, None] + area_b[None, :] - intersection
    valid = (area_a[:, None] > EPS) & (area_b[None, :] > EPS) & (union > EPS)
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=valid)


def common_frames(truth: Tracks, tracks: Tracks):
    """Yields (rows of truth, rows of tracks, IoU) of every frame in which both have boxes."""
    for frame in np.intersect1d(truth.frames, tracks.frames):
        # Rows are sorted by frame.
        rows = np.arange(*np.searchsorted(truth.frames, [frame, frame + 1]))
        columns = np.arange(*np.searchsorted(tracks.frames, [frame, frame + 1]))
        yield rows, columns, box_iou(truth.boxes[rows], tracks.boxes[columns])


def check_size(truth, tracks, place):
    """Raises: InputError naming `place` where scoring would compare more identities, or more boxes of a frame, than
    limits.TABLE."""
    (numbers, counts), (others, theirs) = (np.unique(part.frames, return_counts=True) for part in (truth, tracks))
    _, here, there = np.intersect1d(numbers, others, return_indices=True)
    boxes = int((counts[here] * theirs[there]).sum())
    limits.TABLE.check(place, max(boxes, len(np.unique(truth.ids)) * len(np.unique(tracks.ids))))


def _concatenate(parts, dtype):
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
