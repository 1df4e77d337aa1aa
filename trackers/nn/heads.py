"""Heads: what turns search tokens into a box. Here the center head, and what a tracker says of a search crop."""

import dataclasses
import math

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

# Scores and sizes are kept this far from 0 and 1, for the logarithms of the focal loss (CenterNet's program).
CLAMP = 1e-4


@flax.struct.dataclass
class Prediction:
    """What a single-object tracker says of a search crop.

    box: (B,4) cx,cy,w,h as fractions of the search crop, float32. score: (B,) a probability, or None.
    maps: dict of what the head produced, float32, e.g. score_map (B,h,w,1), size_map (B,h,w,2) as w,h, offset_map
      (B,h,w,2) as x,y; score_logits (B,) where the score is the sigmoid of them.
    division: (B,L,Nx) int32 category of each search token in each layer, or None: 0 T (the template's kind), 1 S
      (search only), 2 A (interacts with the template), 3 B (of GRM's prototype, whose A does not look at S: shared by
      the group of template and A and by that of S).
    division_log_probs: (B,L',Nx,C) of the L' layers that divide, or None.
    division_share: (B,L') part of the search tokens that interacts with the template, differentiable, or None.
    features: on request {"layers": (B,L,N,D) after each layer, "tokens": (B,N,D) after the last LayerNorm}, or None.
    """

    box: jax.Array
    score: jax.Array | None
    maps: dict
    division: jax.Array | None = None
    division_log_probs: jax.Array | None = None
    division_share: jax.Array | None = None
    features: dict | None = None


def scored(box, maps, logits, features):
    """The Prediction of a tracker whose score is the sigmoid of logits (B,), None where it has no score head."""
    if logits is None:
        return Prediction(box=box, score=None, maps=maps, features=features)
    return Prediction(box=box, score=nn.sigmoid(logits), maps={**maps, "score_logits": logits}, features=features)


class BatchNorm(nn.Module):
    """Batch normalization over (B,h,w) as PyTorch has it: momentum 0.1, unbiased running variance, float32 statistics.

    Under jit with a sharded batch the statistics are those of the global batch.
    """

    momentum: float = 0.1
    eps: float = 1e-5

    @nn.compact
    def __call__(self, x, train):
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones_init(), channels)
        bias = self.param("bias", nn.initializers.zeros_init(), channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        var = self.variable("batch_stats", "var", jnp.ones, channels)
        x32 = x.astype(jnp.float32)
        if train:
            axes = tuple(range(x.ndim - 1))
            count = x.size // x.shape[-1]
            batch_mean = jnp.mean(x32, axes)
            batch_var = jnp.mean(jnp.square(x32 - batch_mean), axes)
            if not self.is_initializing():
                mean.value += self.momentum * (batch_mean - mean.value)
                var.value += self.momentum * (batch_var * count / max(count - 1, 1) - var.value)
        else:
            batch_mean, batch_var = mean.value, var.value
        inverse = jax.lax.rsqrt(batch_var + self.eps)
        if train:
            return ((x32 - batch_mean) * inverse * scale + bias).astype(x.dtype)
        # One factor a channel, known before the map is: a CPU does these operations one after another.
        y = (x32 - batch_mean) * (inverse * scale) + bias
        return y.astype(x.dtype)


class ConvBranch(nn.Module):
    """Four 3x3 convolutions with bias, BatchNorm and ReLU, halving the channels each time, then a 1x1 convolution."""

    channels: int
    outputs: int
    bias: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, train):
        for i in range(4):
            x = nn.Conv(self.channels >> i, (3, 3), padding=1, dtype=self.dtype, name=f"conv{i + 1}")(x)
            x = nn.relu(BatchNorm(name=f"norm{i + 1}")(x, train))
        bias = nn.initializers.constant(self.bias)
        return nn.Conv(self.outputs, (1, 1), bias_init=bias, dtype=self.dtype, name="conv5")(x).astype(jnp.float32)


def _clamped_sigmoid(x):
    return jnp.clip(jax.nn.sigmoid(x), CLAMP, 1 - CLAMP)


@dataclasses.dataclass(frozen=True)
class CenterFields:
    """Fields of CenterHead, the config's `model.head`.

    template_sides: whether the search tokens are told width and height of the template's box before the head: a linear
      map of their logarithms is added, zero at first (our choice).
    """

    channels: int = 256
    score_prior: float = 0.5
    template_sides: bool = False


class CenterHead(nn.Module):
    """Center head (OSTrack, Sec. 3.3; GRM, Sec. 3.4): maps of score, size and offset from (B,h,w,D) search features.

    channels: output channels of the first convolution; the others have a half, a quarter, an eighth.
    score_prior: the score that random weights give everywhere (RetinaNet, Sec. 3.3); 0.5 is the program's start.

    Returns: dict of score_map (B,h,w,1) and size_map (B,h,w,2), clamped to [1e-4, 1-1e-4], and offset_map (B,h,w,2).
    """

    channels: int = 256
    score_prior: float = 0.5
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, features, train=False):
        if self.channels < 8:
            raise ValueError(f"model.head.channels must be at least 8, got {self.channels}")
        if not 0 < self.score_prior < 1:
            raise ValueError(f"model.head.score_prior must lie between 0 and 1, got {self.score_prior}")
        prior = math.log(self.score_prior / (1 - self.score_prior))
        score = ConvBranch(self.channels, 1, prior, self.dtype, name="score")(features, train)
        offset = ConvBranch(self.channels, 2, dtype=self.dtype, name="offset")(features, train)
        size = ConvBranch(self.channels, 2, dtype=self.dtype, name="size")(features, train)
        return {"score_map": _clamped_sigmoid(score), "size_map": _clamped_sigmoid(size), "offset_map": offset}


def decode_center(score_map, size_map, offset_map):
    """The box of the best cell (first maximum, row by row).

    Args:
      score_map: (B,h,w,1); size_map: (B,h,w,2) w,h; offset_map: (B,h,w,2) x,y in cells.

    Returns: (box (B,4) cx,cy,w,h as fractions of the crop, score (B,)).
    """
    batch, rows, columns, _ = score_map.shape
    flat = score_map.reshape(batch, -1)
    best = jnp.argmax(flat, axis=-1)
    size, offset = (
        jnp.take_along_axis(m.reshape(batch, -1, 2), best[:, None, None], axis=1)[:, 0] for m in (size_map, offset_map)
    )
    cell = jnp.stack([best % columns, best // columns], axis=-1).astype(offset.dtype)
    center = (cell + offset) / jnp.array([columns, rows], offset.dtype)
    return jnp.concatenate([center, size], axis=-1), jnp.take_along_axis(flat, best[:, None], axis=1)[:, 0]


def decode_windowed(maps, window):
    """The box and score that a tracker goes on with: those of the cell whose score under a Hann window is best.

    Args:
      maps: score_map, size_map and offset_map as of decode_center.
      window: weight of the window on the score map, 0..1.

    Returns: (box (B,4) cx,cy,w,h as fractions of the crop, score (B,) of that cell before the window).
    """
    scores = maps["score_map"]
    windowed = _windowed(scores, window)
    box, _ = decode_center(windowed, maps["size_map"], maps["offset_map"])
    flat = scores.reshape(scores.shape[0], -1)
    best = jnp.argmax(windowed.reshape(flat.shape), axis=-1)
    return box, jnp.take_along_axis(flat, best[:, None], axis=1)[:, 0]


def averaged_box(maps, window, radius):
    """The mean of the boxes that the cells around the best one see, weighted by their scores under a Hann window.

    Our choice, for heads whose neighbors of the true cell learn the box too (objective.box_spread).

    Args:
      maps, window: as of decode_windowed.
      radius: cells to each side of the best one that count, so that 1 is a block of three by three.

    Returns: (B,4) cx,cy,w,h as fractions of the crop.
    """
    _, rows, columns, _ = maps["score_map"].shape
    windowed = _windowed(maps["score_map"], window)[..., 0]
    best = jnp.argmax(windowed.reshape(windowed.shape[0], -1), axis=-1)[:, None, None]
    row, column = jnp.arange(rows)[:, None], jnp.arange(columns)[None]
    near = (jnp.abs(row - best // columns) <= radius) & (jnp.abs(column - best % columns) <= radius)
    weight = (windowed * near)[..., None]
    cells = jnp.stack(jnp.broadcast_arrays(column, row), axis=-1)
    centers = (cells + maps["offset_map"]) / jnp.array([columns, rows], jnp.float32)
    boxes = jnp.concatenate([centers, maps["size_map"]], axis=-1)
    return jnp.sum(weight * boxes, axis=(1, 2)) / jnp.sum(weight, axis=(1, 2))


def _windowed(scores, window):
    """Scores (B,h,w,1) under a Hann window of this weight."""
    hann = hann_window(*scores.shape[1:3])[None, :, :, None]
    return scores * ((1 - window) + window * hann)


def hann_window(height, width):
    """Hann window (height, width) float32 with its maximum in the middle, above 0 at the border."""

    def line(n):
        return 0.5 * (1 - np.cos(2 * np.pi / (n + 1) * np.arange(1, n + 1)))

    return np.outer(line(height), line(width)).astype(np.float32)
