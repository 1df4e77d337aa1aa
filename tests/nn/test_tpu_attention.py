"""The kernel for TPUs, interpreted: against float64 and XLA's attention, values and every gradient."""

import importlib.util
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from tests.nn import test_fused_attention as fused_tests
from trackers.nn import kernels, relation, tpu_attention
from trackers.training import sharding

EPS = fused_tests.EPS


def divided(qkv, division):
    looks = relation.looks(division, fused_tests.matrix_of(division))
    return tpu_attention.attention((qkv,), (looks, division), eps=EPS, interpret=True)


@pytest.mark.parametrize(
    "n, heads, size, continuous, scale, categories",
    [(40, 4, 64, False, 1.5, 3), (24, 4, 32, True, 6, 3), (24, 2, 64, True, 1.5, 4), (24, 3, 64, False, 1.5, 3)],
)
def test_under_a_division_equals_float64(n, heads, size, continuous, scale, categories):
    case = fused_tests.case(n, heads, size, continuous, scale, categories=categories)
    out, pullback = jax.vjp(divided, *case[:2])
    got, right = (out, *pullback(case[2])), fused_tests.in_float64(*case)
    for one, other in zip(got, right, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5 * np.abs(other).max())


def test_forbidden_pairs_have_a_gradient():
    qkv, _, cotangent = fused_tests.case(24, 2, 64)
    division = jax.nn.one_hot(jnp.broadcast_to(jnp.arange(24) % 2, (2, 24)), 3)
    gradient = jax.vjp(divided, qkv, division)[1](cotangent)[1]
    assert float(jnp.abs(gradient[..., relation.ALL]).min()) > 0


def in_float64(q, k, v, cotangent, scale, causal):
    """(output, gradients of queries, keys and values) by the softmax's own formulas."""
    q, k, v, cotangent = (np.asarray(each, np.float64) for each in (q, k, v, cotangent))
    logits = np.einsum("bnhd,bmhd->bhnm", q, k) * scale
    if causal:
        logits = np.where(np.tri(*logits.shape[2:], dtype=bool), logits, -np.inf)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    of_weights = np.einsum("bnhd,bmhd->bhnm", cotangent, v)
    of_logits = weights * (of_weights - (weights * of_weights).sum(axis=-1, keepdims=True)) * scale
    of_q, of_k = np.einsum("bhnm,bmhd->bnhd", of_logits, k), np.einsum("bhnm,bnhd->bmhd", of_logits, q)
    of_v = np.einsum("bhnm,bnhd->bmhd", weights, cotangent)
    return np.einsum("bhnm,bmhd->bnhd", weights, v), of_q, of_k, of_v


@pytest.mark.parametrize(
    "queries, keys, heads, scale, causal", [(24, 40, 4, None, False), (40, 40, 4, 0.3, True), (24, 40, 5, None, False)]
)
def test_without_a_division_equals_float64(queries, keys, heads, scale, causal):
    places = jax.random.split(jax.random.key(0), 4)
    shapes = (queries, keys, keys, queries)
    *arrays, cotangent = (jax.random.normal(key, (2, n, heads, 64)) for key, n in zip(places, shapes, strict=True))

    def attend(q, k, v):
        return tpu_attention.attention((q, k, v), scale=scale, causal=causal, interpret=True)

    out, pullback = jax.vjp(attend, *arrays)
    right = in_float64(*arrays, cotangent, scale or 1 / 8, causal)
    for one, other in zip((out, *pullback(cotangent)), right, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


def test_of_one_array_it_is_the_same_and_in_bfloat16_to_its_rounding():
    qkv, _, cotangent = fused_tests.case(24, 2, 64)

    def packed(qkv):
        return tpu_attention.attention((qkv,), interpret=True)

    right = in_float64(*jnp.moveaxis(qkv, 2, 0), cotangent, 1 / 8, False)
    for dtype, tolerance in ((jnp.float32, 1e-5), (jnp.bfloat16, 0.03)):
        out, pullback = jax.vjp(packed, qkv.astype(dtype))
        assert out.dtype == dtype
        pairs = (out, right[0]), (pullback(cotangent.astype(dtype))[0], np.stack(right[1:], axis=2))
        for one, other in pairs:
            np.testing.assert_allclose(one.astype(jnp.float32), other, atol=tolerance * np.abs(other).max())


def test_samples_one_by_one_under_vmap():
    """As sequences are tracked in lockstep."""
    qkv, division, _ = fused_tests.case(24, 2, 64)
    each = jax.vmap(lambda qkv, division: divided(qkv[None], division[None])[0])(qkv, division)
    np.testing.assert_allclose(each, divided(qkv, division), atol=1e-6)


def traced_for_a_tpu(function):
    device = AbstractDevice(device_kind="TPU v5 lite", num_cores=1, platform="tpu")
    mesh = AbstractMesh((1, 1, 1), sharding.AXES, axis_types=(AxisType.Auto,) * 3, abstract_device=device)
    return sharding.under(types.SimpleNamespace(abstract_mesh=mesh), function)()


@pytest.mark.parametrize(
    "kernel, dtype, n, heads, size, taken",
    [
        ("auto", jnp.bfloat16, 320, 12, 64, True),
        ("auto", jnp.bfloat16, 500, 16, 64, True),
        ("plain", jnp.bfloat16, 320, 12, 64, False),
        ("auto", jnp.float32, 320, 12, 64, False),
        ("auto", jnp.bfloat16, 900, 12, 64, False),  # all pairs do not fit
        ("auto", jnp.bfloat16, 50, 12, 64, False),  # too few to pay
        ("auto", jnp.bfloat16, 320, 3, 64, True),  # half a register is filled up
        ("auto", jnp.bfloat16, 320, 2, 96, False),
    ],
)
def test_what_a_tpu_is_given(kernel, dtype, n, heads, size, taken):
    qkv = jax.ShapeDtypeStruct((1, n, 3, heads, size), dtype)
    assert traced_for_a_tpu(lambda: kernels.fuses_division(kernel, qkv)) == taken
    assert not traced_for_a_tpu(lambda: kernels.on_gpu(kernel, qkv))
    text = traced_for_a_tpu(lambda: str(jax.make_jaxpr(lambda x: kernels.self_attention(x, kernel))(qkv)))
    assert ("tpu_attention" in text) == taken


def test_fused_in_float32_is_refused():
    with pytest.raises(ValueError, match="there is no fused attention for float32 on tpu"):
        traced_for_a_tpu(lambda: kernels.fuses_division("fused", jax.ShapeDtypeStruct((1, 320, 3, 2, 64), jnp.float32)))


def test_a_mesh_splits_samples_and_heads():
    """Traced for eight chips, a chip gets a quarter of the samples and half of the heads."""
    mesh = AbstractMesh((2, 2, 2), sharding.AXES, axis_types=(AxisType.Auto,) * 3)
    shapes = jax.ShapeDtypeStruct((8, 128, 3, 4, 64), jnp.bfloat16), jax.ShapeDtypeStruct((8, 128, 3), jnp.float32)
    under = sharding.under(types.SimpleNamespace(abstract_mesh=mesh), lambda: str(jax.make_jaxpr(divided)(*shapes)))
    text = under()
    assert "bf16[2,128,3,2,64]" in text and "bf16[8,128,4,64]" in text


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="pip install -r requirements/plan.txt")
@pytest.mark.slow
def test_their_compiler_takes_it():
    """Forward and backward, at the largest size that is offered to it."""
    from trackers.planning import topologies

    place = jax.sharding.SingleDeviceSharding(topologies.find("v5e:2x2").devices[0])
    n = tpu_attention.TOKENS[1]

    def both(qkv, division, cotangent):
        def attend(qkv, division):
            return tpu_attention.attention((qkv,), (relation.looks(division), division), eps=EPS)

        return jax.vjp(attend, qkv, division)[1](cotangent)

    shapes = ((2, n, 3, 4, 64), jnp.bfloat16), ((2, n, 3), jnp.float32), ((2, n, 4, 64), jnp.bfloat16)
    given = (jax.ShapeDtypeStruct(shape, dtype, sharding=place) for shape, dtype in shapes)
    text = jax.jit(both).lower(*given).compile().as_text()
    assert text.count("tpu_custom_call") == 1  # the backward pass keeps nothing of the forward one but its inputs
