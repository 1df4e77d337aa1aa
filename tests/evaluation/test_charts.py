import re
from xml.etree import ElementTree

import numpy as np
import pytest

from trackers.evaluation import charts, scores

STILL = np.tile([[10.0, 10, 20, 20]], (9, 1))


def _scored(*shifts):
    return {f"shift <{shift}>": scores.pytracking(STILL + [shift, 0, 0, 0], STILL) for shift in shifts}


def _points(path):
    return np.array([[float(v) for v in pair.split(",")] for pair in re.findall(r"[\d.-]+,[\d.-]+", path.get("d"))])


def _lines(svg):
    return [path for path in svg.iter("path") if (path.get("class") or "").startswith("line")]


@pytest.mark.parametrize("kind", charts.CURVES, ids=lambda kind: kind.key)
def test_curves_lie_where_the_axes_say(kind):
    scored = _scored(2, 9)
    svg = charts.curves(kind, scored)
    levels = {text.text: float(text.get("y")) - 4 for text in svg.iter("text") if text.get("text-anchor") == "end"}
    ticks = {text.text: float(text.get("x")) for text in svg.iter("text") if text.get("text-anchor") == "middle"}
    paths = _lines(svg)
    assert [path.find("title").text for path in paths] == list(scored)[::-1]  # the first one is drawn last, on top
    for path, score in zip(paths[::-1], scored.values(), strict=True):
        points = _points(path)
        first, last = (ticks[f"{tick:g}"] for tick in (kind.ticks[0], kind.ticks[-1]))
        np.testing.assert_allclose(points[:, 0], first + (last - first) * kind.steps / kind.steps[-1], atol=0.06)
        heights = levels["0"] + (levels["100"] - levels["0"]) * score.curves[kind.key]
        np.testing.assert_allclose(points[:, 1], heights, atol=0.06)
    assert {kind.x, kind.y} <= set(ticks) and "[" in kind.x and "[%]" in kind.y


def test_legends_list_the_best_first_and_nan_last():
    scored = _scored(9, 2) | {"nothing": scores.pytracking(STILL, STILL, np.zeros(9, bool))}
    assert [(name, order) for name, order, _ in charts.best_first(charts.CURVES[0], scored)] == [
        ("shift <2>", 1),
        ("shift <9>", 0),
        ("nothing", 2),
    ]
    assert len(_lines(charts.curves(charts.CURVES[0], scored))) == 2


def test_a_sheet_is_a_file_with_all_curves_and_numbers():
    scored = _scored(2, 9) | {"x" * 300: scores.pytracking(STILL, STILL)}
    root = ElementTree.fromstring(charts.sheet(scored, "a & b"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and float(root.get("width")) > 1000
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "a & b" in texts and texts.count("shift <2>") == 3
    assert f"{100 * scored['shift <9>'].values['AUC']:.1f}" in texts
    assert max(map(len, texts)) < 60  # a long name is cut


def test_strips_have_gaps_where_the_target_is_hidden():
    values = np.array([1.0, 0.5, np.nan, np.nan, 0.25, 0.0])
    svg = charts.strip({"a": values, "b": 1 - values}, marks=[0, 5])
    first = [path for path in _lines(svg) if "c0" in path.get("class")]
    assert [_points(path).tolist() for path in first] == [[[0, 0], [200, 50]], [[800, 75], [1000, 100]]]
    assert sum(path.get("class") == "area c0" for path in svg.iter("path")) == 2
    assert [line.get("x1") for line in svg.iter("line") if line.get("class") == "axis"] == ["0.0", "1000.0"]


def test_long_strips_are_means_of_neighbors():
    frames = 3 * charts.STRIP_POINTS - 1
    values = np.random.default_rng(0).uniform(size=frames)
    values[6] = np.nan
    (path,) = _lines(charts.strip({"a": values}))
    points = _points(path)
    assert len(points) == charts.STRIP_POINTS
    expected = [np.nanmean(values[k : k + 3]) for k in range(0, frames, 3)]
    np.testing.assert_allclose(1 - points[:, 1] / 100, expected, atol=6e-4)
    np.testing.assert_allclose(points[:-1, 0], 1000 * (np.arange(0, frames - 2, 3) + 1) / (frames - 1), atol=0.06)


def test_one_frame_and_lone_frames_are_seen():
    for values in ([0.5], [np.nan, 0.5, np.nan]):
        (path,) = _lines(charts.strip({"a": np.array(values)}))
        assert len(_points(path)) == 2


def test_a_radar_has_its_scores_along_the_axes():
    svg = charts.radar(["up", "right", "down", "left"], {"a": [0.6, 0.3, 0.0, np.nan]})
    (x, up), (right, y), (_, down), (left, _) = _points(_lines(svg)[0])
    # The scale ends at 60 %: the first corner lies on the outer ring.
    outer = max((path for path in svg.iter("path") if path.get("class") == "grid"), key=lambda p: -_points(p)[0, 1])
    assert up == _points(outer)[0, 1] and (right - x) * 2 == pytest.approx(y - up, abs=0.3)
    assert down == pytest.approx(y) and left == pytest.approx(x)
    texts = [text.text for text in svg.iter("text")]
    assert {"up", "right", "20 %", "60 %"} <= set(texts) and "80 %" not in texts


def test_a_radar_of_a_file_lists_the_trackers():
    svg = charts.radar(["a", "b", "c"], {"x": [1, 1, 1], "y": [0, 0, 0]}, legend=True)
    assert {"x", "y"} <= {text.text for text in svg.iter("text")}
    assert ElementTree.fromstring(charts.file(svg)) is not None
