"""MixFormer's score module: is the target in the box that was found? (MixFormer, Cui et al., CVPR 2022, Sec. 3.3)."""

import jax.numpy as jnp
from flax import linen as nn

from trackers.nn import kernels


class ScoreModule(nn.Module):
    """A learned token attends to the box's search features, then to the static template; an MLP scores the result.

    heads: the attentions'; the program has one for each 64 of the width, which are the transformer's own heads.
    pool_size: cells along each side of the pooled box.

    __call__ takes search (B,h,w,D), template (B,Nz,D) and box (B,4) x1,y1,x2,y2 as fractions of the search crop, and
    returns a logit (B,) float32.
    """

    heads: int
    pool_size: int = 4
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, search, template, box):
        batch, width = template.shape[0], template.shape[-1]
        pooled = precise_roi_pool(search, box, self.pool_size).reshape(batch, -1, width)
        token = self.param("token", nn.initializers.truncated_normal(0.02), (1, width))
        x = _norm("norm")(jnp.broadcast_to(token, (batch, 1, width)))
        for i, memory in enumerate((pooled, template), start=1):
            x = _norm(f"norm{i}")(CrossAttention(self.heads, self.dtype, name=f"attention{i}")(x, memory))
        x = x[:, 0].astype(self.dtype)
        for i in (1, 2):
            x = nn.relu(nn.Dense(width, dtype=self.dtype, name=f"fc{i}")(x))
        return nn.Dense(1, dtype=self.dtype, name="fc3")(x)[:, 0].astype(jnp.float32)


def _norm(name):
    return nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32, use_fast_variance=False, name=name)


class CrossAttention(nn.Module):
    """Attention of x (B,M,D) to memory (B,N,D), without residual; scaled by the whole width, as the program has it."""

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, memory):
        width = x.shape[-1]
        x, memory = x.astype(self.dtype), memory.astype(self.dtype)
        sources, features = {"query": x, "key": memory, "value": memory}, (self.heads, width // self.heads)
        q, k, v = (nn.DenseGeneral(features, dtype=self.dtype, name=name)(y) for name, y in sources.items())
        x = kernels.attention(q, k, v, scale=width**-0.5)
        return nn.DenseGeneral(width, axis=(-2, -1), dtype=self.dtype, name="out")(x)


def precise_roi_pool(features, box, size):
    """Mean over each bin of a box of the bilinearly interpolated features (Jiang et al., ECCV 2018, Eq. 4-5).

    Args:
      features: (B,h,w,D); cell (i, j) lies at the point (j, i), and there is nothing outside the map.
      box: (B,4) x1,y1,x2,y2 as fractions of the map.
      size: bins along each side.

    Returns: (B,size,size,D) in the features' dtype; zeros for a box without area. Differentiable also in the box.
    """
    rows, columns = features.shape[1:3]
    across = _bin_weights(box[:, 0] * columns, box[:, 2] * columns, columns, size)
    down = _bin_weights(box[:, 1] * rows, box[:, 3] * rows, rows, size)
    pooled = jnp.einsum("byi,bijd,bxj->byxd", down, features.astype(jnp.float32), across)
    return pooled.astype(features.dtype)


def _bin_weights(start, end, cells, size):
    """(B,size,cells): what each cell adds to each bin's mean along one axis; start, end (B,) in cells."""
    extent = jnp.maximum(end - start, 0.0)[:, None, None] / size
    edges = start[:, None, None] + extent * jnp.arange(size + 1)[None, :, None]
    # The integral up to t of a cell's interpolation kernel max(0, 1 - |t|), which is 1 beyond it.
    t = jnp.clip(edges - jnp.arange(cells), -1.0, 1.0)
    integral = jnp.where(t < 0, 0.5 * (1 + t) ** 2, 1 - 0.5 * (1 - t) ** 2)
    return jnp.where(extent > 0, jnp.diff(integral, axis=1) / jnp.where(extent > 0, extent, 1.0), 0.0)
