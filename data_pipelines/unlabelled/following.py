"""Where a region of one frame is in another: median flow (Kalal et al., Forward-Backward Error, ICPR 2010).

Points in the region are tracked forward and back by Lucas and Kanade's method (OpenCV's). Those that return tell how
the region moved and grew, by medians. Thresholds are our choice.
"""

import numpy as np

from data_pipelines import crops

# Both frames are compared in one window, this many times the region's side, drawn with so many pixels.
_FACTOR, _SIDE = 4.0, 192
# Rows and columns of points, in the ellipse that fits into the region (corners are mostly background).
_GRID = 10
# In pixels of the window: how far a point may end from where it began, and from where the others say.
_RETURN, _AGREEMENT = 1.0, 1.5
# Share of the points that have to return, and to agree, and the largest growth or shrinkage.
_SHARE, _GROWTH = 0.6, 1.5


def follow(first, box, second):
    """The box of a region in another frame.

    Args:
      first, second: (H, W, 3) uint8 frames of one size.
      box: (4,) x, y, w, h in pixels of the first.

    Returns: (4,) float64, same proportions; None where that cannot be relied on: points get lost, they don't agree,
      the region leaves the picture, or the frames differ in size.
    """
    import cv2

    if first.shape != second.shape:
        return None
    # Both cut around the same box: a point's displacement is the same but for the scale.
    views = [crops.sample_target(frame, box, _FACTOR, _SIDE)[:2] for frame in (first, second)]
    scale = views[0][1][0]
    before, after = (cv2.cvtColor(view, cv2.COLOR_RGB2GRAY) for view, _ in views)
    points = _grid(box[2] * scale, box[3] * scale)
    middle = np.array([_SIDE / 2, _SIDE / 2], np.float32)
    start = (middle + points).astype(np.float32)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, moved, None)
    good = (found & returned).ravel().astype(bool) & (np.linalg.norm(back - start, axis=1) < _RETURN)
    if good.mean() < _SHARE:
        return None
    points, moved = points[good], moved[good] - middle
    growth = _growth(points, moved)
    shift = np.median(moved - growth * points, axis=0)
    agreeing = (np.linalg.norm(moved - growth * points - shift, axis=1) < _AGREEMENT).sum()
    if agreeing < _SHARE * len(start) or not 1 / _GROWTH < growth < _GROWTH:
        return None
    box = np.asarray(box, np.float64)
    center = box[:2] + box[2:] / 2 + shift / scale
    if not (center >= 0).all() or not (center < first.shape[1::-1]).all():
        return None
    return np.concatenate([center - growth * box[2:] / 2, growth * box[2:]])


def _grid(width, height):
    """(N, 2) float32 points around the middle of a box."""
    line = (np.arange(_GRID) + 0.5) / _GRID * 2 - 1
    x, y = np.meshgrid(line, line)
    inside = x**2 + y**2 <= 1
    return np.stack([x[inside] * width / 2, y[inside] * height / 2], axis=1).astype(np.float32)


def _growth(before, after):
    """Median ratio of the distances between two points."""
    one, other = np.triu_indices(len(before), 1)
    lengths = [np.linalg.norm(points[one] - points[other], axis=1) for points in (before, after)]
    return float(np.median(lengths[1] / lengths[0]))
