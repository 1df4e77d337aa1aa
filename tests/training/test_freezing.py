import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import train
from trackers import objectives
from trackers.training import freezing, state

PATTERNS = (r"encoder/block_[02]/", r"^head/")


def _params(stacked):
    layers = np.arange(1.0, 13.0).reshape(3, 2, 2)
    encoder = {"blocks_0_2": {"fc": layers}} if stacked else {f"block_{i}": {"fc": layers[i]} for i in range(3)}
    encoder["norm"] = np.array([-0.0, 2.0])
    params = {"encoder": encoder, "head": {"bias": np.array([-0.0, 0.5])}}
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)


def _layer(params, i):
    encoder = params["encoder"]
    return encoder["blocks_0_2"]["fc"][i] if "blocks_0_2" in encoder else encoder[f"block_{i}"]["fc"]


class _Objective(objectives.Objective):
    def __call__(self, params, batch_stats, batch, **_):
        loss = sum(jnp.sum((leaf + 1.0) ** 2) for leaf in jax.tree.leaves(params))
        return loss, ({"loss": loss}, batch_stats)


def _run(params, patterns, steps=3):
    """(params after some steps of AdamW with decay, gradient norm of the first, optimizer state)."""
    adamw = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1, weight_decay=0.5))
    optimizer = freezing.only_trainable(adamw, patterns)
    now, norms = state.create({"params": params}, optimizer), []
    parts = {"objective": _Objective(model=None), "optimizer": optimizer, "frozen": patterns}
    step = jax.jit(lambda train_state: train.train_step(train_state, {}, jax.random.key(0), **parts))
    for _ in range(steps):
        now, scalars = step(now)
        norms.append(float(scalars["grad_norm"]))
    return now.params, norms[0], now.opt_state


def _bits(leaf):
    return np.asarray(leaf).tobytes()


@pytest.mark.parametrize("stacked", [False, True])
def test_frozen_parameters_keep_their_bits_and_the_others_learn(stacked):
    before = _params(stacked)
    after, norm, _ = _run(before, PATTERNS)
    for i in (0, 2):
        assert _bits(_layer(after, i)) == _bits(_layer(before, i))
    assert _bits(after["head"]["bias"]) == _bits(before["head"]["bias"])  # minus zero too
    assert (np.asarray(_layer(after, 1)) != np.asarray(_layer(before, 1))).all()
    assert (after["encoder"]["norm"] != before["encoder"]["norm"]).all()
    # The gradient's norm, and so the clipping, is of what is trained.
    trained = [_layer(before, 1), before["encoder"]["norm"]]
    expected = 2 * np.sqrt(sum(float(jnp.sum((leaf + 1.0) ** 2)) for leaf in trained))
    np.testing.assert_allclose(norm, expected, rtol=1e-6)


def test_stacked_layers_learn_as_single_ones():
    single, stacked = (_run(_params(kind), PATTERNS)[0] for kind in (False, True))
    np.testing.assert_array_equal(_layer(single, 1), _layer(stacked, 1))


def test_frozen_leaves_have_no_moments():
    def moments(patterns):
        return sum(leaf.size for leaf in jax.tree.leaves(_run(_params(False), patterns, 1)[2]) if leaf.ndim)

    assert moments(()) == 2 * (12 + 4) and moments(PATTERNS) == 2 * (4 + 2)


def test_without_patterns_nothing_is_wrapped():
    optimizer, params = optax.sgd(1.0), _params(False)
    assert freezing.only_trainable(optimizer, ()) is optimizer
    assert freezing.stop(params, ()) is params
