"""The recipes of configs/grm.py told extents: what they change, and that their pairs train, stop and go on."""

import pytest

import train
from configs import grm
from tests import programs
from tests.training import support
from trackers import weights
from trackers.training import checkpoints, metrics, sharding


@pytest.mark.parametrize("variant", ["t128", "fast192"])
def test_only_what_it_says_is_changed(variant):
    base, told = (weights.plain(grm.get_config(name)) for name in (variant, f"{variant}_extents"))
    changed = {line.split(":")[0] for line in weights.differing_keys(base, told)}
    synthetic = {f"data.synthetic.{name}_probability" for name in ("extent", "companion", "twin", "partial")}
    assert changed == synthetic | {
        "data.synthetic.motion_blur_probability", "tracking.crop_aspect", "train.total_epochs", "variant",
    }  # fmt: skip
    assert told["train"]["ema_decay"] > 0 and told["train"]["steps_per_dispatch"] == 10


def test_the_shipped_weights_come_from_configs_that_differ_by_what_they_say():
    tuned, relit, shipped = (weights.plain(grm.get_config(name)) for name in ("t128_tuned", "t128_relit", "shipped"))

    def changed(other):
        return {line.split(":")[0] for line in weights.differing_keys(tuned, other)} - {"variant"}

    assert changed(shipped) == {"model.division.one_stream_layers", "model.division.two_stream_layers"}
    synthetic = {f"data.synthetic.{name}_probability" for name in ("turn", "relight")}
    assert changed(relit) == synthetic | {"train.total_epochs", "train.learning_rate"}
    saved = weights.beside(programs.ROOT / "weights" / "grm_t128")
    assert not weights.differing_keys(saved["model"], shipped["model"])
    assert not weights.differing_keys(saved["tracking"], shipped["tracking"])


@pytest.fixture
def config():
    config = grm.get_config("tiny_extents")
    with config.unlocked():
        config.model.update({"width": 32, "depth": 2, "heads": 2, "patch_size": 8})
        config.model.update({"template_size": 24, "search_size": 48})
        config.model.division.hidden = (16, 8)
        config.model.head.channels = 16
        config.data.synthetic.update({"backgrounds": 2, "families": 3})
        config.data.update({"pairs_per_epoch": 16, "validation_pairs": 8})
        config.train.update({"ema_decay": 0.5, "validate_every_epochs": 0, "checkpoint_every_steps": 2})
    return config


@pytest.mark.slow
def test_a_run_in_pieces_is_the_run_in_one(config, tmp_path, capsys):
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    assert train.train(config, str(whole)) == 0
    assert train.train(config, str(pieces), max_steps=3) == 0
    assert train.train(config, str(pieces)) == 0
    assert "resuming at step 3 of 4" in capsys.readouterr().out

    def state(workdir):
        with checkpoints.Checkpoints(workdir, config) as saved:
            return saved.restore(support.abstract_state(config, sharding.make_mesh(config.mesh)))

    assert not support.leaves_equal(state(whole), state(pieces))
    assert any("validation/iou" in line for line in metrics.read(whole))
