"""How an image becomes tokens: one convolution as large as a patch, or several small ones."""

import jax.numpy as jnp
from flax import linen as nn

STEMS = ("patches", "convolutions")


class ConvolutionStem(nn.Module):
    """Convolutions of 3x3 and stride 2 down to one cell a patch, in place of the patch embedding.

    After Xiao et al., "Early Convolutions Help Transformers See Better" (NeurIPS 2021). Ours are the channels, which
    double from step to step and end at the width, LayerNorm and GELU between the steps in place of BatchNorm and ReLU,
    so that a crop's tokens depend on no other crop, and that no 1x1 convolution follows.

    width: D, a multiple of half the patch. patch_size: a power of two, from 2.

    __call__ takes images (B,H,W,3) and returns (B,rows,columns,D); pixels beyond the last whole patch are not seen.
    """

    width: int
    patch_size: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images):
        steps = self.patch_size.bit_length() - 1
        if steps < 1 or self.patch_size != 2**steps:
            raise ValueError(f"model.patch_size {self.patch_size}: model.stem 'convolutions' needs 2, 4, 8, 16 or 32")
        if self.width % 2 ** (steps - 1):
            raise ValueError(
                f"model.width {self.width}: model.stem 'convolutions' needs a multiple of {2 ** (steps - 1)}"
            )
        height, width = (side // self.patch_size * self.patch_size for side in images.shape[1:3])
        x = images[:, :height, :width]
        for step in range(1, steps + 1):
            features = self.width >> (steps - step)
            x = nn.Conv(features, (3, 3), strides=2, padding=1, dtype=self.dtype, name=f"conv{step}")(x)
            if step < steps:
                norm = nn.LayerNorm(epsilon=1e-6, dtype=jnp.float32, use_fast_variance=False, name=f"norm{step}")
                x = nn.gelu(norm(x).astype(self.dtype), approximate=False)
        return x


def make(stem, width, patch_size, bias, dtype):
    """The module of a stem of STEMS: images (B,H,W,3) -> (B,rows,columns,D). bias: of the patch embedding's.

    Raises: ValueError for another stem.
    """
    if stem not in STEMS:
        raise ValueError(f"model.stem must be one of {STEMS}, got {stem!r}")
    if stem == "convolutions":
        return ConvolutionStem(width, patch_size, dtype)
    patch = (patch_size, patch_size)
    return nn.Conv(width, patch, strides=patch, padding="VALID", use_bias=bias, dtype=dtype)
