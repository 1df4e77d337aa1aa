"""VOT's multi-start scores, accuracy, robustness and expected average overlap (VOT2020, Sec. 2), from raw results.

A run goes from an anchor to the end of the sequence, or to its beginning. It fails where its overlap stays at 0.1 or
below for ten frames in which the target can be seen; what comes after does not count. Accuracy is the mean overlap
before that, robustness the share of the frames before it, EAO the mean of the curve of expected average overlaps over
lengths from `low` on and up to, but without, `high` (115 and 755 in vot2020/shortterm to vot2022/shorttermbox).

Read from the toolkit's files, without the toolkit. Equal to vot-toolkit 0.9.0 to 1e-6 and better (the tests say so),
with what it does beyond the paper: the first frame of a run has overlap 0 and counts in accuracy and robustness, and a
failed run's sum over a longer length N is divided by N - 1.
"""

import dataclasses
import re

import numpy as np
from etils import epath

from trackers import errors
from trackers.evaluation.vot import overlaps
from trackers.io import image_files, numbers, plain_text
from trackers.io.numbers import counted

FAILED_BELOW = 0.1
FAILED_FRAMES = 10


@dataclasses.dataclass(frozen=True)
class SequenceScore:
    """Of the runs of one sequence.

    accuracy, robustness: fractions. frames: tracked before failures, in all runs. length: of the sequence, frames.
    curve, runs: (high,) float64, mean overlap over lengths 0, 1, ..., and how many runs are known at each.
    """

    accuracy: float
    robustness: float
    frames: int
    length: int
    curve: np.ndarray
    runs: np.ndarray


@dataclasses.dataclass(frozen=True)
class Score:
    """accuracy, robustness, eao: fractions, of all sequences. curve: (high,). sequences: {name: SequenceScore}."""

    accuracy: float
    robustness: float
    eao: float
    curve: np.ndarray
    sequences: dict


def score(results, sequences, low, high):
    """Scores of a folder of raw results of one tracker in one experiment.

    Args:
      results: path, W/results/TRACKER/EXPERIMENT, with SEQUENCE/SEQUENCE_00000050.{bin,txt} for the anchor in frame 50.
      sequences: path, W/sequences, with list.txt and SEQUENCE/{sequence,groundtruth.txt,anchor.value}.
      low, high: of EAO's interval in frames, 1 <= low < high.

    Returns: Score.
    Raises: UsageError for an impossible interval; InputError naming the file that is missing or cannot be read.
    """
    if not 1 <= low < high:
        raise errors.UsageError(f"--low {low} and --high {high}: give lengths in frames, 1 <= low < high")
    names = plain_text.read_names(sequences / "list.txt", "a sequence a line")
    if not names:
        raise errors.InputError(f"{sequences / 'list.txt'} names no sequence")
    parts = {name: _of_sequence(results / name, sequences / name, high) for name in names}
    frames, lengths = (np.array([getattr(part, key) for part in parts.values()]) for key in ("frames", "length"))
    accuracies, robustnesses = (
        np.array([getattr(part, key) for part in parts.values()]) for key in ("accuracy", "robustness")
    )
    if not frames.sum():
        raise errors.InputError(f"{results}: every run fails in its first frame, so there is no accuracy")
    runs = sum(part.runs for part in parts.values())
    curve = _divided(sum(part.curve * part.runs for part in parts.values()), runs)
    return Score(
        accuracy=float((accuracies * frames).sum() / frames.sum()),
        robustness=float((robustnesses * lengths).sum() / lengths.sum()),
        eao=float(curve[low : high + 1].mean()),
        curve=curve,
        sequences=parts,
    )


def _of_sequence(results, folder, high):
    truth, size = overlaps.read(folder / "groundtruth.txt"), _image_size(folder)
    kept, total, covered = 0, 0, 0.0
    sums, runs = np.zeros(high), np.zeros(high)
    for frames in _runs(folder / "anchor.value", len(truth)):
        stem = f"{folder.name}_{frames[0]:08d}"
        found = _read_run(results, stem, len(frames))
        seen = [truth[frame] for frame in frames]
        values = np.array([overlaps.overlap(*pair, size) for pair in zip(found, seen, strict=True)])
        end = _failure(values, [region.has_area for region in seen])
        kept, total, covered = kept + end, total + len(frames), covered + values[:end].sum()
        run_sums, known = _averages(values, end, high)
        sums, runs = sums + run_sums, runs + known
    accuracy = float(covered / kept) if kept else 0.0
    return SequenceScore(accuracy, kept / total, kept, len(truth), _divided(sums, runs), runs)


def _failure(values, visible):
    """Frames before the first of FAILED_FRAMES in a row that are lost; all of them where there is no such row."""
    in_a_row = 0
    for number, (value, seen) in enumerate(zip(values, visible, strict=True), 1):
        in_a_row = in_a_row + 1 if value <= FAILED_BELOW and seen else 0
        if in_a_row == FAILED_FRAMES:
            return number - FAILED_FRAMES
    return len(values)


def _averages(values, end, high):
    """(mean overlap of frames 1..N of a run for N = 0, 1, ... (high,), 1 where it is known (high,)).

    A run that fails is known for all lengths, one that does not for those that it has.
    """
    failed = end < len(values)
    values = np.where(np.arange(len(values)) < end, values, 0.0)
    means, known = np.zeros(high), np.zeros(high)
    lengths = np.arange(1, high)
    inside = lengths < len(values)
    totals = np.concatenate([[0.0], np.cumsum(values[1:])])
    means[1:][inside] = totals[lengths[inside]] / lengths[inside]
    if failed:
        means[1:][~inside] = totals[-1] / (lengths[~inside] - 1)
    known[1:] = inside | failed
    return means, known


def _divided(sums, counts):
    return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)


def _runs(path, length):
    """Frames, in order, of each run: forwards first. Raises: InputError where the file names no anchor."""
    expected = "a number a frame: above 0 where a run starts forwards, below 0 where one starts backwards"
    lines = plain_text.read_lines(path, expected)
    try:
        anchors = np.array([numbers.number(line) for line in lines])
    except ValueError as error:
        raise errors.InputError(f"{path}: {error}: expected {expected}") from None
    if len(anchors) > length or not anchors.any():
        raise errors.InputError(
            f"{path} has {counted(len(anchors), 'line')} for {counted(length, 'frame')}: expected {expected}"
        )
    forwards = [range(anchor, length) for anchor in np.flatnonzero(anchors > 0)]
    return forwards + [range(anchor, -1, -1) for anchor in np.flatnonzero(anchors < 0)]


def _read_run(folder, stem, length):
    """Regions of a run. Raises: InputError where its file is missing or has another length."""
    files = [folder / f"{stem}{ending}" for ending in (".txt", ".bin")]
    file = next((file for file in files if file.exists()), None)
    if file is None and any((folder / f"{folder.name}_001{ending}").exists() for ending in (".txt", ".bin")):
        raise errors.InputError(
            f"{folder} has one run over the sequence, and these scores are of runs from each anchor: give a multi-start"
            " experiment, such as baseline or realtime"
        )
    if file is None:
        raise errors.InputError(f"{files[1]} is missing, and so is {files[0].name}: finish `vot evaluate` first")
    regions = overlaps.read(file)
    if len(regions) != length:
        raise errors.InputError(
            f"{file} holds {counted(len(regions), 'region')} for a run of {counted(length, 'frame')}: run it again"
        )
    return regions


def _image_size(folder):
    """(width, height) as the file `sequence` states it, or else of the first image."""
    lines = plain_text.read_lines(folder / "sequence", "lines key=value") if (folder / "sequence").exists() else []
    facts = dict(line.split("=", 1) for line in lines if "=" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    if "width" in facts and "height" in facts:
        try:
            return numbers.whole(facts["width"]), numbers.whole(facts["height"])
        except ValueError as error:
            raise errors.InputError(f"{folder / 'sequence'}: width and height: {error}") from None
    pattern = facts.get("channels.color", "color/%08d.jpg")
    if not epath.Path(pattern).suffix:  # the folder alone
        pattern = pattern.rstrip("/") + "/%08d.jpg"
    first = re.sub("%0?([0-9]*)d", lambda digits: f"{1:0{digits[1] or 1}d}", pattern)
    height, width = image_files.read_image(folder / first).shape[:2]
    return width, height
