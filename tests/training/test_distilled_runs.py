"""Whole runs of train.py with a teacher, with frozen layers, of the score stage, and of one stage after the other."""

import contextlib
import io
import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import trackers
import train
from configs import mixformer_v2, mixformer_v2_stages, mixvit
from tests.training import support
from trackers import weights
from trackers.errors import InputError
from trackers.nn import stacking
from trackers.training import checkpoints, initial

pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(autouse=True)
def noise_pairs(monkeypatch):
    monkeypatch.setattr(train.loader, "batches", _batches)


def _batches(config, start_step, rows, seed=None, split="train"):
    for step, batch in enumerate(support.batches(config, start_step, rows, seed, split), start_step):
        if config.data.get("positive_probability", 1.0) < 1:
            batch["label"] = np.float32([(step + row) % 2 for row in rows])
        yield batch


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Two steps an epoch, so that the rate changes; teacher and student start from different files."""
    made = support.distilled_config(learning_rate=1e-2, total_epochs=3)
    made.data.pairs_per_epoch = 16
    variables = support.filled(trackers.build(made.model))
    for name, factor in (("teacher", 0.9), ("init", 1.0)):
        made[name].checkpoint = str(tmp_path_factory.mktemp(name))
        scaled = jax.tree.map(lambda leaf, factor=factor: factor * leaf, variables)
        weights.save(made[name].checkpoint, scaled, made.model)
    return made


def _run(config, workdir, max_steps=None):
    with contextlib.redirect_stdout(io.StringIO()):
        assert train.train(config, str(workdir), max_steps) == 0
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def _leaves(path, config):
    return stacking.flatten(weights.load(path, config.model))


@pytest.mark.slow
def test_a_distilled_run_resumes_and_leaves_frozen_layers_as_they_were(config, tmp_path):
    whole = _run(config, tmp_path / "whole")
    _run(config, tmp_path / "parts", max_steps=3)
    parts = _run(config, tmp_path / "parts")
    losses = [[line["loss"] for line in lines if "loss" in line] for lines in (whole, parts)]
    assert losses[0] == losses[1] and len(losses[0]) == 6
    rates = [line["elimination_rate"] for line in whole if "elimination_rate" in line]
    # m = 4: epochs 1, 2, 3.
    np.testing.assert_allclose(rates, np.repeat([0.5, 0.5 * (1 + np.cos(0.75 * np.pi)), 0.0], 2), atol=1e-6)
    assert all("teacher_iou" in line and "feature" in line for line in whole if "loss" in line)
    validation = [line for line in whole if "validation/elimination_rate" in line]
    assert validation[-1]["validation/elimination_rate"] == 0.0

    first, last = _leaves(config.init.checkpoint, config), _leaves(tmp_path / "whole", config)
    again = _leaves(tmp_path / "parts", config)
    for name, leaf in last.items():
        assert np.asarray(leaf).tobytes() == np.asarray(again[name]).tobytes(), name
        fixed = "block_0/" in name or "block_2/" in name or "position_" in name
        same = np.asarray(leaf).tobytes() == np.asarray(first[name]).tobytes()
        assert same == fixed, name


def test_the_score_stage_trains_the_score_head_alone(config, tmp_path):
    score = support.small_config(learning_rate=1e-2)
    with score.unlocked():
        score.model = ConfigDict(config.model.to_dict() | {"score_head": True})
        score.objective = ConfigDict({"name": "confidence"})
        score.init.update({"source": {"score_head": False}, "fresh": ("params/score/",)})
        score.data.positive_probability = 0.5
        score.train.frozen = (r"^(?!score/)",)
    score.init.checkpoint = config.init.checkpoint
    lines = _run(score, tmp_path, max_steps=3)
    assert all(0 <= line["accuracy"] <= 1 for line in lines if "loss" in line)
    first, last = _leaves(config.init.checkpoint, config), _leaves(tmp_path, score)
    new = {name for name in last if name.startswith("params/score/")}
    assert last.keys() - first.keys() == new and len(new) == 4
    for name in first:
        assert np.asarray(first[name]).tobytes() == np.asarray(last[name]).tobytes(), name


def test_a_teacher_that_is_not_given_is_named(config, tmp_path):
    lost = config.copy_and_resolve_references()
    lost.teacher.checkpoint = ""
    with pytest.raises(InputError, match="config.teacher.checkpoint is not set"):
        train.train(lost, str(tmp_path))
    lost.teacher.checkpoint = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nowhere does not exist"):
        train.train(lost, str(tmp_path))
    with lost.unlocked():
        lost.teacher.checkpoint = config.teacher.checkpoint
        lost.teacher.model.head.bins = 8
    with pytest.raises(InputError, match="another model or size.*head/shared/fc2"):
        train.train(lost, str(tmp_path))


STAGES = [stage.__name__ for stage in mixformer_v2_stages.STAGES]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_refuses_the_runs_of_other_variants_by_name(stage, tmp_path):
    """Before anything is computed or written: the same workdir takes the right one afterwards."""
    config = mixformer_v2.get_config(stage)
    wrong = {"b": mixformer_v2.get_config("b"), "l": mixvit.get_config("l")}
    for name, other in wrong.items():
        checkpoints.claim_workdir(tmp_path / name, other)
    for section in ("init", "teacher"):
        if section not in config or not config[section].variants:
            continue
        given = config[section].checkpoint
        for name, other in wrong.items():
            for path in (tmp_path / name, tmp_path / name / "checkpoints" / "3"):
                config[section].checkpoint = str(path)
                with pytest.raises(InputError) as caught:
                    train.train(config, str(tmp_path / "run"))
                assert str(caught.value) == (
                    f"config.{section}.checkpoint is expected to be of {' or '.join(config[section].variants)}, but"
                    f" {path} is of {other.variant}: give the former's workdir (--config.{section}.variants='()' takes"
                    " any)"
                )
        config[section].checkpoint = given
    assert not (tmp_path / "run").exists()


def test_what_does_not_say_its_variant_is_taken(tmp_path):
    """Weights that were saved or published, and the runs of other programs; so is any run where none is expected."""
    config = mixformer_v2.get_config("tiny_prune")
    run = mixvit.get_config("tiny")
    checkpoints.claim_workdir(tmp_path / "run", run)
    weights.save(tmp_path / "saved", {"params": {"a": np.zeros(1)}}, run.model)
    (tmp_path / "published.pth").write_bytes(b"")
    for taken in ("saved", "published.pth", "nowhere"):
        config.init.checkpoint = config.teacher.checkpoint = str(tmp_path / taken)
        assert set(initial.starts(config)) == {"init", "teacher"}
    config.init.checkpoint = config.teacher.checkpoint = str(tmp_path / "run")
    config.init.variants = config.teacher.variants = ()
    assert initial.starts(config)["init"].checkpoint == str(tmp_path / "run")


def _shortened(config):
    """A variant of some config, for a few steps of eight pairs; layers are stacked, as that compiles faster."""
    with config.unlocked():
        config.model.scan_layers = True
        config.data.update({"pairs_per_epoch": 8, "validation_pairs": 8})
        config.train.update({"batch_size": 8, "total_epochs": 2, "drop_epoch": 1, "warmup_epochs": 0.0})
        config.train.validate_every_epochs = 0
        if "elimination_epochs" in config.objective:
            config.objective.elimination_epochs = min(config.objective.elimination_epochs, 1)
    return config


# Of the tiny stages: the variant that is trained, what it starts from, and what teaches it.
ROUTE = (
    ("tiny_stage1", "tiny_teacher", "tiny_teacher"),
    ("tiny_prune", "tiny_stage1", "tiny_stage1"),
    ("tiny_depth2", "tiny_prune", "tiny_stage1"),
    ("tiny_mlp1", "tiny_depth2", "tiny_stage1"),
    ("tiny_score", "tiny_depth2", None),
)


@pytest.mark.slow
def test_the_route_from_the_teacher_to_the_score(tmp_path):
    """Each stage takes what those before it left; the teacher has the plain corner head, of fewer cells than bins."""
    config = _shortened(mixvit.get_config("tiny_teacher"))
    config.model.head.kind = "corner"
    _run(config, tmp_path / "tiny_teacher")
    for stage, first, teacher in ROUTE:
        config = _shortened(mixformer_v2.get_config(stage))
        if stage == "tiny_stage1":
            config.teacher.model.head.kind = config.init.source.head.kind = "corner"
        for section, variant in {"init": first, "teacher": teacher}.items():
            if variant:
                config[section].checkpoint = str(tmp_path / variant)
        lines = _run(config, tmp_path / stage)
        assert all(np.isfinite(line["loss"]) for line in lines if "loss" in line), stage
    wide, narrow = (_leaves(tmp_path / name, mixformer_v2.get_config(name)) for name in ("tiny_depth2", "tiny_mlp1"))
    hidden = [leaves["params/encoder/block_0/mlp/fc1/bias"].shape for leaves in (wide, narrow)]
    assert hidden == [(96,), (48,)]
