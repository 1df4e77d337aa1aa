"""The data kind "trajectories": true boxes with detections simulated around them, pure in (seed, split, step, row).

A sample for the neural Kalman filter is a window of a track. Its true boxes are cut from MOT ground-truth files, or
made here. What a detector adds is our own simulation: noise on position and size that a lower confidence goes with,
another level for each window, and frames in which it misses.
"""

import numpy as np

from data_pipelines import annotations, sampling
from trackers import errors
from trackers.io import mot_files

# Every so many pieces of a track of the ground truth is held out for validation.
_HELD_OUT = 5
_EXPECTED = "MOT files VIDEO/gt/gt.txt"


def on_device(config, seed):
    """Windows of tracks are made by the host alone, see loader.on_device."""
    return None


def finish(config):
    """Windows of tracks leave the host whole, see loader.finish."""
    return None


def batches(config, start_step, rows, seed, split):
    """Batches of windows of tracks for loader.batches, whose arguments these are.

    config.data.trajectories says what they are: mot (folder, "" makes tracks), length (frames in a window), noise
    (least and largest deviation, in parts of the box's size), miss_probability, longest_miss (frames).

    Yields: dict, B = len(rows): observed (B, T, 4) float32 cx, cy, w / h, h of detections in pixels, confidence (B, T)
      float32, seen (B, T) bool, target (B, T, 4) float32 the true ones. Frame 0 is always seen.
    Raises: InputError where the folder has no track that is long enough.
    """
    settings = config.data.trajectories
    runs = read_windows(settings.mot, settings.length, split) if settings.mot else None
    step = start_step
    while True:
        samples = [sample(settings, runs, sampling.generator(seed, step, row, split)) for row in rows]
        yield {name: np.stack([one[name] for one in samples]) for name in samples[0]}
        step += 1


def shapes(config):
    """{name: (shape, dtype)} of one row of `batches`."""
    length = config.data.trajectories.length
    boxes = ((length, 4), np.float32)
    return {"observed": boxes, "confidence": ((length,), np.float32), "seen": ((length,), np.bool_), "target": boxes}


def read_windows(folder, length, split="train"):
    """Runs of at least `length` consecutive frames: list of (n, 4) float64 x, y, w, h in pixels, of one split."""
    path = annotations.folder(folder, "trajectories", _EXPECTED)
    runs = []
    for file in sorted(path.glob("*/gt/gt.txt")):
        tracks = mot_files.read(file)
        tracks = tracks.select((tracks.confidence != 0) & (tracks.boxes[:, 2:] > 0).all(axis=1))
        for number in np.unique(tracks.ids):
            track = tracks.select(tracks.ids == number)
            runs += [track.boxes[piece] for piece in mot_files.pieces(track.frames)]
    runs = [run for run in runs if len(run) >= length]
    held_out = [k % _HELD_OUT == _HELD_OUT - 1 for k in range(len(runs))]
    runs = [run for run, out in zip(runs, held_out, strict=True) if out == (split == "validation")]
    if not runs:
        raise errors.InputError(
            f"config.data.trajectories.mot {folder}: no {split} track of {length} frames; expected {_EXPECTED}"
        )
    return runs


def sample(settings, runs, rng):
    """One example of `batches`, without the batch axis. runs: from read_windows, or None to make a track."""
    if runs is None:
        boxes = _made_track(settings.length, rng)
    else:
        run = runs[int(rng.integers(len(runs)))]
        first = int(rng.integers(len(run) - settings.length + 1))
        boxes = run[first : first + settings.length]
    confidence, seen, detected = detect(boxes, settings, rng)
    observed, target = _observation(detected), _observation(boxes)
    return {"observed": observed, "confidence": confidence.astype(np.float32), "seen": seen, "target": target}


def detect(boxes, settings, rng):
    """Simulated detections of boxes (T, 4): (confidence (T,), seen (T,) bool, detected (T, 4))."""
    length = len(boxes)
    level = np.exp(rng.uniform(*np.log(settings.noise)))
    doubt = rng.beta(1.5, 3.0, length)
    sides = boxes[:, 2:]
    centers = boxes[:, :2] + sides / 2 + 3 * level * doubt[:, None] * sides * rng.standard_normal((length, 2))
    sides = sides * np.exp(3 * level * doubt[:, None] * rng.standard_normal((length, 2)))
    confidence = np.clip(1 - doubt + 0.1 * rng.standard_normal(length), 0, 1)
    seen = np.ones(length, bool)
    for first in np.flatnonzero(rng.random(length) < settings.miss_probability):
        seen[first : first + int(rng.integers(1, settings.longest_miss + 1))] = False
    seen[0] = True
    return confidence, seen, np.concatenate([centers - sides / 2, sides], axis=1)


def _made_track(length, rng):
    """A track (length, 4) x, y, w, h: steady motion with phases of acceleration, a swaying gait and slow growth."""
    height = np.exp(rng.uniform(np.log(30), np.log(300)))
    turns = np.sort(rng.integers(0, length, 3))
    pushes = np.where(rng.random((3, 1)) < 0.5, 0.0, rng.normal(0, 0.004, (3, 2))) * height
    acceleration = np.zeros((length, 2))
    for turn, push in zip(turns, pushes, strict=True):
        acceleration[turn : turn + length // 6] += push
    velocity = rng.normal(0, 0.03, 2) * height + np.cumsum(acceleration, axis=0)
    time = np.arange(length)
    sway = rng.uniform(0, 0.02) * height * np.sin(rng.uniform(0.1, 0.8) * time + rng.uniform(0, 6.3))
    centers = rng.uniform(300, 1500, 2) + np.cumsum(velocity, axis=0) + np.stack([0 * sway, sway], axis=1)
    heights = height * np.exp(np.cumsum(np.full(length, rng.normal(0, 0.003))))
    widths = heights * rng.uniform(0.3, 0.6) * (1 + rng.uniform(0, 0.15) * np.sin(rng.uniform(0.2, 0.6) * time))
    sides = np.stack([widths, heights], axis=1)
    return np.concatenate([centers - sides / 2, sides], axis=1)


def _observation(boxes):
    x, y, w, h = boxes.T
    return np.stack([x + w / 2, y + h / 2, w / h, h], axis=1).astype(np.float32)
