"""Crops against the field's program (recorded), OpenCV, and themselves under jit, vmap and padding."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import crops as host_crops
from tests import recipes
from trackers.ops import crops

MANIFEST, OUTPUTS = recipes.load("crops")
CASES = list(enumerate(MANIFEST["checks"]["crops"]))


def _recorded_image():
    y, x, c = np.meshgrid(np.arange(240), np.arange(320), np.arange(3), indexing="ij")
    base = (3 * x + 5 * y + 40 * c + 56 * ((x // 16 + y // 16) % 2)) % 256
    noise = recipes.gen(MANIFEST["salt"], "input/image").integers(0, 48, size=(240, 320, 3))
    return ((base + noise) % 256).astype(np.uint8)


IMAGE = _recorded_image()
_jitted = jax.jit(crops.sample_target, static_argnums=(2, 3))


def _overlaps(case):
    """Whether the window sees any pixel; the program is wrong where it does not."""
    x, y, w, h = case["box"]
    side = math.ceil(math.sqrt(w * h) * case["factor"])
    x1, y1 = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
    return x1 < 319 and y1 < 239 and x1 + side > 0 and y1 + side > 0


def test_image_is_the_recorded_one():
    assert int(IMAGE.sum()) == MANIFEST["checks"]["image_sum"]


@pytest.mark.parametrize("number,case", CASES, ids=lambda v: f"{v['box']}x{v['factor']}" if isinstance(v, dict) else "")
def test_recorded_crops_are_equal(number, case):
    crop, factor = _jitted(IMAGE, np.float32(case["box"]), case["factor"], case["size"])
    crop = np.asarray(crop)
    assert float(factor) == pytest.approx(case["resize_factor"], rel=1e-6)
    if not _overlaps(case):
        assert not crop.any()  # the documented difference: black
        return
    assert [int(v) for v in crop.sum((0, 1))] == case["crop_sum"]
    key = f"b{number // 3:02d}_f{case['factor']:.0f}"
    step = case["size"] // 32
    np.testing.assert_array_equal(crop[::step, ::step], OUTPUTS[f"{key}_crop"])
    if f"{key}_full" in OUTPUTS:
        np.testing.assert_array_equal(crop, OUTPUTS[f"{key}_full"])
    if f"{key}_preprocessed" in OUTPUTS:
        normalized = np.asarray(crops.normalize(crop))[::16, ::16].transpose(2, 0, 1)[None]
        np.testing.assert_allclose(normalized, OUTPUTS[f"{key}_preprocessed"], atol=1e-6)


def test_most_recorded_crops_see_the_image():
    assert sum(_overlaps(case) for _, case in CASES) >= 45


def _opencv_crop(frame, box, factor, size):
    cv2 = pytest.importorskip("cv2")
    x, y, w, h = (float(v) for v in box)
    side = math.ceil(math.sqrt(w * h) * factor)
    x1, y1 = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
    window = np.zeros((side, side, 3), np.uint8)
    left, right = max(x1, 0), min(x1 + side, frame.shape[1] - 1)
    top, bottom = max(y1, 0), min(y1 + side, frame.shape[0] - 1)
    if right > left and bottom > top:
        window[top - y1 : bottom - y1, left - x1 : right - x1] = frame[top:bottom, left:right]
    return cv2.resize(window, (size, size))


@pytest.mark.parametrize("size,factor", [(48, 2.0), (96, 4.0), (112, 2.0), (256, 4.5)])
def test_equals_opencv_on_random_boxes(size, factor):
    rng = np.random.default_rng(size)
    frame = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    for _ in range(25):
        box = np.float32([*rng.uniform(-20, 110, 2), *np.exp(rng.uniform(0, 5, 2))])
        crop, _ = _jitted(frame, box, factor, size)
        np.testing.assert_array_equal(np.asarray(crop), _opencv_crop(frame, box, factor, size), err_msg=str(box))


def test_padded_frame_and_traced_size_give_the_same_crop():
    box = np.float32([290, 200, 50, 60])
    canvas = np.full((300, 500, 3), 77, np.uint8)
    canvas[:240, :320] = IMAGE
    padded = jax.jit(lambda size: crops.sample_target(canvas, box, 4.0, 64, size))(np.int32([240, 320]))
    np.testing.assert_array_equal(padded[0], crops.sample_target(IMAGE, box, 4.0, 64)[0])


def test_vmap_equals_loop():
    box = np.float32([[10, 20, 30, 40], [300, 220, 60, 60], [-10, 5, 99, 7]])
    both = jax.vmap(lambda b: crops.sample_target(IMAGE, b, 2.0, 32))(box)
    for i, one in enumerate(box):
        crop, factor = crops.sample_target(IMAGE, one, 2.0, 32)
        np.testing.assert_array_equal(both[0][i], crop)
        assert both[1][i] == factor


def test_frame_of_one_pixel_is_black():
    crop, _ = crops.sample_target(np.full((1, 1, 3), 9, np.uint8), np.float32([0, 0, 1, 1]), 2.0, 8)
    assert not np.asarray(crop).any()


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.integers(-500, 2000),
    st.integers(-500, 2000),
    st.sampled_from([2.0, 4.0, 4.5, 5.0]),
)
def test_window_is_exact(w, h, x, y, factor):
    x1, y1, side = (int(v) for v in _window(np.float32([x, y, w, h]), factor))
    squared = Fraction(w * h) * Fraction(factor) ** 2
    assert (side - 1) ** 2 < squared <= side**2
    assert x1 == round(Fraction(x) + Fraction(w, 2) - Fraction(side, 2))
    assert y1 == round(Fraction(y) + Fraction(h, 2) - Fraction(side, 2))


_window = jax.jit(crops.crop_window)


def test_window_survives_a_square_root_that_is_off_by_an_ulp(monkeypatch):
    exact = jnp.sqrt
    for wrong in (np.inf, -np.inf):
        monkeypatch.setattr(jnp, "sqrt", lambda v, wrong=wrong: jnp.nextafter(exact(v), jnp.float32(wrong)))
        for edge in (25, 100, 333):
            assert int(crops.crop_window(np.float32([0, 0, edge, edge]), 4.0)[2]) == 4 * edge


def test_normalize():
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3)
    expected = (levels / 255.0 - crops.IMAGENET_MEAN) / crops.IMAGENET_STD
    normalized = crops.normalize(levels)
    assert normalized.dtype == jnp.float32
    np.testing.assert_allclose(normalized, expected, atol=1e-6)
    np.testing.assert_array_equal(normalized, crops.normalize(levels.astype(np.float32)))


def test_boxes_go_to_the_crop_and_back():
    box, around = np.float32([103, 77, 40, 30]), np.float32([100, 80, 60, 50])
    inside = crops.box_to_crop(box, around, 220)
    np.testing.assert_allclose(inside, [0.5 - 27 / 220, 0.5 - 28 / 220, 40 / 220, 30 / 220], rtol=1e-6)
    center = jnp.concatenate([inside[:2] + inside[2:] / 2, inside[2:]])
    np.testing.assert_allclose(crops.map_box_back(center, around, 220), box, atol=1e-4)


@pytest.mark.parametrize("aspect", [-1.3, 0.4, 1.1])
@pytest.mark.parametrize("box", [(100, 80, 30, 41), (-9, 200, 61, 37), (290.4, 3.7, 50.2, 8.1)])
def test_a_window_of_another_aspect_is_what_opencv_makes_of_it(box, aspect):
    expected, factors, _ = host_crops.sample_target(IMAGE, box, 3.9, 96, aspect)
    crop, factor = _jitted(IMAGE, np.float32(box), 3.9, 96, aspect=np.float32(aspect))
    np.testing.assert_array_equal(crop, expected)
    np.testing.assert_allclose(factor, factors, rtol=1e-6)
    width, height = crops.crop_window(np.float32(box), 3.9, np.float32(aspect))[2]
    assert abs(np.log(width / height) - aspect) < 1 / min(width, height)
    assert abs(np.sqrt(width * height) / (3.9 * np.sqrt(box[2] * box[3])) - 1) < 1 / min(width, height)


def test_a_window_of_aspect_zero_is_the_square():
    box = np.float32([103, 77, 40, 31])
    x, y, side = crops.crop_window(box, 4.0)
    assert np.hstack([*crops.crop_window(box, 4.0, jnp.float32(0))]).tolist() == [x, y, side, side]


def test_boxes_go_to_a_crop_of_another_aspect_and_back():
    box, around = np.float32([103, 77, 40, 30]), np.float32([100, 80, 60, 15])
    sides = crops.crop_window(around, 2.0, jnp.log(60 / 15))[2]
    # The box that gives its aspect to the window is a square in it.
    np.testing.assert_allclose(crops.box_to_crop(around, around, sides), [0.25, 0.25, 0.5, 0.5], atol=1e-6)
    inside = crops.box_to_crop(box, around, sides)
    center = jnp.concatenate([inside[:2] + inside[2:] / 2, inside[2:]])
    np.testing.assert_allclose(crops.map_box_back(center, around, sides), box, atol=1e-4)
