import numpy as np
import pytest

from trackers.tracking.pictures import drawing

pytest.importorskip("cv2")


def _colored(image, color, tolerance=40):
    """(rows, columns) of the pixels about that color."""
    return np.nonzero((np.abs(image.astype(int) - color) < tolerance).all(axis=-1))


def test_box_is_where_it_belongs_and_the_frame_is_untouched():
    frame = np.full((600, 800, 3), 90, np.uint8)
    drawn = drawing.annotate(frame, box=(100, 200, 50, 80))
    assert drawn.shape == frame.shape and (frame == 90).all()
    rows, columns = _colored(drawn, drawing.BOX_COLOR)
    assert abs(rows.min() - 200) <= 2 and abs(rows.max() - 279) <= 2
    assert abs(columns.min() - 100) <= 2 and abs(columns.max() - 149) <= 2
    assert (drawn[220:260, 110:140] == 90).all()


def test_truth_score_and_number():
    frame = np.full((600, 800, 3), 90, np.uint8)
    plain = drawing.annotate(frame, box=(100, 200, 50, 80))
    assert not len(_colored(plain, drawing.TRUTH_COLOR)[0])
    assert len(_colored(drawing.annotate(frame, truth=(300, 300, 40, 40)), drawing.TRUTH_COLOR)[0])
    scored = drawing.annotate(frame, box=(100, 200, 50, 80), score=0.5)
    assert (scored[170:196, 100:140] != plain[170:196, 100:140]).any()
    np.testing.assert_array_equal(drawing.annotate(frame, box=(100, 200, 50, 80), score=float("nan")), plain)
    assert (drawing.annotate(frame, number=7)[:40, :120] != 90).any()


@pytest.mark.parametrize("box", [(-30, -40, 60, 60), (780, 580, 60, 60), (0, 0, 800, 600), (5000, 5000, 4, 4)])
def test_box_at_or_beyond_the_border(box):
    drawn = drawing.annotate(np.zeros((600, 800, 3), np.uint8), box=box, score=0.25, number=3, truth=box)
    assert drawn.shape == (600, 800, 3)


def test_nothing_is_drawn_for_an_absent_truth():
    frame = np.full((600, 800, 3), 90, np.uint8)
    for truth in (None, (np.nan,) * 4, (0, 0, 0, 0)):
        np.testing.assert_array_equal(drawing.annotate(frame, truth=truth), frame)


def test_small_frames_are_enlarged():
    assert drawing.annotate(np.zeros((240, 320, 3), np.uint8)).shape == (480, 640, 3)


@pytest.mark.parametrize("other", [0, 3])
def test_search_only_tokens_are_darkened(other):
    frame = np.full((100, 100, 3), 200, np.uint8)
    division = np.array([[1, 2], [other, 1]])
    shaded = drawing.shade_search_only(frame, division, (20, 30, 40))
    dark = np.zeros((100, 100), bool)
    dark[30:50, 20:40] = dark[50:70, 40:60] = True
    assert (shaded[dark] == 80).all() and (shaded[~dark] == 200).all()


def test_a_window_of_another_aspect_is_shaded_and_framed():
    frame = np.full((100, 100, 3), 200, np.uint8)
    division = np.array([[1, 2], [2, 1]])
    shaded = drawing.shade_search_only(frame, division, (20, 30, 20, 40))
    dark = np.zeros((100, 100), bool)
    dark[30:50, 20:30] = dark[50:70, 30:40] = True
    assert (shaded[dark] == 80).all() and (shaded[~dark] == 200).all()
    drawn = drawing.annotate(np.full((600, 600, 3), 200, np.uint8), division=division, window=(100, 200, 150, 300))
    changed = (drawn != 200).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    np.testing.assert_allclose([rows[0], rows[-1], columns[0], columns[-1]], [200, 499, 100, 249], atol=6)


def test_shading_of_a_window_across_the_border():
    frame = np.full((40, 40, 3), 200, np.uint8)
    shaded = drawing.shade_search_only(frame, np.ones((2, 2), int), (-10, 30, 20))
    dark = np.zeros((40, 40), bool)
    dark[30:, :10] = True
    assert (shaded[dark] == 80).all() and (shaded[~dark] == 200).all()
    outside = drawing.shade_search_only(frame, np.ones((2, 2), int), (100, 100, 20))
    np.testing.assert_array_equal(outside, frame)
