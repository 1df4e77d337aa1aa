import cv2
import numpy as np
import pytest

from data_pipelines.unlabelled import following
from tests.data_pipelines.unlabelled import pictures


@pytest.mark.parametrize("gap", [1, 3, 5])
def test_the_box_goes_where_the_square_goes(gap):
    (first, box), (second, expected) = pictures.scene(4), pictures.scene(4 + gap)
    assert not np.allclose(box, expected)
    np.testing.assert_allclose(following.follow(first, box, second), expected, atol=1.0)


def test_growth_is_found():
    first = pictures.texture(160, 200, 3, 2.0)
    # By 1.2 around (100, 80), then (6, -4) further.
    matrix = np.array([[1.2, 0, 100 - 120 + 6], [0, 1.2, 80 - 96 - 4]])
    second = cv2.warpAffine(first, matrix, (200, 160))
    box = np.array([80, 65, 40, 30], np.float64)
    np.testing.assert_allclose(following.follow(first, box, second), [82, 58, 48, 36], atol=1.0)


@pytest.mark.parametrize(
    "second",
    [
        np.zeros((120, 160, 3), np.uint8),
        pictures.texture(120, 160, 9),  # another scene
        pictures.texture(60, 80, 9),  # another size
    ],
)
def test_what_cannot_be_followed_is_not(second):
    assert following.follow(*pictures.scene(0), second) is None


def test_a_half_that_moves_otherwise_is_not_followed():
    first, box = pictures.scene(0)
    second = first.copy()
    second[:, 50:] = np.roll(second[:, 50:], 8, axis=0)
    assert following.follow(first, box, second) is None
