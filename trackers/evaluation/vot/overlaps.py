"""Overlaps of regions on the grid of pixels, as the VOT toolkit counts them, from its own files.

Rectangles are rounded to whole pixels, x, y, width and height each by itself; masks are as they are. Both are laid on
the pixels of the smallest box around the two that lie in the image, and overlap is intersection over union of what they
cover there. Some cases are settled before: two regions within one row or column of pixels are the same, overlap 1, and
so are two empty ones; where nothing of the box lies in the image it is 0. Equal to vot-toolkit 0.9.0, bit for bit.
"""

import struct
from typing import NamedTuple

import numpy as np

from trackers import errors
from trackers.io import limits, numbers, plain_text
from trackers.io.numbers import counted

_EXPECTED = "a region a line: x,y,w,h, a mask mx,y,w,h,runs, or a code such as 0"
# Kinds of regions in binary files, and how each is written.
_CODE, _RECTANGLE, _MASK = 0, 1, 3
# The window of a region without pixels.
_NOWHERE = (0, 0, 0, 0)


class Region(NamedTuple):
    """Pixels of an image.

    window: (left, top, right, bottom) of the pixels that it reaches, whole numbers, ends included.
    mask: (bottom - top + 1, right - left + 1) bool, which of these it covers; None for all.
    has_area: whether the toolkit takes it for a visible target.
    """

    window: tuple
    mask: np.ndarray | None
    has_area: bool


NOTHING = Region(_NOWHERE, np.zeros((1, 1), bool), False)


def read(path):
    """Regions of a file, a list; text files, and the binary ones that end in .bin.

    Raises: InputError naming the file, and the line, where it holds something else; for polygons and points, too.
    """
    if path.suffix == ".bin":
        try:
            return _from_bytes(plain_text.read_bytes(path, "regions as the VOT toolkit writes them"))
        except (struct.error, ValueError) as error:
            raise errors.InputError(f"{path} is no binary file of regions of the VOT toolkit ({error})") from None
    regions = []
    for number, line in enumerate(plain_text.read_lines(path, _EXPECTED), 1):
        try:
            regions.append(_from_line(line))
        except ValueError as error:
            raise errors.InputError(f"{path}:{number}: {line[:60]!r} ({error}): expected {_EXPECTED}") from None
    return regions


def _from_line(line):
    if line.startswith("m"):
        values = [numbers.whole(cell) for cell in numbers.cells(line[1:])]
        region = _masked(values[:4], values[4:])
        # The toolkit takes a mask in text that reaches no further than its first column for an empty one.
        return NOTHING if region.window[2] == values[0] else region
    values = [numbers.number(cell, missing=True) for cell in numbers.cells(line)]
    if len(values) == 1 or any(map(np.isnan, values)):
        return NOTHING
    if len(values) != 4:
        raise ValueError("points and polygons are not scored here")
    return _rectangle(values)


def _from_bytes(data):
    (version, count), offset = struct.unpack_from("<hI", data), 6
    if version != 1:
        raise ValueError(f"version {version}")
    regions = []
    for _ in range(count):
        kind, offset = data[offset : offset + 1], offset + 1
        if kind == bytes([_CODE]):
            regions.append(NOTHING)
            offset += 4
        elif kind == bytes([_RECTANGLE]):
            regions.append(_rectangle(struct.unpack_from("<4f", data, offset)))
            offset += 16
        elif kind == bytes([_MASK]):
            *box, runs = struct.unpack_from("<hhHHH", data, offset)
            regions.append(_masked(box, struct.unpack_from(f"<{runs}H", data, offset + 10)))
            offset += 10 + 2 * runs
        else:
            raise ValueError("points and polygons are not scored here" if kind else "it is cut short")
    return regions


def _rectangle(values):
    if not np.isfinite(values).all() or np.abs(values).max() > numbers.LARGEST_PIXEL:
        raise ValueError("beyond what images have")
    x, y, width, height = (int(value) for value in np.round(np.array(values, np.float32)))
    return Region((x, y, x + width - 1, y + height - 1), None, values[2] > 0 and values[3] > 0)


def _masked(box, runs):
    """The region of a mask: x, y, width and height of the box that its rows fill, and run lengths, zeros first."""
    if len(box) != 4 or min(box[2:]) < 0 or min(runs, default=0) < 0:
        raise ValueError("no mask")
    x, y, width, height = box
    limits.IMAGE.check("a mask", width * height)
    ones = np.arange(len(runs)) % 2 == 1
    pixels = np.repeat(ones, np.array(runs, np.int64))
    if len(pixels) > width * height:
        raise ValueError(f"runs of {counted(len(pixels), 'pixel')} in a mask of {width * height}")
    mask = np.zeros(width * height, bool)
    mask[: len(pixels)] = pixels
    mask = mask.reshape(height, width)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(columns):
        return Region((x, y, x, y), np.zeros((1, 1), bool), False)
    (top, bottom), (left, right) = rows[[0, -1]].tolist(), columns[[0, -1]].tolist()
    window = (x + left, y + top, x + right, y + bottom)
    return Region(window, mask[top : bottom + 1, left : right + 1], right > left and bottom > top)


def overlap(first, second, size):
    """Intersection over union of two regions, 0..1. size: (width, height) of the image in pixels."""
    lows = [min(pair) for pair in zip(first.window[:2], second.window[:2], strict=True)]
    highs = [max(pair) for pair in zip(first.window[2:], second.window[2:], strict=True)]
    if any(low >= high for low, high in zip(lows, highs, strict=True)):
        return 1.0
    lows = [max(0, low) for low in lows]
    highs = [min(side - 1, high) for side, high in zip(size, highs, strict=True)]
    if any(low >= high for low, high in zip(lows, highs, strict=True)):
        return 0.0
    covered = [_covered(region, (*lows, *highs)) for region in (first, second)]
    union = np.count_nonzero(covered[0] | covered[1])
    return float(np.count_nonzero(covered[0] & covered[1]) / union) if union else 0.0


def _covered(region, window):
    """(H, W) bool: which pixels of a window (left, top, right, bottom) a region covers."""
    left, top, right, bottom = window
    pixels = np.zeros((bottom - top + 1, right - left + 1), bool)
    near = max(left, region.window[0]), max(top, region.window[1])
    far = min(right, region.window[2]), min(bottom, region.window[3])
    if near[0] <= far[0] and near[1] <= far[1]:
        part = True
        if region.mask is not None:
            x, y = near[0] - region.window[0], near[1] - region.window[1]
            part = region.mask[y : y + far[1] - near[1] + 1, x : x + far[0] - near[0] + 1]
        pixels[near[1] - top : far[1] - top + 1, near[0] - left : far[0] - left + 1] = part
    return pixels
