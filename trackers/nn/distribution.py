"""Boxes and scores read off a few prediction tokens (MixFormerV2, Sec. 3.1)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from trackers.ops import boxes

# The order of the prediction tokens among the program's weights.
EDGES = ("left", "right", "top", "bottom")
# The order of a box: left, top, right, bottom.
BOX_EDGES = EDGES[::2] + EDGES[1::2]
# Orders in which ScoreHead takes the mean of the tokens and the MLP.
SCORE_ORDERS = ("mlp_then_mean", "mean_then_mlp")


class EdgeMlp(nn.Module):
    """Linear, LayerNorm, ReLU, linear, LayerNorm: tokens (...,D) -> logits (...,bins) float32.

    The last LayerNorm, over the logits, is the program's; the paper speaks of an MLP only. Its epsilon is 1e-5, while
    the transformer's is 1e-6.
    """

    bins: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        x = _norm("norm1")(nn.Dense(x.shape[-1], dtype=self.dtype, name="fc1")(x))
        x = nn.relu(x).astype(self.dtype)
        return _norm("norm2")(nn.Dense(self.bins, dtype=self.dtype, name="fc2")(x))


def _norm(name):
    return nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32, use_fast_variance=False, name=name)


class DistributionHead(nn.Module):
    """A distribution over `bins` positions for each edge of the box (MixFormerV2, Eq. 3).

    bins: positions along a side of the search crop; position i stands for the fraction i / bins.
    mlps: 1, shared by four tokens, or 4, one for each edge (supplement, Table 2a). One token needs 4.

    __call__ takes the prediction tokens (B,T,D), T = 4 in the order of EDGES, or T = 1, and returns logits (B,4,bins)
    float32 in the order of EDGES.
    """

    bins: int
    mlps: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens):
        if self.mlps == 1:
            return EdgeMlp(self.bins, self.dtype, name="shared")(tokens)
        of_edge = jnp.broadcast_to(tokens, (tokens.shape[0], len(EDGES), tokens.shape[2]))
        logits = [EdgeMlp(self.bins, self.dtype, name=edge)(of_edge[:, i]) for i, edge in enumerate(EDGES)]
        return jnp.stack(logits, axis=1)


def decode_edges(logits):
    """The expected edges as a box.

    Args:
      logits: (B,4,bins) in the order of EDGES.

    Returns: (box (B,4) cx,cy,w,h as fractions of the crop, float32; maps: `left`, `top`, `right`, `bottom` (B,bins)
      probabilities and `left_logits`, ... (B,bins), all float32). The largest edge is (bins - 1) / bins, and nothing
      keeps left before right or top before bottom.
    """
    logits = logits.astype(jnp.float32)
    probabilities = jax.nn.softmax(logits, axis=-1)
    bins = logits.shape[-1]
    edges = jnp.sum(probabilities * jnp.arange(bins, dtype=jnp.float32), axis=-1) / bins
    by_name = {name: edges[:, i] for i, name in enumerate(EDGES)}
    box = boxes.xyxy_to_cxcywh(jnp.stack([by_name[name] for name in BOX_EDGES], axis=-1))
    maps = {name: probabilities[:, i] for i, name in enumerate(EDGES)}
    return box, maps | {f"{name}_logits": logits[:, i] for i, name in enumerate(EDGES)}


class ScoreHead(nn.Module):
    """An MLP (linear to the tokens' own width, ReLU, linear to one number) and a mean over the prediction tokens:
    (B,T,D) -> (B,) logit, float32.

    order: one of SCORE_ORDERS. "mlp_then_mean", the program: the MLP scores each token, then the mean is taken.
      "mean_then_mlp", the supplement: s = MLP(mean(token_T, token_L, token_B, token_R)). The parameters are the same,
      the ReLU makes the numbers differ: published weights need the program's order.
    """

    dtype: jnp.dtype = jnp.float32
    order: str = SCORE_ORDERS[0]

    @nn.compact
    def __call__(self, tokens):
        if self.order == "mean_then_mlp":
            tokens = jnp.mean(tokens.astype(jnp.float32), axis=-2, keepdims=True).astype(self.dtype)
        x = nn.relu(nn.Dense(tokens.shape[-1], dtype=self.dtype, name="fc1")(tokens))
        x = nn.Dense(1, dtype=self.dtype, name="fc2")(x)
        return jnp.mean(x[..., 0].astype(jnp.float32), axis=-1)
