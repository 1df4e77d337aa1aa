"""Accuracy, robustness and EAO: recorded runs of the toolkit, cases counted by hand, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from etils import epath

from tests import recipes
from trackers import errors
from trackers.evaluation.vot import multistart_scores, workspace

RECORDED = epath.Path(recipes.REFERENCE) / "vot_multistart"
BOX = (10, 10, 20, 20)


def _score(root, low=2, high=6, tracker="t"):
    return multistart_scores.score(root / "results" / tracker / "baseline", root / "sequences", low, high)


@pytest.mark.parametrize("tracker", ["grm", "untrained"])
def test_recorded_runs_score_as_the_toolkit_scored_them(tracker):
    known = json.loads((RECORDED / "manifest.json").read_text())
    expected = known["trackers"][tracker]
    found = _score(RECORDED, known["low"], known["high"], tracker)
    for name in ("accuracy", "robustness", "eao"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-9)
    np.testing.assert_allclose(found.curve, expected["curve"], atol=1e-9)


def _lines(boxes):
    return "".join(",".join(map(str, box)) + "\n" if box else "0\n" for box in boxes)


def _write(root, truth, anchors, runs, name="a"):
    """A workspace of one sequence; runs: {anchor: boxes after the first frame}."""
    folder = root / "sequences" / name
    folder.mkdir(parents=True)
    (root / "sequences" / "list.txt").write_text(f"{name}\n")
    (folder / "groundtruth.txt").write_text(_lines(truth))
    (folder / "anchor.value").write_text("".join(f"{anchor}\n" for anchor in anchors))
    (folder / "sequence").write_text("width=100\nheight=80\n")
    results = root / "results" / "t" / "baseline" / name
    results.mkdir(parents=True)
    for anchor, boxes in runs.items():
        (results / f"{name}_{anchor:08d}.txt").write_text("1\n" + _lines(boxes))
    return epath.Path(root)


def test_a_run_that_holds_and_one_that_fails(tmp_path):
    """Frames 0..23. Forwards from 0 all is found; backwards from 20 the target is lost after two frames."""
    half = (10, 10, 20, 10)
    runs = {0: [BOX] * 23, 20: [half, half] + [(60, 60, 9, 9)] * 18}
    anchors = [1, *[0] * 19, -1, 0, 0, 0]
    found = _score(_write(tmp_path, [BOX] * 24, anchors, runs), low=2, high=30)
    # The first run: 24 frames, the first of them with overlap 0. The second is cut before its fourth frame, of 21.
    kept = 24 + 3
    assert found.accuracy == pytest.approx((23 + 2 * 0.5) / kept)
    assert found.robustness == pytest.approx(kept / (24 + 21))
    curve = np.zeros(30)
    for length in range(1, 30):
        held = 1.0 if length < 24 else None
        lost = (0.5 * min(length, 2)) / (length if length < 21 else length - 1)
        curve[length] = np.mean([value for value in (held, lost) if value is not None])
    np.testing.assert_allclose(found.curve, curve, atol=1e-12)
    assert found.eao == pytest.approx(curve[2:30].mean())


def test_a_hidden_frame_breaks_a_row_of_lost_ones(tmp_path):
    """The first frame is lost by definition: nine more fail the run, eight do not, nor eight and nine around a gap."""
    away = [(60, 60, 9, 9)] * 19
    with pytest.raises(errors.InputError, match="every run fails in its first frame"):
        _score(_write(tmp_path / "seen", [BOX] * 20, [1], {0: away}))
    truth = [BOX] * 9 + [None] + [BOX] * 9 + [None]
    found = _score(_write(tmp_path / "hidden", truth, [1], {0: away}))
    assert (found.robustness, found.accuracy) == (1.0, 0.0)


def test_what_is_missing_is_named(tmp_path):
    root = _write(tmp_path, [BOX] * 4, [1, 0, 0, 0], {0: [BOX] * 3})
    with pytest.raises(errors.UsageError, match="--low 6 and --high 6"):
        _score(root, low=6)
    file = root / "results" / "t" / "baseline" / "a" / "a_00000000.txt"
    file.write_text("1\n" + _lines([BOX] * 2))
    with pytest.raises(errors.InputError, match="holds 3 regions for a run of 4 frames"):
        _score(root)
    file.write_text("1\n1,2,3,4,5,6\n")
    with pytest.raises(errors.InputError, match=r"a_00000000.txt:2.*polygons are not scored here"):
        _score(root)
    file.unlink()
    with pytest.raises(errors.InputError, match="a_00000000.bin is missing"):
        _score(root)
    (file.parent / "a_001.bin").touch()
    with pytest.raises(errors.InputError, match="results/t/baseline/a has one run over the sequence"):
        _score(root)
    (root / "sequences" / "a" / "anchor.value").write_text("0\n0\n")
    with pytest.raises(errors.InputError, match="anchor.value has 2 lines"):
        _score(root)
    shutil.rmtree(root / "sequences" / "a")
    with pytest.raises(errors.InputError, match="groundtruth.txt is missing"):
        _score(root)


@pytest.mark.parametrize("pattern", ["color/%08d.jpg", "color/%06d.jpg", "color/", "color"])
def test_the_size_is_the_first_images_where_it_is_not_stated(tmp_path, pattern):
    """What the toolkit writes need not state it, nor the pattern of the names."""
    cv2 = pytest.importorskip("cv2")
    root = _write(tmp_path, [BOX] * 4, [1, 0, 0, 0], {0: [BOX] * 3})
    folder = root / "sequences" / "a"
    (folder / "sequence").write_text(f"channels.color={pattern}\n")
    (folder / "color").mkdir()
    name = "000001.jpg" if "6" in pattern else "00000001.jpg"
    cv2.imwrite(str(folder / "color" / name), np.zeros((80, 100, 3), np.uint8))
    assert _score(root).accuracy == 0.75


def test_the_interval_is_that_of_the_challenge():
    assert (workspace.LOW, workspace.HIGH) == (115, 755)
