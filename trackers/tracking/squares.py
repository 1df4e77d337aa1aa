"""Local and global images of a referring tracker, pixel for pixel as iKUN's program cuts them (on the host).

A box is cut out of its frame, or the frame taken whole, padded with black to a square and resized. Training, tracking
and evaluation share these functions. The resize is Pillow's bilinear one, which the published weights were trained
with: it averages over all pixels when it shrinks, OpenCV's does not.
"""

import numpy as np


def cut(image, corners):
    """The part of an image inside a box; black where the box leaves the image.

    Args:
      image: (H, W, 3) uint8.
      corners: (4,) whole numbers left, top, right, bottom in pixels, right and bottom exclusive. A box without area
        counts as one pixel wide or high.

    Returns: (bottom - top, right - left, 3) uint8.
    """
    left, top, right, bottom = (int(value) for value in corners)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    height, width = image.shape[:2]
    piece = np.zeros((bottom - top, right - left, 3), np.uint8)
    x1, x2 = max(left, 0), min(right, width)
    y1, y2 = max(top, 0), min(bottom, height)
    if x1 < x2 and y1 < y2:
        piece[y1 - top : y2 - top, x1 - left : x2 - left] = image[y1:y2, x1:x2]
    return piece


def pad(image):
    """(H, W, 3) uint8 -> (S, S, 3), S = max(H, W), black around it; where it cannot be centered, left and top less."""
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side, 3), np.uint8)
    square[top : top + height, left : left + width] = image
    return square


def resize(image, size, window=None):
    """Bilinear resize with averaging, of a part of an image if wanted.

    Args:
      image: (H, W, 3) uint8.
      size: side of the result in pixels.
      window: (left, top, right, bottom), whole pixels inside the image; all of it when None.

    Returns: (size, size, 3) uint8.
    """
    from PIL import Image

    if window is not None:
        left, top, right, bottom = window
        image = image[top:bottom, left:right]
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


def local_image(frame, box, size):
    """The object inside a box as iKUN's test program sees it.

    Args:
      frame: (H, W, 3) uint8.
      box: (4,) x, y, w, h in pixels, any overlap with the frame; the corners are truncated to whole pixels.
      size: side of the result in pixels, 224 for the published weights.

    Returns: (size, size, 3) uint8.
    """
    x, y, w, h = (float(value) for value in box)
    return resize(pad(cut(frame, (int(x), int(y), int(x + w), int(y + h)))), size)


def global_image(frame, size):
    """The whole frame (H, W, 3) uint8 as iKUN sees it: (size, size, 3) uint8; size is 672 for the published weights."""
    return resize(pad(frame), size)
