"""A region of a picture that could be an object: the best of a few random ones.

The score is a cheap objectness, our choice: texture within, times contrast to what lies around. It is measured on a
small copy of the picture, so that it costs little and noise counts little.
"""

import numpy as np

# Longer side of the copy, in pixels.
_SMALL = 192
# Sides of a region in pixels of the picture, at least, and over the picture's side at most.
_LEAST_SIDE, _LARGEST_SHARE = 8.0, 0.9
# The surround is this much larger than the region, each way.
_SURROUND = 1.6
# Mean change of brightness from pixel to pixel, in gray levels, below which there is nothing to find again.
_LEAST_TEXTURE = 0.5


def choose(image, settings, rng):
    """Picks a region.

    Args:
      image: (H, W, 3) uint8, sides of 32 pixels or more.
      settings: UnlabelledConfig.
      rng: from sampling.generator; advanced by as many numbers whatever the picture.

    Returns: (4,) float64 x, y, w, h in pixels, wholly inside; None where all that were looked at are without texture.
    """
    boxes = _candidates(image.shape[1::-1], settings, rng)
    scores = [_score(parts) for parts in _measured(image, boxes)]
    best = int(np.argmax(scores))
    return boxes[best] if scores[best] > 0 else None


def _candidates(sides, settings, rng):
    """(N, 4) boxes: size log-uniform, aspect log-normal, center uniform."""
    sides, count = np.array(sides, np.float64), settings.candidates
    sizes, at, normal = rng.random(count), rng.random((count, 2)), rng.standard_normal(count)
    sizes = np.sqrt(sides.prod()) * settings.smallest * (settings.largest / settings.smallest) ** sizes
    halves = np.exp(settings.aspect * normal / 2)
    extents = np.stack([sizes * halves, sizes / halves], axis=1)
    extents = np.clip(extents, _LEAST_SIDE, _LARGEST_SHARE * sides)
    return np.concatenate([at * (sides - extents), extents], axis=1)


def _measured(image, boxes):
    """For each box (texture within, mean colors within, mean colors around, deviation around)."""
    import cv2

    scale = min(1.0, _SMALL / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    slopes = np.abs(np.stack(np.gradient(small.mean(axis=2)))).sum(axis=0)
    for x, y, w, h in boxes * scale:
        inner = _slices(x, y, w, h, slopes.shape)
        grown = (_SURROUND - 1) / 2
        outer = _slices(x - grown * w, y - grown * h, _SURROUND * w, _SURROUND * h, slopes.shape)
        within, all_of_it = small[inner].reshape(-1, 3), small[outer].reshape(-1, 3)
        around = max(len(all_of_it) - len(within), 1)
        mean = (all_of_it.sum(axis=0) - within.sum(axis=0)) / around
        square = ((all_of_it**2).sum() - (within**2).sum()) / (3 * around)
        yield slopes[inner].mean(), within.mean(axis=0), mean, np.sqrt(max(square - (mean**2).mean(), 0.0))


def _slices(x, y, w, h, shape):
    """Rows and columns of a box, one pixel at least, inside the picture."""
    left, top = min(max(int(x), 0), shape[1] - 1), min(max(int(y), 0), shape[0] - 1)
    return slice(top, max(int(np.ceil(y + h)), top + 1)), slice(left, max(int(np.ceil(x + w)), left + 1))


def _score(parts):
    texture, within, around, deviation = parts
    if texture < _LEAST_TEXTURE:
        return 0.0
    # Eight gray levels: on a flat surround noise alone is no contrast.
    return texture * (0.25 + np.abs(within - around).mean() / (deviation + 8.0))
