"""Corner heads: what turns search tokens into the two corners of a box (STARK, Sec. 3.1; SimTrack, Sec. 3.1)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from trackers.nn.heads import BatchNorm, ConvBranch
from trackers.ops import boxes

CORNERS = ("top_left", "bottom_right")


class CornerHead(nn.Module):
    """STARK-S's corner head: for each corner four 3x3 convolutions with BatchNorm and ReLU, then a 1x1 convolution.

    channels: output channels of the first convolution; the others have a half, a quarter, an eighth.

    Returns: what `corner_maps` returns, for (B,h,w,C) search features.
    """

    channels: int = 256
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, features, train=False):
        if self.channels < 8:
            raise ValueError(f"model.head.channels must be at least 8, got {self.channels}")
        logits = [ConvBranch(self.channels, 1, dtype=self.dtype, name=name)(features, train) for name in CORNERS]
        return corner_maps(*(maps[..., 0] for maps in logits))


class PyramidCornerHead(nn.Module):
    """MixViT's pyramid corner head: the same widths, with two upsamplings by 2 between the convolutions and maps of the
    coarser levels added in (MixFormerV2's program, "CORNER_UP").

    channels: as of CornerHead.

    Returns: what `corner_maps` returns, with (B,4h,4w) maps for (B,h,w,C) search features.
    """

    channels: int = 384
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, features, train=False):
        if self.channels < 8:
            raise ValueError(f"model.head.channels must be at least 8, got {self.channels}")
        return corner_maps(*(PyramidBranch(self.channels, self.dtype, name=name)(features, train) for name in CORNERS))


class PyramidBranch(nn.Module):
    """One corner of PyramidCornerHead: (B,h,w,C) -> logits (B,4h,4w) float32."""

    channels: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, features, train):
        whole, half, quarter, eighth = (self.channels >> i for i in range(4))

        def chain(x, channels, name):
            return ConvChain(channels, self.dtype, name=name)(x, train)

        low = chain(features, (whole, half), "low")
        middle = chain(upsampled(chain(features, (half,), "adjust1"), 2) + upsampled(low, 2), (quarter,), "middle")
        high = chain(upsampled(chain(features, (quarter,), "adjust2"), 4) + upsampled(middle, 2), (eighth,), "high")
        fine = nn.Conv(1, (1, 1), dtype=self.dtype, name="conv5")(high)
        coarse = upsampled(chain(low, (quarter, eighth, 1), "adjust3"), 4)
        medium = upsampled(chain(middle, (eighth, 1), "adjust4"), 2)
        return sum(x[..., 0].astype(jnp.float32) for x in (fine, coarse, medium))


class ConvChain(nn.Module):
    """3x3 convolutions with bias, BatchNorm and ReLU, to each of `channels` in turn."""

    channels: tuple[int, ...]
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, train):
        for i, channels in enumerate(self.channels, start=1):
            x = nn.Conv(channels, (3, 3), padding=1, dtype=self.dtype, name=f"conv{i}")(x)
            x = nn.relu(BatchNorm(name=f"norm{i}")(x, train))
        return x


def upsampled(x, factor):
    """Each cell of (B,h,w,C) repeated `factor` times along both sides."""
    return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


def corner_maps(*logits):
    """Maps of a Prediction from two (B,h,w) float32 maps of logits, top left and bottom right.

    Returns: dict of corner_top_left, corner_bottom_right: (B,h,w) float32 probabilities over all cells, and of the same
      names with _logits: what was given.
    """
    maps = {}
    for name, values in zip(CORNERS, logits, strict=True):
        flat = jax.nn.softmax(values.reshape(values.shape[0], -1), axis=-1)
        maps[f"corner_{name}"] = flat.reshape(values.shape)
        maps[f"corner_{name}_logits"] = values
    return maps


def expected_corner(probabilities):
    """The expectation of a corner: (B,h,w) probabilities -> (B,2) x, y as fractions of the crop.

    A cell stands for its own top left corner, not its center (as in STARK's program).
    """
    _, rows, columns = probabilities.shape
    x = jnp.einsum("bij,j->b", probabilities, jnp.arange(columns, dtype=jnp.float32) / columns)
    y = jnp.einsum("bij,i->b", probabilities, jnp.arange(rows, dtype=jnp.float32) / rows)
    return jnp.stack([x, y], axis=-1)


def decode_corners(maps):
    """The box between the expected corners, (B,4) cx,cy,w,h as fractions of the crop, float32.

    Nothing keeps the corners in order: a width or height may be negative, as in the program.
    """
    corners = [expected_corner(maps[f"corner_{name}"]) for name in CORNERS]
    return boxes.xyxy_to_cxcywh(jnp.concatenate(corners, axis=-1))
