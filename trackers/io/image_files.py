"""Images from files, (H, W, 3) uint8 RGB, alone or as the frames of a sequence."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trackers.errors import InputError
from trackers.io import image_headers

_JPEG_START, _JPEG_END, _PNG_START, _PNG_END = b"\xff\xd8", b"\xff\xd9", b"\x89PNG", b"IEND"


def read_image(path):
    """Decodes an image file as OpenCV does: (H, W, 3) uint8 RGB, turned upright by its EXIF orientation.

    Args:
      path: str or path object (pathlib, etils.epath).

    Raises: InputError naming the file where it is missing, empty, no image, larger than limits.IMAGE, or cut short.
      (Decoders fill the missing part of a cut JPEG with grey and say nothing, so its end is looked for here.)
    """
    path = path if hasattr(path, "read_bytes") else Path(path)
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"image {path} does not exist") from None
    except (OSError, ValueError) as error:
        raise InputError(f"image {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if is_cut_short(data):
        raise InputError(f"image {path} is cut short ({len(data)} bytes): copy it again")
    image_headers.check(data, path)
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"image {path} cannot be decoded: is it a JPEG, PNG or BMP file?")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


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

    paths: list-like, in order. rate: frames per second to play them at.
    """

    paths: Sequence
    rate: float = 25.0

    def __post_init__(self):
        if not len(self.paths):
            raise InputError("no images to read")

    def __len__(self):
        return len(self.paths)

    def __iter__(self):
        return map(read_image, self.paths)
