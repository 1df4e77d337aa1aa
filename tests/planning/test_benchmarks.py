"""benchmarks/: how they take what is typed, and the PyTorch network that ours is timed beside."""

import importlib.util

import jax
import numpy as np
import pytest

from benchmarks import torch_step, train_step
from configs import grm, variants
from data_pipelines import loader
from tests import forked
from trackers.errors import UsageError
from trackers.planning import steps, topologies


def test_a_config_is_named_by_file_and_variant():
    assert variants.load("configs/grm.py:tiny") == grm.get_config("tiny")
    assert variants.load("configs/grm.py") == grm.get_config()


def test_settings_are_taken_over():
    config = variants.load("configs/grm.py:tiny")
    given = ["model.remat=dots", "model.depth=2", "model.dtype=bfloat16", "model.division.layers=(2,)"]
    changed = train_step.changed(config, given)
    model = changed.model
    assert (model.remat, model.depth, model.dtype, model.division.layers) == ("dots", 2, "bfloat16", (2,))
    assert config.model.depth == 3


@pytest.mark.parametrize("setting", ["model.dept=2", "modl.depth=2", "model.depth=two", "model.depth.x=1", "model"])
def test_a_setting_that_is_not_there_is_named(setting):
    with pytest.raises(UsageError, match="--set model|--set modl"):
        train_step.changed(variants.load("configs/grm.py:tiny"), [setting])


def test_a_batch_that_does_not_divide_is_named():
    config = variants.load("configs/grm.py:tiny")
    topology = topologies.Topology("cpu:2", tuple(jax.devices("cpu")[:1]) * 2, None)
    with pytest.raises(UsageError, match="data=3"):
        train_step.measure(config, topology, "data=3", 3, 1)


def test_the_command_says_in_one_line_what_is_wrong():
    done = forked.run("benchmarks.train_step", "configs/grm.py:tiny", "--set", "model.nothing=1")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "the config has no setting model.nothing" in done.stderr.strip().splitlines()[-1]


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_without_pytorch_the_comparison_is_skipped():
    done = forked.run("benchmarks.torch_step")
    assert done.returncode == 0 and done.stdout.startswith("skipped: PyTorch is not installed")


def test_the_network_in_pytorch_is_the_same():
    """Same weights, inference mode: the losses differ by rounding."""
    pytest.importorskip("torch")
    config = torch_step.settings("tiny", 4, "cpu", False)
    batch = steps.synthetic_batch(loader.shapes(config), 4)
    _, weights, loss, _, _ = torch_step.jax_row(config, batch)
    rows, other = torch_step.torch_rows(config, batch, weights, "cpu", 1)
    np.testing.assert_allclose(other, loss, rtol=1e-4)
    rows["PyTorch eager"]()
