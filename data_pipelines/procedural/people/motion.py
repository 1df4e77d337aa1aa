"""Where a person is and what it does in every frame of a video."""

import dataclasses

import numpy as np

from data_pipelines.procedural.people.cast import MOTIONS

# Frames that a motion lasts at least and at most.
_LASTS = (16, 40)
# Widths of the picture that a walker gets on in a frame.
_SPEED = (0.005, 0.012)
# Frames of one swing of a walker's legs, and of a dancer's arms.
_STRIDE, _BEAT = 10.0, 9.0


@dataclasses.dataclass(frozen=True)
class Path:
    """One person through T frames.

    x, foot: (T,) middle and foot line in pixels; tall: height in pixels; motion: (T,) index into MOTIONS; direction:
    (T,) -1, 0, 1; phase: (T, 3) angles in radians that limbs swing by.
    """

    x: np.ndarray
    foot: np.ndarray
    tall: float
    motion: np.ndarray
    direction: np.ndarray
    phase: np.ndarray


def draw_path(rng, length, height, width):
    """A Path in a picture of height x width pixels: near people are large and low. rng is advanced."""
    depth = rng.random()
    motion, direction = np.zeros(length, int), np.zeros(length, int)
    x, position = np.zeros(length), rng.uniform(0.08, 0.92)
    first = 0
    while first < length:
        last = min(first + int(rng.integers(*_LASTS)), length)
        doing = int(rng.choice(len(MOTIONS), p=(0.4, 0.25, 0.2, 0.15)))
        speed = 0.0
        if MOTIONS[doing] == "walking":
            # Toward the farther side, mostly, so that people stay in the picture.
            way = 1 if rng.random() > position else -1
            speed = way * rng.uniform(*_SPEED)
        motion[first:last] = doing
        direction[first:last] = np.sign(speed)
        x[first:last] = position + speed * np.arange(last - first)
        position, first = x[last - 1] + speed, last
    beats = np.arange(length)[:, None] * 2 * np.pi / (np.array([_STRIDE, _BEAT, 2 * _BEAT]) * rng.uniform(0.8, 1.25, 3))
    return Path(
        x=x * width,
        foot=np.full(length, height * (0.7 + 0.27 * depth)),
        tall=height * (0.34 + 0.24 * depth) * rng.uniform(0.92, 1.08),
        motion=motion,
        direction=direction,
        phase=beats + rng.uniform(0, 2 * np.pi, 3),
    )
