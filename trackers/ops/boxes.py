"""Boxes as arrays (..., 4) in the field's three formats, and the measures between them.

xywh: left, top, width, height; cxcywh: center, width, height; xyxy: left, top, right, bottom. Units are the caller's
(pixels or fractions of a crop); float in, the same dtype out. Everything is vectorized over leading axes, jit-able, and
has finite gradients for degenerate boxes.
"""

import math

import jax
import jax.numpy as jnp

# Added to areas in denominators only where they are zero: exact elsewhere, finite everywhere.
_TINY = 1e-12


def xywh_to_xyxy(box):
    """(..., 4) x, y, w, h -> x1, y1, x2, y2."""
    x, y, w, h = jnp.moveaxis(box, -1, 0)
    return jnp.stack([x, y, x + w, y + h], axis=-1)


def cxcywh_to_xyxy(box):
    """(..., 4) cx, cy, w, h -> x1, y1, x2, y2."""
    cx, cy, w, h = jnp.moveaxis(box, -1, 0)
    return jnp.stack([cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h], axis=-1)


def xyxy_to_cxcywh(box):
    """(..., 4) x1, y1, x2, y2 -> cx, cy, w, h."""
    x1, y1, x2, y2 = jnp.moveaxis(box, -1, 0)
    return jnp.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=-1)


def xywh_to_cxcywh(box):
    """(..., 4) x, y, w, h -> cx, cy, w, h."""
    x, y, w, h = jnp.moveaxis(box, -1, 0)
    return jnp.stack([x + 0.5 * w, y + 0.5 * h, w, h], axis=-1)


def cxcywh_to_xywh(box):
    """(..., 4) cx, cy, w, h -> x, y, w, h."""
    cx, cy, w, h = jnp.moveaxis(box, -1, 0)
    return jnp.stack([cx - 0.5 * w, cy - 0.5 * h, w, h], axis=-1)


def clip_xywh(box, height, width, margin=0.0):
    """Clips a box to the image as the field's trackers do after every frame (`clip_box`).

    Each corner is clipped so that at least `margin` of the box stays inside, and width and height are at least
    `margin`.

    Args:
      box: (..., 4) x, y, w, h in pixels.
      height, width: the image's in pixels, scalars (may be traced).
      margin: pixels.

    Returns: (..., 4) x, y, w, h in pixels.
    """
    x, y, w, h = jnp.moveaxis(box, -1, 0)
    x1, y1 = jnp.clip(x, 0, width - margin), jnp.clip(y, 0, height - margin)
    x2, y2 = jnp.clip(x + w, margin, width), jnp.clip(y + h, margin, height)
    return jnp.stack([x1, y1, jnp.maximum(margin, x2 - x1), jnp.maximum(margin, y2 - y1)], axis=-1)


def area(box):
    """Area of (..., 4) xyxy boxes, negative extents counted as zero."""
    return jnp.maximum(box[..., 2] - box[..., 0], 0) * jnp.maximum(box[..., 3] - box[..., 1], 0)


def _ratio(numerator, denominator):
    # The double `where` keeps the gradient of the unused branch finite.
    usable = denominator > _TINY
    return jnp.where(usable, numerator / jnp.where(usable, denominator, 1.0), 0.0)


def iou(a, b):
    """Intersection over union of (..., 4) xyxy boxes.

    Returns: (iou, union), both (...). Two boxes without area have IoU 0.
    """
    corner_min = jnp.maximum(a[..., :2], b[..., :2])
    corner_max = jnp.minimum(a[..., 2:], b[..., 2:])
    extent = jnp.maximum(corner_max - corner_min, 0)
    intersection = extent[..., 0] * extent[..., 1]
    union = area(a) + area(b) - intersection
    return _ratio(intersection, union), union


def _enclosing(a, b):
    return jnp.concatenate([jnp.minimum(a[..., :2], b[..., :2]), jnp.maximum(a[..., 2:], b[..., 2:])], axis=-1)


def giou(a, b):
    """Generalized IoU (Rezatofighi et al., CVPR 2019, Algorithm 1) of (..., 4) xyxy boxes: (...), in [-1, 1]."""
    overlap, union = iou(a, b)
    hull = area(_enclosing(a, b))
    return overlap - _ratio(hull - union, hull)


def ciou(a, b):
    """Complete IoU (Zheng et al., AAAI 2020, Eq. 10-11) of (..., 4) xyxy boxes: (...), clipped to [-1, 1].

    IoU less the squared center distance over the squared diagonal of the enclosing box, less the aspect-ratio term
    alpha * v. As in the published program alpha counts only where IoU > 0.5 and is a constant for the gradient; unlike
    it, equal boxes and boxes without height are finite.
    """
    overlap, _ = iou(a, b)
    hull = _enclosing(a, b)
    diagonal = jnp.sum((hull[..., 2:] - hull[..., :2]) ** 2, axis=-1)
    center_distance = jnp.sum((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) ** 2, axis=-1) / 4
    v = (4 / math.pi**2) * (_aspect_angle(a) - _aspect_angle(b)) ** 2
    alpha = jax.lax.stop_gradient(jnp.where(overlap > 0.5, _ratio(v, 1 - overlap + v), 0.0))
    return jnp.clip(overlap - _ratio(center_distance, diagonal) - alpha * v, -1.0, 1.0)


def _aspect_angle(box):
    w = jnp.maximum(box[..., 2] - box[..., 0], 0)
    h = jnp.maximum(box[..., 3] - box[..., 1], 0)
    empty = jnp.maximum(w, h) < 1e-15  # below, the squares in the gradient underflow
    return jnp.where(empty, 0.0, jnp.arctan2(jnp.where(empty, 1.0, w), jnp.where(empty, 1.0, h)))
