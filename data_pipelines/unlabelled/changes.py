"""What happens to a search frame, in the manner of the procedural video (procedural/video/training_pairs.py).

The frame turns, stretches and shears around the region, changes colors, loses resolution, and a patch from elsewhere in
it may cover part of the region. The region's box is that of the ellipse in it, as for the regions of procedural video.
"""

import numpy as np


def change(image, box, settings, rng):
    """Changes a frame and the box of a region in it.

    Args:
      image: (H, W, 3) uint8. box: (4,) x, y, w, h in pixels.
      settings: UnlabelledConfig; change scales all but the cover.
      rng: advanced by as many numbers whatever the picture.

    Returns: (image of the same size, its edge continued where the frame has nothing to show; box (4,) float64).
    """
    strength, normal, uniform = settings.change, rng.standard_normal(7), rng.random(7)
    image, box = _warp(image, np.asarray(box, np.float64), strength * normal[:3])
    image = _gain(image, np.exp(strength * (0.12 * normal[3] + 0.06 * normal[4:7])))
    # Seldom much: the fourth power.
    image = _coarser(image, 1 + 2 * strength * uniform[0] ** 4)
    if uniform[1] < settings.occlusion_probability:
        image = _cover(image, box, uniform[2:])
    return image, box


def _warp(image, box, amounts):
    import cv2

    turn, stretch, shear = 0.12 * amounts[0], np.exp(0.13 * amounts[1]), 0.1 * amounts[2]
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shape = rotation @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([stretch, 1 / stretch])
    center, half = box[:2] + box[2:] / 2, box[2:] / 2
    # OpenCV counts from the middle of the first pixel, boxes from its corner.
    at = center - 0.5
    matrix = np.concatenate([shape, (at - shape @ at)[:, None]], axis=1)
    # The edge of the frame stays upright, as a camera's is.
    image = cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    half = np.sqrt(shape**2 @ half**2)
    return image, np.concatenate([center - half, 2 * half])


def _gain(image, gains):
    import cv2

    levels = np.minimum(np.rint(np.arange(256)[:, None] * gains), 255).astype(np.uint8)
    return cv2.LUT(image, levels[None])


def _coarser(image, factor):
    """The picture as one of fewer pixels shows it: 1/factor of them each way."""
    import cv2

    sides = image.shape[1::-1]
    fewer = tuple(max(1, round(side / factor)) for side in sides)
    if fewer == sides:
        return image
    return cv2.resize(cv2.resize(image, fewer, interpolation=cv2.INTER_AREA), sides, interpolation=cv2.INTER_LINEAR)


def _cover(image, box, uniform):
    """A patch from a random place over one side of the region, 0.3 to 0.8 of its width and height."""
    image, sides = image.copy(), np.array(image.shape[1::-1])
    size = np.maximum(np.minimum(np.rint(box[2:] * (0.3 + 0.5 * uniform[0])), sides), 1).astype(int)
    bearing = 2 * np.pi * uniform[1]
    center = box[:2] + box[2:] / 2 * (1 + np.array([np.cos(bearing), np.sin(bearing)]))
    left, top = np.clip(np.rint(center - size / 2), 0, sides - size).astype(int)
    x, y = (uniform[2:4] * (sides - size)).astype(int)
    image[top : top + size[1], left : left + size[0]] = image[y : y + size[1], x : x + size[0]].copy()
    return image
