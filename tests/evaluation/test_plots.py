import warnings

import numpy as np
import pytest

from trackers.evaluation import plots, scores

cv2 = pytest.importorskip("cv2")
pytest.importorskip("matplotlib")

STILL = np.tile([[10.0, 10, 20, 20]], (9, 1))


def _drawn(path):
    """(height, width) and the colors that cover more than 50 pixels of a PNG."""
    image = cv2.imread(str(path))[..., ::-1]
    colors, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    return image.shape[:2], {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colors[counts > 50]}


@pytest.mark.parametrize("draw", [plots.success, plots.precision])
def test_curves_of_every_tracker_are_drawn(tmp_path, draw):
    shifts = {"a": 2, "b": 9, "c": 400}
    curves = {name: scores.pytracking(STILL + [shift, 0, 0, 0], STILL) for name, shift in shifts.items()}
    draw(tmp_path / "plot.png", curves, "title")
    size, colors = _drawn(tmp_path / "plot.png")
    assert min(size) > 500
    assert {"#1f6fc4", "#e07b26", "#2a9d72", "#ffffff"} <= colors


def test_overlap_has_a_strip_for_each_sequence_and_gaps_where_hidden(tmp_path):
    values = np.linspace(1, 0, 30)
    values[10:20] = np.nan
    one = {"first": {"grm": values, "static": 1 - values}}
    plots.overlaps(tmp_path / "one.png", one, "title")
    plots.overlaps(tmp_path / "two.png", {**one, "second": {"grm": values[:1], "static": values[:1]}}, "title")
    (low, _), colors = _drawn(tmp_path / "one.png")
    (high, _), _ = _drawn(tmp_path / "two.png")
    assert high > low
    assert {"#1f6fc4", "#e07b26"} <= colors


@pytest.mark.parametrize("name", ["$\\frac{$", "日本\tline\nbreak", "_x"])
def test_names_are_drawn_as_they_are(tmp_path, name):
    """No formula, no control character, and no warning about letters that the font lacks."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        plots.overlaps(tmp_path / "plot.png", {name: {name: np.ones(3)}}, name)
        plots.success(tmp_path / "plot.png", {name: scores.pytracking(STILL, STILL)}, name)
    assert (tmp_path / "plot.png").exists()


def test_many_trackers_are_told_apart_and_all_listed(tmp_path, monkeypatch):
    """The ninth has the first one's color and is dashed; a legend wider than the picture goes on in further rows."""
    figures = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure))
    names = [f"a tracker with a long name, number {number}" for number in range(12)]
    plots.overlaps(tmp_path / "plot.png", {"first": dict.fromkeys(names, np.ones(3))}, "title")
    plots.success(tmp_path / "plot.png", dict.fromkeys(names, scores.pytracking(STILL, STILL)), "title")
    for figure in figures:
        lines = figure.axes[0].lines
        assert lines[0].get_color() == lines[8].get_color() and lines[8].is_dashed() > lines[0].is_dashed()
    figures[0].draw_without_rendering()
    legend = figures[0].legends[0]
    assert [text.get_text() for text in legend.get_texts()] == names
    assert legend.get_window_extent().x0 >= 0 and legend.get_window_extent().x1 <= figures[0].bbox.x1


def test_a_score_that_is_not_a_number_is_listed_last(tmp_path):
    nothing = scores.pytracking(STILL, STILL, np.zeros(9, bool))
    plots.success(tmp_path / "plot.png", {"a": nothing, "b": scores.pytracking(STILL, STILL)}, "")
    assert "#e07b26" in _drawn(tmp_path / "plot.png")[1]


def test_gains_have_a_bar_a_tracker_and_grow_with_the_sequences(tmp_path):
    one = {name: {"AO": 0.5, "true size": gain, "true center": 0.1} for name, gain in (("a", 0.2), ("mean", -0.05))}
    more = {**{f"{number}": one["a"] for number in range(5)}, **one}
    plots.gains(tmp_path / "one.png", {"grm": one}, "title")
    plots.gains(tmp_path / "more.png", {"grm": more, "static": more}, "title")
    (low, _), colors = _drawn(tmp_path / "one.png")
    (high, _), both = _drawn(tmp_path / "more.png")
    assert high > low and "#e07b26" not in colors and {"#1f6fc4", "#e07b26"} <= both
