"""The shipped weights, and the programs that take them when none are given."""

import csv
import json

import jax
import numpy as np
import pytest

import trackers
from configs import grm
from data_pipelines.procedural import video
from tests import programs
from trackers import convert, weights
from trackers.errors import InputError, UsageError
from trackers.evaluation import scores
from trackers.tracking import single_object

LENGTH = 20


@pytest.mark.slow
def test_it_follows_a_target_far_better_than_a_box_that_stays():
    config = grm.get_config("t128_tuned")
    variables = weights.load(None, config.model)
    tracker = single_object.Tracker(trackers.build(config.model), config.tracking)
    how = video.SyntheticConfig.from_config(grm.get_config("demo"))
    found, still = [], []
    for seed in (5001, 5002, 5003):
        frames, boxes = video.sequence(seed, LENGTH, detail=how.detail, plainness=how.plainness)
        output = single_object.track(tracker, variables, frames, boxes[0])
        found.append(scores.overlap(np.asarray(output.box), boxes[1:]).mean())
        still.append(scores.overlap(np.repeat(boxes[:1], LENGTH - 1, axis=0), boxes[1:]).mean())
    assert np.mean(found) > np.mean(still) + 0.15


def test_another_model_needs_its_own_checkpoint():
    with pytest.raises(UsageError, match=r"--checkpoint is needed.*model\."):
        weights.load(None, grm.get_config("b256").model)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    config = grm.get_config("tiny").model
    variables = trackers.init(trackers.build(config), jax.random.key(0))
    bias = variables["params"]["encoder"]["norm"]["bias"]
    variables["params"]["encoder"]["norm"]["bias"] = bias.at[3].set(np.nan)
    weights.save(tmp_path / "saved", variables, config)
    np.savez(tmp_path / "published.npz", **convert.from_variables(variables, config))
    for name in ("saved", "published.npz"):
        with pytest.raises(InputError, match=f"{name}: params/encoder/norm/bias holds numbers that are not finite"):
            weights.load(tmp_path / name, config)
    variables["params"]["encoder"]["norm"]["bias"] = bias.astype(np.int32)
    weights.save(tmp_path / "whole", variables, config)
    with pytest.raises(InputError, match="whole: weights that are not floats: params/encoder/norm/bias is int32"):
        weights.load(tmp_path / "whole", config)


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"model": {"name": "grm", "width": "96"}}, "model.width must be a whole number, got '96'"),
        ({"model": {"name": "../grm"}}, "model.name '../grm' is not a tracker"),
        ({"model": {"name": "grm", "division": None}}, "model.division is a section, not one value: None"),
        ({"model": {"name": "grm", "head": []}}, r"model.head is a section, not one value: \[\]"),
        ({"tracking": []}, "config.json is not a config: `tracking` is not a section"),
    ],
)
def test_a_config_beside_weights_whose_values_are_of_another_kind_is_refused(tmp_path, changes, line):
    (tmp_path / weights.CONFIG_FILE).write_text(json.dumps({"model": {"name": "grm"}, "tracking": {}, **changes}))
    with pytest.raises(InputError, match=line):
        trackers.load(tmp_path)


def test_it_is_small():
    files = [path for path in (programs.ROOT / "weights").rglob("*") if path.is_file()]
    assert 1e6 < sum(path.stat().st_size for path in files) < 8e6


def _run(program, *arguments):
    # From elsewhere, too: what is shipped is found beside the programs.
    return programs.finish(programs.start(program, *arguments, folder="/", PYTHONPATH=None))


def test_the_programs_take_it_by_default(tmp_path):
    cv2 = pytest.importorskip("cv2")
    video.write_sequences(tmp_path / "video", 1, 4, seed=3)
    (folder,) = (tmp_path / "video").iterdir()
    box = (folder / "groundtruth.txt").read_text().splitlines()[0]
    done = _run("track.py", f"--images={folder}", f"--box={box}", f"--out={tmp_path / 'out'}", "--no-draw")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out" / "boxes.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    done = _run("eval.py", f"--benchmark=frames:{tmp_path / 'video'}", f"--out={tmp_path / 'eval'}", "--draw")
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(tmp_path / "eval" / "filmstrip.png")).shape == (240, 1600, 3)

    config = programs.ROOT / "configs" / "grm.py"
    done = _run("track.py", f"--config={config}:b256", f"--images={folder}", f"--box={box}", "--out=/x")
    assert done.returncode == 2 and "--checkpoint is needed" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "noted"),
    [
        (
            ["--config=grm.py:t128"],
            "note: other crops than the weights were learned with (in brackets): tracking.crop_aspect 0 (1)",
        ),
        (["--config=grm.py:t128", "--config.tracking.crop_aspect=0.5"], None),
        (["--config=grm.py:t128_tuned"], None),
        (["--config=grm.py:shipped"], None),
        ([], None),
    ],
)
def test_other_crops_than_those_of_the_weights_are_named(tmp_path, arguments, noted):
    given = [text.replace("grm.py", str(programs.ROOT / "configs" / "grm.py")) for text in arguments]
    done = _run("eval.py", *given, f"--benchmark=frames:{tmp_path / 'none'}", f"--out={tmp_path / 'out'}")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert (noted in done.stdout) if noted else ("other crops" not in done.stdout)
