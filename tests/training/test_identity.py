"""What may change between two starts in one workdir, and what makes it another run."""

import fnmatch
import json

import pytest
from flax import traverse_util

from configs import grm, ikun, mixformer_v2
from tests.training import support
from trackers.errors import InputError
from trackers.training import checkpoints, identity
from trackers.weights import plain


def _changed(**values):
    """The small config with other values: section__key=value."""
    config = support.small_config()
    with config.unlocked():
        for name, value in values.items():
            section, keys = config, name.split("__")
            for key in keys[:-1]:
                section = section[key]
            section[keys[-1]] = value
    return config


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed: 0, 1"),
        ({"train__learning_rate": 0.5}, "train.learning_rate: 0.001, 0.5"),
        ({"train__batch_size": 16}, "train.batch_size: 8, 16"),
        ({"train__schedule": "cosine"}, "train.schedule: 'step', 'cosine'"),
        ({"objective__l1_weight": 1.0}, "objective.l1_weight: 5.0, 1.0"),
        ({"data__ratio__frames": 1.0}, "data.ratio.frames: 0.0, 1.0"),
        ({"data__search_center_jitter": 1.0}, "data.search_center_jitter: 3.0, 1.0"),
        ({"init__checkpoint": "a.pth"}, "init.checkpoint: '', 'a.pth'"),
        ({"model__drop_path": 0.3}, "model.drop_path: 0.0, 0.3"),
        ({"tracking__search_factor": 5.0}, "tracking.search_factor: 4.0, 5.0"),
        ({"tracking__template_factor": 3.0}, "tracking.template_factor: 2.0, 3.0"),
        ({"tracking__crop_aspect": 0.5}, "tracking.crop_aspect: 0.0, 0.5"),
    ],
)
def test_another_meaning_is_refused_unless_allowed_and_the_former_config_is_kept(tmp_path, change, named):
    checkpoints.claim_workdir(tmp_path, _changed())
    (tmp_path / "metrics.jsonl").touch()
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(InputError) as caught:
        checkpoints.claim_workdir(tmp_path, _changed(**change))
    assert named in str(caught.value) and "--allow_config_change" in str(caught.value)
    assert (tmp_path / "config.json").read_text() == before and len(list(tmp_path.iterdir())) == 2
    said = []
    checkpoints.claim_workdir(tmp_path, _changed(**change), True, said.append)
    assert len(said) == 1 and named in said[0] and "config.json.1" in said[0]
    assert (tmp_path / "config.json.1").read_text() == before
    assert json.loads((tmp_path / "config.json").read_text()) == plain(_changed(**change))


@pytest.mark.parametrize("kept", ["checkpoints/3/params", "checkpoints/3.broken"])
def test_a_run_that_took_no_step_leaves_its_folder_to_another(tmp_path, kept):
    """As one whose config.init.checkpoint was mistyped: the corrected command is not another run."""
    checkpoints.claim_workdir(tmp_path, _changed(init__checkpoint="a.pht"))
    (tmp_path / "checkpoints").mkdir()
    said = []
    checkpoints.claim_workdir(tmp_path, _changed(init__checkpoint="a.pth"), False, said.append)
    assert len(said) == 1 and "init.checkpoint: 'a.pht', 'a.pth'" in said[0]
    (tmp_path / kept).mkdir(parents=True)
    with pytest.raises(InputError, match="another run"):
        checkpoints.claim_workdir(tmp_path, _changed())


def test_settings_without_meaning_may_change_and_are_named(tmp_path):
    checkpoints.claim_workdir(tmp_path, _changed())
    said = []
    changes = {
        "train__log_every_steps": 7, "train__checkpoint_every_steps": 3, "train__keep_checkpoints": 9,
        "train__total_epochs": 99, "profile": "1:2", "mesh__fsdp": 2, "model__remat": "full", "data__threads": 5,
        "tracking__window": 0.5, "data__lasot": "/data/lasot", "data__crops_on": "device",
    }  # fmt: skip
    checkpoints.claim_workdir(tmp_path, _changed(**changes), False, said.append)
    assert len(said) == 1 and "\n" not in said[0]
    for name in changes:
        assert name.replace("__", ".") + ": " in said[0]
    checkpoints.claim_workdir(tmp_path, _changed(**changes), False, said.append)
    assert len(said) == 1 and sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "config.json.1"]


def test_the_length_of_a_run_counts_where_the_rate_depends_on_it():
    for schedule, differing in (("step", 0), ("cosine", 1)):
        there, here = (plain(_changed(train__schedule=schedule, train__total_epochs=epochs)) for epochs in (2, 3))
        assert len(identity.changes(there, here)) == differing
        assert len(identity.harmless_changes(there, here)) == 1 - differing


def test_a_folder_of_data_counts_where_it_is_drawn_from():
    for ratio, differing in ((0.0, 0), (1.0, 1)):
        there, here = (plain(_changed(data__ratio__frames=ratio, data__frames=folder)) for folder in ("/a", "/b"))
        assert len(identity.changes(there, here)) == differing


def test_a_setting_of_a_later_version_does_not_count():
    here = plain(_changed())
    there = json.loads(json.dumps(here))
    del there["data"]["synthetic"]["haze"], there["accumulate"]
    assert not identity.changes(there, here) and len(identity.harmless_changes(there, here)) == 2
    assert identity.changes(here, there) == ["data.synthetic.haze: 0.5, '(absent)'"]
    here = json.loads(json.dumps(there))
    del here["model"]["scan_layers"], here["model"]["division"]["layers"]
    assert not identity.changes(there, here) and there["model"]["division"]["layers"] is None


@pytest.mark.parametrize(
    "key", ["calibration.tau", "data.validation_clips", "data.synthetic_referring.cached_frames", "tracking.threshold"]
)
def test_what_follows_a_referring_run_may_change(key):
    there, here = (plain(ikun.get_config("tiny")) for _ in range(2))
    *sections, name = key.split(".")
    section = here
    for part in sections:
        section = section[part]
    section[name] += 1
    assert not identity.changes(there, here) and len(identity.harmless_changes(there, here)) == 1


def test_harmless_settings_exist():
    """A setting that is renamed is not left behind in the list."""
    configs = grm.get_config("b256"), mixformer_v2.get_config("depth8"), ikun.get_config("tiny")
    keys = {key for config in configs for key in traverse_util.flatten_dict(plain(config), sep=".")}
    for pattern in set(identity.HARMLESS) - {"data.max_bad_fraction"}:  # comes with a loader that replaces samples
        assert fnmatch.filter(keys, pattern), pattern
