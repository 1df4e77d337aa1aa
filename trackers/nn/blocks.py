"""The layers of the vision transformer: attention under a relation, the MLP, and the block of the two.

A block is told by its Context what holds for a run of layers, and by its LayerInputs what differs from layer to layer.
"""

from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from trackers.nn import activations, kernels, placement, relation
from trackers.nn import division as divisions

REMAT_POLICIES = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def _matched_init(key, shape, dtype=jnp.float32):
    """Kernel (D,3D) of queries, keys and values; keys start equal to queries: a token first attends to its like."""
    kernel = nn.initializers.lecun_normal()(key, shape, dtype)
    third = shape[1] // 3
    return kernel.at[:, third : 2 * third].set(kernel[:, :third])


# How the kernel of queries, keys and values starts (for "matched" see Trockman and Kolter, ICML 2023).
ATTENTION_INITS = {"independent": nn.initializers.lecun_normal(), "matched": _matched_init}


@flax.struct.dataclass
class LayerInputs:
    """What differs from layer to layer; leading axis L where layers are stacked.

    drop_rate: () float32, probability that a residual branch is dropped.
    noise: (B,Nx,C) Gumbel noise or None. memory: (k, v) of the spans before the ones present, each (B,Nm,H,d), or None.
    branch_scale: () factor of both residual branches, or None for 1.
    joined: () int32, search tokens that the prototype's division joins with the template, or None.
    """

    drop_rate: jax.Array
    noise: jax.Array | None = None
    memory: tuple | None = None
    branch_scale: jax.Array | None = None
    joined: jax.Array | None = None


@flax.struct.dataclass(kw_only=True)
class Context:
    """What is the same for a run of layers.

    lengths: tokens of each span; present: (first, last+1) of the spans whose tokens are given, the earlier ones are in
      memory. relation: over all spans, or "learned" or relation.MASKED_TWO_STREAM (spans: template, search), or
      relation.CAUSAL (one span).
    template_mask: (B,Nz) for divisions that pool over the template box, or None.
    key_mask: (B,N) float32 in 0..1, how much each given token is looked at, or None for 1; gradients flow into it.
    watch: indices of the given tokens whose attention weights `reduce` is shown, a tuple of int.
    reduce: function (x (B,N,D), weights (B,H,Nw,Nk)) -> (x (B,N',D), facts) that acts between attention and MLP, or
      None. facts: any pytree, returned as LayerOutputs.facts.
    """

    lengths: tuple = flax.struct.field(pytree_node=False)
    present: tuple = flax.struct.field(pytree_node=False)
    relation: tuple | str = flax.struct.field(pytree_node=False)
    template_mask: jax.Array | None = None
    key_mask: jax.Array | None = None
    watch: tuple = flax.struct.field(pytree_node=False, default=())
    reduce: Callable | None = flax.struct.field(pytree_node=False, default=None)
    train: bool = flax.struct.field(pytree_node=False, default=False)
    features: bool = flax.struct.field(pytree_node=False, default=False)
    keep_memory: bool = flax.struct.field(pytree_node=False, default=False)


@flax.struct.dataclass(kw_only=True)
class LayerOutputs:
    """divided: Divided or None. features: (B,N,D) after the layer or None. memory: (k, v) or None.

    facts: what the context's `reduce` returned beside the tokens, or None.
    """

    divided: divisions.Divided | None = None
    features: jax.Array | None = None
    memory: tuple | None = None
    facts: Any = None


@flax.struct.dataclass(kw_only=True)
class Attended:
    """tokens: (B,N,D). memory: (k, v), each (B,N,H,d), or None.

    weights: (B,H,Nw,Nk) float32 of the watched tokens over the keys, which begin with those in memory, or None.
    """

    tokens: jax.Array
    memory: tuple | None = None
    weights: jax.Array | None = None


class Projection(nn.Module):
    """nn.DenseGeneral as a product of two matrices: with several axes XLA's gradients copy the kernel on a CPU, and a
    GPU can add the bias at once.

    __call__: (R, *axes), all of which are summed over but the first, -> (R, product of features). Parameters as
    nn.DenseGeneral's.
    """

    features: tuple[int, ...]
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        axes, size = x.shape[1:], int(np.prod(self.features))
        width = int(np.prod(axes))

        def drawn(key, shape, dtype=jnp.float32):
            return self.kernel_init(key, (width, size), dtype).reshape(shape)

        kernel = self.param("kernel", drawn, (*axes, *self.features))
        out = x.reshape(-1, width).astype(self.dtype) @ kernel.reshape(width, size).astype(self.dtype)
        if not self.use_bias:
            return out
        bias = self.param("bias", nn.initializers.zeros_init(), self.features)
        return out + bias.reshape(size).astype(self.dtype)


class StreamNorm(nn.Module):
    """LayerNorm in float32 of a residual stream x (B,N,D): (x to go on with, the normalized (B,N,D) in `dtype`).

    kernels: how it is executed (kernels.KERNELS). Parameters as nn.LayerNorm's.
    """

    eps: float
    kernels: str = "auto"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", nn.initializers.ones_init(), x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros_init(), x.shape[-1:])
        if x.dtype == self.dtype and kernels.on_gpu(self.kernels, x):
            from trackers.nn import fused_norm  # here: programs on a CPU start without Pallas

            return fused_norm.norm_beside(x, scale, bias, self.eps)
        wide = x.astype(jnp.float32)
        centered = wide - jnp.mean(wide, axis=-1, keepdims=True)
        inverse = jax.lax.rsqrt(jnp.mean(jnp.square(centered), axis=-1, keepdims=True) + self.eps)
        return x, (centered * (inverse * scale) + bias).astype(self.dtype)


class Attention(nn.Module):
    """Multi-head self-attention: under the division where one is given, else split by the relation of the context.

    kernels: how it is executed (kernels.KERNELS). matrix: R over the categories of a division.
    Sows (queries, keys), each (B,N,H,d), as "intermediates" "queries_and_keys", for pictures of the attention.
    Sows the division, where there is one, as "division", for the same.

    __call__ takes x (B,N,D), division (B,N,C) of all tokens or None, memory and context as in LayerInputs and Context.
    Returns Attended.
    """

    width: int
    heads: int
    qkv_bias: bool = True
    init: str = "independent"
    kernels: str = "auto"
    dtype: jnp.dtype = jnp.float32
    matrix: tuple = relation.GRM_RELATION

    @nn.compact
    def __call__(self, x, division, memory, context):
        features = (3, self.heads, self.width // self.heads)
        projection = Projection(features, self.qkv_bias, ATTENTION_INITS[self.init], self.dtype, name="qkv")
        # As one matrix of tokens, here and below: with a batch axis XLA's gradients take longer on a CPU.
        qkv = projection(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:2], *features)
        q, k, v = jnp.moveaxis(qkv, 2, 0)
        self.sow("intermediates", "queries_and_keys", (q, k))
        if division is not None:
            self.sow("intermediates", "division", division)
        weights = None
        if division is None:
            out, weights = _split(qkv, memory, context, self.kernels)
        elif context.key_mask is None and not context.watch and kernels.fuses_division(self.kernels, qkv):
            out = kernels.divided_attention(qkv, relation.looks(division, self.matrix), division)
        else:
            out, weights = _masked(q, k, v, relation.attention_mask(division, self.matrix), context)
        flat = out.reshape(-1, *out.shape[2:])
        out = nn.DenseGeneral(self.width, axis=(-2, -1), dtype=self.dtype, name="out")(flat).reshape(x.shape)
        return Attended(tokens=out, memory=(k, v) if context.keep_memory else None, weights=weights)


def _masked(q, k, v, mask, context):
    if context.key_mask is not None:
        mask = mask * context.key_mask[:, None]
    watched = None
    if context.watch:
        rows = np.array(context.watch)
        watched = relation.masked_softmax(relation.attention_logits(q[:, rows], k), mask[:, None, rows])
    return relation.masked_attention(q, k, v, mask), watched


def _split(qkv, memory, context, kernel):
    first, last = context.present
    q, k, v = jnp.moveaxis(qkv, 2, 0)
    keys, values, key_mask, seen = k, v, context.key_mask, first
    if memory is not None:
        keys, values = (jnp.concatenate(pair, axis=1) for pair in zip(memory, (k, v), strict=True))
        seen = 0
        if key_mask is not None:
            key_mask = jnp.pad(key_mask, ((0, 0), (memory[0].shape[1], 0)), constant_values=1.0)
    rows = context.relation
    if rows != relation.CAUSAL:
        rows = tuple(row[seen:last] for row in rows[first:last])
        if memory is None and key_mask is None and not context.watch and np.all(rows):
            return kernels.self_attention(qkv, kernel), None
    spans = context.lengths[first:last], context.lengths[seen:last]
    out, watched = relation.split_attention(q, keys, values, *spans, rows, key_mask, kernel), None
    if context.watch:
        chosen = np.array(context.watch)
        allowed = relation.allowed_pairs(rows, *spans)[chosen]
        allowed = allowed[None] if key_mask is None else allowed * key_mask[:, None]
        watched = relation.present_softmax(relation.attention_logits(q[:, chosen], keys), allowed[:, None])
    return out, watched


class Mlp(nn.Module):
    """Linear, activation (activations.ACTIVATIONS), linear."""

    hidden: int
    activation: str = "gelu"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        # As one matrix of tokens (see Attention).
        flat = x.reshape(-1, x.shape[-1])
        hidden = activations.ACTIVATIONS[self.activation](nn.Dense(self.hidden, dtype=self.dtype, name="fc1")(flat))
        return nn.Dense(x.shape[-1], dtype=self.dtype, name="fc2")(hidden).reshape(x.shape)


def drop_path(branch, rate, key):
    """Leaves a residual branch (B,...) out for a sample with probability `rate` (), and scales the others up."""
    keep = 1.0 - rate
    kept = jax.random.bernoulli(key, keep, (branch.shape[0],) + (1,) * (branch.ndim - 1))
    return jnp.where(kept, branch / keep.astype(branch.dtype), 0)


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); each branch of a sample is dropped with inputs.drop_rate.

    __call__ takes x (B,N,D), LayerInputs and Context. Returns (x, LayerOutputs).
    """

    width: int
    heads: int
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    activation: str = "gelu"
    attention_init: str = "independent"
    kernels: str = "auto"
    drops: bool = False
    division: divisions.Division | None = None
    grid: tuple[int, int] = (1, 1)
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, inputs, context):
        x, y = StreamNorm(self.norm_eps, self.kernels, self.dtype, name="norm1")(x)
        divided, division, facts, matrix = None, None, None, relation.GRM_RELATION
        if context.relation in ("learned", relation.MASKED_TWO_STREAM):
            matrix = self.division.relation
            n_template, n_search = context.lengths
        if context.relation == "learned":
            divided = divisions.DivisionModule(self.division, self.grid, self.dtype, name="division")(
                y[:, :n_template], y[:, n_template:], context.template_mask, inputs.noise, context.train, inputs.joined
            )
            if divided.one_hot is None:
                context = context.replace(relation=relation.ONE_STREAM)
            else:
                template = jax.nn.one_hot(jnp.zeros((x.shape[0], n_template), int), len(matrix))
                division = jnp.concatenate([template, divided.one_hot], axis=1)
        elif context.relation == relation.MASKED_TWO_STREAM:
            categories = np.repeat((relation.TEMPLATE, relation.SEARCH), (n_template, n_search))
            division = jnp.broadcast_to(jax.nn.one_hot(categories, len(matrix)), (*x.shape[:2], len(matrix)))
        how = (self.attention_init, self.kernels, self.dtype, matrix)
        attention = Attention(self.width, self.heads, self.qkv_bias, *how, name="attention")
        attended = attention(y, division, inputs.memory, context)
        x = x + self._dropped(attended.tokens, inputs, context)
        if context.reduce is not None:
            x, facts = context.reduce(x, attended.weights)
        x, y = StreamNorm(self.norm_eps, self.kernels, self.dtype, name="norm2")(x)
        y = Mlp(int(self.width * self.mlp_ratio), self.activation, self.dtype, name="mlp")(y)
        x = placement.split_batch(x + self._dropped(y, inputs, context))
        features = x if context.features else None
        return x, LayerOutputs(divided=divided, features=features, memory=attended.memory, facts=facts)

    def _dropped(self, branch, inputs, context):
        if inputs.branch_scale is not None:
            branch = (branch * inputs.branch_scale).astype(branch.dtype)
        if not (context.train and self.drops):
            return branch
        return drop_path(branch, inputs.drop_rate, self.make_rng("droppath"))
