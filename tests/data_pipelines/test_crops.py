"""Parity with the published programs' crops (tests/reference/crops), bit for bit."""

import numpy as np
import pytest

from data_pipelines import crops
from tests import recipes

FACTORS = {2.0: 128, 4.0: 256, 5.0: 320}


@pytest.fixture(scope="module")
def case():
    manifest, outputs = recipes.load("crops")
    y, x, c = np.mgrid[:240, :320, :3]
    base = (3 * x + 5 * y + 40 * c + 56 * ((x // 16 + y // 16) % 2)) % 256
    noise = recipes.gen(manifest["salt"], "input/image").integers(0, 48, size=(240, 320, 3))
    image = ((base + noise) % 256).astype(np.uint8)
    assert int(image.sum()) == manifest["checks"]["image_sum"]
    return manifest["checks"], outputs, image


def _wholly_outside(box, factor):
    x, y, side, _ = crops.window(box, factor)
    return x >= 319 or y >= 239 or x + side <= 0 or y + side <= 0


def test_window_rounds_half_to_even():
    assert crops.window([150, 120, 25, 25], 1.0) == (150, 120, 25, 25)
    assert crops.window([0, 0, 1, 1], 2.0) == (0, 0, 2, 2)  # -0.5 -> 0
    assert crops.window([1, 1, 1, 1], 2.0) == (0, 0, 2, 2)  # 0.5 -> 0
    assert crops.window([2, 2, 1, 1], 2.0) == (2, 2, 2, 2)  # 1.5 -> 2
    assert crops.window([5, 5, 0, 4], 2.0)[2] == 0


def test_every_recorded_crop_is_bit_identical(case):
    checks, outputs, image = case
    compared = black = 0
    for number, row in enumerate(checks["crops"]):
        crop, resize_factor, padding = crops.sample_target(image, row["box"], row["factor"], row["size"])
        if _wholly_outside(row["box"], row["factor"]):
            assert not crop.any() and padding.all()
            black += 1
            continue
        name = f"b{number // 3:02d}_f{int(row['factor'])}"
        assert crop.sum(axis=(0, 1)).tolist() == row["crop_sum"], name
        assert (resize_factor == row["resize_factor"]).all()
        assert padding.sum() == row["mask_sum"]
        step = row["size"] // 32
        np.testing.assert_array_equal(crop[::step, ::step], outputs[f"{name}_crop"])
        if f"{name}_mask" in outputs:
            recorded = np.unpackbits(outputs[f"{name}_mask"]).astype(bool).reshape(256, 256)
            np.testing.assert_array_equal(padding, recorded)
        if f"{name}_full" in outputs:
            np.testing.assert_array_equal(crop, outputs[f"{name}_full"])
        compared += 1
    assert (compared, black) == (45, 15)


def test_far_border_is_one_pixel_too_black():
    image = np.full((20, 30, 3), 200, np.uint8)
    crop, _, padding = crops.sample_target(image, [20, 10, 10, 10], 1.0, 10)  # ends exactly at the border
    assert padding[:, 9].all() and padding[9].all() and not padding[:9, :9].any()
    assert (crop[:9, :9] == 200).all() and not crop[9].any() and not crop[:, 9].any()
    crop, _, padding = crops.sample_target(image, [19, 9, 10, 10], 1.0, 10)  # one pixel before it
    assert not padding.any() and (crop == 200).all()


def test_box_without_area():
    with pytest.raises(ValueError, match="has no area"):
        crops.sample_target(np.zeros((9, 9, 3), np.uint8), [1, 1, 0, 4], 2.0, 8)


def test_jittered_boxes_and_crops(case):
    checks, outputs, image = case
    for number, row in enumerate(checks["jittered"]):
        jittered = crops.jittered_box(row["box"], row["randn"], row["rand"], 3.0, 0.25)
        np.testing.assert_allclose(jittered, row["jittered"], rtol=1e-6, atol=2e-5)
        crop, resize_factor, padding = crops.sample_target(image, jittered, 4.0, 256)
        assert int(crop.sum()) == row["crop_sum"] and padding.sum() == row["mask_sum"]
        np.testing.assert_array_equal(crop[::8, ::8], outputs[f"jit{number}_crop"])
        inside = crops.box_in_crop(row["box"], jittered, resize_factor, 256)
        np.testing.assert_allclose(inside, row["box_crop_normalised"], atol=1e-6)


def test_moments_of_the_jitter():
    """Side times exp of a normal number, each side its own; the center anywhere within center / 2 new sides."""
    rng, box = np.random.default_rng(0), np.array([300, 200, 80, 45], np.float32)
    moved = np.stack([crops.jittered_box(box, rng.standard_normal(2), rng.random(2), 3.0, 0.25) for _ in range(6000)])
    logs = np.log(moved[:, 2:] / box[2:])
    # Standard errors 0.25 / sqrt(6000) = 0.003 and 0.002.
    np.testing.assert_allclose(logs.mean(0), 0, atol=0.014)
    np.testing.assert_allclose(logs.std(0), 0.25, atol=0.01)
    assert abs(np.corrcoef(logs.T)[0, 1]) < 0.05
    centers = moved[:, :2] + moved[:, 2:] / 2 - (box[:2] + box[2:] / 2)
    shifts = centers / np.sqrt(moved[:, 2:].prod(1, keepdims=True))
    assert np.abs(shifts).max() <= 1.5 + 1e-4
    np.testing.assert_allclose(shifts.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(shifts.std(0), 3 / np.sqrt(12), atol=0.02)


def test_box_in_crop(case):
    for row in case[0]["transform_image_to_crop"]:
        box = crops.box_in_crop(row["box_in"], row["box_extract"], row["resize_factor"], row["crop_sz"])
        expected = np.array(row["out"]) / (1 if row["normalize"] else row["crop_sz"])
        np.testing.assert_allclose(box, expected, atol=1e-6)
        assert box.dtype == np.float32


def test_all_padding_looks_at_one_pixel_a_token():
    padding = np.ones((64, 64), bool)
    assert crops.all_padding(padding, 16)
    padding[17:, 17:] = False
    assert not crops.all_padding(padding, 16)
    padding[:] = True
    padding[1:16, 1:16] = False  # seen, but by no token's pixel
    assert crops.all_padding(padding, 16)
