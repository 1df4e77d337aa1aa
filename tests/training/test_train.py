"""train.py on one device: the step, whole runs, resuming, stopping."""

import contextlib
import io
import json
import os
import resource
import signal
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import trackers
import train
from tests.training import support
from trackers import objectives, weights
from trackers.errors import InputError
from trackers.training import checkpoints, chips, initial, sharding, state

pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(autouse=True)
def noise_pairs(monkeypatch):
    monkeypatch.setattr(train.loader, "batches", support.batches)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A small run that starts from given weights, so that no test waits for the initializers to compile."""
    made = support.small_config(ema_decay=0.9, debug_batch_hash=True, learning_rate=1e-2, warmup_epochs=0.5)
    made.init.checkpoint = str(tmp_path_factory.mktemp("weights"))
    weights.save(made.init.checkpoint, support.filled(trackers.build(made.model)), made.model)
    return made


@pytest.fixture(scope="module")
def uninterrupted(config, tmp_path_factory):
    """(workdir, what it printed) of a run of 6 steps on a chip whose peak is known, the last two traced."""
    workdir, printed = tmp_path_factory.mktemp("uninterrupted"), io.StringIO()
    config = config.copy_and_resolve_references()
    config.profile = "5:6"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(train.loader, "batches", support.batches)
        peaks = {"flops": 1e12, "memory": 1e9, "bandwidth": 1e9, "link": 1e9}
        chip = chips.Chip(name="chip", kind="cpu", ring="full", source="made up", **peaks)
        patch.setattr(train.chips, "published", lambda device: chip)
        assert train.train(config, str(workdir), max_steps=6) == 0
    return workdir, printed.getvalue().splitlines()


def _lines(workdir, name="loss"):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def _steps(workdir):
    return sorted(path.name for path in (workdir / "checkpoints").iterdir() if path.is_dir())


def _state(config, workdir):
    mesh = sharding.make_mesh(config.mesh)
    with checkpoints.Checkpoints(workdir, config) as saved:
        return saved.restore(support.abstract_state(config, mesh))


def test_a_run_leaves_its_files_and_a_table(config, uninterrupted):
    workdir, printed = uninterrupted
    assert json.loads((workdir / "config.json").read_text())["model"]["width"] == 32
    assert _steps(workdir) == ["6"]
    assert _lines(workdir).keys() == set(range(1, 7))
    assert np.isfinite([list(_lines(workdir, name).values()) for name in ("iou", "grad_norm", "learning_rate")]).all()
    assert _lines(workdir, "learning_rate")[1] == pytest.approx(1e-2 / 4)
    for name in ("update_norm", "param_norm", "giou", "l1", "focal", "division_share/layer_2", "host_memory_peak_gib"):
        assert len(_lines(workdir, name)) == 6 and min(_lines(workdir, name).values()) > 0
    assert _lines(workdir, "examples_seen")[6] == 48
    assert all(min(_lines(workdir, f"{side}_wait_ms").values()) >= 0 for side in ("data", "device"))
    speed = _lines(workdir, "pairs_per_second_per_chip")
    flops = [1e12 * achieved / speed[step] for step, achieved in _lines(workdir, "mfu").items()]
    np.testing.assert_allclose(flops, 1e12 * _lines(workdir, "model_tflops_per_chip")[6] / speed[6], rtol=1e-6)
    assert 1e6 < flops[0] < 1e9
    assert list(workdir.glob("events.out.tfevents.*")) and list(workdir.glob("plugins/profile/*/*.xplane.pb"))
    wrong = _lines(workdir, "validation/wrong_template_iou")
    assert wrong.keys() == {6} and 0 <= wrong[6] <= 1
    header, values = printed[-2:]
    assert header.split()[:4] == ["steps", "pairs", "seconds", "loss"] and "wrong-template IoU" in header
    assert values.split()[:2] == ["6", "48"]


def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(config, uninterrupted, tmp_path, capsys):
    assert train.train(config, str(tmp_path), max_steps=2) == 0
    assert train.train(config, str(tmp_path), max_steps=4) == 0
    assert "resuming at step 2" in capsys.readouterr().out
    # The newest checkpoint is damaged: only its own steps are lost.
    for path in (tmp_path / "checkpoints" / "4").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:-20])
    assert train.train(config, str(tmp_path), max_steps=6) == 0
    said = capsys.readouterr().out
    assert "checkpoints/4 is broken" in said and "resuming at step 2" in said
    whole, _ = uninterrupted
    assert not support.leaves_equal(_state(config, tmp_path), _state(config, whole))
    assert _lines(tmp_path) == _lines(whole)
    assert _lines(tmp_path, "batch_hash") == _lines(whole, "batch_hash")
    assert len(set(_lines(whole, "batch_hash").values())) == 6


def test_a_validation_does_not_change_the_rate(config, tmp_path, monkeypatch, capsys):
    """A device that takes a second for a step and a hundred for a validation, by a clock of its own."""
    clock = types.SimpleNamespace(now=0.0, free=0.0)

    class Late(train.metrics.Late):
        end = 0.0

        def push(self, steps, metrics):
            clock.free = end = max(clock.free, clock.now) + len(steps)
            former = super().push(steps, metrics)
            self.end = end
            return former

        def flush(self):
            clock.now = max(clock.now, self.end)
            return super().flush()

    def means(results, real=train.metrics.means):
        clock.now = clock.free = max(clock.free, clock.now) + 100
        return real(results)

    monkeypatch.setattr(train.metrics, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(train.metrics, "Late", Late)
    monkeypatch.setattr(train.metrics, "means", means)
    config = config.copy_and_resolve_references()
    config.train.update({"validate_every_epochs": 1, "ema_decay": 0.8})
    config.data.pairs_per_epoch = 24
    assert train.train(config, str(tmp_path), max_steps=6) == 0
    assert _lines(tmp_path, "pairs_per_second") == dict.fromkeys(range(2, 7), 8.0)
    assert list(_lines(tmp_path, "validation/wrong_template_iou")) == [3, 6]
    left = [line.rsplit("  ", 1)[1] for line in capsys.readouterr().out.splitlines() if line.endswith(" left")]
    # Pauses to come are counted as those so far were: 103 s for the 3 steps from the first to step 4, and 2 more steps.
    assert left == ["0:00:04 left", "0:00:03 left", "0:01:09 left", "0:00:26 left", "0:00:00 left"]


def test_sigterm_saves_and_leaves(config, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        for i, batch in enumerate(support.batches(*args, **kwargs)):
            if i == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(train.loader, "batches", interrupted)
    assert train.train(config, str(tmp_path), max_steps=6) == 143
    assert f"SIGTERM: saved step 3 in {tmp_path}" in capsys.readouterr().out
    assert _state(config, tmp_path).step == 3


def test_sigterm_ends_a_run_that_has_only_to_be_validated(config, tmp_path, monkeypatch, capsys):
    """What comes after train in the same program is not gone on with."""
    assert train.train(config, str(tmp_path), max_steps=1) == 0
    written, asked = (tmp_path / "metrics.jsonl").read_text(), []

    def interrupted(*args, split="train", **kwargs):
        for batch in support.batches(*args, split=split, **kwargs):
            asked.append(split)
            os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(train.loader, "batches", interrupted)
    assert train.train(config, str(tmp_path), max_steps=1) == 143
    assert asked == ["validation"] and (tmp_path / "metrics.jsonl").read_text() == written
    assert f"SIGTERM: saved step 1 in {tmp_path}" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_stops_the_run(config, tmp_path, monkeypatch):
    def poisoned(config, start_step, rows, seed=None, split="train"):
        for step, batch in enumerate(support.batches(config, start_step, rows, seed, split), start=start_step):
            if step == 3:
                batch["search_box"][0, 0] = np.nan
            yield batch

    monkeypatch.setattr(train.loader, "batches", poisoned)
    config = config.copy_and_resolve_references()
    config.train.checkpoint_every_steps = 2
    with pytest.raises(InputError, match=r"at step 4, first non-finite gradient (encoder|head)/"):
        train.train(config, str(tmp_path), max_steps=6)
    assert _steps(tmp_path) == ["2"]
    assert max(_lines(tmp_path)) == 3


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_keeps_the_last_checkpoint(config, uninterrupted, tmp_path, monkeypatch):
    """Real failing writes: no file may grow beyond 16 KiB from the fourth step on."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(*args, **kwargs):
        for i, batch in enumerate(support.batches(*args, **kwargs)):
            if i == 3:
                while "2" not in _steps(tmp_path):
                    time.sleep(0.01)
                resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, former[1]))
            yield batch

    config = config.copy_and_resolve_references()
    config.train.checkpoint_every_steps = 2
    monkeypatch.setattr(train.loader, "batches", filling)
    try:
        with pytest.raises(InputError, match=r"cannot be saved .* too large.*; that of step 2 is intact: make room"):
            train.train(config, str(tmp_path), max_steps=6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert _state(config, tmp_path).step == 2
    monkeypatch.setattr(train.loader, "batches", support.batches)
    assert train.train(config, str(tmp_path), max_steps=6) == 0
    assert not support.leaves_equal(_state(config, tmp_path), _state(config, uninterrupted[0]))


def test_a_run_starts_from_another_runs_weights(config, uninterrupted):
    config = config.copy_and_resolve_references()
    config.init.checkpoint = str(uninterrupted[0])
    program = train.assemble(config, sharding.make_mesh(config.mesh))
    started = initial.train_state(program, initial.Start(config.model, **config.init), jax.random.key(0))
    source = state.evaluation_variables(_state(config, uninterrupted[0]))
    assert not support.leaves_equal(state.evaluation_variables(started), source)
    assert not support.leaves_equal(started.params, source["params"])
    assert started.step == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(started.opt_state))


# The names that models draw from (DESIGN.md, section 3).
NOISE_NAMES = ("gumbel", "dropout", "droppath")


class _Toy(objectives.Objective):
    """Has all that train_step looks at: noise from each key, statistics, a leaf whose gradient can be spoiled."""

    def __call__(self, params, batch_stats, batch, rngs=None, train=True, epoch=1, teacher_variables=None):
        noise = sum(jax.random.normal(rngs[name], ()) * 10**i for i, name in enumerate(NOISE_NAMES))
        loss = jnp.sum(params["a"] ** 2) + jnp.sum(params["b"] * batch["x"])
        scalars = {"loss": loss, "noise": noise, "epoch": epoch, "taught": teacher_variables}
        return loss, (scalars, {"mean": batch_stats["mean"] + batch["x"].mean()})


def test_one_step():
    optimizer = optax.sgd(0.1)
    variables = {"params": {"a": jnp.array([2.0]), "b": jnp.zeros(3)}, "batch_stats": {"mean": jnp.float32(1)}}
    before = state.create(variables, optimizer, 0.75)

    @jax.jit
    def step(train_state, x, key):
        settings = {"objective": _Toy(model=None), "optimizer": optimizer, "ema_decay": 0.75, "epoch_steps": 3}
        return train.train_step(train_state, {"x": x}, key, 7.0, **settings)

    x, key = jnp.array([1.0, 2.0, 3.0]), jax.random.key(1)
    after, scalars = step(before, x, key)
    np.testing.assert_allclose(after.params["a"], [1.6], rtol=1e-6)
    np.testing.assert_allclose(after.params["b"], -0.1 * x, rtol=1e-6)
    np.testing.assert_allclose(after.ema["a"], [0.75 * 2 + 0.25 * 1.6], rtol=1e-6)
    np.testing.assert_allclose(after.batch_stats["mean"], 3.0)
    np.testing.assert_allclose(scalars["grad_norm"], np.sqrt(16 + 14), rtol=1e-6)
    assert (after.step, scalars["bad_leaf"]) == (1, -1)
    # Noise follows the run's key and the step, and nothing else.
    assert step(before, x, key)[1]["noise"] == scalars["noise"]
    others = step(before, x, jax.random.key(2))[1], step(before.replace(step=jnp.int32(1)), x, key)[1]
    assert len({float(s["noise"]) for s in (scalars, *others)}) == 3
    assert step(before, x.at[1].set(jnp.inf), key)[1]["bad_leaf"] == 1
    # The objective is told the epoch, counted from 1, and the teacher's variables.
    epochs = [step(before.replace(step=jnp.int32(taken)), x, key)[1]["epoch"] for taken in (0, 2, 3, 6)]
    assert epochs == [1, 1, 2, 3] and scalars["taught"] == 7.0


def test_wrong_template_figure_uses_the_neighbors_template(config):
    seen = []

    class Watching(objectives.Objective):
        def __call__(self, params, batch_stats, batch, rngs=None, train=True, epoch=1, teacher_variables=None):
            assert rngs is None and not train and (epoch, teacher_variables) == (4, {"params": {}})
            seen.append(batch)
            return 0.0, ({"iou": float(len(seen))}, batch_stats)

    batch, variables = support.batch(config, 0, range(3)), {"params": {}, "batch_stats": {}}
    result = train.eval_step(variables, batch, 4, {"params": {}}, objective=Watching(model=None))
    assert result == {"iou": 1.0, "wrong_template_iou": 2.0}
    np.testing.assert_array_equal(seen[1]["template"][1], batch["template"][0])
    np.testing.assert_array_equal(seen[1]["search"], batch["search"])
