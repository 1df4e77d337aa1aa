"""Which tokens may look at which: categories D, the relation matrix R, the mask M = D R D^T, and attention under it.

GRM (Gao et al., CVPR 2023, Sec. 3.2) gives every token one of three categories. T (template) looks at T and A, S
(search only) looks at S and A, A looks at all. A relation that is fixed for whole spans of tokens is executed by
splitting queries and keys; only a learned division is executed as a mask, and a constant one in its
place (MASKED_TWO_STREAM). GRM's prototype (appendix C.1) has a fourth category, B; all that it changes here is R.
"""

import jax
import jax.numpy as jnp
import numpy as np

from trackers.nn import kernels

TEMPLATE, SEARCH, ALL, BOUNDARY = 0, 1, 2, 3

# Rows look at columns. Over the categories T, S, A (GRM Eq. 2-4):
GRM_RELATION = ((1, 0, 1), (0, 1, 1), (1, 1, 1))
# Over T, S, A, B (GRM appendix C.1): two groups, T with the search tokens A that are joined with it, and the other
# search tokens S; B, around the boundary of A and S, is shared by both groups. A's row and column are T's, so that the
# rows and columns of T, S, B are GRM_RELATION: what the learned division calls A is called B here.
PROTOTYPE_RELATION = ((1, 0, 1, 1), (0, 1, 0, 1), (1, 0, 1, 1), (1, 1, 1, 1))
# Over the spans (template, search):
ONE_STREAM = ((1, 1), (1, 1))
TWO_STREAM = ((1, 0), (0, 1))
ASYMMETRIC = ((1, 0), (1, 1))
# TWO_STREAM as a division in which all search tokens are S: under the mask, with its eps, not by splitting.
MASKED_TWO_STREAM = "masked_two_stream"
# Within the one span of a text: every token looks at itself and at those before it.
CAUSAL = "causal"


def looks(division, relation=GRM_RELATION):
    """D R: how much each token looks at each category, (B,N,C) float32. Arguments as of attention_mask."""
    return division.astype(jnp.float32) @ jnp.asarray(relation, jnp.float32)


def attention_mask(division, relation=GRM_RELATION):
    """M = D R D^T with ones on the diagonal: a token always sees itself (GRM Eq. 7).

    Args:
      division: (B,N,C) one-hot rows, or probabilities for a continuous division; gradients flow.
      relation: (C,C) zeros and ones.

    Returns: (B,N,N) float32, row looks at column.
    """
    division = division.astype(jnp.float32)
    mask = jnp.einsum("bnc,cd,bmd->bnm", division, jnp.asarray(relation, jnp.float32), division)
    eye = jnp.eye(division.shape[1], dtype=jnp.float32)
    return mask + (1.0 - mask) * eye


def masked_softmax(logits, mask, eps=1e-6):
    """Softmax over the last axis with a multiplicative mask, as GRM's program has it.

    The row maximum is taken over all keys, also masked ones; the exponentials are multiplied by the mask; eps/N is
    added to the numerator and eps to the denominator. So a row whose own keys underflow becomes uniform, and a
    masked key keeps a weight of about eps/N.

    Args:
      logits: (..., N, N), scaled.
      mask: broadcastable to logits, in [0, 1].

    Returns: float32, the shape of logits.
    """
    logits = logits.astype(jnp.float32)
    peak = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    shifted = jnp.exp(logits - peak) * mask
    return (shifted + eps / logits.shape[-1]) / (jnp.sum(shifted, axis=-1, keepdims=True) + eps)


def present_softmax(logits, mask):
    """Softmax over the keys as if each were there to the extent of its mask; exact zeros where it is not.

    Unlike masked_softmax it equals the softmax over the keys that are there, without an eps, and is 0 where none is.

    Args:
      logits: (..., N, M), scaled.
      mask: broadcastable to logits, in [0, 1]; gradients flow into it, also where it is 0.

    Returns: float32, the shape of logits.
    """
    logits = logits.astype(jnp.float32)
    peak = jnp.max(jnp.where(mask > 0, logits, -jnp.inf), axis=-1, keepdims=True)
    peak = jax.lax.stop_gradient(jnp.where(jnp.isfinite(peak), peak, 0.0))
    # Keys that are not there may exceed the peak by any amount.
    shifted = jnp.exp(jnp.minimum(logits - peak, 30.0)) * mask
    return shifted / jnp.maximum(jnp.sum(shifted, axis=-1, keepdims=True), jnp.finfo(jnp.float32).tiny)


def attention_logits(q, k):
    """Scaled products of queries (B,N,H,d) and keys (B,M,H,d): (B,H,N,M) float32."""
    return jnp.einsum("bnhd,bmhd->bhnm", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5


def masked_attention(q, k, v, mask):
    """Attention of all tokens at once under a mask (GRM, "Speedup by Attention Masking").

    Args:
      q, k, v: (B,N,H,d).
      mask: (B,N,N).

    Returns: (B,N,H,d) in v's dtype.
    """
    weights = masked_softmax(attention_logits(q, k), mask[:, None])
    return jnp.einsum("bhnm,bmhd->bnhd", weights.astype(v.dtype), v)


def split_attention(q, k, v, query_spans, key_spans, relation, key_mask=None, kernel="auto"):
    """Attention under a relation that is fixed for whole spans: each query span attends to the keys its row allows.

    Neighboring query spans with equal rows are taken together. No multiply-add is spent on a forbidden pair.

    Args:
      q: (B,Nq,H,d), the query spans one after another.
      k, v: (B,Nk,H,d), the key spans one after another.
      query_spans, key_spans: lengths, tuples of int.
      relation: (query spans, key spans) zeros and ones, where a span must see itself; or CAUSAL, Nq = Nk.
      key_mask: (B,Nk) in [0, 1], how much each key is there, or None for 1; not with CAUSAL.
      kernel: of kernels.KERNELS; with a key mask always the plain way.

    Returns: (B,Nq,H,d).
    """
    if relation == CAUSAL:
        return kernels.attention(q, k, v, causal=True, kernel=kernel)
    starts = np.cumsum((0, *key_spans))
    outputs, begin = [], 0
    for row, length in _merged_rows(relation, query_spans):
        keys = [k, v] if key_mask is None else [k, v, key_mask]
        if not all(row):
            pick = [slice(starts[j], starts[j + 1]) for j, allowed in enumerate(row) if allowed]
            keys = [jnp.concatenate([x[:, s] for s in pick], axis=1) for x in keys]
        outputs.append(_attend(q[:, begin : begin + length], *keys, kernel=kernel))
        begin += length
    return outputs[0] if len(outputs) == 1 else jnp.concatenate(outputs, axis=1)


def _attend(q, k, v, key_mask=None, *, kernel):
    if key_mask is None:
        return kernels.attention(q, k, v, kernel=kernel)
    weights = present_softmax(attention_logits(q, k), key_mask[:, None, None])
    return jnp.einsum("bhnm,bmhd->bnhd", weights.astype(v.dtype), v)


def allowed_pairs(relation, query_spans, key_spans):
    """A relation of spans, or CAUSAL, token by token: (Nq,Nk) float32 zeros and ones, NumPy."""
    if relation == CAUSAL:
        return np.tri(sum(query_spans), sum(key_spans), dtype=np.float32)
    rows = np.repeat(np.asarray(relation, np.float32), query_spans, axis=0)
    return np.repeat(rows, key_spans, axis=1)


def _merged_rows(relation, spans):
    merged = []
    for row, length in zip(relation, spans, strict=True):
        if merged and merged[-1][0] == tuple(row):
            merged[-1][1] += length
        else:
            merged.append([tuple(row), length])
    return merged


def independent_layers(relations):
    """How many of the first layers keep the first span from all others: there its keys and values can be cached.

    relations: for each layer its relation over the spans, or a name ("learned", MASKED_TWO_STREAM, CAUSAL), which
      keeps nothing apart.
    """
    for count, relation in enumerate(relations):
        if isinstance(relation, str) or any(relation[0][1:]):
            return count
    return len(relations)


def layers_without_first(relations):
    """How many of the last layers keep all other spans from the first one, whose tokens then change nothing there.

    relations: as of independent_layers.
    """
    for count, relation in enumerate(reversed(relations)):
        if isinstance(relation, str) or any(row[0] for row in relation[1:]) or len(relation) < 2:
            return count
    return len(relations)


def box_token_mask(box, grid):
    """Tokens covered by a box, as the program counts them: from int(y*rows) to int(y*rows + h*rows + 1), exclusive.

    Args:
      box: (B,K,4) x,y,w,h as fractions of the crop.
      grid: (rows, columns).

    Returns: (B, K*rows*columns) float32 zeros and ones.
    """

    def covered(start, extent, cells):
        first = jnp.trunc(start * cells)[..., None]
        last = jnp.trunc(start * cells + extent * cells + 1)[..., None]
        index = jnp.arange(cells)
        return (index >= first) & (index < last)

    rows = covered(box[..., 1], box[..., 3], grid[0])
    columns = covered(box[..., 0], box[..., 2], grid[1])
    mask = rows[..., :, None] & columns[..., None, :]
    return mask.reshape(mask.shape[0], -1).astype(jnp.float32)
