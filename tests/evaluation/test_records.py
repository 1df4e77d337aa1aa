import json

import numpy as np
import pytest

from trackers.evaluation import records

BOXES = np.array([[1.0, 2.0, 3.0, 4.0], [1.23456, 2.5, 3, 4]])
SECONDS = np.array([0.5, 0.001])


@pytest.mark.parametrize(
    ("benchmark", "files"),
    [
        ("got10k", ("got10k/grm/a/a_001.txt", "got10k/grm/a/a_time.txt")),
        ("lasot", ("lasot/grm/a.txt", "lasot/grm/a_time.txt")),
    ],
)
def test_files_are_the_toolkits(tmp_path, benchmark, files):
    records.Records(tmp_path, benchmark, "grm", "run").write("a", BOXES, SECONDS)
    assert (tmp_path / files[0]).read_text() == "1.000,2.000,3.000,4.000\n1.235,2.500,3.000,4.000\n"
    assert (tmp_path / files[1]).read_text() == "0.50000000\n0.00100000\n"
    assert not list(tmp_path.rglob("*.part"))


def test_finished_only_for_the_same_run_sequence_and_length(tmp_path):
    store = records.Records(tmp_path, "frames", "grm", "run")
    assert store.finished("a", 2) is None
    store.write("a", BOXES, SECONDS, first_box=[1.0, 2.0, 3.0, 4.0], elapsed=float("nan"))
    boxes, seconds, facts = store.finished("a", 2, first_box=[1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(boxes, BOXES, atol=5e-4)
    np.testing.assert_array_equal(seconds, SECONDS)
    assert facts["elapsed"] is None
    assert store.finished("a", 3) is None
    assert store.finished("a", 2, first_box=[9.0, 2.0, 3.0, 4.0]) is None
    assert records.Records(tmp_path, "frames", "grm", "other").finished("a", 2) is None
    assert records.Records(tmp_path, "frames", "static", "run").finished("a", 2) is None


@pytest.mark.parametrize("text", ["", "1,2,3\n", "not a box\n1,2,3,4\n"])
def test_a_damaged_file_is_tracked_again(tmp_path, text):
    store = records.Records(tmp_path, "frames", "grm", "run")
    store.write("a", BOXES, SECONDS)
    store.paths("a")[0].write_text(text)
    assert store.finished("a", 2) is None


def test_digest_sees_names_values_shapes_and_types():
    tree = {"params": {"a": np.ones((2, 3), np.float32), "b": "text"}}
    same = {"params": {"b": "text", "a": np.ones((2, 3), np.float32)}}
    others = [
        {"params": {"a": np.ones((3, 2), np.float32), "b": "text"}},
        {"params": {"a": np.ones((2, 3), np.float64), "b": "text"}},
        {"params": {"c": np.ones((2, 3), np.float32), "b": "text"}},
        {"params": {"a": np.ones((2, 3), np.float32), "b": "other"}},
        {"params": {"a": np.nextafter(np.ones((2, 3), np.float32), 2), "b": "text"}},
    ]
    assert records.digest(tree) == records.digest(same)
    assert len({records.digest(value) for value in [tree, *others]}) == 6


def test_json_holds_nan_as_null(tmp_path):
    value = {"a": [np.float32(1.5), float("nan")], "b": np.int64(3), "c": (True,)}
    records.write_json(tmp_path / "results.json", value)
    assert json.loads((tmp_path / "results.json").read_text()) == {"a": [1.5, None], "b": 3, "c": [True]}


def test_boxes_of_whatever_run_and_whose_they_are(tmp_path):
    for tracker in ("static", "grm"):
        records.Records(tmp_path, "frames", tracker, f"run of {tracker}").write(
            "a", BOXES, SECONDS, image_size=[64, 48]
        )
    assert records.trackers_of(tmp_path, "frames") == ["grm", "static"]
    assert records.trackers_of(tmp_path, "got10k") == records.trackers_of(tmp_path / "absent", "frames") == []
    store = records.Records(tmp_path, "frames", "grm", None)
    boxes, _, facts = store.kept("a", 2)
    np.testing.assert_allclose(boxes, BOXES, atol=5e-4)
    assert facts["image_size"] == [64, 48]
    assert store.kept("a", 3) is store.kept("b", 2) is store.finished("a", 2) is None
