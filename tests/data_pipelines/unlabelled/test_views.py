import cv2
import numpy as np
import pytest

from data_pipelines import sampling
from data_pipelines.unlabelled import UnlabelledConfig, changes, views
from tests.data_pipelines.unlabelled import pictures
from trackers.errors import InputError

STILL = UnlabelledConfig(change=0.0, occlusion_probability=0.0)


def pair(first, second):
    return {"template": [first], "template_box": np.zeros((1, 4)), "search": second, "search_box": np.zeros(4)}


def test_without_strength_nothing_changes():
    image, box = pictures.scene(0)
    changed, where = changes.change(image, box, STILL, sampling.generator(0, 0, 0))
    np.testing.assert_array_equal(changed, image)
    np.testing.assert_allclose(where, box)


def test_the_box_is_that_of_the_changed_ellipse():
    image = np.zeros((200, 200, 3), np.uint8)
    cv2.ellipse(image, (100, 90), (40, 20), 0, 0, 360, (255, 255, 255), -1)
    box = np.array([60, 70, 81, 41], np.float64)  # OpenCV fills both ends
    moved = []
    for row in range(10):
        settings = UnlabelledConfig(occlusion_probability=0.0)
        changed, (x, y, w, h) = changes.change(image, box, settings, sampling.generator(0, 0, row))
        seen = [np.flatnonzero((changed.max(axis=2) > 60).any(axis=axis)) for axis in (0, 1)]
        extent = seen[0][0], seen[1][0], seen[0][-1] + 1, seen[1][-1] + 1
        np.testing.assert_allclose(extent, (x, y, x + w, y + h), atol=2.5)
        moved.append(max(abs(w - 81), abs(h - 41)))
    assert max(moved) > 5


def test_a_cover_hides_part_of_the_region():
    image, box = pictures.scene(0)
    settings = UnlabelledConfig(change=0.0, occlusion_probability=1.0)
    x, y, w, h = box.astype(int)
    shares = []
    for row in range(20):
        changed, where = changes.change(image, box, settings, sampling.generator(0, 0, row))
        np.testing.assert_allclose(where, box)
        shares.append((changed != image).any(axis=2)[y : y + h, x : x + w].mean())
    assert max(shares) < 0.7 and np.mean(shares) > 0.08


def test_the_region_is_followed_and_else_stays():
    (first, _), (second, _) = pictures.scene(0), pictures.scene(3)
    moved = 0
    for row in range(20):
        frames = views.with_regions(pair(first, second), True, STILL, sampling.generator(0, 0, row))
        shift = frames["search_box"] - frames["template_box"][0]
        if np.array_equal(frames["search"], second):
            moved += 1
        else:
            np.testing.assert_array_equal(frames["search"], first)
            np.testing.assert_allclose(shift, 0, atol=1e-9)
    assert moved > 8
    frames = views.with_regions(pair(first, np.zeros_like(first)), True, STILL, sampling.generator(0, 0, 0))
    np.testing.assert_array_equal(frames["search"], first)
    np.testing.assert_allclose(frames["search_box"], frames["template_box"][0])


def test_another_scene_keeps_a_region_of_its_own():
    first, other = pictures.scene(0)[0], pictures.texture(90, 100, 5)
    frames = views.with_regions(pair(first, other), False, STILL, sampling.generator(0, 0, 0))
    np.testing.assert_array_equal(frames["search"], other)
    assert (frames["search_box"][:2] + frames["search_box"][2:] <= [100, 90]).all()
    blank = np.zeros((90, 100, 3), np.uint8)
    assert views.with_regions(pair(first, blank), False, STILL, sampling.generator(0, 0, 0)) is None
    assert views.with_regions(pair(blank, first), True, STILL, sampling.generator(0, 0, 0)) is None


def test_large_pictures_are_reduced_and_small_ones_named(tmp_path):
    assert views.fitted(np.zeros((1000, 1920, 3), np.uint8), "x").shape == (500, 960, 3)
    assert views.fitted(np.zeros((100, 200, 3), np.uint8), "x").shape == (100, 200, 3)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 40, 3), np.uint8))
    with pytest.raises(InputError, match=r"a\.png of 40x20 pixels is too small"):
        views.read_frame(tmp_path / "a.png")
