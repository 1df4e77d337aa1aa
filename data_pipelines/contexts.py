"""The part of an image around a target, and where it lies in the image: what packed shards hold in place of frames.

Reading a pair then decodes two small pictures, not two whole frames. Everything is still drawn in pixels of the image
(same random numbers, windows and boxes); only `crops.sample_target` takes what it cuts from the part.
"""

import dataclasses
import functools
import math

import numpy as np

from data_pipelines import jpeg_parts
from data_pipelines.jpeg_parts import Jpeg
from trackers.errors import InputError

# The top-left corner of a part lies on this grid: the blocks of JPEG files, which lose less where they stay in place.
_GRID = 16
# How a training image is read: whole; of JPEG files the part that is cut, the same pixels; or that part shrunk by
# libjpeg where the crop is going to be shrunk anyway, other pixels.
DECODINGS = ("whole", "part", "shrunk")
# Factors by which libjpeg can shrink while it decodes.
_RATIOS = (8, 4, 2)
# Pixels beyond a window that its bilinear taps may touch, rounding included.
_TAPS = 2


@dataclasses.dataclass(frozen=True)
class Place:
    """Where packed pixels come from.

    region: (x, y, w, h), whole pixels of the image. size: (width, height) of the image. largest: longest side of the
    packed picture, down to which a longer region is scaled.
    """

    region: tuple[int, int, int, int]
    size: tuple[int, int]
    largest: int

    @property
    def packed_size(self):
        """(width, height) of the packed picture."""
        longest = max(self.region[2:])
        if longest <= self.largest:
            return self.region[2:]
        return tuple(max(round(side * self.largest / longest), 1) for side in self.region[2:])


@dataclasses.dataclass(frozen=True)
class Context:
    """An image of which only a part is known; `shape` is the image's.

    pixels: (h, w, 3) uint8, the packed picture, or a Jpeg of it. place: Place. The point (u, v) of the picture, 0 at
    its corner, lies in the image at region[:2] + (u, v) * scale with scale = region[2:] / (w, h): 1, or more where it
    was scaled down.
    """

    pixels: np.ndarray
    place: Place

    @property
    def shape(self):
        width, height = self.place.size
        return height, width, 3

    def mirrored(self):
        """The image mirrored left to right."""
        x, y, w, h = self.place.region
        place = Place((self.place.size[0] - x - w, y, w, h), self.place.size, self.place.largest)
        return Context(mirrored(self.pixels), place)

    def changed(self, function):
        """The image with function(pixels) -> pixels of the same shape; each pixel by itself."""
        return Context(changed(self.pixels, function), self.place)

    def cut(self, x, y, sides, size):
        """The window of sides (width, height) at (x, y) of the image, resized bilinearly -> (size, size, 3) uint8.

        Beyond what was packed its edge is repeated: black would say that the image ends there.
        """
        import cv2

        pixels, first, step = self.part(x, y, sides, size)
        if self._is_unscaled:
            return _cut_unscaled(pixels, first, sides, size)
        rows = np.array([[step[0], 0, first[0]], [0, step[1], first[1]]])
        settings = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}
        # A fourth channel makes OpenCV faster by a third; the other three are the same.
        wide = cv2.warpAffine(cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA), rows, (size, size), **settings)
        return cv2.cvtColor(wide, cv2.COLOR_RGBA2RGB)

    @functools.cached_property
    def _is_unscaled(self):
        return self.pixels.shape[1::-1] == self.place.region[2:]

    def part(self, x, y, sides, size):
        """What `cut` looks at -> (pixels (h, w, 3) uint8, first, step): pixel i of the crop is first + i * step of the
        part along x and y, pixel centers at whole numbers; beyond the part its edge is repeated."""
        spans, first, step = [], [], []
        for axis, (start, side) in enumerate(zip((x, y), sides, strict=True)):
            extent = self.pixels.shape[1 - axis]
            scale = self.place.region[2 + axis] / extent
            begins = (start - self.place.region[axis]) / scale
            # A scaled picture's pixels don't end where the window does.
            beyond = 0 if self._is_unscaled else _TAPS
            spans.append(_within(math.floor(begins) - beyond, math.ceil(begins + side / scale) + beyond, extent))
            step.append(side / size / scale)
            first.append(begins + step[axis] / 2 - 0.5 - spans[axis].start)
        return np.ascontiguousarray(self.pixels[spans[1], spans[0]]), first, step


def _cut_unscaled(part, first, sides, size):
    """Context.cut where the picture has the image's pixels: as crops.sample_target cuts and resizes them."""
    import cv2

    if part.shape[1::-1] != tuple(sides):
        # How far the window reaches beyond the part to the left and above; at least a pixel is of the part.
        before = [
            min(max(round(side / size / 2 - 0.5 - begin), 0), side - 1)
            for side, begin in zip(sides, first, strict=True)
        ]
        rest = [side - ahead - extent for side, ahead, extent in zip(sides, before, part.shape[1::-1], strict=True)]
        part = cv2.copyMakeBorder(part, before[1], rest[1], before[0], rest[0], cv2.BORDER_REPLICATE)
    return cv2.resize(part, (size, size))


def _within(start, stop, extent):
    """The pixels of [start, stop) that there are along an axis of `extent`; where there are none the nearest one."""
    first = min(max(start, 0), extent - 1)
    return slice(first, max(min(stop, extent), first + 1))


def mirrored(image):
    """An image mirrored left to right: (H, W, 3), Jpeg or Context."""
    return image[:, ::-1] if isinstance(image, np.ndarray) else image.mirrored()


def changed(image, function):
    """An image with function(pixels) -> pixels of the same shape, each pixel by itself: (H, W, 3), Jpeg or Context."""
    return function(image) if isinstance(image, np.ndarray) else image.changed(function)


def fitting(image, scale):
    """The image for a crop that is going to be shrunk by `scale`: itself, or where a Jpeg may be shrunk a Context of
    pixels shrunk by the largest of libjpeg's factors up to `scale`."""
    ratio = next((ratio for ratio in _RATIOS if ratio <= scale), 1)
    if ratio == 1 or not (isinstance(image, Jpeg) and image.may_shrink):
        return image
    shrunk = image.shrunk(ratio)
    height, width = (side * ratio for side in shrunk.shape[:2])
    # The last column of shrunk pixels may reach beyond the image, in the mirror to its left.
    left = image.size[0] - width if image.is_mirrored else 0
    return Context(shrunk, Place((left, 0, width, height), image.size, max(width, height)))


def part_of(image, seen):
    """Context.part of what a crops.Seen sees, of any image; a black pixel where it sees nothing."""
    if isinstance(image, Context):
        return image.part(seen.x, seen.y, seen.sides, seen.size)
    steps = tuple(side / seen.size for side in seen.sides)
    starts, insides = (seen.x, seen.y), (seen.left, seen.top)
    first = [start + step / 2 - 0.5 - inside for start, step, inside in zip(starts, steps, insides, strict=True)]
    pixels = image[seen.top : seen.bottom, seen.left : seen.right]
    return pixels if pixels.size else np.zeros((1, 1, 3), np.uint8), first, steps


def place_around(box, context, size, largest):
    """The Place of the square around a box, clipped to the image; at least a pixel of it.

    Args: box: x, y, w, h in pixels. context: side of the square over sqrt(w h). size: (width, height) of the image.
    """
    middle = np.asarray(box[:2], np.float64) + np.asarray(box[2:], np.float64) / 2
    half = context * np.sqrt(box[2] * box[3]) / 2
    most = np.array(size) - 1
    start = np.clip(np.floor(middle - half), 0, most).astype(int) // _GRID * _GRID
    stop = np.clip(np.ceil(middle + half), start + 1, size).astype(int)
    return Place((*start.tolist(), *(stop - start).tolist()), tuple(size), largest)


def pack(image, place):
    """The pixels of a Place: (h, w, 3) uint8, averaged where they are scaled down. image: (H, W, 3) uint8."""
    import cv2

    x, y, w, h = place.region
    part = image[y : y + h, x : x + w]
    return part if place.packed_size == (w, h) else cv2.resize(part, place.packed_size, interpolation=cv2.INTER_AREA)


def read(path, decoding="part"):
    """The image of a path: (H, W, 3) uint8, a Jpeg, or a Context where the path's `place` says that it is a part.

    decoding: one of DECODINGS.

    Raises: InputError as image_files.read_image, or where the picture has not the size that its Place states. A Jpeg's
      damage is found when it is cut.
    """
    from trackers.io.image_files import read_image

    pixels = read_image(path) if decoding == "whole" else jpeg_parts.read(path, may_shrink=decoding == "shrunk")
    place = getattr(path, "place", None)
    if place is None:
        return pixels
    if pixels.shape[1::-1] != place.packed_size:
        raise InputError(
            f"image {path} is {pixels.shape[1]} x {pixels.shape[0]}, its annotations say"
            f" {place.packed_size[0]} x {place.packed_size[1]}: write the data set again"
        )
    return Context(pixels, place)
