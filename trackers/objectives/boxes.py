"""Losses between boxes (..., 4) xyxy, each the mean over all boxes: () float32."""

import jax.numpy as jnp

from trackers.ops import boxes


def giou_loss(predicted, truth):
    """mean(1 - GIoU)."""
    return jnp.mean(1.0 - boxes.giou(predicted, truth))


def ciou_loss(predicted, truth):
    """mean(1 - CIoU)."""
    return jnp.mean(1.0 - boxes.ciou(predicted, truth))


def l1_loss(predicted, truth):
    """Mean absolute difference over the four numbers of every box."""
    return jnp.mean(jnp.abs(predicted - truth))
