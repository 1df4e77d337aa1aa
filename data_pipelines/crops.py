"""Crops around a target, pixel for pixel as the field's training programs cut them (NumPy and OpenCV), square windows
or, ours, windows of another aspect, resized to squares.

`trackers.ops.crops` cuts the same window on the accelerator while tracking.
"""

import dataclasses
import math

import numpy as np

from data_pipelines import contexts
from data_pipelines.contexts import Context
from data_pipelines.jpeg_parts import Jpeg


def window(box, factor, aspect=0.0):
    """Top-left corner and sides of the window around a box.

    Args:
      box: x, y, w, h in pixels.
      factor: side of a square window over sqrt(w * h).
      aspect: logarithm of the window's width over its height; 0 is the programs' square.

    Returns: (x1, y1, width, height), integers: the sides are ceil(sqrt(w h) factor), by the aspect longer and shorter;
      corners are rounded half to even; sides are 0 where the box has no area.
    """
    x, y, w, h = (float(value) for value in box)
    side, stretch = math.sqrt(max(w * h, 0.0)) * factor, math.exp(0.5 * aspect)
    width, height = math.ceil(side * stretch), math.ceil(side / stretch)
    return round(x + 0.5 * w - width * 0.5), round(y + 0.5 * h - height * 0.5), width, height


def _visible(start, side, extent):
    """[first, last) positions along one axis of `extent` pixels where the window shows the image.

    The field pads one pixel too many at the far border, so the image's last row and column are never seen.
    """
    first = max(start, 0)
    return first, max(min(start + side, extent - 1), first)


def sample_target(image, box, factor, size, aspect=0.0):
    """Cuts the `window`, black outside the image, and resizes it bilinearly (no antialiasing).

    Args:
      image: (H, W, 3) uint8; a Jpeg, of which the part is decoded; or a Context, cut as near as its pixels allow.
      box, factor, aspect: of the window.
      size: side of the result in pixels.

    Returns: (crop (size, size, 3) uint8, resize factors (2,) of x and y, size / sides, padding (size, size) bool, True
      where any of the pixel comes from outside the image). Bit-identical to the programs wherever the window touches
      the image; wholly outside it is black here, where the programs return a wrong part of the image.

    Raises: ValueError for a box without area, InputError where a Jpeg is damaged.
    """
    found = seen(image, box, factor, size, aspect)
    return found.resized(), found.resize_factors, found.padding


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a `window` sees of an image.

    image: that of `sample_target`, or its shrunk stand-in (contexts.fitting). x, y, sides (width, height): the window.
    left, top, right, bottom: its part inside the image, pixels. black_x, black_y: (size,) share of each column and row
    of the crop that is outside.
    """

    image: np.ndarray | Jpeg | Context
    x: int
    y: int
    sides: tuple[int, int]
    left: int
    top: int
    right: int
    bottom: int
    black_x: np.ndarray
    black_y: np.ndarray

    @property
    def size(self):
        """Side of the crop in pixels."""
        return len(self.black_x)

    @property
    def resize_factors(self):
        """(2,) of x and y: pixels of the crop to one of the image."""
        return self.size / np.array(self.sides)

    @property
    def padding(self):
        """(size, size) bool, True where any of the pixel is outside."""
        return (self.black_y > 0)[:, None] | (self.black_x > 0)

    def resized(self):
        """The crop (size, size, 3) uint8."""
        import cv2

        size, (width, height) = self.size, self.sides
        if isinstance(self.image, Context):
            return _darkened(self.image.cut(self.x, self.y, self.sides, size), self.black_y, self.black_x)
        if (self.right - self.left, self.bottom - self.top) == self.sides:
            return cv2.resize(self.image[self.top : self.bottom, self.left : self.right], (size, size))
        crop = np.zeros((height, width, 3), np.uint8)
        if self.left < self.right and self.top < self.bottom:
            rows, columns = (
                slice(self.top - self.y, self.bottom - self.y),
                slice(self.left - self.x, self.right - self.x),
            )
            crop[rows, columns] = self.image[self.top : self.bottom, self.left : self.right]
        return cv2.resize(crop, (size, size))


def seen(image, box, factor, size, aspect=0.0):
    """Seen, of the arguments of `sample_target`. Raises: ValueError for a box without area."""
    import cv2

    x, y, *sides = window(box, factor, aspect)
    if min(sides) < 1:
        raise ValueError(f"box {list(box)} has no area")
    height, width = image.shape[:2]
    (left, right), (top, bottom) = _visible(x, sides[0], width), _visible(y, sides[1], height)
    if [right - left, bottom - top] == sides:
        black_x = black_y = np.zeros(size)
    else:
        outside_x, outside_y = (np.ones(side) for side in sides)
        if left < right and top < bottom:
            outside_x[left - x : right - x] = 0
            outside_y[top - y : bottom - y] = 0
        # Padding is separable, so two lines tell what resizing the whole mask would.
        black_x, black_y = (cv2.resize(outside[None], (size, 1))[0] for outside in (outside_x, outside_y))
    image = contexts.fitting(image, min(sides) / size)
    return Seen(image, x, y, tuple(sides), left, top, right, bottom, black_x, black_y)


def _darkened(crop, black_y, black_x):
    """A crop (H, W, 3) uint8 blended with black, by shares of its rows, black_y (H,), and columns, black_x (W,)."""
    if not (black_y.any() or black_x.any()):
        return crop
    shown_y, shown_x = np.float32(1 - black_y), np.float32(1 - black_x)
    # Nearly all shares are 0 or 1: only the lines between are multiplied.
    rows, columns = (np.flatnonzero((shown > 0) & (shown < 1)) for shown in (shown_y, shown_x))
    between_rows = np.rint(crop[rows] * (shown_y[rows, None] * shown_x)[:, :, None])
    between_columns = np.rint(crop[:, columns] * (shown_y[:, None] * shown_x[columns])[:, :, None])
    crop[rows], crop[:, columns] = between_rows, between_columns
    # What is outside lies at the ends.
    for lines, shown in ((crop, shown_y), (crop.swapaxes(0, 1), shown_x)):
        inside = np.flatnonzero(shown)
        first, last = (inside[0], inside[-1] + 1) if len(inside) else (0, 0)
        lines[:first] = 0
        lines[last:] = 0
    return crop


def jittered_box(box, normal, uniform, center, scale):
    """A box moved and rescaled at random, around which the crop is cut.

    Args:
      box: (4,) x, y, w, h in pixels.
      normal: (2,) standard normal numbers, for width and height.
      uniform: (2,) uniform numbers in [0, 1), for x and y.
      center: largest shift of the center, both ways together, over sqrt of the new area.
      scale: standard deviation of the logarithm of the size.

    Returns: (4,) float32 x, y, w, h.
    """
    box, normal, uniform = (np.asarray(a, np.float32) for a in (box, normal, uniform))
    size = box[2:] * np.exp(normal * np.float32(scale))
    shift = np.sqrt(size[0] * size[1]) * np.float32(center) * (uniform - np.float32(0.5))
    middle = box[:2] + np.float32(0.5) * box[2:] + shift
    return np.concatenate([middle - np.float32(0.5) * size, size])


def hidden_box(size):
    """The program's stand-in for the box of a hidden target: an eighth of the image's sides, in its middle.

    Args: size: (width, height) of the image.

    Returns: (4,) float64 x, y, w, h.
    """
    sides = np.array(size, np.float64)
    return np.concatenate([sides * 7 / 16, sides / 8])


def box_in_crop(box, around, resize_factor, size):
    """Where `box` lies in the crop cut around `around`.

    Args:
      box, around: (4,) x, y, w, h in pixels of the image.
      resize_factor: from `sample_target`, (2,), or one of both axes.
      size: side of the crop in pixels.

    Returns: (4,) float32 x, y, w, h as fractions of the crop. The training programs put the center of `around` at
      (size - 1) / 2 (their trackers at size / 2); so does this.
    """
    box, around = np.asarray(box, np.float32), np.asarray(around, np.float32)
    factor = np.asarray(resize_factor, np.float32)
    offset = (box[:2] + np.float32(0.5) * box[2:]) - (around[:2] + np.float32(0.5) * around[2:])
    extent = box[2:] * factor
    corner = np.float32((size - 1) / 2) + offset * factor - np.float32(0.5) * extent
    return np.concatenate([corner, extent]) / np.float32(size)


def all_padding(padding, stride):
    """Whether no token of a crop sees the image, by the programs' test: one pixel a token, its top-left.

    Args:
      padding: (size, size) bool from `sample_target`.
      stride: pixels a token.
    """
    if not padding[0, 0]:
        return False
    size = len(padding)
    cells = max(size // stride, 1)
    at = np.arange(cells) * size // cells
    return bool(padding[at][:, at].all())
