"""Steps that make their batches, several in one dispatch."""

import json
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

import train
from configs import grm
from data_pipelines import loader
from tests.training import support
from trackers import weights
from trackers.errors import UsageError
from trackers.training import checkpoints, dispatch, packing, sharding

pytestmark = pytest.mark.usefixtures("compile_quickly")


class Noise:
    """In place of loader.on_device's, whose drawing compiles for long: noise that depends on period, step and row.

    Args: config: whole config.
    """

    renew_every_steps = 5

    def __init__(self, config):
        self._shapes = loader.shapes(config)

    def facts(self, step, place):
        return jax.make_array_from_callback((), place, lambda _: np.int32(step // self.renew_every_steps))

    def make(self, facts, step, rows):
        def one(row):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(facts), step), row)
            made = {name: jax.random.uniform(key, shape, maxval=0.5) for name, (shape, _) in self._shapes.items()}
            return {name: made[name] if "box" in name else (510 * made[name]).astype(np.uint8) for name in made}

        return jax.vmap(one)(rows)


def make_config():
    """A run of nothing that compiles for long."""
    settings = {"batch_size": 8, "log_every_steps": 100, "learning_rate": 1e-3, "steps_per_dispatch": 4}
    config = support.mixformer_config(**settings)
    with config.unlocked():
        config.model.drop_path = 0.5
    return config


def losses(config, mesh, count):
    """Losses of the first `count` steps of a run from given weights."""
    program = train.assemble(config, mesh)
    variables = jax.tree.map(np.array, support.filled(program.model))
    now = jax.device_put(program.create(variables), sharding.places(program.target))
    key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
    size, found = config.train.steps_per_dispatch, []
    work = dispatch.OnDevice(program, Noise(config), config.train.batch_size, size, mesh)
    for steps in dispatch.spans(0, count, size, work.ends):
        now, scalars = work.take(now, work.inputs(steps), key, {})
        found += np.asarray(scalars["loss"])[: len(steps)].tolist()
    return found


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    made = make_config()
    made.init.checkpoint = str(tmp_path_factory.mktemp("weights"))
    weights.save(made.init.checkpoint, support.filled(train.trackers.build(made.model)), made.model)
    return made


@pytest.fixture(autouse=True)
def noise(monkeypatch):
    monkeypatch.setattr(train.loader, "batches", support.batches)
    monkeypatch.setattr(train.loader, "on_device", Noise)


@pytest.fixture(scope="module")
def uninterrupted(config, tmp_path_factory):
    """Workdir of a run of 7 steps."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.loader, "batches", support.batches)
        patch.setattr(train.loader, "on_device", Noise)
        assert train.train(config, str(workdir), max_steps=7) == 0
    return workdir


def _state(config, workdir):
    with checkpoints.Checkpoints(workdir, config) as saved:
        return saved.restore(support.abstract_state(config, sharding.make_mesh(config.mesh)))


def test_spans_end_where_the_run_has_something_to_do():
    assert list(dispatch.spans(0, 9, 4, (0, 6))) == [range(1, 5), range(5, 7), range(7, 10)]
    assert list(dispatch.spans(5, 12, 10, (10, 8))) == [range(6, 9), range(9, 11), range(11, 13)]
    assert list(dispatch.spans(3, 3, 4, (5,))) == []


@pytest.mark.slow
def test_resuming_from_any_step_takes_the_same_steps(config, uninterrupted, tmp_path, capsys):
    assert train.train(config, str(tmp_path), max_steps=3) == 0
    assert train.train(config, str(tmp_path), max_steps=7) == 0
    assert "resuming at step 3" in capsys.readouterr().out
    assert not support.leaves_equal(_state(config, tmp_path), _state(config, uninterrupted))
    lines = [json.loads(line) for line in (uninterrupted / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["step"] == 7 and lines[0]["examples_seen"] == 56 and np.isfinite(lines[0]["loss"])


@pytest.mark.slow  # with XLA's own choice of compiler: programs.QUICK_COMPILER rounds the two otherwise
def test_one_step_a_dispatch_gives_the_same_state(config, uninterrupted, tmp_path, monkeypatch):
    config = config.copy_and_resolve_references()
    config.train.steps_per_dispatch = 1
    monkeypatch.setattr(dispatch, "source", lambda config, mesh, on_device: on_device)  # as on an accelerator
    assert train.train(config, str(tmp_path), max_steps=7) == 0
    assert not support.leaves_equal(_state(config, tmp_path), _state(config, uninterrupted))


@pytest.mark.slow
def test_packed_steps_are_the_same(config, monkeypatch):
    """As on a GPU: to the last bit however they are dispatched, and up to rounding those of other devices."""
    mesh, alone = sharding.make_mesh(config.mesh, jax.devices()[:1]), config.copy_and_resolve_references()
    alone.train.steps_per_dispatch = 1
    plain = losses(config, mesh, 7)
    monkeypatch.setattr(packing, "PLATFORMS", ("cpu",))
    assert train.assemble(config, mesh).packing is not None
    packed = losses(config, mesh, 7)
    assert packed == losses(alone, mesh, 7)
    np.testing.assert_allclose(packed, plain, rtol=1e-4)


def test_sigterm_leaves_after_the_dispatch(config, tmp_path, monkeypatch, capsys):
    facts = Noise.facts

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return facts(*args)

    monkeypatch.setattr(Noise, "facts", interrupted)
    assert train.train(config, str(tmp_path), max_steps=7) == 143
    assert "SIGTERM: saved step 4" in capsys.readouterr().out
    assert _state(config, tmp_path).step == 4


def test_where_batches_are_made(monkeypatch):
    monkeypatch.undo()
    config = make_config()
    mesh, on_device = sharding.make_mesh(config.mesh), loader.on_device(config)
    assert dispatch.source(config, mesh, on_device) is on_device
    config.train.debug_batch_hash = True
    assert dispatch.source(config, mesh, on_device) is None
    config.train.update({"debug_batch_hash": False, "steps_per_dispatch": 1})
    assert dispatch.source(config, mesh, on_device) is None  # a CPU


def test_what_cannot_be_dispatched_together_is_named(tmp_path, monkeypatch):
    monkeypatch.undo()
    config = grm.get_config("tiny")
    config.train.steps_per_dispatch = 4
    config.data.ratio.update({"lasot": 1.0})
    with pytest.raises(UsageError, match="steps_per_dispatch is 4.* set --config.train.steps_per_dispatch=1"):
        train.train(config, str(tmp_path))
    config.train.steps_per_dispatch = 0
    with pytest.raises(UsageError, match="steps_per_dispatch=0: give a whole number from 1 up"):
        train.train(config, str(tmp_path))


@pytest.mark.slow
def test_rows_are_made_where_they_live(config):
    """Eight devices, batch and parameters split, against one."""
    command = [sys.executable, "-m", "tests.training.several_devices_dispatch"]
    pipes = {"capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run(command, cwd=support.ROOT, env=support.environ(8), **pipes)
    assert done.returncode == 0, done.stderr[-3000:]
    here = losses(config, sharding.make_mesh(config.mesh), 7)
    assert len(here) == 7 and np.ptp(here) > 1e-3
    for there in done.stdout.splitlines()[-2:]:
        np.testing.assert_allclose(json.loads(there), here, rtol=1e-4)
