"""Pairs whose crops are resized on the device are those of the host, up to rounding."""

import dataclasses
import itertools

import cv2
import jax
import numpy as np
import pytest

from configs import grm
from data_pipelines import contexts, crops, loader, pairs, raw_crops
from data_pipelines.sources import frames
from tests.data_pipelines import layouts
from trackers.errors import InputError

SIZE, ROWS = 64, range(24)
# Grey levels: OpenCV's weights have 11 bits, and each of two roundings may fall on the other side.
TOLERANCE = 2


def picture(seed):
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 256, (18, 26, 3), np.uint8), (208, 144), interpolation=cv2.INTER_CUBIC)
    return np.clip(image.astype(int) + rng.integers(-30, 31, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos") / "v"
    folder.mkdir()
    for t in range(20):
        cv2.imwrite(str(folder / f"{t:04d}.png"), picture(t))
    layouts.write_boxes(folder / "groundtruth.txt", [[8 * t, 5 * t, 8 + t, 12 + 2 * t] for t in range(20)])
    return folder.parent


def config(root, **changes):
    read = grm.get_config("tiny")
    read.data.ratio.update({"synthetic": 0.0, "frames": 1.0})
    read.data.update({"frames": str(root), "crop_flip_probability": 0.5, "grey_probability": 0.3, **changes})
    return read


def finished(read, **more):
    (made,) = itertools.islice(loader.unfinished_batches(read, 0, ROWS, **more), 1)
    return jax.device_get(jax.jit(loader.finish(read))(made)), made


@pytest.mark.parametrize("split, crop_aspect", [("train", 0.0), ("train", 1.0), ("validation", 0.0)])
def test_pairs_of_the_device_are_those_of_the_host(root, split, crop_aspect):
    read, on_host = config(root, crops_on="device"), config(root)
    read.tracking.crop_aspect = on_host.tracking.crop_aspect = crop_aspect
    ours, sent = finished(read, split=split)
    (host,) = itertools.islice(loader.batches(on_host, 0, ROWS, split=split), 1)
    assert set(ours) == set(host) and "search_pixels" in sent and "search" not in sent
    for name, expected in host.items():
        assert ours[name].shape == expected.shape and ours[name].dtype == expected.dtype
        if name.endswith("_box"):
            np.testing.assert_array_equal(ours[name], expected)
        else:
            difference = np.abs(ours[name].astype(int) - expected)
            assert difference.max() <= TOLERANCE and difference.mean() < 0.1
    # Some windows had no room and were resized on the host, most had.
    sides = sent["search_grid"][:, :, 2].max(1)
    assert 0 < (sides == SIZE).sum() < len(ROWS) and sides.max() <= raw_crops.room(SIZE)
    # Asked for finished, the host makes all.
    (whole,) = itertools.islice(loader.batches(read, 0, ROWS, split=split), 1)
    np.testing.assert_array_equal(whole["search"], host["search"])


@pytest.mark.parametrize("largest", [512, 50])
def test_parts_of_packed_pictures_are_resized_the_same(largest):
    image = cv2.GaussianBlur(picture(3), (0, 0), 3)
    for box in ((90, 60, 20, 30), (2, 5, 16, 20), (180, 110, 20, 24)):
        place = contexts.place_around(np.array(box, float), 8, (208, 144), largest)
        packed = contexts.Context(contexts.pack(image, place), place)
        raw, factor, padding = raw_crops.sample_target(packed, box, 4.0, SIZE)
        expected, expected_factor, expected_padding = crops.sample_target(packed, box, 4.0, SIZE)
        made = raw_crops._crop(*(raw[name] for name in raw_crops._FIELDS))
        assert (factor == expected_factor).all() and (padding == expected_padding).all()
        assert np.abs(np.asarray(made, int) - expected).max() <= TOLERANCE


def test_a_window_wholly_outside_is_black():
    raw, _, padding = raw_crops.sample_target(picture(0), (-500, -500, 10, 10), 4.0, SIZE)
    assert padding.all() and not np.asarray(raw_crops._crop(*(raw[name] for name in raw_crops._FIELDS))).any()


def test_wrong_settings_are_named(root):
    with pytest.raises(InputError, match=r"config.data.crops_on 'gpu': use host or device"):
        dataclasses.replace(pairs.PairConfig.from_config(config(root)), crops_on="gpu")
    mixed = config(root, crops_on="device")
    mixed.data.ratio.synthetic = 1.0
    with pytest.raises(InputError, match=r"crops_on=device is for data sets, and config.data.ratio.synthetic"):
        loader.unfinished_batches(mixed, 0, range(2))


def test_a_source_is_read_the_same(root):
    source = frames.open(root)
    plain = pairs.PairConfig(template_size=32, search_size=64, patch_size=16)
    sample = pairs.pair([source], [1], dataclasses.replace(plain, crops_on="device"), 0, 0, 0)
    shapes = dataclasses.replace(plain, crops_on="device").host_shapes
    assert {name: (array.shape, array.dtype) for name, array in sample.items()} == shapes
