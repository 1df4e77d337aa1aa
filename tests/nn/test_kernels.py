"""What a device is best given."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from configs import grm
from trackers.nn import kernels
from trackers.training import sharding


def traced_for(platform, function):
    """The result of a function under a mesh of devices of that platform."""
    device = AbstractDevice(device_kind=platform, num_cores=None, platform=platform)
    mesh = AbstractMesh((1, 1, 1), sharding.AXES, axis_types=(AxisType.Auto,) * 3, abstract_device=device)
    return sharding.under(types.SimpleNamespace(abstract_mesh=mesh), function)()


def test_auto_is_float32_on_a_cpu_and_bfloat16_elsewhere():
    assert kernels.compute_dtype("auto") == jnp.float32
    assert traced_for("cpu", lambda: kernels.compute_dtype("auto")) == jnp.float32
    assert traced_for("tpu", lambda: kernels.compute_dtype("auto")) == jnp.bfloat16
    assert traced_for("cuda", lambda: kernels.compute_dtype("bfloat16")) == jnp.bfloat16
    with pytest.raises(ValueError, match="model.dtype must be one of"):
        kernels.compute_dtype("bf16")


def test_layers_are_stacked_on_a_tpu_alone():
    assert not kernels.stacks_layers(None) and not kernels.stacks_layers(None, "gpu")
    assert traced_for("tpu", lambda: kernels.stacks_layers(None))
    assert not traced_for("cuda", lambda: kernels.stacks_layers(None))
    assert traced_for("cuda", lambda: kernels.stacks_layers(True)) and not kernels.stacks_layers(False, "tpu")


@pytest.mark.parametrize("platform, stacked", [("cpu", False), ("tpu", True), ("gpu", False)])
def test_a_published_size_is_laid_out_for_the_devices_of_the_mesh(platform, stacked):
    mesh = types.SimpleNamespace(devices=np.array([[types.SimpleNamespace(platform=platform)]], object))
    assert sharding.model_on(mesh, grm.get_config("b256").model).scan_layers == stacked
    assert sharding.model_on(mesh, grm.get_config("tiny").model).scan_layers is False


def test_a_card_need_not_be_here():
    """A program may be planned for a card on a machine without one: its kernels are compiled there, too."""
    assert traced_for("cuda", lambda: kernels.on_gpu("auto", jnp.zeros(8, jnp.bfloat16)))
    assert not traced_for("cuda", lambda: kernels.on_gpu("auto", jnp.zeros(8)))
    assert not traced_for("cpu", lambda: kernels.on_gpu("auto", jnp.zeros(8, jnp.bfloat16)))


def test_attention_takes_a_scale_and_may_be_causal():
    q, k, v = (jax.random.normal(key, (1, 5, 2, 8)) for key in jax.random.split(jax.random.key(0), 3))
    logits = jnp.einsum("bnhd,bmhd->bhnm", q, k) * 0.5
    logits = jnp.where(jnp.tri(5, dtype=bool), logits, -jnp.inf)
    expected = jnp.einsum("bhnm,bmhd->bnhd", jax.nn.softmax(logits), v)
    got = kernels.attention(q, k, v, scale=0.5, causal=True)
    assert float(jnp.abs(got - expected).max()) < 1e-5


@pytest.mark.parametrize(
    ("queries", "keys", "causal"), [(5, 5, True), (5, 5, False), (4, 7, False), (3, 6, False), (4, 4, True)]
)
def test_odd_numbers_of_tokens_are_filled_up_and_change_nothing(queries, keys, causal):
    """Values and gradients; on the CPU, as cuDNN would be told it."""
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.standard_normal((2, n, 3, 8)), jnp.float32) for n in (queries, keys, keys))
    weights = jnp.asarray(rng.standard_normal(q.shape), jnp.float32)

    def loss(attend, *arrays):
        return jnp.sum(weights * attend(*arrays, is_causal=causal, implementation="xla"))

    attended, plain = (
        jax.value_and_grad(functools.partial(loss, attend), argnums=(0, 1, 2))(q, k, v)
        for attend in (kernels.even_attention, jax.nn.dot_product_attention)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), attended, plain)
    taken = jax.eval_shape(functools.partial(kernels.even_attention, is_causal=causal), q, k, v)
    assert taken.shape == q.shape
