"""JPEG images of which only the part that a crop shows is decoded (TensorFlow's decode_and_crop_jpeg).

libjpeg still reads the coded bytes from the top to the last row of the part, but transforms, upsamples and converts the
blocks of the part alone. TensorFlow's decoder (INTEGER_ACCURATE) and OpenCV's are both libjpeg-turbo, and the pixels
are those of the whole image to the last bit: at the left and right border of a part chroma would be upsampled without
its neighbors, so `_MARGIN` columns more are decoded and left out. Where TensorFlow is not installed, and for files that
are no plain JPEG (image_headers.plain_jpeg_size), the image is decoded whole, by OpenCV. Of files in tiles
(jpeg_tiles.py) OpenCV decodes a part's tiles alone.

Damage inside a file is found where it lies above the end of the part; below it is not looked at.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from data_pipelines import jpeg_tiles, tf_stream
from trackers.errors import InputError
from trackers.io import decoder_warnings, image_files, image_headers

# Columns decoded beyond a part at either side. Upsampling looks one chroma column, up to 2 pixels, further.
_MARGIN = 4
# Share of an image's pixels above which OpenCV's decoder, being somewhat faster, decodes all of it.
_WHOLE_SHARE = 0.8


@dataclasses.dataclass(frozen=True)
class Jpeg:
    """An image that is decoded where it is cut: image[top:bottom, left:right] is (h, w, 3) uint8 RGB.

    path: named in errors. data: the file's bytes. size: (width, height) as stored. is_mirrored: left to right. changes:
    functions pixels -> pixels of the same shape, of each pixel alone. ratio: the image is shrunk by this, 1, 2, 4 or 8.
    may_shrink: whether crops may be taken from a shrunk one (contexts.fitting).
    """

    path: Any
    data: bytes = dataclasses.field(repr=False)
    size: tuple[int, int]
    is_mirrored: bool = False
    changes: tuple[Callable, ...] = ()
    ratio: int = 1
    may_shrink: bool = False

    @functools.cached_property
    def shape(self):
        width, height = (-(-side // self.ratio) for side in self.size)
        return height, width, 3

    def mirrored(self):
        """The image mirrored left to right."""
        return dataclasses.replace(self, is_mirrored=not self.is_mirrored)

    def changed(self, function):
        """The image with function(pixels) -> pixels of the same shape; each pixel by itself."""
        return dataclasses.replace(self, changes=(*self.changes, function))

    def shrunk(self, ratio):
        """The image as libjpeg decodes it at 1 / ratio, ratio 2, 4 or 8: its sides divided by that and rounded up."""
        return dataclasses.replace(self, ratio=ratio)

    def __getitem__(self, part):
        rows, columns = part
        (top, bottom, _), (left, right, _) = rows.indices(self.shape[0]), columns.indices(self.shape[1])
        if bottom <= top or right <= left:
            return np.zeros((max(bottom - top, 0), max(right - left, 0), 3), np.uint8)
        if self.is_mirrored:
            left, right = self.shape[1] - right, self.shape[1] - left
        pixels = self._decoded(top, left, bottom, right)
        for change in self.changes:
            pixels = change(pixels)
        return _flipped(pixels) if self.is_mirrored else pixels

    def _decoded(self, top, left, bottom, right):
        height, width = self.shape[:2]
        if self.ratio == 1 and (bottom - top) * (right - left) > _WHOLE_SHARE * height * width:
            return image_files.decode(self.data, self.path)[top:bottom, left:right]
        if self.ratio == 1 and (tiles := jpeg_tiles.part(self.data, left, top, right, bottom)):
            data, x, y = tiles
            return image_files.decode(data, self.path)[y : y + bottom - top, x : x + right - left]
        first, last = max(left - _MARGIN, 0), min(right + _MARGIN, width)
        tf, window = _tensorflow(), [top, first, bottom - top, last - first]
        settings = {"channels": 3, "ratio": self.ratio, "dct_method": "INTEGER_ACCURATE"}

        def decode():
            try:
                # Its memory as it is, not a copy.
                return np.asarray(memoryview(tf.io.decode_and_crop_jpeg(self.data, window, **settings)))
            except tf.errors.InvalidArgumentError:
                return None

        pixels, damage = decoder_warnings.watched(decode)
        if pixels is None or damage:
            # OpenCV says what is the matter, or finds nothing.
            return self._whole()[top:bottom, left:right]
        return pixels[:, left - first : right - first]

    def _whole(self):
        image = image_files.decode(self.data, self.path)
        if self.ratio == 1:
            return image
        import cv2

        return cv2.resize(image, self.shape[1::-1], interpolation=cv2.INTER_AREA)


def _flipped(pixels):
    import cv2

    return cv2.flip(pixels, 1)


def read(path, may_shrink=False):
    """The image of a path object: Jpeg, or (H, W, 3) uint8 RGB where it cannot be decoded in part.

    may_shrink: whether what is going to be shrunk may be decoded smaller (contexts.fitting).

    Raises: InputError as image_files.read_image; of a Jpeg, damage is found when it is cut.
    """
    data = image_files.read_data(path)
    size = image_headers.plain_jpeg_size(data)
    if size is None or _tensorflow() is None:
        return image_files.decode(data, path)
    return Jpeg(path, data, size, may_shrink=may_shrink)


@functools.cache
def _tensorflow():
    """TensorFlow, or None where it is not installed."""
    try:
        return tf_stream.tensorflow()
    except InputError:
        return None
