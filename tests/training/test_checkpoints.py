import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from tests.training import support
from trackers import weights
from trackers.errors import InputError
from trackers.io import outputs
from trackers.nn import stacking
from trackers.training import checkpoints, sharding, state


@pytest.fixture(scope="module")
def run():
    """(config with a moving average, state, mesh, target)."""
    config = support.small_config(ema_decay=0.9)
    model, _, optimizer = support.parts(config)
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    variables = support.filled(model)
    made = state.create(variables, optimizer, 0.9)
    made = made.replace(ema=jax.tree.map(lambda x: x + 1, made.ema))
    return config, made, mesh, support.abstract_state(config, mesh)


def _save(config, workdir, made, steps, keep=3):
    with checkpoints.Checkpoints(workdir, config, keep) as saved:
        for step in steps:
            saved.save(made.replace(step=np.int32(step)), step)


def _damage(folder):
    """Cuts every array file of a checkpoint in half."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name == "d"]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_round_trip_is_exact_and_keeps_the_newest(run, tmp_path):
    config, made, _, target = run
    _save(config, tmp_path, made, (1, 2, 3), keep=2)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()) == ["2", "3"]
    with checkpoints.Checkpoints(tmp_path, config) as saved:
        restored = saved.restore(target)
    assert not support.leaves_equal(restored, made.replace(step=np.int32(3)))
    assert json.loads((tmp_path / "checkpoints" / "3" / "config" / "metadata").read_text())["seed"] == config.seed


def test_nothing_to_restore(run, tmp_path):
    config, _, _, target = run
    with checkpoints.Checkpoints(tmp_path, config) as saved:
        assert saved.restore(target) is None


def test_saving_a_step_twice_keeps_the_first(run, tmp_path):
    config, made, _, target = run
    _save(config, tmp_path, made, (4,))
    with checkpoints.Checkpoints(tmp_path, config) as saved:
        saved.save(made.replace(step=np.int32(9)), 4)
        saved.wait()
        assert saved.restore(target).step == 4


def test_broken_newest_falls_back_and_says_so(run, tmp_path):
    config, made, _, target = run
    _save(config, tmp_path, made, (1, 2))
    _damage(tmp_path / "checkpoints" / "2")
    said = []
    with checkpoints.Checkpoints(tmp_path, config) as saved:
        assert saved.restore(target, said.append).step == 1
        assert len(said) == 1 and "checkpoints/2 is broken" in said[0]
        assert (tmp_path / "checkpoints" / "2.broken").is_dir()
        saved.save(made.replace(step=np.int32(2)), 2)
        saved.wait()
        assert saved.restore(target, said.append).step == 2


@pytest.mark.parametrize("missing", ["params", "optimizer/_METADATA", "ema/manifest.ocdbt"])
def test_a_lost_part_counts_as_broken(run, tmp_path, missing):
    config, made, _, target = run
    _save(config, tmp_path, made, (1, 2))
    lost = tmp_path / "checkpoints" / "2" / missing
    lost.rename(tmp_path / "lost")
    said = []
    with checkpoints.Checkpoints(tmp_path, config) as saved:
        assert saved.restore(target, said.append).step == 1
    assert len(said) == 1


def test_no_usable_checkpoint_is_an_error_not_a_new_run(run, tmp_path):
    config, made, _, target = run
    _save(config, tmp_path, made, (1,))
    _damage(tmp_path / "checkpoints" / "1")
    with checkpoints.Checkpoints(tmp_path, config) as saved, pytest.raises(InputError, match="no checkpoint in .* can"):
        saved.restore(target, lambda _: None)


def test_other_shapes_are_named(run, tmp_path):
    config, made, mesh, _ = run
    _save(config, tmp_path, made, (1,))
    wider = support.small_config(ema_decay=0.9)
    wider.model.width = 64
    target = support.abstract_state(wider, mesh)
    with checkpoints.Checkpoints(tmp_path, wider) as saved, pytest.raises(InputError, match=r"bias \(32,\) \(64,\)"):
        saved.restore(target)
    assert (tmp_path / "checkpoints" / "1").is_dir()


def test_moving_average_cannot_be_switched_on_in_a_run(run, tmp_path):
    config, made, mesh, _ = run
    _save(config, tmp_path, made.replace(ema=None), (1,))
    with checkpoints.Checkpoints(tmp_path, config) as saved, pytest.raises(InputError, match="ema_decay"):
        saved.restore(support.abstract_state(config, mesh))


def test_workdir_of_another_model_is_refused(tmp_path):
    config = support.small_config()
    checkpoints.claim_workdir(tmp_path / "run", config)
    (tmp_path / "run" / "metrics.jsonl").touch()
    config.model.remat = "full"
    checkpoints.claim_workdir(tmp_path / "run", config)  # does not change the model
    config.model.division.hidden = (16, 16)
    config.model.width = 64
    for allowed in (False, True):  # no checkpoint there fits
        with pytest.raises(InputError) as caught:
            checkpoints.claim_workdir(tmp_path / "run", config, allowed)
        assert "model.division.hidden: [16, 8], [16, 16]; model.width: 32, 64" in str(caught.value)
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(InputError, match="not a run's config"):
        checkpoints.claim_workdir(tmp_path / "run", config)


@pytest.mark.parametrize("inner", ["", "checkpoints", "checkpoints/2"])
def test_load_from_a_run(run, tmp_path, inner):
    config, made, _, _ = run
    _save(config, tmp_path, made, (1, 2))
    loaded = weights.load(tmp_path / inner, config.model)
    assert not support.leaves_equal(loaded, state.evaluation_variables(made))
    plain = weights.load(str(tmp_path / inner), config.model, prefer_ema=False)
    assert not support.leaves_equal(plain["params"], made.params)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded))


def test_load_skips_a_broken_checkpoint(run, tmp_path, capsys):
    config, made, _, _ = run
    _save(config, tmp_path, made, (1, 2))
    _damage(tmp_path / "checkpoints" / "2")
    loaded = weights.load(tmp_path, config.model)
    assert not support.leaves_equal(loaded, state.evaluation_variables(made))
    assert "checkpoints/2 is broken" in capsys.readouterr().out


def test_save_round_trip_and_refusals(run, tmp_path):
    config, made, _, _ = run
    variables = {"params": made.params, "batch_stats": made.batch_stats}
    weights.save(tmp_path / "out", variables, config.model)
    assert not support.leaves_equal(weights.load(tmp_path / "out", config.model), variables)
    with pytest.raises(InputError, match="already holds weights.safetensors"):
        weights.save(tmp_path / "out", variables, config.model)
    other = support.small_config().model
    other.width, other.depth = 64, 3
    with pytest.raises(InputError) as caught:
        weights.load(tmp_path / "out", other)
    assert "missing: params/encoder/block_2/" in str(caught.value)
    assert "params/encoder/block_0/attention/out/bias (32,) (64,)" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="variables only.*--config.init.checkpoint="):
        checkpoints.claim_workdir(tmp_path / "out", config)


def test_a_checkpoint_without_optimizer_is_not_resumed_and_not_set_aside(run, tmp_path):
    config, made, _, target = run
    _save(config, tmp_path, made, (1,))
    shutil.rmtree(tmp_path / "checkpoints" / "1" / "optimizer")
    with checkpoints.Checkpoints(tmp_path, config) as saved, pytest.raises(InputError, match="variables only"):
        saved.restore(target)
    assert (tmp_path / "checkpoints" / "1").exists()


def test_load_names_what_is_missing(tmp_path):
    model = support.small_config().model
    with pytest.raises(InputError, match="does not exist"):
        weights.load(tmp_path / "nowhere", model)
    with pytest.raises(InputError, match="holds no checkpoints"):
        weights.load(tmp_path, model)
    (tmp_path / outputs.UNFINISHED).touch()  # of an export that was killed
    with pytest.raises(InputError, match="was not written to its end"):
        weights.load(tmp_path, model)


def test_stacked_and_unstacked_layers_load_into_each_other(tmp_path):
    single, stacked = support.small_config().model, support.small_config().model
    single.depth = stacked.depth = 4
    stacked.scan_layers = True
    variables = support.filled(trackers.build(single))
    weights.save(tmp_path / "single", variables, single)
    together = weights.load(tmp_path / "single", stacked)
    kernel = together["params"]["encoder"]["blocks_1_3"]["mlp"]["fc1"]["kernel"]
    np.testing.assert_array_equal(kernel[1], variables["params"]["encoder"]["block_2"]["mlp"]["fc1"]["kernel"])
    weights.save(tmp_path / "stacked", together, stacked)
    assert not support.leaves_equal(weights.load(tmp_path / "stacked", single), variables)


@pytest.mark.parametrize("stacked", [False, True])
def test_a_run_goes_on_where_its_layers_are_laid_out_otherwise(tmp_path, stacked):
    there, here = (support.small_config(ema_decay=0.9) for _ in range(2))
    for config, scan in ((there, stacked), (here, not stacked)):
        with config.unlocked():
            config.model.update({"depth": 4, "scan_layers": scan})
    mesh = sharding.make_mesh(there.mesh, jax.devices()[:1])
    numbers = np.random.default_rng(0)
    kept = jax.tree.map(
        lambda leaf: jnp.asarray(numbers.uniform(0, 9, leaf.shape), leaf.dtype), support.abstract_state(there, mesh)
    )
    kept = kept.replace(step=jnp.int32(3))
    with checkpoints.Checkpoints(tmp_path, there) as saved:
        saved.save(kept, 3)
    with checkpoints.Checkpoints(tmp_path, here) as saved:
        found = saved.restore(support.abstract_state(here, mesh))
    before, after = (stacking.flatten(dict(state.named_leaves(jax.device_get(tree)))) for tree in (kept, found))
    assert before.keys() == after.keys() and any("mu/encoder/block_2" in name for name in after)
    for name, leaf in before.items():
        np.testing.assert_array_equal(leaf, after[name], err_msg=name)
    assert {name for name, _ in state.named_leaves(kept)} != {name for name, _ in state.named_leaves(found)}
    # A model of another size is refused as ever.
    here.model.depth = 3
    with checkpoints.Checkpoints(tmp_path, here) as saved, pytest.raises(InputError, match="another model or size"):
        saved.restore(support.abstract_state(here, mesh))
