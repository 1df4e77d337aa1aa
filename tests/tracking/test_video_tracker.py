"""The tracker for programs of others: what it loads, one target and many, colors, sizes, OpenCV's interface."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import trackers
from configs import grm
from tests import families, programs
from trackers import weights
from trackers.errors import InputError, UsageError
from trackers.tracking import canvases, single_object
from trackers.tracking.opencv_interface import OpenCVTracker
from trackers.tracking.video_tracker import VideoTracker

BOXES = np.float32([[30, 25, 24, 20], [60, 40, 30, 26], [5, 8, 22, 24]])


def _frames(count=4, height=90, width=120, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def _tracker(family="grm", colors="rgb", **settings):
    model, variables = families.tiny(family)
    return VideoTracker(single_object.Tracker(model, {"search_factor": 3.9, **settings}), variables, colors)


def _follow(tracker, frames, box):
    tracker.start(frames[0], box)
    return [tracker.update(frame) for frame in frames[1:]]


def test_one_target_is_what_the_pure_functions_say():
    tracker, frames = _tracker(), _frames()
    state = tracker.tracker.init(tracker.variables, frames[0], BOXES[0])
    for found, frame in zip(_follow(tracker, frames, BOXES[0].tolist()), frames[1:], strict=True):
        state, output = tracker.tracker.step(tracker.variables, state, frame)
        assert isinstance(found.box, np.ndarray) and found.box.shape == (4,) and found.score.shape == ()
        np.testing.assert_array_equal(found.box, output.box)
        np.testing.assert_array_equal(found.score, output.score)


@pytest.mark.parametrize(
    ("family", "settings"),
    [("grm", {}), ("mixformer_v2", {"update_interval": 2, "update_threshold": 0.0, "size_update": 0.5})],
)
def test_many_targets_are_each_tracked_as_if_alone(family, settings):
    tracker, frames = _tracker(family, **settings), _frames(6)
    together = _follow(tracker, frames, BOXES)
    assert together[0].box.shape == (3, 4) and together[0].score.shape == (3,)
    for number, box in enumerate(BOXES):
        for found, alone in zip(together, _follow(tracker, frames, box), strict=True):
            np.testing.assert_allclose(found.box[number], alone.box, atol=1e-3)
            np.testing.assert_allclose(found.score[number], alone.score, atol=1e-4)


# The frame that each of BOXES starts in.
STARTS = (0, 1, 3)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("grm", {"lost_below": 0.6, "lost_after": 1, "aspect_update": 0.5}),
        ("mixformer_v2", {"update_interval": 2, "update_threshold": 0.0, "size_update": 0.5}),
    ],
)
def test_targets_that_are_added_are_each_tracked_as_if_alone(family, settings):
    tracker, frames = _tracker(family, **settings), _frames(7)
    tracker.start(frames[0], BOXES[0])
    together = []
    for number, frame in enumerate(frames[1:], start=1):
        together.append(tracker.update(frame))
        if number == 1:
            tracker.add(frame, BOXES[1])
        if number == 3:
            tracker.add(frame, [BOXES[2], BOXES[0]])
    assert [np.shape(found.box) for found in together] == [(4,), (2, 4), (2, 4), (4, 4), (4, 4), (4, 4)]
    assert {slots: len(group._device._programs) for slots, group in tracker._groups.items()} == {
        slots: 1 + bool(settings.get("update_interval")) for slots in (2, 4)
    }
    for row, (box, first) in enumerate([*zip(BOXES, STARTS, strict=True), (BOXES[0], 3)]):
        alone = _follow(tracker, frames[first:], box)
        for found, expected in zip(together[first:], alone, strict=True):
            rows = np.reshape(found.box, (-1, 4)), np.reshape(found.score, -1), np.reshape(found.lost, -1)
            np.testing.assert_allclose(rows[0][row], expected.box, atol=1e-3)
            np.testing.assert_allclose(rows[1][row], expected.score, atol=1e-4)
            assert rows[2][row] == expected.lost


def test_adding_within_a_bucket_compiles_nothing_and_changes_no_other():
    tracker, frames = _tracker(), _frames(5)
    three = _follow(tracker, frames, BOXES)
    group = tracker._group
    before = group._device.programs((384, 384))
    tracker.start(frames[0], BOXES)
    for number, (frame, expected) in enumerate(zip(frames[1:], three, strict=True)):
        found = tracker.update(frame)
        np.testing.assert_array_equal(found.box[:3], expected.box)
        assert len(found.box) == 3 + (number > 0)
        if number == 0:
            tracker.add(frame, BOXES[0])
    assert tracker._group is group
    for program, again in zip(before, group._device.programs((384, 384)), strict=True):
        assert program is again


def test_no_frame_size_and_no_number_of_targets_compiles_anew():
    tracker = _tracker()
    sizes = [(90, 120), (200, 300), (384, 384), (240, 320), (400, 500), (600, 300)]
    before = single_object.Tracker._step._cache_size()
    for height, width in sizes:
        _follow(tracker, _frames(3, height, width), BOXES[0])
        for count in (2, 3):
            _follow(tracker, _frames(2, height, width), np.repeat(BOXES[:1], count, axis=0))
    needed = len({canvases.canvas_for([size]) for size in sizes})
    assert needed == 3
    assert single_object.Tracker._step._cache_size() - before <= needed
    compiled = {slots: len(group._device._programs) for slots, group in tracker._groups.items()}
    assert compiled == {2: needed, 4: needed}


def test_colors_and_grey():
    frames = _frames(2)
    (rgb,) = _follow(_tracker(), frames, BOXES[0])
    (bgr,) = _follow(_tracker(colors="bgr"), [frame[..., ::-1] for frame in frames], BOXES[0])
    (wrong,) = _follow(_tracker(), [frame[..., ::-1] for frame in frames], BOXES[0])
    np.testing.assert_array_equal(rgb.box, bgr.box)
    assert np.abs(rgb.box - wrong.box).max() > 1e-3
    grey = [frame[..., 0] for frame in frames]
    (flat,) = _follow(_tracker(), grey, BOXES[0])
    (deep,) = _follow(_tracker(), [np.repeat(frame[..., None], 3, axis=2) for frame in grey], BOXES[0])
    np.testing.assert_array_equal(flat.box, deep.box)


def test_opencv_interface():
    frames, tracker = _frames(2), _tracker(colors="bgr")
    (found,) = _follow(tracker, frames, BOXES[0])
    adapter = OpenCVTracker(tracker)
    assert adapter.init(frames[0], (30, 25, 24, 20)) is None
    ok, box = adapter.update(frames[1])
    assert ok is True and box == tuple(int(value) for value in np.rint(found.box)) and type(box[0]) is int
    assert adapter.getTrackingScore() == pytest.approx(float(found.score))


@pytest.mark.parametrize(
    ("frame", "box", "message"),
    [
        (np.zeros((9, 9, 4), np.uint8), BOXES[0], r"\(height, width\) uint8, got \(9, 9, 4\) uint8"),
        (np.zeros((9, 9, 3), np.float32), BOXES[0], r"got \(9, 9, 3\) float32"),
        (np.zeros((90, 120, 3), np.uint8), [1, 2, 3], "must be four numbers"),
        (np.zeros((90, 120, 3), np.uint8), np.ones((2, 3)), r"boxes are \(4,\) of one target or \(N, 4\)"),
        (np.zeros((90, 120, 3), np.uint8), [[1, 2, 9, 9], [500, 2, 9, 9]], "box 2 of 2 is 500,2,9,9, wholly outside"),
        (np.zeros((90, 120, 3), np.uint8), "nonsense", "must be four numbers"),
    ],
)
def test_what_cannot_be_started(frame, box, message):
    with pytest.raises(InputError, match=message):
        _tracker().start(frame, box)


def test_what_cannot_be_updated():
    tracker = _tracker()
    with pytest.raises(UsageError, match="start\\(frame, box\\) comes before"):
        tracker.update(_frames()[0])
    with pytest.raises(UsageError, match="start\\(frame, box\\) comes before add"):
        tracker.add(_frames()[0], BOXES[0])
    tracker.start(_frames()[0], BOXES[0])
    with pytest.raises(InputError, match="a frame of 80x60 pixels follows frames of 120x90"):
        tracker.update(_frames(1, 60, 80)[0])
    with pytest.raises(InputError, match="a frame of 80x60 pixels follows frames of 120x90"):
        tracker.add(_frames(1, 60, 80)[0], BOXES[0])
    with pytest.raises(InputError, match="the box of the added target is 500,2,9,9, wholly outside"):
        tracker.add(_frames()[0], [500, 2, 9, 9])
    with pytest.raises(InputError, match="box 2 of 2 is 500,2,9,9, wholly outside"):
        tracker.add(_frames()[0], [[1, 2, 9, 9], [500, 2, 9, 9]])
    assert tracker.update(_frames()[1]).box.shape == (4,)  # what was refused was not added
    with pytest.raises(UsageError, match="'rgb' or 'bgr'"):
        _tracker(colors="yuv")


def test_load_by_name_and_by_path(tmp_path):
    shipped = trackers.load("grm_t128")
    config = grm.get_config("shipped")
    assert shipped.tracker == single_object.Tracker(trackers.build(config.model), config.tracking)
    small = grm.get_config("tiny")
    variables = trackers.init(trackers.build(small.model), jax.random.key(0))
    weights.save(tmp_path / "whole", variables, small.model, small)
    weights.save(tmp_path / "model", variables, small.model)
    assert trackers.load(tmp_path / "whole").tracker.model.width == 96
    with pytest.raises(UsageError, match="has no config beside it with a section `tracking`"):
        trackers.load(tmp_path / "model")
    for config in (small, {"model": small.model, "tracking": {}}):
        assert trackers.load(tmp_path / "model", config, colors="bgr").colors == "bgr"
    with pytest.raises(InputError, match=r"weights absent: neither .* shipped ones \(grm_t128\)"):
        trackers.load("absent")
    with pytest.raises(InputError, match="does not track one object"):
        trackers.load(tmp_path / "model", {**trackers.to_plain(families.config("ikun"))})
    with pytest.raises(UsageError, match="config 3"):
        trackers.load(tmp_path / "model", 3)


def test_it_needs_neither_tensorflow_nor_opencv():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['cv2', 'tensorflow', 'ml_collections', 'PIL']));"
        "import numpy as np, trackers;"
        "t = trackers.load('grm_t128'); f = np.zeros((90, 120, 3), np.uint8);"
        "t.start(f, (30, 25, 24, 20)); print(t.update(f).box.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=programs.environ(), capture_output=True, text=True)
    assert done.stdout == "(4,)\n", done.stderr
