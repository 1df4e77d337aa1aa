"""The kernel of the learned division against float64 and against the einsum path: values and every gradient."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn import cards
from tests.training import support
from trackers.nn import fused_attention, kernels, relation

EPS = 1e-6


def case(n=100, heads=2, size=16, continuous=False, scale=1.5, batch=2, categories=3):
    """(qkv (B,N,3,H,d), division (B,N,C), cotangent (B,N,H,d)), float32."""
    keys = jax.random.split(jax.random.key(n), 3)
    division = jax.nn.softmax(3 * jax.random.normal(keys[1], (batch, n, categories)))
    if not continuous:
        division = jax.nn.one_hot(jnp.argmax(division, axis=-1), categories)
    qkv = scale * jax.random.normal(keys[0], (batch, n, 3, heads, size))
    return qkv, division, jax.random.normal(keys[2], (batch, n, heads, size))


def fused(qkv, division):
    looks = relation.looks(division, matrix_of(division))
    return fused_attention.divided_attention(qkv, looks, division, EPS, interpret=True)


def plain(qkv, division):
    mask = relation.attention_mask(division, matrix_of(division))
    return relation.masked_attention(*jnp.moveaxis(qkv, 2, 0), mask)


def matrix_of(division):
    """GRM's R, or its prototype's where there are four categories."""
    return {3: relation.GRM_RELATION, 4: relation.PROTOTYPE_RELATION}[division.shape[-1]]


def in_float64(qkv, division, cotangent):
    """(output, gradient of qkv, gradient of the division), from the softmax's own formulas."""
    qkv, division, cotangent = (np.asarray(array, np.float64) for array in (qkv, division, cotangent))
    (_, n, _, _, size), matrix = qkv.shape, np.array(matrix_of(division), np.float64)
    q, k, v = np.moveaxis(qkv, 2, 0)
    mask = np.einsum("bnc,cd,bmd->bnm", division, matrix, division)
    mask[:, range(n), range(n)] = 1
    logits = np.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(size)
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    total = (shifted * mask[:, None]).sum(axis=-1, keepdims=True) + EPS
    weights = (shifted * mask[:, None] + EPS / n) / total
    of_weights = np.einsum("bnhd,bmhd->bhnm", cotangent, v)
    of_mask = shifted / total * (of_weights - (weights * of_weights).sum(axis=-1, keepdims=True))
    of_logits = of_mask * mask[:, None] / np.sqrt(size)
    of_qkv = [
        np.einsum("bhnm,bmhd->bnhd", of_logits, k),
        np.einsum("bhnm,bnhd->bmhd", of_logits, q),
        np.einsum("bhnm,bnhd->bmhd", weights, cotangent),
    ]
    of_mask = of_mask.sum(axis=1) * (1 - np.eye(n))
    of_division = of_mask @ division @ matrix.T + np.swapaxes(of_mask, 1, 2) @ division @ matrix
    return np.einsum("bhnm,bmhd->bnhd", weights, v), np.stack(of_qkv, axis=2), of_division


@pytest.mark.parametrize("attend", [fused, plain])
@pytest.mark.parametrize(
    "n, continuous, scale, categories",
    [(64, False, 1.5, 3), (100, False, 1.5, 3), (100, True, 1.5, 3), (40, True, 6, 3), (40, False, 1.5, 4)],
)
def test_equals_float64(attend, n, continuous, scale, categories):
    qkv, division, cotangent = case(n, continuous=continuous, scale=scale, categories=categories)
    out, pullback = jax.vjp(attend, qkv, division)
    got, right = (out, *pullback(cotangent)), in_float64(qkv, division, cotangent)
    for one, other in zip(got, right, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5 * np.abs(other).max())


def test_forbidden_pairs_have_a_gradient():
    """A token that nobody may look at would gain or lose by being looked at."""
    qkv, division, cotangent = case(64)
    division = jax.nn.one_hot(jnp.broadcast_to(jnp.arange(64) % 2, (2, 64)), 3)
    gradient = jax.vjp(fused, qkv, division)[1](cotangent)[1]
    assert float(jnp.abs(gradient[..., relation.ALL]).min()) > 0


def test_in_bfloat16_it_equals_the_einsum_path_to_its_rounding():
    qkv, division, cotangent = case(64)
    right, of_right = jax.vjp(plain, qkv, division)
    got, of_got = jax.vjp(fused, qkv.astype(jnp.bfloat16), division)
    assert got.dtype == jnp.bfloat16
    pairs = [(got, right), *zip(of_got(cotangent.astype(jnp.bfloat16)), of_right(cotangent), strict=True)]
    for one, other in pairs:
        np.testing.assert_allclose(one.astype(jnp.float32), other, atol=0.03 * float(jnp.abs(other).max()))


def test_keys_that_fill_up_the_last_block_are_not_seen():
    """Logits so low that a padded key's 0 would be far above them all."""
    qkv, division, cotangent = case(40)
    qkv = qkv.at[:, :, 0].set(30.0).at[:, :, 1].set(-30.0)
    out, pullback = jax.vjp(fused, qkv, division)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in (out, *pullback(cotangent)))
    np.testing.assert_allclose(out, plain(qkv, division), atol=1e-5)


def test_without_categories_all_look_at_all():
    qkv, _, cotangent = case(100)
    nothing = jnp.zeros((2, 100, 0))
    out, pullback = jax.vjp(lambda x: fused_attention.divided_attention(x, nothing, nothing, 0.0, True), qkv)
    right, of_right = jax.vjp(lambda x: jax.nn.dot_product_attention(*jnp.moveaxis(x, 2, 0)), qkv)
    np.testing.assert_allclose(out, right, atol=1e-5)
    np.testing.assert_allclose(pullback(cotangent)[0], of_right(cotangent)[0], atol=1e-4)


@pytest.mark.parametrize("categories", [3, 4])
def test_lowers_for_nvidia_cards_and_writes_no_weights(categories):
    """The program that a card would run has no array of (tokens, tokens)."""

    def loss(qkv, division):
        looks = relation.looks(division, matrix_of(division))
        return fused_attention.divided_attention(qkv, looks, division).astype(jnp.float32).sum()

    division = jax.ShapeDtypeStruct((4, 320, categories), jnp.float32)
    shapes = jax.ShapeDtypeStruct((4, 320, 3, 12, 64), jnp.bfloat16), division
    text = cards.nvidia_program(jax.grad(loss, (0, 1)), *shapes)
    assert text.count("divided_attention") >= 2
    assert "320x320" not in text


def test_on_a_cpu_the_plain_way_is_taken():
    qkv = jnp.zeros((1, 64, 3, 2, 16), jnp.bfloat16)
    assert not kernels.fuses_division("auto", qkv)
    with pytest.raises(ValueError, match="model.kernels is fused"):
        kernels.fuses_division("fused", qkv)
    with pytest.raises(ValueError, match="model.kernels must be one of"):
        kernels.check("fast")


SPLIT = """
import jax, numpy as np
from tests.nn import test_fused_attention as attention, test_fused_norm as norm
from trackers.training import sharding

mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
for function, (inputs, cotangent) in (
    (attention.fused, (attention.case(40, batch=8)[:2], attention.case(40, batch=8)[2])),
    (norm.fused, norm.case((8, 12, 48))),
):
    def gradients(inputs, cotangent, function=function):
        out, pullback = jax.vjp(function, *inputs)
        return out, pullback(cotangent)
    one = jax.jit(gradients)(inputs, cotangent)
    on_mesh = jax.device_put((inputs, cotangent), sharding.replicated(mesh))
    split = jax.jit(sharding.under(mesh, gradients))(*on_mesh)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(split), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(a).max())
print("equal")
"""


def test_split_over_devices_it_is_the_same():
    """The kernels of attention and norm, on a mesh of eight devices that splits batch and heads."""
    command = [sys.executable, "-c", SPLIT]
    where = {"env": support.environ(8), "cwd": support.ROOT}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **where)
    assert done.stdout.strip() == "equal", done.stderr[-3000:]
