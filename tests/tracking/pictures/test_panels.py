import numpy as np
import pytest

from trackers.tracking.pictures.panels import Legend, Panel, blend, draw, draw_box

matplotlib = pytest.importorskip("matplotlib")


def test_a_map_is_enlarged_to_the_image_and_laid_over_it():
    """(2,2) to (4,4), bilinear with half-pixel centers: weights 1, 3/4, 1/4 and 0 of the first row and column."""
    weight = np.array([1, 0.75, 0.25, 0])
    values = np.array([[0.2, 0.6], [0.4, 1.0]])
    enlarged = np.einsum("ip,jq,pq->ij", *2 * [np.stack([weight, 1 - weight], 1)], values)
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    for lowest in (None, 0.0):
        least = 0.2 if lowest is None else lowest
        colors = matplotlib.colormaps["jet"]((enlarged - least) / (1 - least))[..., :3]
        expected = 0.45 * image + 0.55 * 255 * colors
        np.testing.assert_allclose(blend(image, values, lowest), expected, atol=5.0)  # a step of the color map
        assert np.abs(blend(image, values, lowest) - expected).mean() < 1.5


def test_a_map_without_differences_is_all_blue():
    shown = blend(np.zeros((4, 4, 3), np.uint8), np.full((2, 2), 0.25))
    assert (shown == shown[0, 0]).all() and shown[0, 0, 2] > shown[0, 0, 0]


def test_a_figure_is_written(tmp_path):
    cv2 = pytest.importorskip("cv2")
    image = np.full((20, 20, 3), 128, np.uint8)
    row = [
        Panel(image, "search", mark=lambda axis: draw_box(axis, np.array([5, 5, 8, 6]))),
        Panel(image, "layer 2", "1 %"),
    ]
    legend = Legend(("least", "most"), {"left": "#ff0000"})
    draw(tmp_path / "with.png", [("frame 1", row), ("frame 2", row)], "A title", legend)
    draw(tmp_path / "plain.png", [("frame 1", row)], "A title")
    larger, smaller = (cv2.imread(str(tmp_path / name)) for name in ("with.png", "plain.png"))
    assert larger.shape[0] > 1.5 * smaller.shape[0] and larger.shape[1] == smaller.shape[1]
    yellow = np.array([0, 196, 255])  # the box, blue first
    assert (np.abs(larger.astype(int) - yellow).max(-1) < 30).sum() > 100
