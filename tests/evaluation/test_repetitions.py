import json

import numpy as np
import pytest
from etils import epath

from data_pipelines.sources import Sequence
from trackers.evaluation import records, repetitions

TRUTH = np.array([[10.0, 10, 20, 20]] * 4)


def _sequence(name="a", boxes=TRUTH):
    return Sequence(name, list(range(4)), boxes, np.ones(len(boxes), bool))


def _track(width):
    """A finished sequence: boxes of one width after the first frame."""
    boxes = TRUTH.copy()
    boxes[1:, 2] = width
    return {"a": (boxes, np.full(4, width / 100), {"image_size": (100, 80), "elapsed": 1.0})}


def test_runs_are_multiplied_and_brought_together_again():
    runs = repetitions.multiplied({"grm": ("runner", "x"), "kcf": ("other", "y")}, 3)
    assert list(runs) == ["grm", "grm_002", "grm_003", "kcf", "kcf_002", "kcf_003"]
    assert runs["grm"] == ("runner", "x") and len(dict(runs.values())) == 2
    assert len({run for _, run in runs.values()}) == 6
    assert repetitions.of(runs, 3) == {
        name: [runs[f"{name}{end}"] for end in ("", "_002", "_003")] for name in ("grm", "kcf")
    }
    once = {"grm": ("runner", "x")}
    assert repetitions.multiplied(once, 1) == once and repetitions.of(once, 1) == {"grm": [("runner", "x")]}


def test_mean_and_spread(tmp_path, capsys):
    """Widths of 10, 15, 20 of 20: IoU 0.5, 0.75 and 1."""
    tracks = {"kcf": [_track(width) for width in (10, 15, 20)], "grm": [_track(15)] * 3}
    repetitions.report("frames", tracks, [_sequence()], epath.Path(tmp_path))
    text = (tmp_path / "repetitions.md").read_text()
    assert text == capsys.readouterr().out
    assert "grm: the same boxes in all 3 repetitions, so its scores have no spread" in text
    assert "kcf: boxes of 1 of 1 sequence differ between repetitions" in text
    rows = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in text.splitlines() if line.startswith("|")
    }
    assert rows["kcf"] == f"75.0 ± {100 * np.std([0.5, 0.75, 1], ddof=1):.1f}" and rows["grm"] == "75.0"
    found = json.loads((tmp_path / "repetitions.json").read_text())
    assert found["trackers"]["kcf"]["scores"]["AO"] == pytest.approx([0.5, 0.75, 1.0])


def test_withheld_truth_has_no_scores(tmp_path, capsys):
    repetitions.report("got10k", {"grm": [_track(10)] * 2}, [_sequence(boxes=TRUTH[:1])], epath.Path(tmp_path))
    assert "AO" not in (tmp_path / "repetitions.md").read_text() and "same boxes" in capsys.readouterr().out


def test_got10k_has_its_repetitions_in_one_folder(tmp_path):
    out = epath.Path(tmp_path)
    store = records.Records(out, "got10k", "grm", "run")
    tracks = [_track(width) for width in (10, 15, 20)]
    store.write("a", tracks[0]["a"][0], tracks[0]["a"][1])
    for count in (3, 2):
        repetitions.place("got10k", {"grm": tracks[:count]}, out)
        names = sorted(path.name for path in (out / "got10k" / "grm" / "a").iterdir())
        assert names == [*(f"a_{number:03d}.txt" for number in range(1, count + 1)), "a_time.txt"]
        second = np.loadtxt(out / "got10k" / "grm" / "a" / "a_002.txt", delimiter=",")
        np.testing.assert_array_equal(second, tracks[1]["a"][0])
        times = np.loadtxt(out / "got10k" / "grm" / "a" / "a_time.txt", delimiter=",")
        np.testing.assert_allclose(times, np.tile([0.1, 0.15, 0.2][:count], (4, 1)))
        assert store.finished("a", 4)[1].tolist() == [0.1] * 4  # the first repetition is not tracked again
    repetitions.place("frames", {"grm": tracks}, out)
    assert not (out / "frames").exists()
