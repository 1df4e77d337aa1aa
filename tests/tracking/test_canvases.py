"""Frames of many sizes share few compilations, whoever pads them."""

import numpy as np

from tests.tracking.test_single_object import BOX, _maps
from trackers.tracking import canvases
from trackers.tracking.single_object import Tracker

SIZES = [(240 + 30 * i, 320 + 40 * i) for i in range(12)]


def test_twelve_sizes_compile_as_often_as_there_are_canvases():
    tracker = Tracker(_maps(np.eye(4)), {"search_factor": 3.9})
    before = Tracker._init._cache_size(), Tracker._step._cache_size()
    for height, width in SIZES:
        frame = np.full((height, width, 3), 9, np.uint8)
        state = tracker.init({}, frame, BOX)
        state, output = tracker.step({}, state, frame)
    needed = len({canvases.canvas_for([size]) for size in SIZES})
    assert needed == 4
    assert (Tracker._init._cache_size() - before[0], Tracker._step._cache_size() - before[1]) == (needed, needed)


def test_a_canvas_holds_its_frame():
    others = [(1280, 720), (1920, 1080), (2160, 3840), (4320, 7680), (5000, 300), (1, 1), (9000, 9)]
    for height, width in [*SIZES, *others]:
        canvas = canvases.canvas_for([(height, width)])
        assert canvas[0] >= height and canvas[1] >= width
        assert canvas[0] * canvas[1] <= 2.7 * max(height, 384) * max(width, 384)
    frame = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    padded, size = canvases.pad(frame)
    assert padded.shape == (384, 384, 3) and size.tolist() == [4, 5] and size.dtype == np.int32
    np.testing.assert_array_equal(padded[:4, :5], frame)
    assert not padded[4:].any() and not padded[:, 5:].any() and canvases.pad(padded)[0] is padded
