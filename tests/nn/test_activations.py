"""The GELU of 16 bits against float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trackers.nn import activations

X = np.linspace(-9, 9, 2001)
SHARE = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in X])


def test_share_of_a_normal_distribution():
    share, bell = activations._normal_share(jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(share, SHARE, atol=2e-7)
    np.testing.assert_allclose(bell, np.exp(-X * X / 2), atol=2e-7)


@pytest.mark.parametrize("dtype, rounding", [("bfloat16", 2**-8), ("float16", 2**-11), ("float32", 2**-20)])
def test_values_and_slopes(dtype, rounding):
    x = jnp.asarray(X, dtype)
    exact = np.asarray(x, np.float64)
    share = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in exact])
    slope = share + exact * np.exp(-exact * exact / 2) / math.sqrt(2 * math.pi)
    values, pullback = jax.vjp(activations.gelu, x)
    assert values.dtype == dtype
    np.testing.assert_allclose(np.asarray(values, np.float64), exact * share, rtol=rounding, atol=2e-6)
    np.testing.assert_allclose(np.asarray(pullback(jnp.ones_like(x))[0], np.float64), slope, rtol=rounding, atol=2e-6)


def test_nothing_but_the_input_is_kept():
    x = jnp.zeros((8, 16), jnp.bfloat16)
    kept = jax.tree.leaves(jax.vjp(activations.gelu, x)[1])
    assert [leaf.shape for leaf in kept if leaf.ndim] == [(8, 16)]
