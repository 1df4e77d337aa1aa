"""Which tokens may look at which: categories D, the relation matrix R, the mask M = D R D^T, and who divides.

GRM (Gao et al., CVPR 2023, Sec. 3.2) gives every token one of three categories. T (template) looks at T and A, S
(search only) looks at S and A, A looks at all. A relation that is fixed for whole spans of tokens is executed by
splitting queries and keys; only a learned division is executed as a mask.
"""

import dataclasses
import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

TEMPLATE, SEARCH, ALL = 0, 1, 2

# Rows look at columns. Over the categories T, S, A (GRM Eq. 2-4):
GRM_RELATION = ((1, 0, 1), (0, 1, 1), (1, 1, 1))
# Over the spans (template, search):
ONE_STREAM = ((1, 1), (1, 1))
TWO_STREAM = ((1, 0), (0, 1))
ASYMMETRIC = ((1, 0), (1, 1))
# Within the one span of a text: every token looks at itself and at those before it.
CAUSAL = "causal"

# What the division module may choose for a search token, in the order of its outputs (GRM Table 4, rows 3, 4 and 5).
CHOICES = {
    "learned": (SEARCH, ALL),
    "learned_template_search": (SEARCH, TEMPLATE),
    "learned_three": (SEARCH, TEMPLATE, ALL),
    "continuous": (SEARCH, ALL),
}
FIXED_MODES = ("one_stream", "two_stream")
POOLS = ("max", "average", "box_max", "box_average", "none")


@dataclasses.dataclass(frozen=True)
class Division:
    """How search tokens are divided. Every field is data of the config's `model.division`.

    layers: 1-based layers that divide; None = 2..depth, () = none (Table 5). The others are one-stream.
    mode: "learned" (S or A; Table 4 #5), "learned_template_search" (S or T; #3), "learned_three" (#4), "two_stream"
      (all S, last layer global; #1), "one_stream" (#2), "continuous" (probabilities scale the attention; appendix C.3).
    pool: target representation: "max" or "average" over all template tokens, "box_max" or "box_average" over those
      in the template box (the others count as zeros, as in the program), "none" (search token alone; with late
      fusion only).
    fusion: "early" (concatenation before the MLP) or "late" (both are projected, then added).
    smoothing: standard deviation in cells of a Gaussian over the map of logits, 0 = off. The program's filter also
      adds the two channels up, which makes both categories equally likely everywhere; here each channel is smoothed
      by itself.
    threshold: inference: S if its probability is at least this, else the likeliest other; 0 = the likeliest.
    ratio: inference: the share of tokens that is at least taken as A: those with the largest log-probability of A are A
      whatever the rest of the rule says (the program's rule); 0 = off.
    temperature: tau of the Gumbel-softmax.
    hidden: sizes of the MLP's two hidden layers.
    """

    layers: tuple[int, ...] | None = None
    mode: str = "learned"
    pool: str = "max"
    fusion: str = "early"
    smoothing: float = 0.0
    threshold: float = 0.0
    ratio: float = 0.0
    temperature: float = 1.0
    hidden: tuple[int, int] = (384, 192)

    def __post_init__(self):
        for field in ("layers", "hidden"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, tuple(int(n) for n in getattr(self, field)))
        if self.mode not in (*CHOICES, *FIXED_MODES):
            raise ValueError(f"model.division.mode must be one of {(*CHOICES, *FIXED_MODES)}, got {self.mode!r}")
        if self.pool not in POOLS:
            raise ValueError(f"model.division.pool must be one of {POOLS}, got {self.pool!r}")
        if self.fusion not in ("early", "late"):
            raise ValueError(f"model.division.fusion must be early or late, got {self.fusion!r}")
        if self.pool == "none" and self.fusion == "early":
            raise ValueError("model.division.pool 'none' needs model.division.fusion 'late'")
        if self.ratio and ALL not in CHOICES.get(self.mode, ()):
            raise ValueError(f"model.division.ratio needs a mode that has category A, got {self.mode!r}")

    def layer_relations(self, depth):
        """What each of `depth` layers does: "learned", or its fixed relation over (template, search)."""
        layers = tuple(range(2, depth + 1)) if self.layers is None else self.layers
        if any(not 1 <= layer <= depth for layer in layers):
            raise ValueError(f"model.division.layers {layers} lie outside 1..{depth}")
        if self.mode == "two_stream":
            return (TWO_STREAM,) * (depth - 1) + (ONE_STREAM,)
        if self.mode == "one_stream":
            return (ONE_STREAM,) * depth
        return tuple("learned" if i + 1 in layers else ONE_STREAM for i in range(depth))


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


def masked_attention(q, k, v, mask):
    """Attention of all tokens at once under a mask (GRM, "Speedup by Attention Masking").

    Args:
      q, k, v: (B,N,H,d).
      mask: (B,N,N).

    Returns: (B,N,H,d) in v's dtype.
    """
    logits = jnp.einsum("bnhd,bmhd->bhnm", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    weights = masked_softmax(logits, mask[:, None])
    return jnp.einsum("bhnm,bmhd->bnhd", weights.astype(v.dtype), v)


def split_attention(q, k, v, query_spans, key_spans, relation):
    """Attention under a relation that is fixed for whole spans: each query span attends to the keys its row allows.

    Neighbouring query spans with equal rows are taken together. No multiply-add is spent on a forbidden pair.

    Args:
      q: (B,Nq,H,d), the query spans one after another.
      k, v: (B,Nk,H,d), the key spans one after another.
      query_spans, key_spans: lengths, tuples of int.
      relation: (query spans, key spans) zeros and ones, where a span must see itself; or CAUSAL, Nq = Nk.

    Returns: (B,Nq,H,d).
    """
    if relation == CAUSAL:
        return jax.nn.dot_product_attention(q, k, v, is_causal=True)
    starts = np.cumsum((0, *key_spans))
    outputs, begin = [], 0
    for row, length in _merged_rows(relation, query_spans):
        if all(row):
            keys, values = k, v
        else:
            pick = [slice(starts[j], starts[j + 1]) for j, allowed in enumerate(row) if allowed]
            keys, values = (jnp.concatenate([x[:, s] for s in pick], axis=1) for x in (k, v))
        outputs.append(jax.nn.dot_product_attention(q[:, begin : begin + length], keys, values))
        begin += length
    return outputs[0] if len(outputs) == 1 else jnp.concatenate(outputs, axis=1)


def _merged_rows(relation, spans):
    merged = []
    for row, length in zip(relation, spans, strict=True):
        if merged and merged[-1][0] == tuple(row):
            merged[-1][1] += length
        else:
            merged.append([tuple(row), length])
    return merged


def separate_attention(q, k, v, categories, relation=GRM_RELATION):
    """One attention for each category of a division that is known outside jit (GRM Eq. 2-4 executed literally).

    What masking saves us from: group sizes differ from sample to sample, so nothing can be batched or compiled once.

    Args:
      q, k, v: (1,N,H,d).
      categories: (N,) concrete ints.

    Returns: (1,N,H,d).
    """
    categories = np.asarray(categories)
    output = jnp.zeros_like(q)
    for category, row in enumerate(relation):
        queries = np.flatnonzero(categories == category)
        if queries.size:
            keys = np.flatnonzero(np.asarray(row, bool)[categories])
            attended = jax.nn.dot_product_attention(q[:, queries], k[:, keys], v[:, keys])
            output = output.at[:, queries].set(attended)
    return output


def prefix_is_independent(relations, prefix_spans=1):
    """True where no token of the first spans ever looks at a later one, so that its keys and values can be cached."""
    return all(
        relation != "learned" and not any(any(row[prefix_spans:]) for row in relation[:prefix_spans])
        for relation in relations
    )


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


@flax.struct.dataclass
class Divided:
    """What a division module says of the search tokens of a layer.

    one_hot: (B,Nx,3) over T, S, A: hard with straight-through gradients, probabilities when continuous.
    category: (B,Nx) int32.
    log_probs: (B,Nx,C) float32 in the order of CHOICES[mode].
    share: (B,) float32, the part of the tokens that interacts with the template (not S), differentiable in training.
    """

    one_hot: jax.Array
    category: jax.Array
    log_probs: jax.Array
    share: jax.Array


class DivisionModule(nn.Module):
    """Divides the search tokens of one layer (GRM Sec. 3.3): MLP 2D-384-192-C with exact GELU, then log-softmax.

    __call__ takes template (B,Nz,D) and search (B,Nx,D) tokens after the layer's first LayerNorm, template_mask
    (B,Nz) for the box pools, gumbel noise (B,Nx,C) or None (drawn from the "gumbel" key in training), and train.
    Returns Divided.
    """

    config: Division
    grid: tuple[int, int]
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, template, search, template_mask, noise=None, train=False):
        config, choices = self.config, CHOICES[self.config.mode]
        dense = functools.partial(nn.Dense, dtype=self.dtype)
        gelu = functools.partial(nn.gelu, approximate=False)

        target = _pool(template, template_mask, config.pool)
        if config.fusion == "early":
            x = jnp.concatenate([search, jnp.broadcast_to(target, search.shape)], axis=-1)
            x = dense(config.hidden[0], name="hidden1")(x)
        else:
            x = dense(config.hidden[0], name="local")(search)
            x = x if target is None else x + dense(config.hidden[0], name="target")(target)
        x = gelu(dense(config.hidden[1], name="hidden2")(gelu(x)))
        logits = dense(len(choices), name="logits")(x).astype(jnp.float32)
        if config.smoothing:
            logits = _smooth(logits, self.grid, config.smoothing)
        log_probs = jax.nn.log_softmax(logits, axis=-1)

        if config.mode == "continuous":
            chosen, soft = jnp.argmax(log_probs, axis=-1), jnp.exp(log_probs)
        elif train:
            if noise is None:
                noise = jax.random.gumbel(self.make_rng("gumbel"), log_probs.shape, jnp.float32)
            y = jax.nn.softmax((log_probs + noise) / config.temperature, axis=-1)
            chosen = jnp.argmax(y, axis=-1)
            hard = jax.nn.one_hot(chosen, len(choices), dtype=jnp.float32)
            soft = hard - jax.lax.stop_gradient(y) + y
        else:
            chosen = _decide(log_probs, config, choices)
            soft = jax.nn.one_hot(chosen, len(choices), dtype=jnp.float32)

        columns = jax.nn.one_hot(jnp.asarray(choices), 3, dtype=jnp.float32)
        return Divided(
            one_hot=soft @ columns,
            category=jnp.asarray(choices, jnp.int32)[chosen],
            log_probs=log_probs,
            share=jnp.mean(jnp.sum(soft[..., 1:], axis=-1), axis=-1),
        )


def _pool(template, template_mask, pool):
    if pool == "none":
        return None
    if pool.startswith("box"):
        template = template * template_mask[..., None].astype(template.dtype)
    if pool.endswith("average"):
        return jnp.mean(template, axis=1, keepdims=True)
    # Taken by index: the gradient of jnp.max divides by the count of elements equal to the maximum, and where the
    # compiler recomputes them with another rounding that count is 0.
    return jnp.take_along_axis(template, jnp.argmax(template, axis=1, keepdims=True), axis=1)


def _decide(log_probs, config, choices):
    if config.threshold:
        others = 1 + jnp.argmax(log_probs[..., 1:], axis=-1)
        chosen = jnp.where(jnp.exp(log_probs[..., 0]) < config.threshold, others, 0)
    else:
        chosen = jnp.argmax(log_probs, axis=-1)
    if config.ratio:
        shared = choices.index(ALL)
        _, forced = jax.lax.top_k(log_probs[..., shared], int(log_probs.shape[1] * config.ratio))
        chosen = chosen.at[jnp.arange(chosen.shape[0])[:, None], forced].set(shared)
    return chosen


def _smooth(logits, grid, sigma):
    """Gaussian over the map of logits (B,Nx,C): a 5x5 kernel at sigma 1, as in the program, wider for more."""
    radius = max(1, round(2 * sigma))
    offset = np.arange(-radius, radius + 1)
    kernel = np.exp(-(offset**2) / (2 * sigma**2))
    kernel = np.outer(kernel, kernel) / (2 * np.pi * sigma)
    channels = logits.shape[-1]
    maps = logits.reshape(logits.shape[0], *grid, channels)
    kernel = jnp.asarray(np.repeat(kernel[:, :, None, None], channels, axis=-1), logits.dtype)
    smoothed = jax.lax.conv_general_dilated(
        maps, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=channels
    )
    return smoothed.reshape(logits.shape)
