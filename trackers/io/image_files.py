"""Images from files, (H, W, 3) uint8 RGB, alone or as the frames of a sequence.

16-bit pictures (thermal cameras, depth) become 8-bit ones by one rule for all images of a folder, which is what a
sequence is, so that brightness does not flicker. Levels are taken from the folder's first whole image with more
than one level (in order of numbers), without the lowest and highest 0.1 % of its values, which dead pixels have. Where
these levels span a quarter of the 16 bits or more, the high byte is taken; where they are narrower they are stretched
to 0..255, and what lies outside is cut off.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trackers.errors import InputError
from trackers.io import decoder_warnings, image_headers

_JPEG_START, _JPEG_END, _PNG_START, _PNG_END = b"\xff\xd8", b"\xff\xd9", b"\x89PNG", b"IEND"
# Of 16-bit pictures: the share of values left out at either end, and the span of levels that is not stretched.
_LEFT_OUT, _WIDE_SPAN = 0.001, 2**14
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


def read_image(path):
    """Decodes an image file as OpenCV does: (H, W, 3) uint8 RGB, turned upright by its EXIF orientation.

    Args:
      path: str or path object (pathlib, etils.epath).

    Raises: InputError naming the file where it is missing, empty, no image, larger than limits.IMAGE, cut short, or a
      JPEG or PNG that its decoder finds damaged inside. (Decoders fill the missing part of a cut JPEG with grey and say
      nothing, so its end is looked for here.)
    """
    path = path if hasattr(path, "read_bytes") else Path(path)
    return decode(read_data(path), path)


def decode(data, path):
    """As `read_image`, of the bytes that `read_data` has read from a path object."""
    image = _decode(data, path)
    return _table_for(path)[image] if image.dtype == np.uint16 else image


def read_data(path):
    """The bytes of an image file that is there, whole and not too large; its pixels are not looked at.

    Raises: InputError as read_image.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"image {path} does not exist") from None
    except (OSError, ValueError) as error:
        raise InputError(f"image {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if is_cut_short(data):
        raise InputError(f"image {path} is cut short ({len(data)} bytes): copy it again")
    image_headers.check(data, path)
    return data


def _decode(data, path):
    """(H, W, 3) RGB, uint8 or uint16. Raises: InputError as read_image."""
    import cv2

    encoded, damage = np.frombuffer(data, np.uint8), ""
    kind = cv2.IMREAD_COLOR_RGB | (0 if data.startswith(_JPEG_START) else cv2.IMREAD_ANYDEPTH)
    try:
        if data.startswith((_JPEG_START, _PNG_START)):
            image, damage = decoder_warnings.watched(lambda: cv2.imdecode(encoded, kind))
        else:
            image = cv2.imdecode(encoded, kind)
        if image is not None and image.dtype not in (np.uint8, np.uint16):
            image = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        image = None
    if damage:
        raise InputError(f"image {path} is damaged inside ({damage}): copy it again")
    if image is None or image.ndim != 3:
        raise InputError(f"image {path} cannot be decoded: is it a whole JPEG, PNG or BMP file?")
    return image


def needs_folder(data):
    """Whether an image file's bytes are those of a 16-bit PNG, which is read by what lies beside it."""
    return data.startswith(_PNG_START) and data[24:25] == b"\x10"


def _table_for(path):
    """(65536,) uint8, the 8-bit value of each level of the 16-bit pictures in a file's folder."""
    if not hasattr(path, "parent"):
        raise InputError(
            f"image {path} has 16 bits, and the images beside it that say how to read these are not known: write 8-bit"
            " images, then the data set again"
        )
    return _table(path.parent)


@functools.lru_cache(maxsize=256)
def _table(folder):
    levels = np.arange(2**16)
    names = [path.name for path in folder.iterdir() if path.name.lower().endswith(_SUFFIXES) and path.name[0] != "."]
    for name in sorted(names, key=lambda name: (len(name), name)):
        try:
            image = _decode(read_data(folder / name), folder / name)
        except InputError:
            continue  # said where that image is read; the others can be
        if image.dtype == np.uint16:
            low, high = np.quantile(image, [_LEFT_OUT, 1 - _LEFT_OUT])
            if 0 < high - low < _WIDE_SPAN:
                return np.clip(np.rint((levels - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
            if high > low:
                break
    return (levels >> 8).astype(np.uint8)


def is_cut_short(data):
    """Whether the bytes of an image file end before the image does: empty, or a JPEG or PNG without its end marker."""
    if data.startswith(_JPEG_START):
        scan = _first_scan(data)
        # In a scan 0xFF is followed by a byte that says otherwise, so the end marker cannot occur by chance.
        # Looked for from the end, where it nearly always stands: the search holds Python's lock, and readers are many.
        return scan is None or data.rfind(_JPEG_END, scan) < 0
    if data.startswith(_PNG_START):
        return data.rfind(_PNG_END) < 0
    return not data


def _first_scan(data):
    """Offset of a JPEG's first start-of-scan marker, None where there is none."""
    segments = image_headers.jpeg_segments(data)
    return next((offset for marker, offset in segments if marker == image_headers.START_OF_SCAN), None)


@dataclasses.dataclass(frozen=True)
class Images:
    """The frames of image files. Iterating raises InputError as read_image does.

    paths: list-like, in order. rate: frames per second to play them at. cut_short: as of a video_files.Video.
    """

    paths: Sequence
    rate: float = 25.0
    cut_short = False

    def __post_init__(self):
        if not len(self.paths):
            raise InputError("no images to read")

    def __len__(self):
        return len(self.paths)

    def __iter__(self):
        return map(read_image, self.paths)
