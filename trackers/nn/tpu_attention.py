"""Attention in one kernel for TPUs, under a learned division or without one: the weights (B,H,N,N) stay on the chip.

What fused_attention.py is for NVIDIA cards. A TPU's fast memory holds all pairs of a few hundred tokens, so that a
program takes whole rows of logits, of as many heads as fill its 128 lanes, and writes queries, keys and values as they
lie in memory: nothing is transposed, and nothing padded but heads that fill no whole register (GRM's t128 has three of
64 channels). Never run on a TPU: compiled by its compiler, and interpreted in tests.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu
from jax.sharding import PartitionSpec as P

from trackers.nn import placement

# Width of a vector register: the channels of heads are taken in groups of so many.
LANES = 128
# With fewer queries or keys a program does too little; of more, all pairs of a head do not fit some six times into the
# 16 MiB that a kernel gets.
TOKENS = (128, 512)


@dataclasses.dataclass(frozen=True)
class Form:
    """What is fixed of an attention. size: channels of a head. scale: of the logits. causal: whether a query looks at
    keys up to its own position only. eps: as in relation.masked_softmax. interpret: run without a TPU."""

    size: int
    scale: float
    causal: bool
    eps: float
    interpret: bool


def takes(size, *tokens):
    """Whether heads of `size` channels fill a register together, and so many queries and keys pay and fit."""
    return LANES % size == 0 and TOKENS[0] <= min(tokens) and max(tokens) <= TOKENS[1]


def attention(arrays, division=(), *, scale=None, causal=False, eps=0.0, interpret=False):
    """Attention of queries (B,N,H,d) to keys and values (B,M,H,d).

    Args:
      arrays: (queries, keys, values), or (all three (B,N,3,H,d),): then nothing is copied. Sizes as `takes` demands.
      division: (looks, division), each (B,N,C) float32, as of fused_attention.divided_attention, or () for none.
      scale: of the logits, 1/sqrt(d) when None. causal: a query looks at keys up to its own position only.
      eps: as in relation.masked_softmax. interpret: run without a TPU.

    Returns: (B,N,H,d) in the arrays' dtype.
    """
    heads, size = arrays[0].shape[-2:]
    missing = -heads % (LANES // size)
    if missing:
        arrays = _filled(arrays, missing)
    form = Form(size, size**-0.5 if scale is None else scale, causal, eps, interpret)
    division = tuple(jnp.swapaxes(each.astype(jnp.float32), 1, 2) for each in division)
    run = functools.partial(_attend, form)
    if placement.is_split():
        # XLA cannot split a kernel that it does not know.
        batch, tensors = placement.BATCH_AXES, jax.sharding.get_abstract_mesh().shape["tensor"]
        filled = heads + missing
        own = "tensor" if filled % tensors == 0 and filled // tensors * size % LANES == 0 else None
        spec = P(batch, None, None, own) if len(arrays) == 1 else P(batch, None, own)
        specs = tuple(spec for _ in arrays), tuple(P(batch) for _ in division)
        run = jax.shard_map(run, in_specs=specs, out_specs=P(batch, None, own), check_vma=False)
    return run(arrays, division)[..., :heads, :]


def _filled(arrays, missing):
    """Queries, keys and values with so many heads of zeros: they look at all alike, and nothing learns by them."""
    size = arrays[0].shape[-1]
    # Where heads and channels are one axis: padding an axis of heads takes a TPU four passes.
    flat = [each.reshape(*each.shape[:2], -1) for each in arrays]
    three = flat if len(flat) == 3 else jnp.split(flat[0], 3, axis=-1)
    three = (jnp.pad(each, ((0, 0), (0, 0), (0, missing * size))) for each in three)
    return tuple(each.reshape(*each.shape[:2], -1, size) for each in three)


def _attend(form, arrays, division):
    """As `attention`, but division is of (B,C,N) each."""
    flat = tuple(each.reshape(*each.shape[:2], -1) for each in arrays)
    return _flat(form, flat, division).reshape(*arrays[0].shape[:2], *arrays[0].shape[-2:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _flat(form, arrays, division):
    """As _attend, but heads and channels are one axis: (B,N,H*d)."""
    batch, n, groups, specs = _columns(arrays)
    return pl.pallas_call(
        functools.partial(_forward_kernel, form),
        grid=(batch, groups),
        in_specs=[*specs, *_of_division(division)],
        out_shape=jax.ShapeDtypeStruct((batch, n, groups * LANES), arrays[0].dtype),
        out_specs=_group(n),
        scratch_shapes=_pairs(n, division),
        cost_estimate=_cost(form, arrays, 2, 4),
        compiler_params=_ORDER,
        interpret=form.interpret,
        name="tpu_attention",
    )(*_three(arrays), *division)


# Samples in any order; groups of heads one after another, as they share what is known of their sample's pairs.
_ORDER = tpu.CompilerParams(dimension_semantics=("parallel", "arbitrary"))


def _forward(form, arrays, division):
    return _flat(form, arrays, division), (arrays, division)


def _backward(form, kept, cotangent):
    arrays, division = kept
    batch, n, groups, specs = _columns(arrays)
    keys = arrays[-1].shape[1]
    dtype = arrays[0].dtype
    shapes = [jax.ShapeDtypeStruct((batch, rows, groups * LANES), dtype) for rows in (n, keys, keys)]
    gradients = pl.pallas_call(
        functools.partial(_backward_kernel, form),
        grid=(batch, groups),
        in_specs=[*specs, _group(n), *_of_division(division)],
        out_shape=[*shapes, *(jax.ShapeDtypeStruct(each.shape, jnp.float32) for each in division)],
        out_specs=[_group(n), _group(keys), _group(keys), *_of_division(division)],
        scratch_shapes=2 * _pairs(n, division),
        cost_estimate=_cost(form, arrays, 5, 7),
        compiler_params=_ORDER,
        interpret=form.interpret,
        name="tpu_attention_backward",
    )(*_three(arrays), cotangent.astype(dtype), *division)
    of_arrays = tuple(gradients[:3])
    if len(arrays) == 1:
        of_arrays = (jnp.concatenate(of_arrays, axis=-1),)
    return of_arrays, tuple(gradients[3:])


_flat.defvjp(_forward, _backward)


def _three(arrays):
    return arrays * 3 if len(arrays) == 1 else arrays


def _group(rows, first=0):
    """The columns of one group of heads, of all rows of a sample; first: group at which the array's heads begin."""
    return pl.BlockSpec((None, rows, LANES), lambda b, g: (b, 0, first + g))


def _columns(arrays):
    """(batch, queries, groups of heads, [BlockSpec of queries, keys, values])."""
    batch, n, width = arrays[0].shape
    groups = width // LANES // (4 - len(arrays))  # 3 of one array, 1 of three
    firsts = (0, groups, 2 * groups) if len(arrays) == 1 else (0, 0, 0)
    return batch, n, groups, [_group(each.shape[1], first) for each, first in zip(_three(arrays), firsts, strict=True)]


def _of_division(division):
    return [pl.BlockSpec((None, *each.shape[1:]), lambda b, g: (b, 0, 0)) for each in division]


def _pairs(n, division):
    return [tpu.VMEM((n, n), jnp.float32)] if division else []


def _cost(form, arrays, products, passes):
    """What the compiler is told: `products` of all pairs over all channels, `passes` over arrays of queries' size."""
    batch, n, groups, _ = _columns(arrays)
    keys, width = arrays[-1].shape[1], groups * LANES
    pairs, moved = batch * n * keys, batch * (n + keys) // 2 * width * arrays[0].dtype.itemsize
    return pl.CostEstimate(
        flops=2 * products * pairs * width, transcendentals=pairs * width // form.size, bytes_accessed=passes * moved
    )


# In the kernels.


def _dot(a, b, over):
    """Sum of products over axis over[0] of a and over[1] of b, in float32."""
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    dims = (((over[0],), (over[1],)), ((), ()))
    return jax.lax.dot_general(a, b, dims, precision=precision, preferred_element_type=jnp.float32)


def _places(shape):
    return (jax.lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1))


def _heads(form):
    """For each head of a group, which of the group's lanes (1,LANES) are its own."""
    lanes = jax.lax.broadcasted_iota(jnp.int32, (1, LANES), 1)
    return [(lanes >= first) & (lanes < first + form.size) for first in range(0, LANES, form.size)]


def _set_extents(ref, looks, division):
    """Fills ref (N,N) with how much each token looks at each: itself fully."""
    rows, columns = _places(ref.shape)
    ref[...] = jnp.where(rows == columns, 1.0, _dot(looks, division, (0, 0)))


def _exponentials(form, q, k):
    """Of the logits of one head, less each row's largest, over all keys (relation.masked_softmax): (N,M) float32.

    q: its queries, zeros in the lanes of other heads."""
    logits = _dot(q, k, (1, 1))
    if form.causal:
        rows, columns = _places(logits.shape)
        logits = jnp.where(rows >= columns, logits, -jnp.inf)
    return jnp.exp((logits - jnp.max(logits, axis=1, keepdims=True)) * form.scale)


def _forward_kernel(form, q_ref, k_ref, v_ref, *refs):
    *division_refs, out_ref = refs[: 3 if len(refs) > 1 else 1]
    extents = refs[3] if division_refs else None
    if division_refs:

        @pl.when(pl.program_id(1) == 0)
        def _():
            _set_extents(extents, *(ref[...] for ref in division_refs))

    q, k, v = q_ref[...], k_ref[...], v_ref[...]
    out = jnp.zeros(q.shape, jnp.float32)
    for own in _heads(form):
        weights = _exponentials(form, jnp.where(own, q, 0), k)
        if division_refs:
            weights = weights * extents[...]
        total = jnp.sum(weights, axis=1, keepdims=True) + form.eps
        mine = _dot(weights.astype(v.dtype), v, (1, 0))
        if form.eps:
            mine = mine + (form.eps / v.shape[0]) * jnp.sum(v.astype(jnp.float32), axis=0, keepdims=True)
        out = jnp.where(own, mine / total, out)
    out_ref[...] = out.astype(out_ref.dtype)


def _backward_kernel(form, q_ref, k_ref, v_ref, cotangent_ref, *refs):
    divided = len(refs) > 3
    division_refs, (of_q, of_k, of_v) = refs[: 2 * divided], refs[2 * divided : 2 * divided + 3]
    of_division, (extents, of_extents) = (refs[5:7], refs[7:]) if divided else ((), (None, None))
    if divided:

        @pl.when(pl.program_id(1) == 0)
        def _():
            _set_extents(extents, *(ref[...] for ref in division_refs))
            of_extents[...] = jnp.zeros(of_extents.shape, jnp.float32)

    q, k, v, cotangent = q_ref[...], k_ref[...], v_ref[...], cotangent_ref[...]
    sums = [jnp.zeros(each.shape, jnp.float32) for each in (q, k, v)]
    for own in _heads(form):
        shifted = _exponentials(form, jnp.where(own, q, 0), k)
        allowed = shifted * extents[...] if divided else shifted
        inverse = 1.0 / (jnp.sum(allowed, axis=1, keepdims=True) + form.eps)
        weights = (allowed + form.eps / v.shape[0] if form.eps else allowed) * inverse
        of_weights = _dot(jnp.where(own, cotangent, 0), v, (1, 1))
        # The softmax's normalization takes off what all weights of a row gain together.
        gain = (of_weights - jnp.sum(weights * of_weights, axis=1, keepdims=True)) * inverse
        of_logits = allowed * (gain * form.scale)
        if divided:
            of_extents[...] += shifted * gain
        of_logits, weights = of_logits.astype(q.dtype), weights.astype(q.dtype)
        gradients = _dot(of_logits, k, (1, 0)), _dot(of_logits, q, (0, 0)), _dot(weights, cotangent, (0, 0))
        sums = [jnp.where(own, mine, others) for mine, others in zip(gradients, sums, strict=True)]
    for ref, gradient in zip((of_q, of_k, of_v), sums, strict=True):
        ref[...] = gradient.astype(ref.dtype)
    if divided:

        @pl.when(pl.program_id(1) == pl.num_programs(1) - 1)
        def _():
            rows, columns = _places(of_extents.shape)
            pairs = jnp.where(rows == columns, 0.0, of_extents[...])
            looks_ref, division_ref = division_refs
            of_division[0][...] = _dot(division_ref[...], pairs, (1, 1))
            of_division[1][...] = _dot(looks_ref[...], pairs, (1, 0))
