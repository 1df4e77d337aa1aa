"""One tracker over sequences with ground truth: the four numbers that the field reports, and its speed."""

import sys

import numpy as np
from tqdm import tqdm

from trackers import errors
from trackers.evaluation import benchmark

HEADS = ["AO", "SR0.5", "AUC", "P"]
_VALUES = (("got10k", "AO"), ("got10k", "SR0.5"), ("pytracking", "AUC"), ("pytracking", "Precision"))


def judge(runner, sequences, label):
    """(numbers (S, 4) as HEADS, fractions; frames per second inside the tracker) of benchmark.Runner."""
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
    return np.array(numbers), benchmark.speed([(t.seconds, t.elapsed) for t in tracks.values()])["tracker_fps"]
