"""SimTrack's decoder between backbone and corner head (Table 9): search tokens that look at the exemplar's once more.

The paper says where queries, keys and values come from, and nothing of the layers. They are STARK's decoder layers
(stark.py), which is our choice: attention of the search tokens among themselves, then to the exemplar's, then an MLP,
with a LayerNorm after each residual sum.
"""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from trackers.nn import stark


@dataclasses.dataclass(frozen=True)
class Sizes:
    """layers: their number, 0 = no decoder. heads, hidden, dropout: every layer's; our choice, STARK's."""

    layers: int = 0
    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1

    def __post_init__(self):
        if self.layers < 0:
            raise ValueError(f"model.head.decoder.layers must be at least 0, got {self.layers}")


class CrossDecoder(nn.Module):
    """Layers whose queries are the backbone's search tokens, keys and values its exemplar tokens (Table 9).

    The first layer's input are the search tokens themselves, so no query is learned, and there is no search token among
    the keys and values of the attention to the exemplar. Sine positions of both grids go to queries and keys, never to
    values (our choice).

    __call__ takes exemplar (B,Nz,C) and search (B,Nx,C) tokens, the grids (rows, columns) of both, and train, which
    needs the key "dropout". Returns (B,Nx,C). C must be a multiple of 4, and of the heads (ValueError).
    """

    config: Sizes
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, exemplar, search, grids, train=False):
        width = search.shape[-1]
        stark.check_heads(width, self.config.heads)
        memory_positions, positions = (jnp.asarray(stark.sine_positions(grid, width), self.dtype) for grid in grids)
        exemplar, search = exemplar.astype(self.dtype), search.astype(self.dtype)
        for i in range(self.config.layers):
            layer = stark.Layer(self.config, self.dtype, name=f"layer_{i}")
            search = layer(search, positions, exemplar, memory_positions, train)
        return search
