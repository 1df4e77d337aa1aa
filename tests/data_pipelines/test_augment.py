import numpy as np
import pytest

from data_pipelines import augment, crops


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return {
        "template": [rng.integers(0, 256, (30, 40, 3), np.uint8), rng.integers(0, 256, (20, 50, 3), np.uint8)],
        "template_box": np.array([[4.0, 5, 10, 8], [30, 2, 12, 9]]),
        "search": rng.integers(0, 256, (30, 40, 3), np.uint8),
        "search_box": np.array([20.5, 3, 7, 11]),
    }


@pytest.fixture
def cut():
    rng = np.random.default_rng(1)
    return {
        "template": rng.integers(0, 256, (2, 8, 8, 3), np.uint8),
        "template_box": np.array([[0.25, 0.25, 0.5, 0.5], [0.1, 0.2, 0.3, 0.4]], np.float32),
        "search": rng.integers(0, 256, (16, 16, 3), np.uint8),
        "search_box": np.array([0.6, 0.1, 0.2, 0.3], np.float32),
    }


def same(a, b):
    return all(np.array_equal(x, y) for name in a for x, y in zip(a[name], b[name], strict=True))


@pytest.mark.parametrize("change", [augment.grey, augment.flip])
def test_nothing_happens_unless_asked(frames, change):
    assert same(change(frames, False), frames)


def test_grey_is_joint_and_keeps_the_boxes(frames):
    pair = augment.grey(frames, True)
    for image in (*pair["template"], pair["search"]):
        assert image.dtype == np.uint8 and (image == image[..., :1]).all()
    luma = frames["search"].astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(pair["search"][..., 0] - luma).max() <= 0.51
    assert pair["template_box"] is frames["template_box"] and pair["search_box"] is frames["search_box"]


def test_flip_is_joint_exact_and_its_own_inverse(frames):
    pair = augment.flip(frames, True)
    np.testing.assert_array_equal(pair["template"][1], frames["template"][1][:, ::-1])
    np.testing.assert_array_equal(pair["template_box"], [[26, 5, 10, 8], [8, 2, 12, 9]])
    np.testing.assert_array_equal(pair["search_box"], [12.5, 3, 7, 11])
    assert same(augment.flip(pair, True), frames)


def test_crop_of_the_mirror_is_the_mirror_of_the_crop(frames):
    pair = augment.flip(frames, True)
    box, mirrored = [12, 8, 12, 12], [16, 8, 12, 12]
    straight = crops.sample_target(frames["search"], box, 1.5, 9)[0]
    flipped = crops.sample_target(pair["search"], mirrored, 1.5, 9)[0]
    np.testing.assert_array_equal(flipped, straight[:, ::-1])


def test_flip_crops_is_each_for_itself(cut):
    pair = augment.flip_crops(cut, [False, True], False)
    np.testing.assert_array_equal(pair["template"][0], cut["template"][0])
    np.testing.assert_array_equal(pair["template"][1], cut["template"][1][:, ::-1])
    np.testing.assert_allclose(pair["template_box"], [[0.25, 0.25, 0.5, 0.5], [0.6, 0.2, 0.3, 0.4]], atol=1e-7)
    np.testing.assert_array_equal(pair["search"], cut["search"])
    pair = augment.flip_crops(cut, [False, False], True)
    np.testing.assert_array_equal(pair["search"], cut["search"][:, ::-1])
    np.testing.assert_allclose(pair["search_box"], [0.2, 0.1, 0.2, 0.3], atol=1e-7)
    assert pair["search_box"].dtype == np.float32


def test_brightness_is_that_of_exact_products_whatever_the_factor():
    levels = np.arange(256, dtype=np.uint8)
    image = np.random.default_rng(3).permutation(np.repeat(levels, 3)).reshape(16, 16, 3)
    for factor in (*np.random.default_rng(2).uniform(0.5, 1.5, 200), 0.5, 0.7, 0.9, 1.1, 1.25, 1.5):
        expected = np.minimum(np.rint(image * float(factor)), 255)
        np.testing.assert_array_equal(augment._scale(image, factor), expected)


def test_brightness_rounds_and_saturates(cut):
    pair = augment.brightness(cut, [1.0, 0.8], 1.2)
    np.testing.assert_array_equal(pair["template"][0], cut["template"][0])
    for crop, source, factor in ((pair["template"][1], cut["template"][1], 0.8), (pair["search"], cut["search"], 1.2)):
        exact = np.clip(source * factor, 0, 255)
        assert crop.dtype == np.uint8 and np.abs(crop - exact).max() <= 0.5 + 1e-9
    np.testing.assert_array_equal(pair["search_box"], cut["search_box"])
