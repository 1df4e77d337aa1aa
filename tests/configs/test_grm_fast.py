"""The recipes of configs/grm.py that wait for a GPU: what a frame costs, and that they train from their first step."""

import json

import pytest

import trackers
from configs import grm
from tests import forked
from trackers.training import flops

SMALL = {
    "train.batch_size": 2,
    "train.steps_per_dispatch": 2,
    "train.log_every_steps": 2,
    "data.validation_pairs": 2,
    "data.synthetic.backgrounds": 4,
    "data.synthetic.families": 4,
}
FAST = ("fast128", "fast192")


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


def test_they_train_from_the_first_step(tmp_path):
    changes = [f"--config.{key}={value}" for key, value in SMALL.items()]
    lines = [
        ["train.py", f"--config=configs/grm.py:{name}", f"--workdir={tmp_path / name}", "--max_steps=2", *changes]
        for name in FAST
    ]
    for name, done in zip(FAST, forked.run_all(lines, seconds=280), strict=True):
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        assert any(row.get("step") == 2 for row in rows)
