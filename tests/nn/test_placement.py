"""Constraints on activations between blocks. What they do to a run: tests/training/test_devices.py."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

import trackers
from tests.training import support
from trackers.nn import placement
from trackers.training import sharding


def _on(shape, function):
    mesh = AbstractMesh(shape, sharding.AXES, axis_types=(AxisType.Auto,) * 3)  # as make_mesh's are
    return sharding.under(types.SimpleNamespace(abstract_mesh=mesh), function)


def test_nothing_is_done_without_a_mesh_or_on_one_device():
    x = jnp.ones((8, 3))
    assert placement.split_batch(x) is x
    assert _on((1, 1, 1), placement.split_batch)(x) is x


def test_the_batch_is_split_and_the_rest_whole():
    made = jax.make_jaxpr(_on((2, 2, 2), placement.split_batch))(jnp.ones((8, 3, 2)))
    (equation,) = made.eqns
    assert equation.primitive.name == "sharding_constraint"
    assert tuple(equation.params["sharding"].spec)[0] == ("data", "fsdp")
    assert not any(tuple(equation.params["sharding"].spec)[1:])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8, 5, 4, 16), (("data", "fsdp"), None, "tensor")),
        ((6, 5, 4, 16), (None, None, "tensor")),
        ((8, 5, 3, 16), (("data", "fsdp"), None, None)),
    ],
)
def test_heads_are_split_where_they_divide(shape, expected):
    x = jnp.ones(shape)
    assert placement.split_heads(x) is x
    (equation,) = jax.make_jaxpr(_on((2, 2, 2), placement.split_heads))(x).eqns
    spec = tuple(equation.params["sharding"].spec)
    assert (*spec, None, None, None)[:3] == expected


def test_every_block_of_a_tracker_is_constrained():
    config = support.small_config()
    model = trackers.build(config.model)
    inputs = [np.zeros(x.shape, x.dtype) for x in jax.eval_shape(lambda: trackers.example_inputs(model, 8))]
    variables = support.filled(model)
    on_mesh = jax.make_jaxpr(_on((2, 2, 2), model.apply))(variables, *inputs)
    # Before the blocks and after each of them.
    assert str(on_mesh).count("sharding_constraint[") == 1 + config.model.depth
    assert "sharding_constraint" not in str(jax.make_jaxpr(model.apply)(variables, *inputs))
