import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import grm, ikun, neural_kalman
from tests.training import support
from tests.training.support import small_config
from trackers.errors import UsageError
from trackers.training import schedules

# One leaf of each group, with the paths that the rules see.
PARAMS = {
    "encoder": {
        "blocks_1_11": {"mlp": {"fc1": {"kernel": 1.0}}, "division": {"logits": {"bias": 2.0}}},
        "position_search": 3.0,
    },
    "head": {"score": {"conv1": {"kernel": -1.5}}},
}


def _schedule(config):
    return schedules.schedule(config)


def test_published_schedule_steps_at_epoch_240_of_300():
    schedule = _schedule(grm.get_config("b256"))
    rate, epoch = schedule.learning_rate, schedule.epoch
    assert (epoch, schedule.total) == (468, 140400)
    np.testing.assert_allclose([rate(0), rate(240 * epoch - 1)], 4e-4, rtol=1e-6)
    np.testing.assert_allclose([rate(240 * epoch), rate(300 * epoch - 1)], 4e-5, rtol=1e-6)


def test_got10k_schedule_steps_at_epoch_80_of_100():
    schedule = _schedule(grm.get_config("b256_got10k"))
    rate, epoch = schedule.learning_rate, schedule.epoch
    assert schedule.total == 100 * epoch
    np.testing.assert_allclose([rate(80 * epoch - 1), rate(80 * epoch)], [4e-4, 4e-5], rtol=1e-6)


@pytest.mark.parametrize(("family", "kind"), [(grm, "pairs"), (ikun, "clips"), (neural_kalman, "trajectories")])
def test_an_epoch_is_counted_in_samples_of_the_data_kind(family, kind):
    config = family.get_config("tiny")
    assert config.data.name == kind and ("pairs_per_epoch" in config.data) == (kind == "pairs")
    config.data.update({f"{kind}_per_epoch": 7 * config.train.batch_size + 1, f"validation_{kind}": 1})
    course = _schedule(config)
    assert (course.epoch, course.validation) == (7, 1)
    config.data.name = "pears"
    with pytest.raises(UsageError, match="config.data.name is 'pears', but there is no config.data.pears_per_epoch"):
        _schedule(config)


def test_cosine_with_warmup():
    # 8 steps an epoch: 4 of warm-up, 24 in all.
    config = small_config(schedule="cosine", warmup_epochs=0.5, total_epochs=3, learning_rate=1.0)
    rate = _schedule(config).learning_rate
    np.testing.assert_allclose([rate(s) for s in range(4)], [0.25, 0.5, 0.75, 1.0], rtol=1e-6)
    expected = [0.5 * (1 + np.cos(np.pi * (s - 4) / 20)) for s in range(4, 25)]
    np.testing.assert_allclose([rate(s) for s in range(4, 25)], expected, atol=1e-6)


def test_unknown_schedule_is_named():
    with pytest.raises(UsageError, match="'linear': choose step or cosine"):
        _schedule(small_config(schedule="linear"))


def test_adamw_equals_hand_computed_steps():
    config = small_config(learning_rate=0.01, encoder_multiplier=0.1, weight_decay=0.3, clip_norm=0.5)
    optimizer = support.optimizer(config)
    factors = schedules.multipliers(PARAMS, schedules.multiplier_rules(0.1))
    assert factors == {
        "encoder": {
            "blocks_1_11": {"mlp": {"fc1": {"kernel": 0.1}}, "division": {"logits": {"bias": 1.0}}},
            "position_search": 0.1,
        },
        "head": {"score": {"conv1": {"kernel": 1.0}}},
    }
    params = jax.tree.map(jnp.float32, PARAMS)
    opt_state = optimizer.init(params)
    values, factors = (np.array(jax.tree.leaves(tree), np.float64) for tree in (PARAMS, factors))
    first, second = np.zeros(4), np.zeros(4)
    for t, raw in enumerate((np.array([3.0, -4.0, 0.0, 12.0]), np.array([0.1, 0.1, -0.2, 0.05])), start=1):
        grads = jax.tree.unflatten(jax.tree.structure(PARAMS), [jnp.float32(g) for g in raw])
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        g = raw * min(1.0, 0.5 / np.linalg.norm(raw))
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        step = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        values -= 0.01 * factors * (step + 0.3 * values)
        np.testing.assert_allclose(jax.tree.leaves(params), values, rtol=2e-6)


def test_rate_in_proportion_to_the_batch():
    config = grm.get_config("b256")
    config.train.batch_size, config.train.learning_rate_batch = 512, 128
    np.testing.assert_allclose(_schedule(config).learning_rate(0), 4 * 4e-4, rtol=1e-6)
    config.train.learning_rate_batch = 0
    np.testing.assert_allclose(_schedule(config).learning_rate(0), 4e-4, rtol=1e-6)


def test_first_moments_in_half_the_memory():
    params = jax.tree.map(jnp.float32, PARAMS)
    opt_state = support.optimizer(small_config(moment_dtype="bfloat16")).init(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(optax.tree.get(opt_state, "mu"))} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(optax.tree.get(opt_state, "nu"))} == {jnp.dtype(jnp.float32)}
    with pytest.raises(UsageError, match="moment_dtype is 'float16'"):
        support.optimizer(small_config(moment_dtype="float16"))
