"""An online filter: how the target looks beside its surroundings, learned from the video as it goes.

The network compares a search crop with the first frame's template. A ridge regression from the crop's tokens after an
early layer to a bump at the target's place learns besides what sets it apart from what is around it now, as correlation
filters do (Bolme et al., CVPR 2010; on deep features ECO, Danelljan et al., CVPR 2017). The same tokens give its
response in the next frame, which is mixed into the score map. Our choice throughout; docs/shipped_tracker.md has what
it gains. Pure functions of a state of fixed size, for jit, vmap and scan.
"""

import flax
import jax
import jax.numpy as jnp
import numpy as np

# Search crops of the first frame: how far, in widths and heights of the box, each is moved.
VIEWS = np.array([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)], np.float32)
# Deviation of the bump in cells, and how much more its middle counts than the background.
_SPREAD, _MIDDLE = 1.0, 4.0
# Of the ridge, as a share of the moments' mean diagonal; with less, rounding shows.
_RIDGE = 2e-3
# A token of constant length stands for the bias.
_BIAS = 0.3
# Frames of a lower score teach nothing.
SURE = 0.3


@flax.struct.dataclass
class Filter:
    """moments: (D+1,D+1) float32, running mean of tokens' outer products. bump: (D+1,), of tokens times the bump."""

    moments: jax.Array
    bump: jax.Array


def start(tokens, centers):
    """The Filter after the first frame.

    Args:
      tokens: (V,rows,columns,D) of several search crops.
      centers: (V,2) x, y of the target in fractions of each.
    """
    return jax.tree.map(lambda each: each.mean(axis=0), jax.vmap(_of_frame)(tokens, centers))


def learned(state, tokens, center, share):
    """The Filter after a frame.

    Args:
      state: Filter. tokens: (rows,columns,D) of the search crop. center: (2,) x, y of the target in fractions of it.
      share: of the frame in what is remembered, 0..1.
    """
    return jax.tree.map(lambda old, new: old + share * (new - old), state, _of_frame(tokens, center))


def response(state, tokens):
    """Where the filter sees the target: (rows,columns) in 0..1, of a search crop's tokens (rows,columns,D)."""
    ridge = _RIDGE * jnp.trace(state.moments) / len(state.bump) * jnp.eye(len(state.bump))
    weights = _solved(state.moments + ridge, state.bump)
    return jnp.clip(_unit(tokens) @ weights, 0, 1)


# In jax 0.10 many systems at once, on several CPU devices of one process, wait for each other forever.
@jax.custom_batching.sequential_vmap
def _solved(matrix, vector):
    return jax.scipy.linalg.solve(matrix, vector, assume_a="pos")


def _unit(tokens):
    """Tokens of length one, with the bias behind them, float32."""
    tokens = tokens.astype(jnp.float32)
    tokens /= jnp.linalg.norm(tokens, axis=-1, keepdims=True) + 1e-6
    return jnp.concatenate([tokens, jnp.full((*tokens.shape[:-1], 1), _BIAS)], axis=-1)


def _of_frame(tokens, center):
    rows, columns, _ = tokens.shape
    middles = jnp.stack(jnp.meshgrid(jnp.arange(columns) + 0.5, jnp.arange(rows) + 0.5), axis=-1)
    distance = jnp.sum((middles - center * jnp.array([columns, rows])) ** 2, axis=-1)
    bump = jnp.exp(-0.5 * distance / _SPREAD**2)
    weight = 1 + _MIDDLE * bump
    weight /= weight.sum()
    tokens = _unit(tokens)
    return Filter(
        moments=jnp.einsum("yxi,yx,yxj->ij", tokens, weight, tokens),
        bump=jnp.einsum("yxi,yx->i", tokens, weight * bump),
    )
