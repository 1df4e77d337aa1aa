"""Whole runs of train.py with a teacher, with frozen layers, and of the score stage."""

import contextlib
import io
import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import trackers
import train
from tests.training import support
from trackers import weights
from trackers.errors import InputError
from trackers.nn import stacking

pytestmark = pytest.mark.usefixtures("compile_once")


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
