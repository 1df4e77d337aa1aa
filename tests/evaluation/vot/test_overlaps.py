"""Overlaps on the grid of pixels: by hand, against a plain count, and against the toolkit where it is installed."""

import struct

import numpy as np
import pytest
from etils import epath

from trackers import errors
from trackers.evaluation.vot import overlaps

SIZE = (40, 30)


def _read(tmp_path, *lines):
    file = epath.Path(tmp_path) / "regions.txt"
    file.write_text("\n".join(lines) + "\n")
    return overlaps.read(file)


def _overlap(tmp_path, first, second):
    return overlaps.overlap(*_read(tmp_path, first, second), SIZE)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("10,10,4,4", "12,10,4,4", 8 / 24),
        ("9.6,10.4,4.4,3.6", "10,10,4,4", 1.0),  # each number is rounded by itself
        ("-2,10,4,4", "-2,10,8,4", 8 / 24),  # what lies outside the image does not count
        ("50,10,4,4", "52,10,4,4", 0.0),
        ("0", "10,10,4,4", 0.0),
        ("0", "nan,nan,nan,nan", 1.0),
        ("10,10,4,1", "12,10,4,1", 1.0),  # one row of pixels
        ("m10,8,4,3,1,2,2,2,5", "10,8,4,2", 4 / 8),
        ("m10,8,4,3,1,2,2,2,5", "m11,8,2,1,0,2", 2 / 4),
    ],
)
def test_by_hand(tmp_path, first, second, expected):
    assert _overlap(tmp_path, first, second) == pytest.approx(expected)
    assert _overlap(tmp_path, second, first) == pytest.approx(expected)


def test_visible_targets(tmp_path):
    regions = _read(tmp_path, "10,10,4,4", "10,10,0,4", "0", "m10,8,4,3,1,2,2,2,5", "m10,8,4,3,12")
    assert [region.has_area for region in regions] == [True, False, False, True, False]


def _random_lines(rng, count):
    lines = []
    for _ in range(count):
        x, y, w, h = rng.uniform((-8, -8, 0, 0), (36, 26, 16, 16))
        if rng.random() < 0.4:
            width, height = int(w) + 2, int(h) + 2
            runs, left = [], width * height
            while left:
                runs.append(int(rng.integers(0, left + 1)) if len(runs) < 6 else left)
                left -= runs[-1]
            lines.append("m" + ",".join(map(str, [int(x), int(y), width, height, *runs])))
        else:
            lines.append(",".join(f"{value:.3f}" for value in (x, y, w, h)))
    return lines


def test_equal_to_the_toolkit(tmp_path):
    """10,000 pairs, the rare cases among them."""
    pytest.importorskip("vot", reason="vot-toolkit is not installed (requirements/vot.txt)")
    from vot.region import calculate_overlap
    from vot.region.io import parse_region

    lines = _random_lines(np.random.default_rng(1), 200)
    theirs = [parse_region(line) for line in lines]
    for mine, region in zip(_read(tmp_path, *lines), theirs, strict=True):
        assert mine.has_area == (not region.is_empty())
    ours = _read(tmp_path, *lines)
    for i in range(0, 200, 2):
        for j in range(0, 200, 2):
            assert overlaps.overlap(ours[i], ours[j + 1], SIZE) == calculate_overlap(theirs[i], theirs[j + 1], SIZE)


def test_binary_files(tmp_path):
    file = epath.Path(tmp_path) / "run.bin"
    regions = [struct.pack("<BI", 0, 1), struct.pack("<B4f", 1, 10, 10, 4, 4)]
    regions.append(struct.pack("<BhhHHH5H", 3, 10, 8, 4, 3, 5, 1, 2, 2, 2, 5))
    data = struct.pack("<hI", 1, 3) + b"".join(regions)
    file.write_bytes(data)
    special, rectangle, mask = overlaps.read(file)
    assert special == overlaps.NOTHING and rectangle.window == (10, 10, 13, 13)
    np.testing.assert_array_equal(mask.mask, _read(tmp_path, "m10,8,4,3,1,2,2,2,5")[0].mask)
    for broken in (data[:-3], b"", b"\2" + data[1:], struct.pack("<hI", 1, 1) + b"\2\1\0"):
        file.write_bytes(broken)
        with pytest.raises(errors.InputError, match="run.bin is no binary file of regions"):
            overlaps.read(file)


@pytest.mark.parametrize("line", ["1,2,3", "1,2", "x", "m1,2,3", "m1,2,3,4,99", "1e300,2,3,4", "1,2,3,4,5,6"])
def test_wrong_lines_are_named(tmp_path, line):
    with pytest.raises(errors.InputError, match="regions.txt:2: "):
        _read(tmp_path, "1,2,3,4", line)
