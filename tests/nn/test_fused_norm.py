"""LayerNorm beside a residual stream in one kernel, against flax: values and every gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.nn import cards
from trackers.nn import fused_norm
from trackers.nn.blocks import StreamNorm

EPS = 1e-6


def case(shape, dtype=jnp.float32):
    """(x, scale, bias), (cotangent of the stream, of the normalized)."""
    keys = jax.random.split(jax.random.key(0), 5)
    scale, bias = 1 + 0.3 * jax.random.normal(keys[1], shape[-1:]), jax.random.normal(keys[2], shape[-1:])
    x, *cotangents = (jax.random.normal(key, shape).astype(dtype) for key in (keys[0], *keys[3:]))
    return (3 * x + 1, scale, bias), tuple(cotangents)


def flax(x, scale, bias):
    norm = nn.LayerNorm(epsilon=EPS, dtype=jnp.float32, use_fast_variance=False)
    return x, norm.apply({"params": {"scale": scale, "bias": bias}}, x).astype(x.dtype)


def fused(x, scale, bias):
    return fused_norm.norm_beside(x, scale, bias, EPS, interpret=True)


# Widths that fill the kernel's columns and that don't, rows that fill its blocks and that don't.
@pytest.mark.parametrize("shape", [(2, 33, 48), (2, 64, 64), (1, 20, 768)])
@pytest.mark.parametrize("dtype, atol", [("float32", 2e-6), ("bfloat16", 0.02)])
def test_equals_flax(shape, dtype, atol):
    arrays, cotangents = case(shape, dtype)
    (got, back), (right, right_back) = jax.vjp(fused, *arrays), jax.vjp(flax, *arrays)
    for one, other in zip((*got, *back(cotangents)), (*right, *right_back(cotangents)), strict=True):
        assert one.dtype == other.dtype
        one, other = (np.asarray(array, np.float32) for array in (one, other))
        np.testing.assert_allclose(one, other, atol=atol * np.abs(other).max())


def test_module_equals_flax():
    (x, scale, bias), _ = case((2, 9, 48))
    variables = {"params": {"scale": scale, "bias": bias}}
    stream, normal = StreamNorm(EPS).apply(variables, x)
    np.testing.assert_array_equal(stream, x)
    np.testing.assert_allclose(normal, flax(x, scale, bias)[1], atol=1e-6)


def test_lowers_for_nvidia_cards():
    def loss(x, scale, bias):
        return sum(array.astype(jnp.float32).sum() for array in fused_norm.norm_beside(x, scale, bias, EPS))

    width = jax.ShapeDtypeStruct((768,), jnp.float32)
    shapes = jax.ShapeDtypeStruct((4, 320, 768), jnp.bfloat16), width, width
    text = cards.nvidia_program(jax.grad(loss, (0, 1, 2)), *shapes)
    assert "norm_backward" in text
