"""Crops around a target as the field takes them, on the device.

A crop is a square window of side ceil(sqrt(w * h) * factor) centered on the box, resized to a fixed size; or, ours, a
window of the same area and another aspect, resized to the same square. Everything is plain jax.numpy: the frame's shape
is static, box and frame size may be traced, so the functions go through jit, vmap and scan. Only the pixels that a crop
needs are gathered; the frame itself stays uint8.

Two habits of the published programs decide whether published weights give published boxes, so they are kept:
the last row and the last column of the frame are never seen (the padding beyond the far border is one pixel too wide),
and the resize is OpenCV's fixed-point bilinear one (half-pixel centers, edge replication, no antialiasing), black
padding included. One habit is not kept: where the window lies wholly outside the frame they return pixels of an
unrelated place or a non-square crop; here it is black.
"""

import jax.numpy as jnp

from trackers.ops import boxes

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# OpenCV's resize keeps its coefficients in 11 fractional bits.
_COEFFICIENT_ONE = 1 << 11
# Keeps the integer arithmetic of a window far outside or far larger than any frame within int32.
_LARGEST_WINDOW = 1 << 20


def normalize(images, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    """Normalization (ImageNet's by default) of RGB images (..., 3), levels 0..255, uint8 or float: float32 (..., 3)."""
    mean = jnp.asarray(mean, jnp.float32)
    std = jnp.asarray(std, jnp.float32)
    return (jnp.asarray(images, jnp.float32) / 255.0 - mean) / std


def crop_window(box, factor, aspect=None):
    """The window around a box.

    Args:
      box: (4,) x, y, w, h in pixels, float32.
      factor: side of the window over sqrt(w * h).
      aspect: () logarithm of the window's width over its height; None is a square.

    Returns: (x1, y1, side), int32 scalars: left, top (may be negative) and side >= 1 in pixels; with an aspect, side is
      (2,), width and height, of the square's area.
    """
    x, y, w, h = jnp.asarray(box, jnp.float32)
    squared = jnp.maximum(w * h, 0.0) * jnp.float32(factor) ** 2
    if aspect is not None:
        squared = squared * jnp.exp(jnp.stack([aspect, -aspect]))
    side = jnp.ceil(jnp.sqrt(squared))
    # An accelerator's sqrt may be off by an ulp, which ceil would turn into a pixel: squares decide.
    side = jnp.where((side - 1.0) ** 2 >= squared, side - 1.0, side)
    side = jnp.where(side**2 < squared, side + 1.0, side)
    side = jnp.clip(side, 1.0, _LARGEST_WINDOW)
    corner = jnp.stack([x + 0.5 * w, y + 0.5 * h]) - 0.5 * side
    # jnp.round rounds halves to even, as Python does.
    x1, y1 = jnp.clip(jnp.round(corner), -_LARGEST_WINDOW, _LARGEST_WINDOW).astype(jnp.int32)
    return x1, y1, side.astype(jnp.int32)


def _taps(start, side, size, visible, limit):
    """Which two pixels of the frame each pixel of the crop mixes along one axis, and with which coefficients.

    start, side: the window's; size: the crop's; visible: pixels of the frame that may be seen, the rest is black;
    limit: static extent of the frame's array. Returns (index, coefficient), both (2, size) int32.
    """
    # Source coordinate (i + 1/2) * side / size - 1/2 as an exact fraction with denominator 2 * size.
    numerator = (2 * jnp.arange(size, dtype=jnp.int32) + 1) * side - size
    source, remainder = numerator // (2 * size), numerator % (2 * size)
    scaled = remainder * (_COEFFICIENT_ONE // 2)
    high, rest = scaled // size, scaled % size
    high += (2 * rest > size) | ((2 * rest == size) & (high % 2 == 1))  # half to even
    coefficient = jnp.stack([_COEFFICIENT_ONE - high, high])
    index = start + jnp.clip(jnp.stack([source, source + 1]), 0, side - 1)
    coefficient = jnp.where((index >= 0) & (index < visible), coefficient, 0)
    return jnp.clip(index, 0, limit - 1), coefficient


def sample_target(frame, box, factor, size, frame_size=None, aspect=None):
    """Crops a window around the box and resizes it to a square.

    Args:
      frame: (H, W, 3) uint8 RGB, any H and W.
      box: (4,) x, y, w, h in pixels.
      factor: side of the window over sqrt(w * h).
      size: side of the crop in pixels, static.
      frame_size: (height, width), may be traced, where the frame is the top left part of a larger array; all of it
        when None.
      aspect: of the window, as of crop_window.

    Returns: (crop, resize_factor): float32 (size, size, 3) with whole levels 0..255, equal to the field's uint8 crop;
      float32 scalar size / side; (2,) with an aspect.
    """
    frame = jnp.asarray(frame)
    height, width = frame.shape[:2] if frame_size is None else frame_size
    x1, y1, side = crop_window(box, factor, aspect)
    across, down = (side, side) if aspect is None else side
    rows, row_coefficient = _taps(y1, down, size, height - 1, frame.shape[0])
    columns, column_coefficient = _taps(x1, across, size, width - 1, frame.shape[1])

    def horizontal(row):  # (size,) rows of the frame -> (size, size, 3)
        left, right = (frame[row[:, None], column].astype(jnp.int32) for column in columns)
        return (left * column_coefficient[0, :, None] + right * column_coefficient[1, :, None]) >> 4

    # Where OpenCV drops bits is part of the result.
    upper, lower = ((horizontal(rows[i]) * row_coefficient[i, :, None, None]) >> 16 for i in range(2))
    crop = (upper + lower + 2) >> 2
    return crop.astype(jnp.float32), size / side.astype(jnp.float32)


def box_to_crop(box, center_box, side):
    """The box in the crop taken around `center_box`, as the tracker sees it (crop center = size / 2).

    Args:
      box, center_box: (..., 4) x, y, w, h in pixels of the frame.
      side: the window's in pixels, () or (2,).

    Returns: (..., 4) x, y, w, h in fractions of the crop.
    """
    box, center_box = jnp.asarray(box, jnp.float32), jnp.asarray(center_box, jnp.float32)
    center = boxes.xywh_to_cxcywh(center_box)[..., :2]
    return jnp.concatenate([(box[..., :2] - center) / side + 0.5, box[..., 2:] / side], axis=-1)


def map_box_back(box, center_box, side):
    """The box of the frame that a prediction in the crop around `center_box` means.

    As in the published trackers the crop's center is taken at the center of the box, not of the window, which was
    rounded to whole pixels.

    Args:
      box: (..., 4) cx, cy, w, h in fractions of the crop.
      center_box: (..., 4) x, y, w, h in pixels: the box that the crop was taken around.
      side: the window's in pixels, () or (2,).

    Returns: (..., 4) x, y, w, h in pixels.
    """
    center = boxes.xywh_to_cxcywh(center_box)[..., :2] + (box[..., :2] - 0.5) * side
    return boxes.cxcywh_to_xywh(jnp.concatenate([center, box[..., 2:] * side], axis=-1))
