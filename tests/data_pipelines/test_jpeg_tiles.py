"""Tiles of JPEG files: the bytes of a part alone give the pixels of the whole image."""

import cv2
import numpy as np
import pytest

from data_pipelines import jpeg_parts, jpeg_tiles
from tests.data_pipelines.test_jpeg_parts import picture, windows, write
from trackers.errors import InputError
from trackers.io.image_files import read_image


def encoded(width, height, *settings):
    settings = settings or (cv2.IMWRITE_JPEG_RST_INTERVAL, jpeg_tiles.interval(width))
    return cv2.imencode(".jpg", picture(0, width, height), settings)[1].tobytes()


@pytest.mark.parametrize("size", [(333, 251), (320, 256), (35, 40), (19, 300), (16, 16)])
def test_any_part_has_the_pixels_of_the_whole(size):
    data = encoded(*size)
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    for window in windows(60, *size):
        top, bottom, left, right = map(int, window)
        part, x, y = jpeg_tiles.part(data, left, top, right, bottom)
        pixels = cv2.imdecode(np.frombuffer(part, np.uint8), cv2.IMREAD_COLOR)
        found = pixels[y : y + bottom - top, x : x + right - left]
        np.testing.assert_array_equal(found, whole[top:bottom, left:right])
        assert pixels.shape[0] <= bottom - top + 40 and pixels.shape[1] <= right - left + 72


def test_a_part_has_the_bytes_of_its_tiles_alone():
    data = encoded(512, 512)
    part, x, y = jpeg_tiles.part(data, 200, 300, 300, 400)
    assert (x, y) == (200 - 192, 300 - 288)  # tiles of 32 x 16
    assert len(part) < 0.1 * len(data)


def test_files_without_tiles_are_told_from_those_with():
    assert jpeg_tiles.part(encoded(320, 256, cv2.IMWRITE_JPEG_QUALITY, 90), 0, 0, 9, 9) is None
    assert (
        jpeg_tiles.part(encoded(333, 251, cv2.IMWRITE_JPEG_RST_INTERVAL, 5), 0, 0, 9, 9) is None
    )  # 21 blocks in a row
    data = bytearray(encoded(320, 256))
    at = data.index(b"\xff\xd3")
    for damaged in (data[:at] + data[at + 2 :], data[: at + 1] + b"\xd4" + data[at + 2 :], data[: 2 * at]):
        assert jpeg_tiles.part(bytes(damaged), 0, 0, 9, 9) is None


def test_a_part_is_read_without_tensorflow_and_its_damage_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jpg", picture(), cv2.IMWRITE_JPEG_RST_INTERVAL, 1)
    whole, jpeg = read_image(path), jpeg_parts.read(path)
    monkeypatch.setattr(jpeg_parts, "_tensorflow", lambda: pytest.fail("asked for TensorFlow"))
    np.testing.assert_array_equal(jpeg[50:90, 60:200], whole[50:90, 60:200])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(
        byte if byte in (0xFF, *range(0xD0, 0xD8)) else 0x55 for byte in data[middle : middle + 600]
    )
    path.write_bytes(data)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"a\.jpg is damaged inside"):
        jpeg_parts.read(path)[100:200, 0:300]
