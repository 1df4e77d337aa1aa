"""Made-up pictures: noise, blurred so that it has corners of some size."""

import cv2
import numpy as np


def texture(height, width, seed, blur=1.5, low=0, high=256):
    """(H, W, 3) uint8."""
    noise = np.random.default_rng(seed).uniform(0, 1, (height, width, 3)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), blur)
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    return (low + noise * (high - 1 - low)).astype(np.uint8)


def scene(step, height=120, width=160):
    """A bright textured square of 40 pixels on a dim ground; both move. (frame, box x, y, w, h)."""
    ground = texture(height, width + 60, 1, 3.0, 0, 90)[:, step : step + width].copy()
    x, y = 30 + 2 * step, 40 + step
    ground[y : y + 40, x : x + 40] = texture(40, 40, 2, 1.5, 130, 256)
    return ground, np.array([x, y, 40, 40], np.float64)


def write_frames(folder, count, first=0):
    """`count` frames of the scene as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for step in range(count):
        frame = cv2.cvtColor(scene((first + step) % 25)[0], cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{step:04d}.png"), frame)
    return folder


def write_video(path, count, shape=(120, 160)):
    """`count` frames as an AVI file of JPEGs; the brightness of their upper half is twice their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, shape[::-1])
    frame = texture(*shape, 7)
    for step in range(count):
        frame[: shape[0] // 2] = 2 * step
        writer.write(frame)
    writer.release()
    return path
