"""python -m trackers.export, and trackers.load of what it wrote: no model is built, and what is wrong is one line."""

import json
import shutil

import numpy as np
import pytest

import trackers
from tests import families, forked
from trackers import weights
from trackers.errors import InputError, UsageError
from trackers.io import digests
from trackers.tracking import exported

BOXES = np.float32([[30, 25, 24, 20], [60, 40, 30, 26], [5, 8, 22, 24]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(folder of weights, folder of their export)."""
    place = tmp_path_factory.mktemp("export")
    _, variables = families.tiny("grm")
    weights.save(place / "weights", variables, families.config("grm").model, families.config("grm"))
    words = f"--checkpoint={place / 'weights'}", f"--to={place / 'exported'}", "--platforms=cpu,tpu", "--frames=3"
    done = forked.run("trackers.export", "--config=configs/grm.py:tiny", *words)
    assert done.returncode == 0, done.stderr
    assert "| stablehlo: step " in done.stdout and "| stablehlo: search " in done.stdout
    assert f"wrote {place / 'exported'}" in done.stdout
    return place / "weights", place / "exported"


@pytest.fixture
def copy(folders, tmp_path):
    """Function of changes of export.json -> a copy of the exported folder whose digests are right."""

    def make(**changes):
        folder = shutil.copytree(folders[1], tmp_path / "copy")
        manifest = {**json.loads((folder / exported.MANIFEST).read_text()), **changes}
        (folder / exported.MANIFEST).write_text(json.dumps(manifest))
        digests.write(folder)
        return folder

    return make


def test_the_manifest_says_what_a_caller_needs(folders):
    said = exported.manifest(folders[1])
    assert (said["name"], said["task"], said["platforms"]) == ("grm", "track", ["cpu", "tpu"])
    assert said["written_by"]["one-stream-trackers"] == trackers.__version__
    assert said["programs"]["step"]["inputs"][-2:] == [["frame", ["h", "w", 3], "uint8"], ["size", [2], "int32"]]
    assert ["found.box", ["b", 4], "float32"] in said["programs"]["step"]["outputs"]
    assert ["search", [1, 64, 64, 3], "float32"] in said["graphs"]["search"]["inputs"]
    assert said["input"]["mean"] == [0.485, 0.456, 0.406]
    assert said["tracking"]["clip_margin"] == 10.0 and said["model"]["kernels"] == "plain"
    assert said["checked"]["stablehlo: step"]["step"] <= said["checked"]["stablehlo: step"]["tolerance"]
    assert all((folders[1] / name).exists() for names in said["files"].values() for name in names)


def test_it_is_loaded_without_a_model(folders, monkeypatch):
    frames = np.random.default_rng(0).integers(0, 256, (3, 90, 120, 3), dtype=np.uint8)
    expected = trackers.load(folders[0], colors="bgr")
    monkeypatch.setattr(trackers, "build", None)
    found = trackers.load(folders[1], colors="bgr")
    for box in (BOXES[0], BOXES):
        for tracker in (expected, found):
            tracker.start(frames[0], box)
        for frame in frames[1:]:
            one, other = expected.update(frame), found.update(frame)
            assert other.box.shape == one.box.shape and other.score.shape == one.score.shape
            np.testing.assert_allclose(other.box, one.box, atol=1e-3)
            np.testing.assert_allclose(other.score, one.score, atol=1e-5)
            assert not other.lost.any()
    # Targets that start later: one becomes three, of another bucket, and four, of the same.
    for tracker in (expected, found):
        tracker.start(frames[0], BOXES[0])
    for number, frame in enumerate(frames[1:]):
        one, other = expected.update(frame), found.update(frame)
        np.testing.assert_allclose(other.box, one.box, atol=1e-3)
        for tracker in (expected, found):
            tracker.add(frame, (BOXES[1:], BOXES[0])[number])
    one, other = expected.update(frames[0]), found.update(frames[0])
    assert other.box.shape == (4, 4)
    np.testing.assert_allclose(other.box, one.box, atol=1e-3)
    np.testing.assert_allclose(other.score, one.score, atol=1e-5)


def test_it_is_a_folder_of_weights_too(folders):
    config = weights.beside(folders[1])
    assert weights.load(folders[1], config["model"]).keys() == {"params", "batch_stats"}


def test_what_it_cannot_be_asked_for(folders):
    with pytest.raises(UsageError, match="was exported with its config: leave config out"):
        trackers.load(folders[1], config="configs/grm.py:tiny")
    with pytest.raises(UsageError, match="--config.tracking.lost_below=0.35"):
        trackers.load(folders[1], recover=True)


def test_a_damaged_or_foreign_folder_is_refused(copy):
    folder = copy()
    content = bytearray((folder / "step.stablehlo").read_bytes())
    content[1000] ^= 1
    (folder / "step.stablehlo").write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged \(step.stablehlo is not what was written.*export it again"):
        trackers.load(folder)
    (folder / "step.stablehlo").write_text("<!DOCTYPE html>" * 100)
    digests.write(folder)
    with pytest.raises(InputError, match="step.stablehlo was written by jax .* cannot run it: export it again"):
        trackers.load(folder)
    kept = json.loads((folder / digests.FILE).read_text())
    del kept["sha256"]["step.stablehlo"]
    (folder / digests.FILE).write_text(json.dumps(kept))
    with pytest.raises(InputError, match=r"digests.json does not tell of all that is there\).*export it again"):
        trackers.load(folder)
    (folder / exported.MANIFEST).write_text("{")
    with pytest.raises(InputError, match=exported.MANIFEST):
        trackers.load(folder)


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"format": "another"}, "is not of trackers.export"),
        ({"version": 2}, "has version 2 of the format, read here is 1: export it again"),
        ({"programs": {}}, "holds no tracker in StableHLO: export one with --formats=stablehlo"),
        ({"platforms": ["tpu"]}, "was exported for tpu: export it with --platforms=cpu"),
        ({"programs": 3}, "export.json is damaged .*export it again"),
    ],
)
def test_another_manifest_is_refused(copy, changes, line):
    with pytest.raises(InputError, match=line):
        trackers.load(copy(**changes))


def test_programs_of_another_jax_are_refused(folders, copy):
    said = exported.manifest(folders[1])
    parts = {name: {**part, "calling_convention": 99} for name, part in said["programs"].items()}
    with pytest.raises(InputError, match="was written by jax 9.9, and jax .* cannot run it: export it again"):
        trackers.load(copy(programs=parts, written_by={"jax": "9.9"}))


def test_an_unfinished_folder_is_refused(copy):
    folder = copy()
    (folder / "UNFINISHED").write_text("")
    with pytest.raises(InputError, match="was not written to its end"):
        trackers.load(folder)
