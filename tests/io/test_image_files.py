import concurrent.futures
import ctypes
import struct
import subprocess
import sys
import types
import zlib

import numpy as np
import pytest

from trackers import quiet
from trackers.errors import InputError
from trackers.io import decoder_warnings, image_files

cv2 = pytest.importorskip("cv2")


def _picture(height=40, width=60):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4, y * 6, (x + y) * 2], axis=-1).astype(np.uint8)  # RGB


def _encoded(suffix, image=None):
    return cv2.imencode(suffix, cv2.cvtColor(_picture() if image is None else image, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.mark.parametrize("suffix,tolerance", [(".png", 0), (".bmp", 0), (".jpg", 12)])
def test_reads_rgb(tmp_path, suffix, tolerance):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(_encoded(suffix))
    image = image_files.read_image(path)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    assert np.abs(image.astype(int) - _picture()).max() <= tolerance
    np.testing.assert_array_equal(image_files.read_image(str(path)), image)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.99])
def test_cut_file_is_named(tmp_path, suffix, kept):
    rng = np.random.default_rng(0)
    data = _encoded(suffix, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path = tmp_path / f"00000007{suffix}"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match=f"00000007{suffix}"):
        image_files.read_image(path)


def test_end_marker_of_a_thumbnail_does_not_count():
    whole = _encoded(".jpg")
    thumbnail = b"Exif\0\0" + whole
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    with_thumbnail = whole[:2] + segment + whole[2:]
    assert not image_files.is_cut_short(with_thumbnail)
    assert image_files.is_cut_short(with_thumbnail[:-30])


def test_bytes_after_the_end_are_no_fault():
    assert not image_files.is_cut_short(_encoded(".jpg") + b"\0" * 40)


def test_progressive_jpeg_is_whole():
    data = cv2.imencode(".jpg", _picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert not image_files.is_cut_short(data)
    assert image_files.is_cut_short(data[:-3])


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_other_files_are_named(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.jpg"):
        image_files.read_image(path)
    with pytest.raises(InputError, match="does not exist"):
        image_files.read_image(tmp_path / "b.jpg")


def _damaged():
    """A JPEG with its beginning and end, and 40 wrong bytes in between."""
    data = bytearray(_encoded(".jpg", cv2.resize(_picture(), (320, 240))))
    data[-len(data) // 2 : -len(data) // 2 + 40] = b"\x5a" * 40
    return bytes(data)


def test_jpeg_damaged_inside_is_named_and_told_from_those_read_beside_it(tmp_path, capfd):
    whole = _encoded(".jpg", cv2.resize(_picture(), (320, 240)))
    paths = [tmp_path / f"{i}.jpg" for i in range(60)]
    for i, path in enumerate(paths):
        path.write_bytes(_damaged() if i % 3 == 0 else whole)

    def said(path):
        try:
            return image_files.read_image(path) is None
        except InputError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for path, error in zip(paths, pool.map(said, paths), strict=True):
            if int(path.stem) % 3:
                assert error is False
            else:
                assert str(path) in error and "damaged inside (Corrupt JPEG data" in error and "\n" not in error
    assert capfd.readouterr().err == ""


def test_a_png_says_one_line_where_it_is_damaged_and_none_of_its_color_profile(tmp_path, capfd):
    whole = _encoded(".png", np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    name = b"iCCP" + b"none\0\0" + zlib.compress(b"no profile")
    chunk = struct.pack(">I", len(name) - 4) + name + struct.pack(">I", zlib.crc32(name))
    (tmp_path / "1.png").write_bytes(whole[:33] + chunk + whole[33:])
    assert image_files.read_image(tmp_path / "1.png").shape == (60, 80, 3)
    (tmp_path / "2.png").write_bytes(whole[:200] + b"\xff" * 40 + whole[240:])
    with pytest.raises(InputError, match=r"2.png is damaged inside \(libpng error: .*\): copy it again"):
        image_files.read_image(tmp_path / "2.png")
    assert capfd.readouterr().err == ""


def test_opencv_says_nothing_beside_the_line_of_a_program(tmp_path):
    (tmp_path / "1.bmp").write_bytes(_encoded(".bmp")[:-900])
    # The file alone, as the whole package takes a second to import.
    program = f"import runpy; runpy.run_path({quiet.__file__!r})['libraries'](); import cv2; print(cv2.imread('1.bmp'))"
    said = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env={}, capture_output=True, text=True)
    assert (said.stdout, said.stderr) == ("None\n", "")


def _share_noticed(tmp_path, damage, count=60):
    """Of JPEGs whose picture data is damaged so that a pixel changes by more than 10 levels: those that are refused."""
    path, changed, noticed = tmp_path / "damaged.jpg", 0, 0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (8, 10, 3), np.uint8)
        picture = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC) // 2 + rng.integers(
            0, 60, (120, 160, 3)
        )
        data = bytearray(_encoded(".jpg", picture.astype(np.uint8)))
        whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
        first = image_files._first_scan(bytes(data)) + 14
        at = int(rng.integers(first, len(data) - 514))
        damage(rng, data, at)
        path.write_bytes(data)
        try:
            found = image_files.read_image(path)[..., ::-1]
        except InputError:
            changed, noticed = changed + 1, noticed + 1
        else:
            changed += bool(np.abs(found - whole).max() > 10)
    assert changed > count / 2
    return noticed / changed


def test_which_damage_inside_a_jpeg_is_noticed(tmp_path):
    """A lost sector nearly always; a single byte often not: what follows may decode as another picture."""

    def sector(rng, data, at):
        data[at : at + 512] = rng.bytes(512)

    def byte(rng, data, at):
        data[at] ^= int(rng.integers(1, 256))

    assert _share_noticed(tmp_path, sector) >= 0.95
    assert 0.2 < _share_noticed(tmp_path, byte) < 0.95


def test_other_messages_reach_stderr(capfd):
    c = ctypes.CDLL(None)
    c.fputs.argtypes = (ctypes.c_char_p, ctypes.c_void_p)

    def say(text):
        c.fputs(text, ctypes.c_void_p.in_dll(c, "stderr"))

    assert decoder_warnings.watched(lambda: say(b"something else\n")) == (None, "")
    say(b"afterwards\n")
    said = capfd.readouterr().err
    assert said.count("something else") == 1 and "afterwards" in said


def test_a_byte_that_cameras_leave_is_no_damage(tmp_path):
    data = _encoded(".jpg")
    (tmp_path / "a.jpg").write_bytes(data[:-2] + b"\0" + data[-2:])
    np.testing.assert_array_equal(image_files.read_image(tmp_path / "a.jpg").shape, (40, 60, 3))


def _write_levels(folder, frames):
    folder.mkdir()
    for i, levels in enumerate(frames):
        cv2.imwrite(str(folder / f"{i + 1}.png"), levels.astype(np.uint16))
    return [image_files.read_image(folder / f"{i + 1}.png") for i in range(len(frames))]


def test_narrow_16_bit_pictures_are_stretched_alike_in_a_sequence(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (60, 80))
    first, brighter, tenth = _write_levels(
        tmp_path / "raw", [7000 + 2 * grey, 7100 + 2 * grey, *[7000 + 2 * grey] * 8]
    )[:3]
    np.testing.assert_array_equal(first, np.repeat(grey[..., None], 3, axis=2))
    # The same level is the same brightness in every frame, and nothing wraps around.
    np.testing.assert_array_equal(brighter[..., 0], np.minimum(grey + 50, 255))
    np.testing.assert_array_equal(tenth, first)


def test_dead_pixels_do_not_count(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (100, 100))
    levels = 7000 + 2 * grey
    levels[0, :3], levels[0, 3:6] = 0, 65535
    image = _write_levels(tmp_path / "raw", [np.full_like(levels, 7000), levels])[1]
    assert np.abs(image[1:, :, 0].astype(int) - grey[1:]).max() <= 2
    assert (image[0, :3] == 0).all() and (image[0, 3:6] == 255).all()


def test_a_damaged_16_bit_picture_does_not_take_the_others_with_it(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (60, 80))
    first = _write_levels(tmp_path / "raw", [7000 + 2 * grey] * 3)[0]
    (tmp_path / "raw" / "1.png").write_bytes(b"")
    image_files._table.cache_clear()
    np.testing.assert_array_equal(image_files.read_image(tmp_path / "raw" / "2.png"), first)


def test_whole_range_of_16_bits_is_its_high_byte(tmp_path):
    levels = np.random.default_rng(0).integers(0, 65536, (20, 30, 3))
    np.testing.assert_array_equal(_write_levels(tmp_path / "wide", [levels])[0], levels[..., ::-1] >> 8)
    np.testing.assert_array_equal(_write_levels(tmp_path / "flat", [levels * 0 + 7000])[0], levels * 0 + 27)


def test_16_bits_without_a_folder_are_refused(tmp_path):
    data = cv2.imencode(".png", np.uint16(_picture()) * 20)[1].tobytes()
    record = types.SimpleNamespace(read_bytes=lambda: data)
    with pytest.raises(InputError, match="has 16 bits.*write 8-bit images"):
        image_files.read_image(record)
    assert image_files.needs_folder(data) and not image_files.needs_folder(_encoded(".png"))


def test_images(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        path.write_bytes(_encoded(".png", np.full((8, 8, 3), i, np.uint8)))
    images = image_files.Images(paths)
    assert len(images) == 3
    assert [int(image[0, 0, 0]) for image in images] == [0, 1, 2]
    with pytest.raises(InputError, match="no images"):
        image_files.Images([])
