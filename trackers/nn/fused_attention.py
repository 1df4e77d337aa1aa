"""Attention under a learned division in one kernel: the weights (B,H,N,N) are never written to memory, forward or back.

What masked_attention of relation.py computes, its eps included, in values and in all gradients: that of the division
too, forbidden pairs included, which a mask given as a bias cannot have. Written with Pallas for NVIDIA cards (Triton);
elsewhere it can be interpreted, slowly, as the tests do.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jax.sharding import PartitionSpec as P

from trackers.nn import placement

# Rows of queries and of keys that a program takes at once.
BLOCK = 64


def divided_attention(qkv, looks, division, eps=1e-6, interpret=False):
    """Attention of all tokens at once: token i looks at token j to the extent sum_c looks_ic division_jc, at itself
    fully (GRM Eq. 7 with looks = D R).

    Args:
      qkv: (B,N,3,H,d) queries, keys and values; d a power of 2, at least 16.
      looks, division: (B,N,C) float32. Gradients flow into both. C = 0: all look at all.
      eps: as in relation.masked_softmax.
      interpret: run without a GPU.

    Returns: (B,N,H,d) in qkv's dtype.
    """
    looks, division = (jnp.swapaxes(each.astype(jnp.float32), 1, 2) for each in (looks, division))
    run = functools.partial(_attention, eps=eps, interpret=interpret)
    if placement.is_split():
        # XLA cannot split a kernel that it does not know.
        batch, tensors = placement.BATCH_AXES, jax.sharding.get_abstract_mesh().shape["tensor"]
        heads = "tensor" if qkv.shape[3] % tensors == 0 else None
        run = jax.shard_map(
            run,
            in_specs=(P(batch, None, None, heads), P(batch), P(batch)),
            out_specs=P(batch, None, heads),
            check_vma=False,
        )
    return run(qkv, looks, division)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _attention(qkv, looks, division, eps, interpret):
    return _forward(qkv, looks, division, eps, interpret, residuals=False)[0]


def _attention_forward(qkv, looks, division, eps, interpret):
    out, peak, total = _forward(qkv, looks, division, eps, interpret, residuals=True)
    return out, (qkv, looks, division, out, peak, total)


def _attention_backward(eps, interpret, kept, cotangent):
    return _backward(*kept, cotangent, eps, interpret)


_attention.defvjp(_attention_forward, _attention_backward)


def _padded(x, axis):
    """x with zeros up to a multiple of BLOCK along an axis."""
    missing = -x.shape[axis] % BLOCK
    return jnp.pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)]) if missing else x


def _forward(qkv, looks, division, eps, interpret, residuals):
    (batch, n, _, heads, d), choices = qkv.shape, looks.shape[1]
    qkv, looks, division = _padded(qkv, 1), _padded(looks, 2), _padded(division, 2)
    rows = qkv.shape[1]
    row = jax.ShapeDtypeStruct((batch, heads, rows), jnp.float32)
    row_spec = pl.BlockSpec((None, None, BLOCK), lambda b, h, i: (b, h, i))
    outs = pl.pallas_call(
        functools.partial(_forward_kernel, n=n, eps=eps, divided=bool(choices)),
        grid=(batch, heads, rows // BLOCK),
        in_specs=[
            pl.BlockSpec((None, BLOCK, None, None, d), lambda b, h, i: (b, i, 0, h, 0)),
            pl.BlockSpec((None, rows, None, None, d), lambda b, h, i: (b, 0, 1, h, 0)),
            pl.BlockSpec((None, rows, None, None, d), lambda b, h, i: (b, 0, 2, h, 0)),
            *(
                pl.BlockSpec((None, choices, BLOCK), lambda b, h, i: (b, 0, i)),
                pl.BlockSpec((None, choices, rows), lambda b, h, i: (b, 0, 0)),
            )[: 2 * bool(choices)],
        ],
        out_shape=[jax.ShapeDtypeStruct((batch, rows, heads, d), qkv.dtype), *([row, row] if residuals else [])],
        out_specs=[
            pl.BlockSpec((None, BLOCK, None, d), lambda b, h, i: (b, i, h, 0)),
            *([row_spec, row_spec] if residuals else []),
        ],
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=3),
        interpret=interpret,
        name="divided_attention",
    )(qkv, qkv, qkv, *(looks, division)[: 2 * bool(choices)])
    return outs[0][:, :n], *outs[1:]


def _scale(d):
    # Exponentials are those of 2, which the hardware has.
    return d**-0.5 * math.log2(math.e)


def _dot(a, b):
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jnp.dot(a, b, preferred_element_type=jnp.float32, precision=precision)


def _extents(looks, division, diagonal):
    """How much each row looks at each column, or is looked at by it; lists of (rows,) and (columns,)."""
    if not looks:
        return 1.0
    extents = sum(a[:, None] * b[None, :] for a, b in zip(looks, division, strict=True))
    return jnp.where(diagonal, 1.0, extents)


def _diagonal(i, j):
    rows = i * BLOCK + jax.lax.broadcasted_iota(jnp.int32, (BLOCK, BLOCK), 0)
    columns = j * BLOCK + jax.lax.broadcasted_iota(jnp.int32, (BLOCK, BLOCK), 1)
    return rows == columns


def _present(logits, j, n):
    """Logits with -inf at the columns that only fill the last block up."""
    if n % BLOCK == 0:
        return logits
    return jnp.where(j * BLOCK + jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1) < n, logits, -jnp.inf)


def _columns(ref, at):
    return [] if ref is None else [ref[c, at] for c in range(ref.shape[0])]


def _forward_kernel(q_ref, k_ref, v_ref, *refs, n, eps, divided):
    looks_ref, division_ref, out_ref, *row_refs = refs if divided else (None, None, *refs)
    i, d = pl.program_id(2), q_ref.shape[1]
    q, looks = q_ref[...], _columns(looks_ref, slice(None))

    def body(j, carry):
        out, values, peak, total = carry
        at = pl.ds(j * BLOCK, BLOCK)
        k, v = k_ref[at, :], v_ref[at, :]
        logits = _present(_dot(q, k.T) * _scale(d), j, n)
        # Over all keys, also those that are not looked at, as in relation.masked_softmax.
        higher = jnp.maximum(peak, jnp.max(logits, axis=1))
        shrink = jnp.exp2(peak - higher)
        weights = jnp.exp2(logits - higher[:, None]) * _extents(looks, _columns(division_ref, at), _diagonal(i, j))
        out = out * shrink[:, None] + _dot(weights.astype(v.dtype), v)
        total = total * shrink + jnp.sum(weights, axis=1)
        return out, values + jnp.sum(v.astype(jnp.float32), axis=0), higher, total

    start = (
        jnp.zeros((BLOCK, d), jnp.float32),
        jnp.zeros(d, jnp.float32),
        jnp.full(BLOCK, -jnp.inf, jnp.float32),
        jnp.zeros(BLOCK, jnp.float32),
    )
    out, values, peak, total = jax.lax.fori_loop(0, k_ref.shape[0] // BLOCK, body, start)
    total = total + eps
    out_ref[...] = ((out + (eps / n) * values[None, :]) / total[:, None]).astype(out_ref.dtype)
    if row_refs:
        row_refs[0][...], row_refs[1][...] = peak, total


def _backward(qkv, looks, division, out, peak, total, cotangent, eps, interpret):
    (batch, n, _, heads, d), choices = qkv.shape, looks.shape[1]
    # What the softmax's normalization takes off: sum_k w_ik g_ik of every row.
    taken = jnp.einsum("bnhd,bnhd->bhn", out, cotangent, preferred_element_type=jnp.float32)
    qkv, cotangent = _padded(qkv, 1), _padded(cotangent.astype(qkv.dtype), 1)
    looks, division, taken = _padded(looks, 2), _padded(division, 2), _padded(taken, 2)
    rows = qkv.shape[1]

    def blocks(*shape, index):
        return pl.BlockSpec((None, *shape), index)

    def of_qkv(which, whole):
        return blocks(
            rows if whole else BLOCK, None, None, d, index=lambda b, h, i: (b, 0 if whole else i, which, h, 0)
        )

    def of_rows(whole):
        return blocks(None, rows if whole else BLOCK, index=lambda b, h, i: (b, h, 0 if whole else i))

    def of_choices(whole):
        return blocks(choices, rows if whole else BLOCK, index=lambda b, h, i: (b, 0, 0 if whole else i))

    def of_out(whole):
        return blocks(rows if whole else BLOCK, None, d, index=lambda b, h, i: (b, 0 if whole else i, h, 0))

    inputs = [of_qkv(which, whole) for whole in (False, True) for which in range(3)]
    inputs += [of_out(False), of_out(True), *(of_rows(False) for _ in range(3)), *(of_rows(True) for _ in range(3))]
    divisions = (looks, division) * 2 if choices else ()
    inputs += [of_choices(whole) for whole in (False, True) for _ in range(2)][: len(divisions)]
    of_heads = blocks(None, choices, BLOCK, index=lambda b, h, i: (b, h, 0, i))
    gradient = jax.ShapeDtypeStruct((batch, heads, choices, rows), jnp.float32)
    rows_of = (peak, 1.0 / total, taken)
    d_qkv, *d_divisions = pl.pallas_call(
        functools.partial(_backward_kernel, n=n, eps=eps, divided=bool(choices)),
        grid=(batch, heads, rows // BLOCK),
        in_specs=inputs,
        out_shape=[jax.ShapeDtypeStruct(qkv.shape, qkv.dtype), *[gradient] * (2 * bool(choices))],
        out_specs=[
            blocks(BLOCK, 3, None, d, index=lambda b, h, i: (b, i, 0, h, 0)),
            *[of_heads] * (2 * bool(choices)),
        ],
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=3),
        interpret=interpret,
        name="divided_attention_backward",
    )(*[qkv] * 6, cotangent, cotangent, *rows_of, *rows_of, *divisions)
    d_divisions = [jnp.sum(each, axis=1)[..., :n] for each in d_divisions] or [looks[..., :n], division[..., :n]]
    return d_qkv[:, :n], *d_divisions


def _backward_kernel(
    q_ref, k_ref, v_ref, all_q_ref, all_k_ref, all_v_ref, cotangent_ref, all_cotangent_ref,
    peak_ref, inverse_ref, taken_ref, all_peak_ref, all_inverse_ref, all_taken_ref,
    *refs, n, eps, divided,
):  # fmt: skip
    looks_ref, division_ref, all_looks_ref, all_division_ref, *refs = refs if divided else (*[None] * 4, *refs)
    d_qkv_ref, *d_refs = refs
    i, (_, d), dtype = pl.program_id(2), q_ref.shape, q_ref.dtype
    steps = all_q_ref.shape[0] // BLOCK
    choices = looks_ref.shape[0] if divided else 0
    nothing, none = jnp.zeros((BLOCK, d), jnp.float32), [jnp.zeros(BLOCK, jnp.float32) for _ in range(choices)]

    # This block as queries: rows are queries, columns keys.
    q, cotangent, looks = q_ref[...], cotangent_ref[...], _columns(looks_ref, slice(None))
    peak, inverse, taken = peak_ref[...], inverse_ref[...], taken_ref[...]

    def of_queries(j, carry):
        d_q, d_looks = carry
        at = pl.ds(j * BLOCK, BLOCK)
        k, v, division = all_k_ref[at, :], all_v_ref[at, :], _columns(all_division_ref, at)
        diagonal = _diagonal(i, j)
        shifted = jnp.exp2(_present(_dot(q, k.T) * _scale(d), j, n) - peak[:, None])
        d_extents = shifted * ((_dot(cotangent, v.T) - taken[:, None]) * inverse[:, None])
        d_logits = d_extents * _extents(looks, division, diagonal)
        d_extents = jnp.where(diagonal, 0.0, d_extents)
        d_looks = [old + jnp.sum(d_extents * c[None, :], axis=1) for old, c in zip(d_looks, division, strict=True)]
        return d_q + _dot(d_logits.astype(dtype), k), d_looks

    d_q, d_looks = jax.lax.fori_loop(0, steps, of_queries, (nothing, none))

    # This block as keys: rows are keys, columns queries.
    k, v, division = k_ref[...], v_ref[...], _columns(division_ref, slice(None))

    def of_keys(j, carry):
        d_k, d_v, d_division = carry
        at = pl.ds(j * BLOCK, BLOCK)
        q, cotangent, looks = all_q_ref[at, :], all_cotangent_ref[at, :], _columns(all_looks_ref, at)
        peak, inverse, taken = all_peak_ref[at], all_inverse_ref[at], all_taken_ref[at]
        diagonal = _diagonal(i, j)
        extents = _extents(division, looks, diagonal)
        shifted = jnp.exp2(_dot(k, q.T) * _scale(d) - peak[None, :])
        weights = (shifted * extents + eps / n) * inverse[None, :]
        d_v = d_v + _dot(weights.astype(dtype), cotangent)
        d_extents = shifted * ((_dot(v, cotangent.T) - taken[None, :]) * inverse[None, :])
        d_k = d_k + _dot((d_extents * extents).astype(dtype), q)
        d_extents = jnp.where(diagonal, 0.0, d_extents)
        sums = [old + jnp.sum(d_extents * c[None, :], axis=1) for old, c in zip(d_division, looks, strict=True)]
        return d_k, d_v, sums

    d_k, d_v, d_division = jax.lax.fori_loop(0, steps, of_keys, (nothing, nothing, none))
    natural = d**-0.5
    d_qkv_ref[:, 0, :], d_qkv_ref[:, 1, :] = (d_q * natural).astype(dtype), (d_k * natural).astype(dtype)
    d_qkv_ref[:, 2, :] = d_v.astype(dtype)
    for c in range(choices):
        d_refs[0][c, :], d_refs[1][c, :] = d_looks[c], d_division[c]
