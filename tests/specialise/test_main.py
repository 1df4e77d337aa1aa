"""python -m trackers.specialise, as a user runs it, and what the programs make of its folder."""

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from configs import grm
from data_pipelines.procedural import video
from tests import forked, recipes
from trackers import weights
from trackers.errors import InputError
from trackers.io import outputs
from trackers.nn import stacking

command = functools.partial(forked.run, "trackers.specialise")
TINY = ("--config=configs/grm.py:tiny", "--config.model.division.layers=(1, 2, 3)")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    video.write_sequences(root, 2, 5, seed=3)
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small GRM: layer 1 keeps all tokens from the template, layer 2 some, layer 3 none."""
    config = grm.get_config("tiny").model
    config.division.layers = (1, 2, 3)
    variables = recipes.random_variables(trackers.build(config))
    # (S, A); that of layer 2 is such that both are likely on these videos.
    for block, factor, bias in (("block_0", 0, (9.0, 0.0)), ("block_1", 1, (-1.2, 0.0)), ("block_2", 0, (0.0, 9.0))):
        logits = variables["params"]["encoder"][block]["division"]["logits"]
        logits |= {"kernel": factor * logits["kernel"], "bias": factor * logits["bias"] + np.array(bias, np.float32)}
    folder = tmp_path_factory.mktemp("checkpoint")
    weights.save(folder, variables, config)
    return folder


@pytest.fixture(scope="module")
def sharp(checkpoint, tmp_path_factory):
    """The same with sharp attention in layer 1: the largest logit of many tokens is at a key that is kept from them."""
    config = json.loads((checkpoint / "config.json").read_text())["model"]
    variables = weights.load(checkpoint, config)
    variables = jax.tree_util.tree_map_with_path(
        lambda path, x: 6 * x if {"block_0", "qkv"} <= {part.key for part in path} else x, variables
    )
    folder = tmp_path_factory.mktemp("sharp")
    weights.save(folder, variables, config)
    return folder


def error_of(done, code):
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("error: ") and "Traceback" not in done.stderr
    return lines[-1]


@pytest.mark.slow
def test_writes_a_tracker_without_the_modules_and_the_programs_take_it(videos, checkpoint, tmp_path):
    out = tmp_path / "out"
    done = command(*TINY, f"--checkpoint={checkpoint}", f"--benchmark=frames:{videos}", f"--out={out}")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    verdicts = {row[0]: row[-1] for row in rows if row[0].isdigit()}
    assert verdicts == {"1": "two_stream", "2": "learned", "3": "one_stream"}
    shares = [[float(share) for share in row[1:4]] for row in rows if row[0].isdigit()]
    assert shares[0] == [0, 0, 0] and shares[2] == [100, 100, 100] and 0 < shares[1][1] < 100
    apart = re.search(r"one step from the same box: \S+ pixels apart \(median\), (\S+) at most", done.stdout)
    assert float(apart[1]) < 1e-3
    assert re.search(r"two-stream layers: split; largest difference in one step, pixels: split \S+ \(", done.stdout)
    assert "10/10" in done.stderr and "frame/s" in done.stderr
    assert out.joinpath("table.md").read_text().strip() in done.stdout

    config = json.loads((out / "config.json").read_text())
    division = config["model"]["division"]
    assert (division["one_stream_layers"], division["two_stream_layers"]) == ([3], [1])
    assert config["tracking"]["search_factor"] == grm.get_config("tiny").tracking.search_factor
    kept = stacking.flatten(weights.load(out, config["model"]))
    assert {path.split("/")[2] for path in kept if "division" in path} == {"block_1"}

    # Alone, and with the config that it was made from; beside the checkpoint as it was.
    folder = sorted(path for path in videos.iterdir() if path.is_dir())[0]
    box = (folder / "groundtruth.txt").read_text().splitlines()[0]
    runs = {
        "alone": (f"--checkpoint={out}",),
        "given": (f"--checkpoint={out}", *TINY),
        "whole": (f"--checkpoint={checkpoint}", *TINY),
    }
    common = (f"--images={folder}", f"--box={box}", "--no-draw")
    lines = [["track.py", *arguments, *common, f"--out={tmp_path / name}"] for name, arguments in runs.items()]
    lines.append(["eval.py", f"--checkpoint={out}", f"--benchmark=frames:{videos}", f"--out={tmp_path / 'e'}"])
    lines[-1].append("--config.tracking.window=0.5")
    done = dict(zip((*runs, "evaluated"), forked.run_all(lines), strict=True))
    assert all(one.returncode == 0 for one in done.values()), done
    assert "no --config: that of" in done["alone"].stdout
    assert "model.division.two_stream_layers=(1,), as config.json beside the weights says" in done["given"].stdout
    boxes = {name: np.loadtxt(tmp_path / name / "boxes.csv", delimiter=",", skiprows=2) for name in runs}
    np.testing.assert_array_equal(boxes["alone"], boxes["given"])
    np.testing.assert_allclose(boxes["alone"], boxes["whole"], atol=2e-3)
    used = json.loads((tmp_path / "e" / "results.json").read_text())["config"]
    assert used["tracking"]["window"] == 0.5 and used["model"]["division"]["two_stream_layers"] == [1]


@pytest.mark.slow
def test_two_stream_layers_are_masked_where_split_ones_move_the_boxes(videos, sharp, tmp_path):
    out = tmp_path / "out"
    common = (*TINY, f"--checkpoint={sharp}", f"--benchmark=frames:{videos}")
    lines = [[*common, f"--out={tmp_path / 'asked'}", "--two_stream=split", "--frames=2"], [*common, f"--out={out}"]]
    asked, done = forked.run_all([["trackers.specialise", *line] for line in lines])
    assert done.returncode == 0, done.stderr
    chosen = re.search(r"two-stream layers: masked; .* pixels: split (\S+), masked (\S+) \(", done.stdout)
    apart = re.search(r"one step from the same box: \S+ pixels apart \(median\), (\S+) at most", done.stdout)
    assert float(chosen[1]) > 1e-2 and float(chosen[2]) == float(apart[1]) < 1e-3
    division = json.loads((out / "config.json").read_text())["model"]["division"]
    assert (division["two_stream_layers"], division["two_stream_form"]) == ([1], "masked")
    assert "two-stream layers: split, as --two_stream says" in asked.stdout, asked.stderr
    assert (
        json.loads((tmp_path / "asked" / "config.json").read_text())["model"]["division"]["two_stream_form"] == "split"
    )

    # The programs take the form over with the layers, unless the command line has another.
    folder = sorted(path for path in videos.iterdir() if path.is_dir())[0]
    box = (folder / "groundtruth.txt").read_text().splitlines()[0]
    runs = {
        "given": (f"--checkpoint={out}", *TINY),
        "split": (f"--checkpoint={out}", *TINY, "--config.model.division.two_stream_form=split"),
        "whole": (f"--checkpoint={sharp}", *TINY),
    }
    common = (f"--images={folder}", f"--box={box}", "--no-draw")
    lines = [["track.py", *arguments, *common, f"--out={tmp_path / name}"] for name, arguments in runs.items()]
    done = dict(zip(runs, forked.run_all(lines), strict=True))
    assert all(one.returncode == 0 for one in done.values()), done
    says = "model.division.two_stream_form=masked, as config.json beside the weights says"
    assert says in done["given"].stdout and says not in done["split"].stdout
    boxes = {name: np.loadtxt(tmp_path / name / "boxes.csv", delimiter=",", skiprows=2) for name in runs}
    np.testing.assert_allclose(boxes["given"], boxes["whole"], atol=2e-3)
    assert np.abs(boxes["split"] - boxes["whole"]).max() > 1e-2


def test_a_folder_that_was_not_written_to_its_end_is_refused(checkpoint, tmp_path):
    config = grm.get_config("tiny").model
    with pytest.raises(InputError, match="disk"), outputs.unfinished(tmp_path):
        weights.save(tmp_path, {"params": {"a": jnp.zeros(2)}}, config)
        raise InputError("the disk is full")
    with pytest.raises(InputError, match="was not written to its end: wait where .*, else remove it"):
        weights.load(tmp_path, config)


def test_bad_input_is_one_line(videos, checkpoint, tmp_path):
    for name in ("full", "empty", "single/one"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "full" / "notes.txt").write_text("mine")
    one = sorted(path for path in videos.iterdir() if path.is_dir())[0]
    frame = sorted(one.glob("*.jpg"))[0]
    (tmp_path / "single" / "one" / frame.name).write_bytes(frame.read_bytes())
    (tmp_path / "single" / "one" / "groundtruth.txt").write_text((one / "groundtruth.txt").read_text().splitlines()[0])
    given, frames, new = f"--checkpoint={checkpoint}", f"--benchmark=frames:{videos}", f"--out={tmp_path / 'new'}"
    cases = {
        "no division": ((*TINY, "--config.model.division.mode=one_stream", given, frames, new), 2, "divides"),
        "no checkpoint of this config": ((*TINY, frames, new), 2, "--checkpoint is needed"),
        "no sequences": ((*TINY, given, f"--benchmark=frames:{tmp_path / 'empty'}", new), 1, "empty"),
        "one frame": ((*TINY, given, f"--benchmark=frames:{tmp_path / 'single'}", new), 1, "no frame after a first"),
        "a folder in use": ((*TINY, given, frames, f"--out={tmp_path / 'full'}"), 1, "not empty"),
        "a tolerance of a half": ((*TINY, given, frames, new, "--tolerance=0.5"), 2, "tolerance"),
    }  # fmt: skip
    ended = forked.run_all([["trackers.specialise", *arguments] for arguments, _, _ in cases.values()])
    for (name, (_, code, said)), done in zip(cases.items(), ended, strict=True):
        assert said in error_of(done, code), name
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]


def test_where_no_further_layer_is_constant_nothing_is_written(videos, checkpoint, tmp_path):
    """Layers 1 and 3 are fixed by hand: the checkpoint's modules there are left out."""
    fixed = ("--config.model.division.one_stream_layers=(3,)", "--config.model.division.two_stream_layers=(1,)")
    given = (f"--checkpoint={checkpoint}", f"--benchmark=frames:{videos}", f"--out={tmp_path / 'out'}")
    done = command(*TINY, *fixed, *given, "--frames=3", "--tolerance=0.01")
    assert done.returncode == 0, done.stderr
    assert "4 frames of 2 sequences, tolerance 0.01" in done.stdout
    assert "no layer's division is constant: nothing was written" in done.stdout
    assert not list((tmp_path / "out").iterdir())
