import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.evaluation import made_results
from tests.evaluation.made_results import NAMES
from trackers.errors import InputError
from trackers.evaluation import benchmark, result_folders, scores, tables

pytest.importorskip("cv2")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder of an evaluation, its sequences)."""
    folder = tmp_path_factory.mktemp("evaluation")
    return folder / "out", made_results.evaluate(folder / "frames", folder / "out")


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "copy")
    return tmp_path / "copy"


def test_what_was_scored_comes_back(made):
    out, sequences = made
    boxes = {one.name: one.boxes + [9.0 * (1 + k), 0, 0, 0] for k, one in enumerate(sequences)}
    expected = benchmark.score("otb", sequences, boxes, dict.fromkeys(NAMES, (64, 48)))
    results = result_folders.read(out)
    assert list(results.scored) == ["grm", "static"] and results.attributes == {}
    assert results.speeds["grm"]["end_to_end_fps"] == pytest.approx(80)
    for toolkit in ("got10k", "pytracking"):
        parts = results.scored["static"][toolkit]["sequences"]
        assert list(parts) == NAMES
        for name, part in parts.items():
            assert part.values == expected[toolkit]["sequences"][name].values
            for key, curve in part.curves.items():
                np.testing.assert_allclose(curve, expected[toolkit]["sequences"][name].curves[key], atol=1e-7)


def _kept(parts):
    """The scores without the overlap of every frame, which no folder keeps."""
    return {
        name: dataclasses.replace(part, curves={key: part.curves[key] for key in part.curves if key != "overlap"})
        for name, part in parts.items()
    }


@pytest.mark.parametrize("count", [1, 3, 4])
def test_the_overall_numbers_are_those_of_the_toolkits(count):
    """Also of some of the sequences, of unequal lengths: weighted by frames where a toolkit pools them."""
    rng = np.random.default_rng(count)
    parts = {toolkit: {} for toolkit in ("got10k", "pytracking")}
    for name, frames in zip("abcd", (9, 30, 5, 2), strict=True):
        truth = np.tile([[10.0, 10, 20, 20]], (frames, 1))
        found = truth + rng.normal(0, 5, truth.shape) * [1, 1, 0.2, 0.2]
        parts["got10k"][name] = scores.got10k(found, truth, (100, 100))
        parts["pytracking"][name] = scores.pytracking(found, truth)
    names = list("abcd")[:count]
    kept = result_folders.restricted({toolkit: {"sequences": _kept(each)} for toolkit, each in parts.items()}, names)
    for toolkit, each in parts.items():
        expected = scores.combine([each[name] for name in names])
        for key, value in kept[toolkit]["overall"].values.items():
            assert value == pytest.approx(expected.values[key], abs=1e-12)
    np.testing.assert_allclose(kept["pytracking"]["overall"].curves["precision"], expected.curves["precision"])
    assert kept["got10k"]["overall"].frames == sum((9, 30, 5, 2)[:count]) - count


def _changed(file, change):
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def _drop(value, *keys):
    for key in keys[:-1]:
        value = value[key]
    del value[keys[-1]]


_ONE = ("trackers", "grm", "scores", "got10k", "sequences", NAMES[2])


def _put(value, keys, new):
    for key in keys[:-1]:
        value = value[key]
    value[keys[-1]] = new


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("results.json", lambda v: v.update(phrases={}), "only results of tracking one object"),
        ("results.json", lambda v: v.update(trackers={}), "holds no trackers"),
        ("results.json", lambda v: _drop(v, "trackers", "grm", "scores"), "ground truth is not public"),
        ("results.json", lambda v: _drop(v, "trackers", "grm", "speed"), "is damaged"),
        ("results.json", lambda v: _drop(v, *_ONE, "AO"), "is damaged .*AO.*: run eval.py"),
        ("results.json", lambda v: _drop(v, *_ONE), "the toolkits have other sequences"),
        ("results.json", lambda v: _put(v, (*_ONE, "AO"), "0.5"), "'0.5' is no number"),
        ("results.json", lambda v: _put(v, (*_ONE, "AO"), True), "is no number"),
        ("results.json", lambda v: _put(v, (*_ONE, "frames"), -3), "-3 frames"),
        ("results.json", lambda v: _put(v, (*_ONE, "frames"), 2.5), "2.5 frames"),
        ("curves.json", lambda v: _drop(v, "trackers", "static"), "static.*run eval.py"),
        ("curves.json", lambda v: v["trackers"]["grm"][NAMES[0]]["success"].pop(), "a curve of 20 values, not 21"),
        ("curves.json", lambda v: _put(v, ("trackers", "grm", NAMES[0], "precision"), 3), "is damaged"),
    ],
)
def test_damage_is_named(copy, file, change, said):
    _changed(copy / file, change)
    with pytest.raises(InputError, match=said) as caught:
        result_folders.read(copy)
    assert str(copy / file) in str(caught.value)


def test_missing_files_are_named(copy, tmp_path):
    (copy / "curves.json").unlink()
    with pytest.raises(InputError, match="curves.json is missing: expected the curves .*run eval.py"):
        result_folders.read(copy)
    with pytest.raises(InputError, match="no such folder"):
        result_folders.read(tmp_path / "absent")
    with pytest.raises(InputError, match="results.json is missing"):
        result_folders.read(tmp_path)


def test_a_number_that_is_none_stays_one(copy):
    _changed(copy / "results.json", lambda v: _put(v, (*_ONE, "AO"), None))
    toolkits = result_folders.restricted(result_folders.read(copy).scored["grm"], NAMES)
    assert np.isnan(tables.number(toolkits, "got10k", "AO", NAMES[2]))


def test_attributes(copy, tmp_path):
    (copy / "attributes.json").write_text(json.dumps({"plain": ["occlusion"]}))
    assert result_folders.read(copy).attributes == {"plain": ["occlusion"]}
    for text in ("[]", '{"plain": "occlusion"}', '{"plain": [1]}'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match="holds no attributes: expected JSON"):
            result_folders.read_attributes(tmp_path / "a.json")
    assert result_folders.read_attributes(tmp_path / "absent") == {}
    with pytest.raises(InputError, match="absent is missing"):
        result_folders.read_attributes(tmp_path / "absent", needed=True)
