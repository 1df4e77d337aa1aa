import numpy as np
import pytest
from PIL import Image

from trackers.tracking import squares


@pytest.fixture(scope="module")
def frame():
    return np.random.default_rng(0).integers(0, 256, (45, 70, 3), np.uint8)


@pytest.mark.parametrize("corners", [(10, 5, 30, 40), (-6, -3, 20, 10), (60, 30, 90, 60), (80, 50, 95, 60)])
def test_cut_is_pillows_crop(frame, corners):
    np.testing.assert_array_equal(squares.cut(frame, corners), np.asarray(Image.fromarray(frame).crop(corners)))


def test_cut_of_an_empty_box_is_a_pixel(frame):
    np.testing.assert_array_equal(squares.cut(frame, (7, 9, 7, 9)), frame[9:10, 7:8])
    assert squares.cut(frame, (7, 9, 3, 12)).shape == (3, 1, 3)


@pytest.mark.parametrize(
    ("shape", "left", "top"), [((45, 70), 0, 12), ((70, 45), 12, 0), ((5, 8), 0, 1), ((6, 6), 0, 0)]
)
def test_pad_centers_with_the_odd_pixel_at_the_end(shape, left, top):
    image = np.full((*shape, 3), 9, np.uint8)
    padded = squares.pad(image)
    side = max(shape)
    assert padded.shape == (side, side, 3) and int(padded.sum()) == int(image.sum())
    np.testing.assert_array_equal(padded[top : top + shape[0], left : left + shape[1]], image)


def test_resize_averages(frame):
    small = squares.resize(frame, 8)
    expected = Image.fromarray(frame).resize((8, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small, np.asarray(expected))
    assert small.std() < 0.5 * frame.std()  # one pixel in forty would keep the noise
    window = squares.resize(frame, 8, (10, 5, 50, 45))
    np.testing.assert_array_equal(window, squares.resize(np.ascontiguousarray(frame[5:45, 10:50]), 8))


def test_local_image_truncates_the_corners(frame):
    box = (9.9, 4.9, 20.2, 30.2)
    expected = squares.resize(squares.pad(frame[4:35, 9:30]), 16)
    np.testing.assert_array_equal(squares.local_image(frame, box, 16), expected)


def test_images_of_any_box_have_the_asked_size(frame):
    for box in ((0, 0, 70, 45), (-20, -20, 10, 10), (500, 500, 20, 20), (5, 5, 0.2, 0.2), (5, 5, 300, 2)):
        image = squares.local_image(frame, box, 12)
        assert image.shape == (12, 12, 3) and image.dtype == np.uint8
    assert squares.global_image(frame, 20).shape == (20, 20, 3)
    assert not squares.local_image(frame, (500, 500, 20, 20), 12).any()
