import dataclasses

import numpy as np
import pytest

from configs import grm
from data_pipelines import pairs
from data_pipelines.sources import coco, frames
from tests.data_pipelines import layouts
from trackers.errors import InputError

PLAIN = pairs.PairConfig(
    template_size=32,
    search_size=64,
    patch_size=16,
    search_center_jitter=0.0,
    search_scale_jitter=0.0,
    grey_probability=0.0,
    flip_probability=0.0,
    brightness=0.0,
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return frames.open(layouts.frames(tmp_path_factory.mktemp("videos")))


def equal(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_pair_config_from_each_variant():
    for variant in grm.get_config.variants:
        config = grm.get_config(variant)
        read = pairs.PairConfig.from_config(config)
        assert read.search_size == config.model.search_size and read.patch_size == config.model.patch_size
        assert read.search_factor == config.tracking.search_factor and read.templates == 1
        assert read.search_center_jitter == config.data.search_center_jitter
        assert read.brightness == config.data.brightness and read.max_gap == config.data.max_gap


def test_shapes_and_centered_targets_without_jitter(videos):
    sample = pairs.pair([videos], [1], PLAIN, 0, 0, 0)
    assert sample["template"].shape == (1, 32, 32, 3) and sample["search"].shape == (64, 64, 3)
    assert sample["template"].dtype == sample["search"].dtype == np.uint8
    assert sample["template_box"].dtype == sample["search_box"].dtype == np.float32
    for box, factor, size in ((sample["template_box"][0], 2.0, 32), (sample["search_box"], 4.0, 64)):
        np.testing.assert_allclose(box[:2] + box[2:] / 2, (size - 1) / 2 / size, atol=1e-6)
        # The window's side is rounded up to a pixel, so the box is at most that much smaller.
        np.testing.assert_allclose(np.sqrt(box[2] * box[3]), 1 / factor, rtol=0.04)


@pytest.mark.parametrize("crop_aspect", [0.0, 1.0])
def test_boxes_are_where_the_target_is(tmp_path, crop_aspect):
    # A white target on black: its extent in the crop must be the box, jitter, flips and all.
    import cv2

    for t in range(24):
        image = np.zeros((120, 160, 3), np.uint8)
        image[40 + t : 70 + t, 50 + t : 74 + t] = 255
        (tmp_path / "v").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "v" / f"{t:04d}.png"), image)
    layouts.write_boxes(tmp_path / "v" / "groundtruth.txt", [[50 + t, 40 + t, 24, 30] for t in range(24)])
    source = frames.open(tmp_path)
    config = dataclasses.replace(
        PLAIN, search_size=256, search_center_jitter=1.5, search_scale_jitter=0.25, flip_probability=0.5,
        crop_flip_probability=0.5, crop_aspect=crop_aspect,
    )  # fmt: skip
    for row in range(20):
        sample = pairs.pair([source], [1], config, 3, 0, row)
        x, y, w, h = sample["search_box"] * 256
        rows, columns = (np.flatnonzero((sample["search"][..., 0] > 127).any(axis=axis)) for axis in (1, 0))
        seen = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        # The programs' half pixel of the crop, a rounded crop corner, and the pixel raster.
        tolerance = 1.5 + 256 / (4 * np.sqrt(24 * 30))
        np.testing.assert_allclose(seen, (x, y, x + w, y + h), atol=tolerance)
        # The target is not square: its crop is as much stretched. A window's sides are whole pixels.
        told = sample["template_box"][0]
        aspects = [np.log(box[2] / box[3]) for box in (told, sample["search_box"])]
        np.testing.assert_allclose(aspects, (1 - crop_aspect) * np.log(24 / 30), atol=0.03)


def test_pure_in_seed_step_row_and_split(videos):
    config = dataclasses.replace(PLAIN, search_center_jitter=3.0, search_scale_jitter=0.25)
    sample = pairs.pair([videos], [1], config, 1, 2, 3)
    assert equal(sample, pairs.pair([videos], [1], config, 1, 2, 3))
    for key in [(0, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2, 3, "validation")]:
        assert not equal(sample, pairs.pair([videos], [1], config, *key))


def test_every_augmentation_can_happen(videos):
    config = dataclasses.replace(PLAIN, grey_probability=0.3, brightness=0.2)
    samples = [pairs.pair([videos], [1], config, 0, 0, row) for row in range(40)]
    grey = {name: [(m[name] == m[name][..., :1]).all() for m in samples] for name in ("template", "search")}
    assert grey["template"] == grey["search"] and 0.1 < np.mean(grey["search"]) < 0.55


def test_brightness_is_for_training_only(videos):
    def sample(brightness, split):
        return pairs.pair([videos], [1], dataclasses.replace(PLAIN, brightness=brightness), 0, 0, 0, split)

    assert not equal(sample(0.2, "train"), sample(0.0, "train"))
    assert equal(sample(0.2, "validation"), sample(0.0, "validation"))


def test_images_give_the_same_picture_twice(tmp_path):
    source = coco.open(layouts.coco(tmp_path))
    config = dataclasses.replace(PLAIN, search_size=32, search_factor=2.0)
    sample = pairs.pair([source], [1], config, 0, 0, 0)
    np.testing.assert_array_equal(sample["template"][0], sample["search"])


def test_unusable_crops_are_redrawn_and_the_redrawing_ends(tmp_path):
    layouts.frames(tmp_path, ("v",))
    values = layouts.boxes()
    values[:, 0] = 5000  # visible by the file, but nowhere near the image
    values[::2] = layouts.boxes()[::2]
    layouts.write_boxes(tmp_path / "v" / "groundtruth.txt", values)
    for row in range(10):
        sample = pairs.pair([frames.open(tmp_path)], [1], PLAIN, 0, 0, row)
        assert sample["search"].any() and sample["template"].any()
    values[:, 0] = 5000
    layouts.write_boxes(tmp_path / "v" / "groundtruth.txt", values)
    with pytest.raises(InputError, match="frames: 100 pairs in a row had no image in the crop, .* in sequence v"):
        pairs.pair([frames.open(tmp_path)], [1], PLAIN, 0, 0, 0)


def test_a_huge_box_is_no_pair_and_no_memory(tmp_path):
    layouts.frames(tmp_path, ("v",))
    layouts.write_boxes(tmp_path / "v" / "groundtruth.txt", layouts.boxes() * [1, 1, 1e4, 1e4])
    with pytest.raises(InputError, match="a target below a pixel or huge, the last in sequence v"):
        pairs.pair([frames.open(tmp_path)], [1], PLAIN, 0, 0, 0)


def test_truncated_frame_is_named(tmp_path):
    layouts.frames(tmp_path, ("v",))
    for path in (tmp_path / "v").glob("*.jpg"):
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"v/000000\d\d\.jpg"):
        pairs.pair([frames.open(tmp_path)], [1], PLAIN, 0, 0, 0)


def test_two_templates(videos):
    sample = pairs.pair([videos], [1], dataclasses.replace(PLAIN, templates=2), 0, 0, 0)
    assert sample["template"].shape == (2, 32, 32, 3) and sample["template_box"].shape == (2, 4)
    assert not np.array_equal(sample["template"][0], sample["template"][1])


def test_real_video(sequences):
    source = frames.open(sequences / "sot")
    config = pairs.PairConfig.from_config(grm.get_config("b256"))
    for row in range(6):
        sample = pairs.pair([source], [1], config, 0, 0, row)
        assert sample["search"].shape == (256, 256, 3) and sample["search"].std() > 5
        center = sample["search_box"][:2] + sample["search_box"][2:] / 2
        assert (center > -0.6).all() and (center < 1.6).all()


def test_pairs_without_the_target(videos):
    config = dataclasses.replace(PLAIN, positive_probability=0.5, templates=2, sampling="trident")
    samples = [pairs.pair([videos], [1], config, 0, 0, row) for row in range(30)]
    labels = [float(m["label"]) for m in samples]
    assert set(labels) == {0.0, 1.0} and all(m["label"].dtype == np.float32 for m in samples)
    assert all(m["search"].any() and np.isfinite(m["search_box"]).all() for m in samples)
    assert "label" not in pairs.pair([videos], [1], PLAIN, 0, 0, 0)


def test_a_hidden_target_is_replaced_by_a_box_in_the_middle(tmp_path):
    layouts.frames(tmp_path, ("v",))
    values = layouts.boxes()
    values[::2] = np.nan
    layouts.write_boxes(tmp_path / "v" / "groundtruth.txt", values)
    source = frames.open(tmp_path)
    assert not source[0].visible.all()
    config = dataclasses.replace(PLAIN, positive_probability=0.0)
    sample = pairs.pair([source], [1], config, 0, 0, 0)
    center = sample["search_box"][:2] + sample["search_box"][2:] / 2
    np.testing.assert_allclose(center, 0.5, atol=0.02)
    assert sample["label"] == 0


@pytest.mark.parametrize("wrong", [{"sampling": "random"}, {"positive_probability": 1.5}])
def test_wrong_sampling_is_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        dataclasses.replace(PLAIN, **wrong)


def test_reach_against_its_distribution():
    still = PLAIN
    assert pairs.reach(still) == 4.0
    # The larger of two shifts is below m of a half in m**2 of the cases.
    moved = dataclasses.replace(still, search_center_jitter=3.0)
    np.testing.assert_allclose(pairs.reach(moved), 4 + 3 * np.sqrt(0.99), atol=0.1)
    # sqrt(w h) grows by the mean of two normal numbers; 2.326 is the quantile.
    scaled = dataclasses.replace(still, search_scale_jitter=0.25)
    np.testing.assert_allclose(pairs.reach(scaled), 4 * np.exp(2.326 * 0.25 / np.sqrt(2)), atol=0.15)
