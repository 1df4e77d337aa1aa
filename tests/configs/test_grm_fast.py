"""The recipes of configs/grm.py that wait for a GPU: what a frame costs, and that they train."""

import functools

import jax
import numpy as np
import pytest

import trackers
import train
from configs import grm
from tests.training import support
from trackers.training import flops, state

FAST = ("fast128", "fast192", "fast192_extents")


@pytest.mark.parametrize("variant", FAST)
def test_half_the_work_and_a_template_that_is_kept(variant):
    counts = [flops.of_tracker(trackers.build(grm.get_config(name).model)) for name in ("t128", variant)]
    assert counts[1]["search"] < 0.45 * counts[0]["search"] and counts[1]["template"] > 0
    # Templates and search crops are of one scale: the same thing measures the same in both.
    config = grm.get_config(variant)
    scales = [config.model[f"{kind}_size"] / config.tracking[f"{kind}_factor"] for kind in ("template", "search")]
    assert scales[0] == scales[1]
    # Stored in 16 bits they are as small as a tracker in a box should be.
    assert 2 * counts[1]["parameters"] < 8e6


@pytest.mark.parametrize("variant", FAST)
@pytest.mark.slow
def test_steps_of_training_reach_every_parameter(variant):
    """The recipe's network of two layers, its objective and optimizer; the pairs are t128's, and tested elsewhere."""
    config = grm.get_config(variant)
    with config.unlocked():
        config.model.update({"depth": 2, "dtype": "float32"})
        config.train.warmup_epochs = 0.0
    model, objective, optimizer = support.parts(config)
    before = support.filled(model)
    step = jax.jit(functools.partial(train.train_step, objective=objective, optimizer=optimizer))
    after = state.create(before, optimizer)
    for number in range(3):
        after, metrics = step(after, support.batch(config, number, range(2)), jax.random.key(number))
        assert np.isfinite(metrics["loss"]) and metrics["bad_leaf"] == -1
    moved = support.leaves_equal(after.params, before["params"])
    assert {name for name, _ in state.named_leaves(after.params)} == set(moved)
