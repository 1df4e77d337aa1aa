"""The size of an image from its first bytes, so that it is known before memory for its pixels is taken."""

import functools
import io
import struct
import warnings

import numpy as np

from trackers.errors import InputError
from trackers.io import limits

_JPEG_START, _SCAN = b"\xff\xd8", b"\xff\xda"
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# Of these: baseline and extended, not progressive, Huffman coded; and the marker of EXIF, which may turn an image.
_SEQUENTIAL, _EXIF = (0xC0, 0xC1), 0xE1
# JPEG markers that stand alone, without a length: TEM, RST0-7, SOI, EOI.
_BARE_MARKERS = {0x01, *range(0xD0, 0xDA)}
START_OF_SCAN = 0xDA
# No program writes as many; a file of nothing else would be stepped through for minutes.
_MOST_SEGMENTS = 2**16
# Bytes of the longest header whose segments are kept.
_MOST_KEPT = 2**12
_TILE_TAGS = (322, 323)


def check(data, path):
    """Raises: InputError naming the file where its header states no size, or more pixels than limits.IMAGE allows."""
    size = image_size(data, path)
    if size is None:
        raise InputError(f"image {path} cannot be decoded: is it a whole JPEG, PNG or BMP file?")
    # Names are put together where they are needed: this runs for every image that is trained on.
    if size[0] * size[1] > limits.IMAGE.value:
        limits.IMAGE.check(f"image {path} of {size[0]}x{size[1]}", size[0] * size[1])
    # Each scan goes over all pixels, however few bytes it has. Inside a scan these two bytes cannot stand.
    if data.startswith(_JPEG_START) and (scans := _scans(data)) > limits.SCANS.value:
        limits.SCANS.check(f"image {path}", scans)


def _scans(data):
    # A tenth of the time of data.count, which looks at single bytes in a loop.
    encoded = np.frombuffer(data, np.uint8)
    return int(np.count_nonzero((encoded[:-1] == _SCAN[0]) & (encoded[1:] == _SCAN[1])))


def image_size(data, path):
    """(width, height) of an image file's bytes as the header states it, None where there is no such header.

    Raises: InputError naming `path` where Pillow refuses the size.
    """
    if data.startswith(_JPEG_START):
        return _jpeg_size(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        return struct.unpack(">II", data[16:24].ljust(8, b"\0"))
    return _other_size(data, path)


def jpeg_segments(data):
    """[(marker, offset)] of a JPEG's segments up to its first scan, that one included, or to damage.

    They are stepped over by their lengths: a thumbnail among them has markers of its own.
    """
    # A header is asked for several times, and those of a data set are much alike.
    start = data[:_MOST_KEPT].find(_SCAN) + 4
    segments = _kept_segments(bytes(data[:start])) if start >= 4 else ()
    return segments if segments and segments[-1][0] == START_OF_SCAN else list(_segments(data))


@functools.lru_cache(maxsize=1024)
def _kept_segments(header):
    return tuple(_segments(header))


def _segments(data):
    position = 2
    for _ in range(_MOST_SEGMENTS):
        if position + 4 > len(data) or data[position] != 0xFF:
            return
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _BARE_MARKERS:
            position += 2
        else:
            yield marker, position
            if marker == START_OF_SCAN:
                return
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def plain_jpeg_size(data):
    """(width, height) of an image file's bytes where they are a JPEG of one scan order, 1 or 3 channels of 8 bits and
    no EXIF, so that its pixels can be decoded in part, and stand as they are shown; None otherwise."""
    if not data.startswith(_JPEG_START):
        return None
    size, sequential = None, False
    for marker, position in jpeg_segments(data):
        if marker == _EXIF and data[position + 4 : position + 8] == b"Exif":
            return None
        if marker in JPEG_FRAMES:
            sequential = marker in _SEQUENTIAL and data[position + 4] == 8 and data[position + 9] in (1, 3)
            size = size or _frame_size(data, position)
    return size if sequential else None


def _jpeg_size(data):
    for marker, position in jpeg_segments(data):
        if marker in JPEG_FRAMES:
            return _frame_size(data, position)
    return None


def _frame_size(data, position):
    """(width, height) that the frame header at an offset states."""
    height, width = struct.unpack(">HH", data[position + 5 : position + 9].ljust(4, b"\0"))
    return width, height


def _other_size(data, path):
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Pillow reads headers only until pixels are asked for, and refuses the largest by itself.
            with Image.open(io.BytesIO(data)) as opened:
                width, height = opened.size
                # TIFF: decoders take memory for a whole tile, however small the image is.
                tags = getattr(opened, "tag_v2", {})
                tile = [int(tags.get(tag, 1)) for tag in _TILE_TAGS]
                return max((width, height), tuple(tile), key=lambda size: size[0] * size[1])
    except Image.DecompressionBombError:
        raise limits.IMAGE.error(f"image {path}", f"more than {2e-6 * Image.MAX_IMAGE_PIXELS:.0f}") from None
    except Exception:  # whatever damage makes Pillow's many readers raise: it is no image
        return None
