"""What a box takes over of what a frame shows: how far its size follows, how far its aspect, and how sure that is.

The published trackers take the whole new box in every frame. All else here is our choice. Pure functions, for jit, vmap
and scan.
"""

import jax.numpy as jnp


def taken(settings, last, aspect, seen, score):
    """What the tracker takes of the box that a frame shows.

    Args:
      settings: single_object.Settings: size_update, size_score_power and aspect_update.
      last: (4,) x, y, w, h in pixels, the box before. seen: (4,), the box that the network sees.
      aspect: () logarithm of width over height before, None where aspect_update is 1.
      score: () of this frame.

    Returns: (box (4,), aspect).
    """
    box, share = seen, settings.size_update
    if settings.size_score_power:
        share = share * score**settings.size_score_power
    if settings.size_update < 1 or settings.size_score_power:
        box = resized(last, seen, share)
    if aspect is not None:
        aspect = aspect + settings.aspect_update * share * (log_aspect(seen) - aspect)
        box = with_aspect(box, aspect)
    return box, aspect


def log_aspect(box):
    """Logarithm of width over height of a box (4,) x, y, w, h: () float32."""
    return jnp.log(box[2] / box[3])


def resized(last, seen, share):
    """A box around the center seen whose width and height went a share of the way from the last box's to those seen.

    Args:
      last, seen: (4,) x, y, w, h in pixels.
      share: () in 0..1.

    Returns: (4,).
    """
    return _at_center(seen, last[2:] + share * (seen[2:] - last[2:]))


def with_aspect(box, aspect):
    """A box of the same center and area (4,) whose logarithm of width over height is `aspect`, ()."""
    side = jnp.sqrt(box[2] * box[3])
    return _at_center(box, side * jnp.exp(jnp.stack([0.5 * aspect, -0.5 * aspect])))


def _at_center(box, size):
    center = box[:2] + 0.5 * box[2:]
    return jnp.concatenate([center - 0.5 * size, size])
