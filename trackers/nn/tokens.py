"""Token grids: their position embeddings (learned, sine-cosine, or resized), and tokens that left them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


def as_pair(size):
    """An int or (height, width) -> (height, width)."""
    return (int(size), int(size)) if isinstance(size, int | np.integer) else (int(size[0]), int(size[1]))


def grid_of(image_size, patch_size):
    """Tokens (rows, columns) of an image; pixels beyond the last whole patch are not seen, as in a strided convolution.

    Raises ValueError where not one patch fits.
    """
    (height, width), patch = as_pair(image_size), int(patch_size)
    if height < patch or width < patch:
        raise ValueError(f"image size {height}x{width} is smaller than one patch of {patch} pixels")
    return height // patch, width // patch


def sincos_positions(grid, width):
    """Fixed 2-D sine-cosine position embedding (MAE, appendix; MoCo v3).

    Args:
      grid: (rows, columns).
      width: D, a multiple of 4: half for the column, half for the row, each sines then cosines.

    Returns: (rows*columns, D) float32.
    """
    if width % 4:
        raise ValueError(f"a 2-D sine-cosine embedding needs a width divisible by 4, got {width}")
    omega = 1.0 / 10000 ** (np.arange(width // 4, dtype=np.float64) / (width / 4))
    rows, columns = np.meshgrid(np.arange(grid[0]), np.arange(grid[1]), indexing="ij")
    angles = [np.outer(axis.reshape(-1), omega) for axis in (columns, rows)]
    return np.concatenate([part for a in angles for part in (np.sin(a), np.cos(a))], axis=1).astype(np.float32)


def _cubic(distance, a=-0.75):
    d = np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _resize_matrix(n_from, n_to, method):
    """(n_to, n_from) weights of one axis: half-pixel centers, borders repeated, no antialiasing."""
    center = (np.arange(n_to) + 0.5) * n_from / n_to - 0.5
    if method == "bilinear":
        center = np.clip(center, 0, n_from - 1)
    first = np.floor(center).astype(int)
    taps, kernel = {"bicubic": (range(-1, 3), _cubic), "bilinear": (range(2), lambda d: 1 - np.abs(d))}[method]
    matrix = np.zeros((n_to, n_from))
    for tap in taps:
        index = np.clip(first + tap, 0, n_from - 1)
        np.add.at(matrix, (np.arange(n_to), index), kernel(center - (first + tap)))
    return matrix


def resize_grid(grid, to, method="bicubic"):
    """Resizes a grid of embeddings as PyTorch's `interpolate(align_corners=False, antialias=False)` does.

    Args:
      grid: (h, w, D) array.
      to: (h2, w2).
      method: "bicubic" (a = -0.75; GRM) or "bilinear" (SimTrack).

    Returns: (h2, w2, D), the dtype of grid.
    """
    rows, columns = (_resize_matrix(n, m, method).astype(np.float32) for n, m in zip(grid.shape[:2], to, strict=True))
    xp = jnp if isinstance(grid, jax.Array) else np
    return xp.einsum("pi,qj,ijd->pqd", rows, columns, grid).astype(grid.dtype)


def position_table(param, name, grid, width, kind="learned", source_grid=(14, 14), method="bicubic", extra=0):
    """Position embedding of one token grid, (extra + rows*columns, D).

    Args:
      param: a module's `self.param`; for "fixed" the like of it for what is not trained.
      name: the table's among the parameters.
      grid: (rows, columns) of the tokens.
      width: D.
      kind: "learned" (a table at the grid's own size), "sincos" (computed, not among the variables), "fixed" (among
        the variables and sine-cosine unless a checkpoint says otherwise, not trained) or "interpolated" (a learned
        table at `source_grid`, e.g. the pretraining grid, resized to `grid`).
      method: of resizing, see resize_grid.
      extra: rows before the grid's that belong to no cell (class token); zeros where the table is fixed.
    """
    if kind in ("sincos", "fixed"):
        sincos = jnp.pad(jnp.asarray(sincos_positions(grid, width)), ((extra, 0), (0, 0)))
        return sincos if kind == "sincos" else param(name, lambda *_: sincos, sincos.shape)
    if kind not in ("learned", "interpolated"):
        raise ValueError(f"model.position must be learned, sincos, fixed or interpolated, got {kind!r}")
    rows, columns = grid if kind == "learned" else source_grid
    table = param(name, nn.initializers.truncated_normal(0.02), (extra + rows * columns, width))
    if kind == "learned":
        return table
    resized = resize_grid(table[extra:].reshape(rows, columns, width), tuple(grid), method).reshape(-1, width)
    return jnp.concatenate([table[:extra], resized])


def box_share(box, grid):
    """The share of each cell of a grid that a box covers (SimTrack, Sec. 3.2: R).

    Args:
      box: (B,4) x,y,w,h as fractions of the image; what of it lies outside does not count.
      grid: (rows, columns).

    Returns: (B,rows,columns) float32, 0..1.
    """

    def covered(start, extent, cells):
        first, last = (jnp.clip(edge, 0, 1)[:, None] * cells for edge in (start, start + extent))
        index = jnp.arange(cells, dtype=jnp.float32)
        return jnp.clip(jnp.minimum(last, index + 1) - jnp.maximum(first, index), 0)

    rows, columns = grid
    return covered(box[:, 1], box[:, 3], rows)[:, :, None] * covered(box[:, 0], box[:, 2], columns)[:, None, :]


class BoxShare(nn.Module):
    """What tells a template's tokens the box: a learned vector, scaled by the share of each patch that the box covers.

    The vector is zero at first (our choice), so that a tracker starts from weights without it at the same numbers.
    Takes (B,N), the shares. Returns (B,N,D) float32.
    """

    width: int

    @nn.compact
    def __call__(self, share):
        return share[..., None] * self.param("inside", nn.initializers.zeros_init(), (self.width,))


def put_back(x, places, count):
    """Tokens at their places in a grid, zeros where none is.

    Args:
      x: (B,n,D). places: (B,n) int32, different in each row. count: N, cells of the grid.

    Returns: (B,N,D).
    """
    grid = jnp.zeros((x.shape[0], count, x.shape[2]), x.dtype)
    return grid.at[jnp.arange(x.shape[0])[:, None], places].set(x)


def are_largest(values, count):
    """(B,N) bool: which of values (B,N) are among the `count` (B,1) largest of their row, the earlier of equal ones."""
    rank = jnp.argsort(jnp.argsort(-values, axis=1, stable=True), axis=1)
    return rank < count
