"""STARK's transformer between backbone and corner head (Yan et al., ICCV 2021, Sec. 3.1; numbers of its program).

SimTrack does without it. On a two-stream ViT it is the baseline STARK-SV of SimTrack's Table 4.
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from trackers.nn import kernels


@dataclasses.dataclass(frozen=True)
class Transformer:
    """Sizes of encoder and decoder. encoder_layers, decoder_layers: numbers of layers, 0 = none.

    heads, hidden, dropout: every layer's (STARK-S: 8, 2048, 0.1).
    """

    encoder_layers: int = 0
    decoder_layers: int = 0
    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1

    @property
    def present(self):
        return bool(self.encoder_layers or self.decoder_layers)


def sine_positions(grid, width, temperature=10000.0):
    """Fixed position embedding of DETR: rows, then columns, counted from 1 and scaled to 2 pi at the last.

    Args: grid (rows, columns); width D, a multiple of 4. Returns: (rows*columns, D) float32.
    """
    if width % 4:
        raise ValueError(f"a sine embedding of rows and columns needs a width divisible by 4, got {width}")
    half = width // 2
    frequency = temperature ** (2 * (np.arange(half) // 2) / half)
    parts = []
    for axis, cells in enumerate(grid):
        angle = (np.arange(1, cells + 1) / (cells + 1e-6) * 2 * np.pi)[:, None] / frequency
        waves = np.stack([np.sin(angle[:, 0::2]), np.cos(angle[:, 1::2])], axis=-1).reshape(cells, half)
        waves = waves[:, None] if axis == 0 else waves[None]
        parts.append(np.broadcast_to(waves, (*grid, half)))
    return np.concatenate(parts, axis=-1).reshape(-1, width).astype(np.float32)


def check_heads(width, heads):
    """Raises ValueError where so many channels do not divide into so many heads."""
    if heads < 1 or width % heads:
        raise ValueError(f"model.head: {width} channels are not divisible by its {heads} heads")


class Attention(nn.Module):
    """Multi-head attention with separate projections of queries, keys and values."""

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, queries, keys, values):
        width = queries.shape[-1]
        dense = functools.partial(
            nn.DenseGeneral,
            (self.heads, width // self.heads),
            kernel_init=nn.initializers.xavier_uniform(),
            dtype=self.dtype,
        )
        inputs = (("q", queries), ("k", keys), ("v", values))
        out = kernels.attention(*(dense(name=name)(x) for name, x in inputs))
        return nn.DenseGeneral(width, axis=(-2, -1), dtype=self.dtype, name="out")(out)


class Layer(nn.Module):
    """Encoder layer, or decoder layer where memory is given; LayerNorm after each residual sum, as in the program.

    config: anything with heads, hidden and dropout.

    __call__ takes tokens (B,N,C) with their positions, which go to queries and keys only, and memory (B,M,C) with its
    positions or None.
    """

    config: Transformer
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, positions, memory=None, memory_positions=None, train=False):
        def added(branch, name):
            branch = nn.Dropout(self.config.dropout, deterministic=not train)(branch)
            norm = nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32, use_fast_variance=False, name=name)
            return norm(x + branch).astype(self.dtype)

        placed = x + positions
        x = added(Attention(self.config.heads, self.dtype, name="attention")(placed, placed, x), "norm1")
        if memory is not None:
            cross = Attention(self.config.heads, self.dtype, name="cross_attention")
            x = added(cross(x + positions, memory + memory_positions, memory), "norm2")
        hidden = nn.relu(nn.Dense(self.config.hidden, dtype=self.dtype, name="fc1")(x))
        hidden = nn.Dropout(self.config.dropout, deterministic=not train)(hidden)
        hidden = nn.Dense(x.shape[-1], dtype=self.dtype, name="fc2")(hidden)
        return added(hidden, "norm2" if memory is None else "norm3")


class EncoderDecoder(nn.Module):
    """Encoder over exemplar and search tokens, decoder of one query, and search tokens weighted by that query.

    __call__ takes exemplar (B,Nz,C) and search (B,Nx,C) tokens, the grids (rows, columns) of both, and train, which
    needs the key "dropout". Returns (B,Nx,C): the search tokens, each times its similarity to the decoded query where
    there is a decoder.
    """

    config: Transformer
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, exemplar, search, grids, train=False):
        width = search.shape[-1]
        check_heads(width, self.config.heads)
        positions = np.concatenate([sine_positions(grid, width) for grid in grids])
        positions = jnp.asarray(positions, self.dtype)
        memory = jnp.concatenate([exemplar, search], axis=1).astype(self.dtype)
        for i in range(self.config.encoder_layers):
            layer = Layer(self.config, self.dtype, name=f"encoder_{i}")
            memory = layer(memory, positions, train=train)
        tokens = memory[:, -search.shape[1] :]
        if not self.config.decoder_layers:
            return tokens
        place = self.param("query", nn.initializers.normal(1.0), (1, width)).astype(self.dtype)
        query = jnp.zeros((search.shape[0], 1, width), self.dtype)
        for i in range(self.config.decoder_layers):
            layer = Layer(self.config, self.dtype, name=f"decoder_{i}")
            query = layer(query, place, memory, positions, train)
        query = nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32, use_fast_variance=False, name="norm")(query)
        similarity = jnp.einsum("bnc,bqc->bnq", tokens, query.astype(self.dtype))
        return tokens * similarity
