"""Targets and losses of score maps: Gaussian heat maps and the focal loss on them (CornerNet, Sec. 3.2)."""

import jax.numpy as jnp
import numpy as np


def gaussian_radius(wh, min_overlap=0.7):
    """Radius in cells within which a corner pair still overlaps the box by `min_overlap`, as the field computes it.

    The published formula divides each root by 2 instead of 2a ("bug version" in CornerNet's program); every tracker
    of the field trains with it, so it is kept.

    Args:
      wh: (..., 2) width and height in cells. Returns: (...) float32.
    """
    w, h = wh[..., 0], wh[..., 1]
    total, product = w + h, w * h

    def root(a, b, c):
        return (b + jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0))) / 2

    r1 = root(1.0, total, product * (1 - min_overlap) / (1 + min_overlap))
    r2 = root(4.0, 2 * total, (1 - min_overlap) * product)
    r3 = root(4 * min_overlap, -2 * min_overlap * total, (min_overlap - 1) * product)
    return jnp.minimum(jnp.minimum(r1, r2), r3)


def gaussian_heatmap(box, grid, min_overlap=0.7):
    """Score target: a Gaussian of sigma (2r+1)/6 within r cells around the box's center cell, which is exactly 1.

    Args:
      box: (B,4) x,y,w,h as fractions of the crop, float32.
      grid: (rows, columns).

    Returns: (B,rows,columns) float32. Where the center cell lies outside the map, on any side, what of the Gaussian
      reaches into it is drawn all the same, as the program does; all zeros where nothing does.
    """
    cells = jnp.array([grid[1], grid[0]], jnp.float32)
    position, extent = box[:, :2] * cells, box[:, 2:] * cells
    center = jnp.round(position + extent / 2)
    radius = jnp.maximum(jnp.trunc(gaussian_radius(extent, min_overlap)), 0)
    sigma = ((2 * radius + 1) / 6)[:, None, None]
    dx = jnp.arange(grid[1], dtype=jnp.float32)[None, None, :] - center[:, 0, None, None]
    dy = jnp.arange(grid[0], dtype=jnp.float32)[None, :, None] - center[:, 1, None, None]
    near = (jnp.abs(dx) <= radius[:, None, None]) & (jnp.abs(dy) <= radius[:, None, None])
    value = jnp.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    value = jnp.where(value < np.finfo(np.float64).eps, 0.0, value)
    return jnp.where(near, value, 0.0)


def focal_loss(score, target, alpha=2.0, beta=4.0):
    """Penalty-reduced focal loss (CornerNet Eq. 1): summed over cells, divided by the number of cells that are
    exactly 1.

    Args:
      score: (B,h,w) in (0, 1). target: (B,h,w) heat maps.

    Returns: () float32; not divided where no cell is 1.
    """
    positive = target == 1.0
    score = jnp.maximum(score, 1e-12)
    # Each logarithm sees a harmless value where the other term applies, so that gradients stay finite at 0 and 1.
    gain = jnp.log(jnp.where(positive, score, 1.0)) * (1 - score) ** alpha
    penalty = jnp.log(jnp.where(positive, 1.0, jnp.maximum(1 - score, 1e-12))) * score**alpha * (1 - target) ** beta
    return -jnp.sum(jnp.where(positive, gain, penalty)) / jnp.maximum(jnp.sum(positive), 1)
