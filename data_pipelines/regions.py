"""Regions as the VOT toolkit writes them, one a line, as boxes.

    x,y,w,h            a rectangle                      x1,y1,x2,y2,x3,y3,...   a polygon of three corners or more
    x,y                a point                          m x,y,w,h,runs ...      a mask in its box, by run lengths, zeros
                                                                                first ("m" without a space in the files)
    0                  no target; so is NaN

Masks and polygons become the upright box around them. For a polygon of four corners there is also pytracking's
"preserve_area": the box around its mean corner with the proportions of the box around it and, up to a pixel that is
added to either side, the area of a rectangle of its first two edges.
"""

import math

import numpy as np

from data_pipelines import annotations
from trackers import errors
from trackers.io import limits, numbers
from trackers.io.numbers import counted

RULES = ("around", "area")
_ABSENT = (0.0, 0.0, 0.0, 0.0)
_EXPECTED = "a region a line: x,y,w,h, a polygon x1,y1,x2,y2,..., a mask mx,y,w,h,runs, or 0"


def read(path, rule="around"):
    """(T, 4) float64 boxes x, y, w, h in pixels, zeros where there is no target, without area for a point.

    Args: path: the file. rule: "around", or "area" for pytracking's box of a polygon of four corners.

    Raises: InputError naming file and line.
    """
    text = annotations.read_text(path, _EXPECTED).rstrip()
    if not text:
        raise errors.InputError(f"{path} is empty: expected {_EXPECTED}")
    boxes = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            boxes.append(_box(line.strip(), rule))
        except ValueError as error:
            raise errors.InputError(f"{path}:{number}: {line.strip()[:60]!r} ({error}): expected {_EXPECTED}") from None
    return np.array(boxes, np.float64).reshape(-1, 4)


def _box(line, rule):
    if line.startswith("m"):
        return _around_mask([numbers.whole(cell) for cell in numbers.cells(line[1:])])
    values = [numbers.number(cell, missing=True) for cell in numbers.cells(line)]
    if any(map(math.isnan, values)):
        return _ABSENT
    if max(map(abs, values), default=0) > numbers.LARGEST_PIXEL:
        raise ValueError("beyond what images have")
    if len(values) == 1 and not values[0]:
        return _ABSENT
    if len(values) == 2:
        return (*values, 0.0, 0.0)
    if len(values) == 4:
        return tuple(values)
    if len(values) < 6 or len(values) % 2:
        raise ValueError(counted(len(values), "number"))
    corners = np.array(values).reshape(-1, 2)
    near, far = corners.min(axis=0), corners.max(axis=0)
    if rule == "area" and len(corners) == 4 and (far > near).all():
        return _of_area(corners, far - near)
    return (*near, *(far - near))


def _of_area(corners, sides):
    edges = np.linalg.norm(np.diff(corners[:3], axis=0), axis=1)
    sides = sides * np.sqrt(edges.prod() / sides.prod()) + 1
    return (*(corners.mean(axis=0) - sides / 2), *sides)


def _around_mask(values):
    """The box around the ones of a mask: x, y, w, h of the rectangle that its rows fill, then run lengths."""
    if len(values) < 4 or min(values[2:]) < 0:
        raise ValueError("no mask")
    (left, top, width, height), runs = values[:4], np.array(values[4:], np.int64)
    limits.IMAGE.check("a mask", width * height)
    ends = np.cumsum(runs)
    if len(ends) and ends[-1] > width * height:
        raise ValueError(f"runs of {ends[-1]} pixels in a mask of {width * height}")
    # Every second run is of ones; an empty one shows nothing.
    first, last = (ends - runs)[1::2], ends[1::2] - 1
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        return _ABSENT
    rows = first // width, last // width
    # A run beyond the end of its row reaches both sides.
    several = (rows[1] > rows[0]).any()
    low = 0 if several else (first % width).min()
    high = width - 1 if several else (last % width).max()
    near_row, far_row = rows[0].min(), rows[1].max()
    return (left + low, top + near_row, high - low + 1, far_row - near_row + 1)
