"""LayerNorm beside a residual stream in one kernel each way: x is read once forward, and once with its gradients back.

Written with Pallas for NVIDIA cards (Triton); it can be interpreted elsewhere, as the tests do.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jax.sharding import PartitionSpec as P

from trackers.nn import placement

# Rows that a program takes at once, and rows of one program of the backward pass, which adds up their gradients.
# Triton's arrays are powers of 2 wide, and so are blocks: past the width (`there`) nothing is read or written.
ROWS = 4
ROWS_BACK = 64


def norm_beside(x, scale, bias, eps, interpret=False):
    """LayerNorm of a residual stream, computed in float32.

    The stream comes back too: what reads that copy adds its gradient inside the kernel.

    Args:
      x: (B,N,D). scale, bias: (D,) float32. eps: added to the variance. interpret: run without a GPU.

    Returns: (x, the normalized (B,N,D) in x's dtype).
    """
    run = functools.partial(_norm, eps=eps, interpret=interpret)
    if placement.is_split():
        # XLA cannot split a kernel that it does not know.
        rows = P(placement.BATCH_AXES)
        run = jax.shard_map(run, in_specs=(rows, P(), P()), out_specs=(rows, rows), check_vma=False)
    return run(x, scale, bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _norm(x, scale, bias, eps, interpret):
    return x, _forward(x, scale, bias, eps, interpret)[0]


def _norm_forward(x, scale, bias, eps, interpret):
    y, mean, inverse = _forward(x, scale, bias, eps, interpret)
    return (x, y), (x, scale, mean, inverse)


def _norm_backward(eps, interpret, kept, cotangents):
    del eps
    return _backward(*kept, *cotangents, interpret)


_norm.defvjp(_norm_forward, _norm_backward)


def _rows(x, multiple):
    """x (B,N,D) as (R,D), with rows of zeros up to a multiple."""
    x = x.reshape(-1, x.shape[-1])
    missing = -x.shape[0] % multiple
    return jnp.pad(x, ((0, missing), (0, 0))) if missing else x


def _forward(x, scale, bias, eps, interpret):
    shape, rows = x.shape, _rows(x, ROWS)
    (count, width), columns = rows.shape, pl.next_power_of_2(x.shape[-1])
    whole, of_rows = pl.BlockSpec((columns,), lambda i: (0,)), pl.BlockSpec((ROWS,), lambda i: (i,))
    block = pl.BlockSpec((ROWS, columns), lambda i: (i, 0))
    statistic = jax.ShapeDtypeStruct((count,), jnp.float32)
    y, mean, inverse = pl.pallas_call(
        functools.partial(_forward_kernel, width=width, eps=eps),
        grid=(count // ROWS,),
        in_specs=[block, whole, whole],
        out_shape=[jax.ShapeDtypeStruct(rows.shape, x.dtype), statistic, statistic],
        out_specs=[block, of_rows, of_rows],
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=1),
        interpret=interpret,
        name="norm",
    )(rows, scale, bias)
    return y[: shape[0] * shape[1]].reshape(shape), mean, inverse


def _forward_kernel(x_ref, scale_ref, bias_ref, y_ref, mean_ref, inverse_ref, *, width, eps):
    there = jnp.arange(x_ref.shape[1]) < width
    x = triton.load(x_ref.at[...], mask=there[None, :], other=0.0).astype(jnp.float32)
    mean = jnp.sum(x, axis=1) / width
    centered = jnp.where(there[None, :], x - mean[:, None], 0.0)
    inverse = jax.lax.rsqrt(jnp.sum(centered * centered, axis=1) / width + eps)
    scale, bias = (triton.load(ref.at[...], mask=there, other=0.0) for ref in (scale_ref, bias_ref))
    y = centered * inverse[:, None] * scale[None, :] + bias[None, :]
    triton.store(y_ref.at[...], y.astype(y_ref.dtype), mask=there[None, :])
    mean_ref[...], inverse_ref[...] = mean, inverse


def _backward(x, scale, mean, inverse, of_stream, of_y, interpret):
    shape, width = x.shape, x.shape[-1]
    x, of_stream, of_y = (_rows(array, ROWS_BACK) for array in (x, of_stream.astype(x.dtype), of_y))
    count, columns = x.shape[0], pl.next_power_of_2(width)
    mean, inverse = (jnp.pad(values, (0, count - values.shape[0])) for values in (mean, inverse))
    block, of_rows = pl.BlockSpec((ROWS_BACK, columns), lambda i: (i, 0)), pl.BlockSpec((ROWS_BACK,), lambda i: (i,))
    sums = jax.ShapeDtypeStruct((count // ROWS_BACK, width), jnp.float32)
    of_program = pl.BlockSpec((None, columns), lambda i: (i, 0))
    of_x, of_scale, of_bias = pl.pallas_call(
        functools.partial(_backward_kernel, width=width),
        grid=(count // ROWS_BACK,),
        in_specs=[block, pl.BlockSpec((columns,), lambda i: (0,)), of_rows, of_rows, block, block],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype), sums, sums],
        out_specs=[block, of_program, of_program],
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=1),
        interpret=interpret,
        name="norm_backward",
    )(x, scale, mean, inverse, of_stream, of_y)
    of_x = of_x[: shape[0] * shape[1]].reshape(shape)
    return of_x, jnp.sum(of_scale, axis=0), jnp.sum(of_bias, axis=0)


def _backward_kernel(
    x_ref, scale_ref, mean_ref, inverse_ref, of_stream_ref, of_y_ref, of_x_ref, of_scale_ref, of_bias_ref,
    *, width,
):  # fmt: skip
    columns = x_ref.shape[1]
    there = jnp.arange(columns) < width
    scale = triton.load(scale_ref.at[...], mask=there, other=0.0)

    def rows(i, sums):
        mine = pl.ds(i * ROWS, ROWS)
        x, of_stream, of_y = (
            triton.load(ref.at[mine, :], mask=there[None, :], other=0.0).astype(jnp.float32)
            for ref in (x_ref, of_stream_ref, of_y_ref)
        )
        inverse = inverse_ref[mine][:, None]
        normal = jnp.where(there[None, :], (x - mean_ref[mine][:, None]) * inverse, 0.0)
        scaled = of_y * scale[None, :]
        along = jnp.sum(scaled * normal, axis=1)[:, None] / width
        of_x = (scaled - jnp.sum(scaled, axis=1)[:, None] / width - normal * along) * inverse + of_stream
        triton.store(of_x_ref.at[mine, :], of_x.astype(of_x_ref.dtype), mask=there[None, :])
        return sums[0] + jnp.sum(of_y * normal, axis=0), sums[1] + jnp.sum(of_y, axis=0)

    nothing = jnp.zeros(columns, jnp.float32)
    of_scale, of_bias = jax.lax.fori_loop(0, ROWS_BACK // ROWS, rows, (nothing, nothing))
    triton.store(of_scale_ref.at[...], of_scale, mask=there)
    triton.store(of_bias_ref.at[...], of_bias, mask=there)
