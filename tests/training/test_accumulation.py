"""Batches taken in parts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import train
from tests.training import support
from trackers import objectives
from trackers.errors import UsageError
from trackers.training import accumulation, sharding, state

pytestmark = pytest.mark.usefixtures("compile_quickly")


def test_parts_are_strides():
    parts = accumulation.parts_of({"x": jnp.arange(12).reshape(6, 2)}, 3)
    np.testing.assert_array_equal(parts["x"][:, :, 0], [[0, 6], [2, 8], [4, 10]])


def _step(config, accumulate):
    """(state after a step, metrics) from given weights."""
    model, objective, optimizer = support.parts(config)
    step = functools.partial(train.train_step, objective=objective, optimizer=optimizer, accumulate=accumulate)
    batch = support.batch(config, 0, range(8))
    return jax.jit(step)(state.create(support.filled(model), optimizer), batch, jax.random.key(0))


def test_accumulated_step_of_a_network_equals_that_of_the_whole_batch():
    """MixFormerV2 normalizes layer by layer, so that a sample's loss depends on nothing but the sample. Parts add up in
    another order than the batch; Adam turns the sign of gradients near zero into steps of the learning rate, so that
    gradients are compared by their norm and the first moments, not the parameters."""
    config = support.mixformer_config(learning_rate=1e-3, clip_norm=1.0)
    config.model.drop_path = 0.0
    (whole, expected), (parts, scalars) = _step(config, 1), _step(config, 4)
    assert scalars.keys() == expected.keys()
    for name in expected.keys() - {"bad_leaf"}:
        np.testing.assert_allclose(scalars[name], expected[name], rtol=1e-5, err_msg=name)
    (mu, expected_mu) = (optax.tree.get(s.opt_state, "mu") for s in (parts, whole))
    for (name, here), there in zip(state.named_leaves(mu), jax.tree.leaves(expected_mu), strict=True):
        np.testing.assert_allclose(here, there, atol=1e-5 * np.abs(there).max() + 1e-9, err_msg=name)


class _Mean(objectives.Objective):
    """A mean of losses, statistics that move halfway to those of what is seen, noise."""

    def __call__(self, params, batch_stats, batch, rngs, **_):
        losses = batch["x"] @ params["w"]
        seen = 0.5 * (batch_stats["mean"] + batch["x"].mean())
        return losses.mean(), ({"loss": losses.mean(), "noise": jax.random.normal(rngs["gumbel"])}, {"mean": seen})


class _Sum(_Mean):
    reduction = "sum"

    def __call__(self, params, batch_stats, batch, rngs, **_):
        loss, (scalars, batch_stats) = super().__call__(params, batch_stats, batch, rngs)
        count = batch["x"].shape[0]
        return loss * count, ({**scalars, "loss": loss * count}, batch_stats)


@pytest.mark.parametrize(("objective", "factor"), [(_Mean(model=None), 1), (_Sum(model=None), 8)])
def test_means_and_sums(objective, factor):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((8, 3)), jnp.float32)
    optimizer = optax.sgd(1.0)
    before = state.create({"params": {"w": jnp.ones(3)}, "batch_stats": {"mean": jnp.float32(0)}}, optimizer)
    step = functools.partial(train.train_step, objective=objective, optimizer=optimizer, accumulate=4)
    after, scalars = step(before, {"x": x}, jax.random.key(0))
    np.testing.assert_allclose(before.params["w"] - after.params["w"], factor * x.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scalars["loss"], factor * x.sum(axis=1).mean(), rtol=1e-5)
    # Running statistics see one part after another.
    mean = 0.0
    for part in range(4):
        mean = 0.5 * (mean + x[part::4].mean())
    np.testing.assert_allclose(after.batch_stats["mean"], mean, rtol=1e-5)


def test_each_part_draws_its_own_noise():
    def loss(params, batch_stats, batch, rngs):
        noise = jax.random.normal(rngs["gumbel"], batch["x"].shape)
        return jnp.sum(params["w"] * noise), ({"loss": jnp.sum(noise)}, batch_stats)

    x, rngs = {"x": jnp.zeros((4, 3))}, {"gumbel": jax.random.key(1)}
    grads, _, _ = accumulation.gradients(loss, {"w": jnp.zeros(3)}, {}, x, rngs, parts=2, reduction="sum")
    drawn = [jax.random.normal(jax.random.fold_in(rngs["gumbel"], part), (2, 3)).sum(axis=0) for part in (0, 1)]
    assert not np.allclose(*drawn)
    np.testing.assert_allclose(grads["w"], sum(drawn), rtol=1e-5)


def test_a_batch_that_does_not_divide():
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    sharding.check_parts(mesh, 8, 4)
    with pytest.raises(UsageError, match="8 does not divide into config.accumulate=3 parts .* multiple of 3"):
        sharding.check_parts(mesh, 8, 3)
    with pytest.raises(UsageError, match="accumulate=0"):
        sharding.check_parts(mesh, 8, 0)
