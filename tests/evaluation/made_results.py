"""Evaluations' folders made on the spot: a patch that walks, and trackers whose boxes lie beside it."""

import numpy as np

from data_pipelines.sources import Sequence
from trackers.evaluation import reports

# What pages, tables and LaTeX could take for something else.
NAMES = ["a<script>alert(1)</script>", 'Käfer & "Co" 50%_#1', "plain", "sneaky'|\\$x^2~{}"]
FRAMES = 9
FACTS = {
    "benchmark": "otb:/data/<OTB> & more",
    "sequences": None,
    "checkpoint": "runs/<b>grm</b>",
    "weights_digest": "0123456789ab",
    "config_digest": "ba9876543210",
    "config": {},
    "benchmark_settings": {"model.division.threshold": 0.55},
    "versions": {"python": "3.11", "jax": None},
}


def sequences(folder, names, frames=FRAMES):
    """Sequences of `frames` images of 64 x 48; in each the third frame is hidden, and targets lie further right."""
    import cv2

    made = []
    for number, name in enumerate(names):
        paths = [folder / f"{number}_{frame}.jpg" for frame in range(frames)]
        for frame, path in enumerate(paths):
            image = np.full((48, 64, 3), 90, np.uint8)
            image[10:22, 5 + frame : 25 + frame] = 200
            cv2.imwrite(str(path), image)
        boxes = np.array([[5.0 + frame, 10, 20, 12] for frame in range(frames)])
        visible = np.arange(frames) != 2
        made.append(Sequence(name, paths, boxes, visible))
    return made


def evaluate(folder, out, names=tuple(NAMES), trackers=(("grm", 1.0), ("static", 9.0)), frames=FRAMES):
    """Writes what eval.py leaves of the trackers ((name, shift), ...), whose box lies `shift` * (1 + number) pixels too
    far right in sequence `number` of NAMES; returns the sequences."""
    folder.mkdir(exist_ok=True)
    made = sequences(folder, names, frames)
    tracks = {
        tracker: {
            one.name: (
                one.boxes + [shift * (1 + NAMES.index(one.name)), 0, 0, 0],
                np.full(frames, 0.01),
                {"elapsed": 0.1, "image_size": [64, 48], "scores": [1.0] * (frames - 1)},
            )
            for one in made
        }
        for tracker, shift in trackers
    }
    out.mkdir(parents=True, exist_ok=True)
    reports.scored(FACTS | {"sequences": len(made)}, tracks, "otb", made, out)
    return made
