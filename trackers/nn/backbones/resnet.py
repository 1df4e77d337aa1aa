"""CLIP's ResNet (Radford et al., ICML 2021, Sec. 2.4 and its program): the feature map before attention pooling.

Three things differ from the usual ResNet: a stem of three convolutions with an average pool, strides taken by average
pools before the last convolution of a block and in its shortcut, and attention pooling at the end, which the trackers
here leave out because they need the map.
"""

import functools

import jax.numpy as jnp
from flax import linen as nn

from trackers.nn import placement
from trackers.nn.blocks import REMAT_POLICIES
from trackers.nn.heads import BatchNorm

# The last convolution of a block has so many times the channels of its others.
EXPANSION = 4


def stride_of(stages):
    """Pixels of the image in a cell of the map: 4 of the stem, twice as many after every stage but the first."""
    return 4 * 2 ** (stages - 1)


def _conv(channels, kernel, dtype, name, stride=1):
    padding = kernel // 2
    # A convolution of one pixel as the matrix product that it is.
    how = {"conv_general_dilated": _product} if kernel == 1 else {}
    return nn.Conv(
        channels, (kernel, kernel), stride, ((padding, padding),) * 2, use_bias=False, dtype=dtype, name=name, **how
    )


def _product(x, kernel, *_, **__):
    return x @ kernel[0, 0]


def _pool(x, size):
    """Means of size x size cells; what is left over at the far borders is dropped."""
    if size == 1:
        return x
    rows, columns = (extent // size * size for extent in x.shape[1:3])
    # As sums of every size-th cell: faster on a CPU than a window that moves, forwards and backwards.
    return sum(x[:, i:rows:size, j:columns:size] for i in range(size) for j in range(size)) / size**2


class Bottleneck(nn.Module):
    """1x1, 3x3, average pool over `stride` cells, 1x1 to 4 * channels; plus the shortcut, then ReLU."""

    channels: int
    stride: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, train):
        conv = functools.partial(_conv, dtype=self.dtype)
        y = nn.relu(BatchNorm(name="norm1")(conv(self.channels, 1, name="conv1")(x), train))
        y = nn.relu(BatchNorm(name="norm2")(conv(self.channels, 3, name="conv2")(y), train))
        y = conv(EXPANSION * self.channels, 1, name="conv3")(_pool(y, self.stride))
        y = BatchNorm(name="norm3")(y, train)
        if self.stride > 1 or x.shape[-1] != y.shape[-1]:
            x = conv(EXPANSION * self.channels, 1, name="shortcut_conv")(_pool(x, self.stride))
            x = BatchNorm(name="shortcut_norm")(x, train)
        return placement.split_batch(nn.relu(x + y))


class ResNet(nn.Module):
    """Images -> feature map.

    width: channels of the map, width / (4 * 2^(stages-1)) of the stem. depths: blocks of each stage.
    remat: recomputation in the backward pass, a key of encoder.REMAT_POLICIES, block by block.
    dtype: what is computed in; parameters and batch statistics are float32.

    __call__ takes images (B,H,W,3) float32 normalized with CLIP's mean and standard deviation, train (batch statistics
    are used and updated) and stages (also return the stem's and each stage's map).
    Returns: (B,H/s,W/s,width) in dtype with s = stride_of(len(depths)); with stages the list of maps, that one last.
    """

    width: int = 2048
    depths: tuple[int, ...] = (3, 4, 6, 3)
    remat: str = "none"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train=False, stages=False):
        stem = self._stem_channels()
        block = Bottleneck
        if self.remat != "none":
            block = nn.remat(Bottleneck, policy=REMAT_POLICIES[self.remat], static_argnums=(2,))
        x = images.astype(self.dtype)
        for i, channels in enumerate((max(stem // 2, 1), max(stem // 2, 1), stem), start=1):
            x = _conv(channels, 3, self.dtype, f"conv{i}", stride=2 if i == 1 else 1)(x)
            x = nn.relu(BatchNorm(name=f"norm{i}")(x, train))
        maps = [_pool(x, 2)]
        for i, depth in enumerate(self.depths):
            x = maps[-1]
            for j in range(depth):
                stride = 2 if i and j == 0 else 1
                x = block(stem * 2**i, stride, self.dtype, name=f"stage{i + 1}_block{j}")(x, train)
            maps.append(x)
        return maps if stages else maps[-1]

    def _stem_channels(self):
        divisor = EXPANSION * 2 ** (len(self.depths) - 1)
        if self.remat not in REMAT_POLICIES:
            raise ValueError(f"model.remat must be one of {tuple(REMAT_POLICIES)}, got {self.remat!r}")
        if self.width % divisor:
            raise ValueError(f"model.visual_width {self.width} is not divisible by {divisor}, as its stages need")
        return self.width // divisor
