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
