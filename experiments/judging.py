"""One tracker over sequences with ground truth: the four numbers that the field reports, and its speed."""

import dataclasses
import sys

import numpy as np
from tqdm import tqdm

from trackers import errors
from trackers.evaluation import benchmark

HEADS = ["AO", "SR0.5", "AUC", "P"]
_VALUES = (("got10k", "AO"), ("got10k", "SR0.5"), ("pytracking", "AUC"), ("pytracking", "Precision"))


def judge(runner, sequences, label, starts=1, length=80):
    """One tracker over all sequences.

    Args:
      runner: benchmark.Runner.
      sequences: list of S data_pipelines.sources.Sequence.
      label: of the progress bar and of errors.
      starts: 1: each sequence is tracked once, from its first frame to its last. More: from so many frames, evenly
        spread, forwards and backwards, `length` frames at most; a sequence's numbers are then means of these tracks.
        One early loss costs a whole sequence otherwise, and which tracker suffers it is mostly luck.

    Returns: (numbers (S, 4) as HEADS, fractions; frames per second inside the tracker).
    Raises: InputError where a sequence cannot be scored.
    """
    owners, sequences = _pieces(sequences, starts, length)
    tracks = {}
    interval = 0.2 if sys.stderr.isatty() else 30.0
    total = sum(map(len, sequences))
    with tqdm(total=total, unit="frame", desc=label, mininterval=interval) as bar:
        for sequence in sequences:
            tracks[sequence.name] = runner.track(sequence, bar.update)
    boxes = {name: track.boxes for name, track in tracks.items()}
    sizes = {name: track.image_size for name, track in tracks.items()}
    scored = benchmark.score("frames", sequences, boxes, sizes)
    for toolkit, name in _VALUES:
        if "error" in scored[toolkit]:
            raise errors.InputError(f"{label}: no {name}: {scored[toolkit]['error']}")
    numbers = [[scored[t]["sequences"][s.name].values[value] for t, value in _VALUES] for s in sequences]
    numbers = np.stack([np.array(numbers)[owners == owner].mean(axis=0) for owner in np.unique(owners)])
    return numbers, benchmark.speed([(t.seconds, t.elapsed) for t in tracks.values()])["tracker_fps"]


def spread(values, count):
    """So many of the values, evenly spread from the first to the last, none twice."""
    return np.unique(values[np.linspace(0, len(values) - 1, count).astype(int)])


def _pieces(sequences, starts, length):
    """(number of the sequence that each piece is of (P,), P sequences)."""
    if starts == 1:
        return np.arange(len(sequences)), sequences
    owners, pieces = [], []
    for owner, sequence in enumerate(sequences):
        if sequence.truth_withheld or not sequence.visible.any():
            raise errors.InputError(f"{sequence.name}: starting from several frames needs their boxes; use --starts=1")
        for first in spread(np.flatnonzero(sequence.visible), starts):
            for step in (1, -1):
                chosen = np.arange(first, len(sequence) if step == 1 else -1, step)[:length]
                # Little is learned from the few frames that remain near an end.
                if len(chosen) > min(length, len(sequence)) // 3:
                    owners.append(owner)
                    pieces.append(
                        dataclasses.replace(
                            sequence,
                            name=f"{sequence.name} from {first} by {step}",
                            frames=[sequence.frames[index] for index in chosen],
                            boxes=sequence.boxes[chosen],
                            visible=sequence.visible[chosen],
                        )
                    )
    return np.array(owners), pieces
