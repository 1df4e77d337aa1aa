"""Images decoded in part are those decoded whole, to the last bit."""

import dataclasses
import io

import cv2
import numpy as np
import pytest

from data_pipelines import contexts, crops, jpeg_parts, pairs
from data_pipelines.sources import frames
from tests.data_pipelines import layouts
from trackers.errors import InputError
from trackers.io.image_files import read_image

WIDTH, HEIGHT = 333, 251
SAMPLINGS = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}


def picture(seed=0, width=WIDTH, height=HEIGHT):
    """Smooth and sharp parts, strong colors: chroma that is upsampled wrongly shows."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 12, width // 12, 3), np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    return np.clip(image + rng.integers(-40, 41, image.shape), 0, 255).astype(np.uint8)


def write(path, image, *settings):
    assert cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 90, *settings])
    return path


def windows(count, width=WIDTH, height=HEIGHT):
    """(top, bottom, left, right) inside the image, many at its borders, down to a pixel."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        sides = [max(int(extent * rng.uniform(0, 0.8) ** 2), 1) for extent in (height, width)]
        free = np.array((height, width)) - sides
        starts = np.clip(rng.uniform(-0.3, 1.3, 2) * free, 0, free).astype(int)
        yield starts[0], starts[0] + sides[0], starts[1], starts[1] + sides[1]


@pytest.mark.parametrize("settings", [
    *[(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, value) for value in SAMPLINGS.values()],
    (cv2.IMWRITE_JPEG_RST_INTERVAL, 5),
    *[(cv2.IMWRITE_JPEG_RST_INTERVAL, 1, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, value) for value in SAMPLINGS.values()],
    (cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
    (cv2.IMWRITE_JPEG_RST_INTERVAL, 21, cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "grey",
])  # fmt: skip
def test_any_part_is_that_of_the_whole_image(tmp_path, settings):
    image = picture()
    if settings == "grey":
        image, settings = image[..., 0], ()
    path = write(tmp_path / "a.jpg", image, *settings)
    whole, jpeg = read_image(path), jpeg_parts.read(path)
    assert isinstance(jpeg, jpeg_parts.Jpeg) and jpeg.shape == whole.shape
    for top, bottom, left, right in windows(120):
        np.testing.assert_array_equal(jpeg[top:bottom, left:right], whole[top:bottom, left:right])
        mirror = whole[:, ::-1]
        np.testing.assert_array_equal(jpeg.mirrored()[top:bottom, left:right], mirror[top:bottom, left:right])
    np.testing.assert_array_equal(jpeg[:, :], whole)
    assert jpeg[5:5, 3:9].shape == (0, 6, 3)


def test_changes_of_pixels_are_made_in_the_part(tmp_path):
    path = write(tmp_path / "a.jpg", picture())
    jpeg = contexts.mirrored(contexts.changed(jpeg_parts.read(path), lambda pixels: 255 - pixels))
    np.testing.assert_array_equal(jpeg[20:60, 100:140], 255 - read_image(path)[20:60, ::-1][:, 100:140])


def exif(path):
    from PIL import Image

    turned = Image.Exif()
    turned[0x0112] = 6  # turned by a quarter
    Image.open(io.BytesIO(path.read_bytes())).save(path, quality=90, exif=turned)
    return path


def test_what_is_no_plain_jpeg_is_decoded_whole(tmp_path, monkeypatch):
    progressive = write(tmp_path / "p.jpg", picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    turned = exif(write(tmp_path / "e.jpg", picture()))
    lossless = tmp_path / "a.png"
    cv2.imwrite(str(lossless), picture())
    for path in (progressive, turned, lossless):
        np.testing.assert_array_equal(jpeg_parts.read(path), read_image(path))
    assert jpeg_parts.read(turned).shape == (WIDTH, HEIGHT, 3)
    plain = write(tmp_path / "plain.jpg", picture())
    monkeypatch.setattr(jpeg_parts, "_tensorflow", lambda: None)
    np.testing.assert_array_equal(jpeg_parts.read(plain), read_image(plain))


def test_damage_inside_the_part_is_named(tmp_path):
    path = write(tmp_path / "a.jpg", picture())
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 400] = b"\x55\xff\xd9\x00" * 100
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.jpg is damaged inside"):
        read_image(path)
    with pytest.raises(InputError, match=r"a\.jpg is damaged inside"):
        jpeg_parts.read(path)[200:240, 100:200]
    assert jpeg_parts.read(path)[:20, :50].shape == (20, 50, 3)  # above it nothing is wrong


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize(("box", "ratio"), [((60, 50, 40, 40), 2), ((90, 60, 90, 80), 4), ((5, 5, 80, 90), 4)])
def test_shrunk_images_show_the_same_points(tmp_path, box, ratio, is_mirrored):
    # Grey levels are coordinates, so that a shift shows: of a pixel by half a level.
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    path = write(tmp_path / "a.jpg", np.rint(np.stack([x / 2, x / 2 + y / 4, y / 2], -1)).astype(np.uint8))
    whole, jpeg = read_image(path), jpeg_parts.read(path, may_shrink=True)
    if is_mirrored:
        whole, jpeg = contexts.mirrored(whole), contexts.mirrored(jpeg)
    side = crops.window(box, 4.0)[2]
    shrunk = contexts.fitting(jpeg, side / 48)
    assert isinstance(shrunk, contexts.Context) and shrunk.pixels.ratio == ratio
    crop, _, padding = crops.sample_target(jpeg, box, 4.0, 48)
    exact, _, exact_padding = crops.sample_target(whole, box, 4.0, 48)
    np.testing.assert_array_equal(padding, exact_padding)
    inner = ~padding[..., None] & np.ones(3, bool)
    difference = crop.astype(int) - exact
    assert np.abs(difference[inner]).max() <= 5 and abs(difference[inner].mean()) < 0.3


def test_only_what_is_going_to_be_shrunk_is(tmp_path):
    path = write(tmp_path / "a.jpg", picture())
    jpeg = jpeg_parts.read(path, may_shrink=True)
    assert contexts.fitting(jpeg, 1.99) is jpeg
    assert contexts.fitting(jpeg, 8.5).pixels.ratio == 8
    exact = jpeg_parts.read(path)
    assert contexts.fitting(exact, 8.5) is exact


def equal(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_pairs_are_the_same_pixels_whole_and_in_part(tmp_path):
    folder = tmp_path / "v"
    folder.mkdir()
    for t in range(20):
        write(folder / f"{t:04d}.jpg", picture(t))
    layouts.write_boxes(folder / "groundtruth.txt", [[40 + 10 * t, 30 + 7 * t, 30 + t, 40] for t in range(20)])
    source = frames.open(tmp_path)
    part = pairs.PairConfig(template_size=32, search_size=64, patch_size=16, grey_probability=0.3, decoding="part")
    whole, shrunk = (dataclasses.replace(part, decoding=decoding) for decoding in ("whole", "shrunk"))
    differ = 0
    for row in range(30):
        a, b, c = (pairs.pair([source], [1], config, 0, 0, row) for config in (part, whole, shrunk))
        assert equal(a, b)
        np.testing.assert_array_equal(a["search_box"], c["search_box"])
        differ += not equal(a, c)
    assert differ > 20  # crops of 64 pixels of windows of 140 and more
    with pytest.raises(InputError, match=r"config.data.decoding 'half': use whole, part, shrunk"):
        dataclasses.replace(part, decoding="half")
