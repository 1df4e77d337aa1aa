"""Sequences in lockstep: boxes as one by one, refilled slots, what is refused."""

import time

import numpy as np
import pytest

from data_pipelines.sources import Sequence
from tests import families
from trackers.errors import InputError
from trackers.evaluation import batched, benchmark
from trackers.tracking import single_object

SIZES = [(120, 160), (400, 500), (200, 300)]
LENGTHS = [7, 12, 4, 9, 1]


def _frame(sequence, number):
    """A patch walks over noise; the size of the third sequence changes on the way."""
    height, width = SIZES[(sequence + (sequence == 2 and number > 2)) % len(SIZES)]
    rng = np.random.default_rng([sequence, number])
    frame = rng.integers(90, 110, (height, width, 3), np.uint8)
    x = 40 + 3 * number
    frame[30:54, x : x + 32] = np.random.default_rng(sequence).integers(0, 256, (24, 32, 3), np.uint8)
    return frame


def _sequences():
    box = [[40.0, 30, 32, 24]]
    return [
        Sequence(f"s{i}", [(i, t) for t in range(length)], np.tile(box, (length, 1)), np.ones(length, bool))
        for i, length in enumerate(LENGTHS)
    ]


def _read(path):
    time.sleep(0.001 * (sum(path) % 3))  # readers overtake each other
    return _frame(*path)


def _tracker(family, tracking):
    model, variables = families.tiny(family)
    return single_object.Tracker(model, tracking), variables


@pytest.mark.parametrize(
    ("family", "tracking", "frames"),
    [
        ("grm", {"size_update": 0.5, "aspect_update": 0.3, "average_cells": 1, "size_score_power": 1.0}, 1),
        ("grm", {"filter_weight": 0.7, "filter_update": 0.2}, 1),
        ("grm", {"least_contrast": 120.0}, 1),
        ("mixformer_v2", {"update_interval": 3, "update_threshold": 0.0, "size_update": 0.5}, 1),
        ("mixformer_v2", {"update_interval": 3, "update_threshold": 0.0, "size_update": 0.5}, 4),
    ],
)
def test_boxes_are_those_of_one_by_one(family, tracking, frames):
    tracker, variables = _tracker(family, tracking)
    alone = {s.name: track for s, track in benchmark.Runner(tracker, variables, _read).tracks(_sequences())}
    ticks, begun, seen = [], [], []
    runner = batched.Runner(tracker, variables, _read, slots=3, threads=3, frames=frames)
    for sequence, track in runner.tracks(_sequences(), lambda: ticks.append(1), begun.append):
        expected = alone[sequence.name]
        np.testing.assert_allclose(track.boxes, expected.boxes, atol=1e-3)
        # The filter's equations make more of rounding.
        np.testing.assert_allclose(track.scores, expected.scores, atol=1e-3 if "filter_weight" in tracking else 1e-4)
        assert track.image_size == expected.image_size
        assert (track.seconds > 0).all() and track.elapsed == pytest.approx(track.seconds[1:].sum())
        seen.append(sequence.name)
    assert sorted(seen) == sorted(alone) and len(ticks) == sum(LENGTHS)
    # By canvas: s1 and s4 have the largest frames; then the longest first.
    assert begun == ["s1", "s4", "s3", "s0", "s2"]


def test_templates_of_each_slot_are_replaced_in_their_own_time():
    """What the parity above would not show if templates were never taken."""
    tracker, variables = _tracker("mixformer_v2", {"update_interval": 3, "update_threshold": 0.0})
    fixed, _ = _tracker("mixformer_v2", {})
    tracks = [
        {s.name: track for s, track in batched.Runner(each, variables, _read, slots=2).tracks(_sequences()[:2])}
        for each in (tracker, fixed)
    ]
    for name in ("s0", "s1"):
        online, first = (each[name].scores for each in tracks)
        np.testing.assert_array_equal(online[1:4], first[1:4])
        assert np.abs(online[4:] - first[4:]).max() > 1e-4


def _cells(*arguments):
    return [[(*cell,) for cell in step] for step in batched._schedule(*arguments)]


def test_sequences_fill_slots_as_they_become_free():
    assert _cells([3, 1, 2], 2) == [
        [(0, 0, 0, 1, False), (1, 1, 0, 1, True)],
        [(0, 0, 1, 1, False), (1, 2, 0, 1, False)],
        [(0, 0, 2, 1, True), (1, 2, 1, 1, True)],
    ]
    assert _cells([], 2) == []


def test_steps_of_several_frames_end_where_templates_are_replaced():
    steps = _cells([7, 3], 1, 4, lambda frame: frame % 5 == 0)
    assert steps == [[(0, 0, 0, 4, False)], [(0, 0, 4, 2, False)], [(0, 0, 6, 1, True)], [(0, 1, 0, 3, True)]]


def test_what_cannot_be_gone_on_with_leaves_its_slot_to_the_next():
    broken = set()
    steps = batched._schedule([9, 2, 1], 2, broken=broken)
    assert [cell[:3] for cell in next(steps)] == [(0, 0, 0), (1, 1, 0)]
    broken.add(0)
    assert [[cell[:3] for cell in step] for step in steps] == [[(0, 2, 0), (1, 1, 1)]]


def test_few_canvases_hold_all_that_are_smaller():
    sizes = [(240, 320), (480, 640), (720, 1280), (1080, 1920), (1920, 1080), (2160, 4096), (5000, 300)]
    canvases = [batched.canvas_for(sizes[: i + 1]) for i in range(len(sizes))]
    assert len(set(canvases)) == len(sizes)
    for (height, width), canvas in zip(sizes, canvases, strict=True):
        assert canvas[0] >= height and canvas[1] >= width
        assert batched.canvas_for([(height // 2, width // 2)])[0] <= canvas[0]


def _fail_at(path):
    def read(wanted):
        if wanted == path:
            raise InputError(f"image {path} is cut short")
        return _frame(*wanted)

    return read


def test_a_broken_frame_ends_its_own_sequence_alone():
    tracker, variables = _tracker("grm", {})
    lengths = {"s0": 7, "s3": 6, "s6": 3, "s9": 4}  # of one size
    sequences = [
        Sequence(name, [(int(name[1:]), t) for t in range(length)], np.array([[40.0, 30, 32, 24]]), np.ones(1, bool))
        for name, length in lengths.items()
    ]
    read, found, said = _fail_at((3, 4)), [], []
    alone = benchmark.Runner(tracker, variables, read)
    for runner in (alone, batched.Runner(tracker, variables, read, slots=2, frames=3)):
        found.append({s.name: track for s, track in runner.tracks(sequences, fail=lambda *each: said.append(each))})
    assert [(sequence.name, str(error)) for sequence, error in said] == [("s3", "image (3, 4) is cut short")] * 2
    # The slot beside it and what comes after it are tracked.
    assert set(found[0]) == set(found[1]) == {"s0", "s6", "s9"}
    for name, track in found[0].items():
        np.testing.assert_allclose(found[1][name].boxes, track.boxes, atol=1e-3)

    with pytest.raises(InputError, match="cut short"):
        list(alone.tracks(sequences[1:2]))


@pytest.mark.parametrize("box", [[10, 20, 0, 40], [3000, 20, 30, 40], [np.nan, 20, 30, 40]])
def test_an_impossible_first_box_names_the_sequence(box):
    tracker, variables = _tracker("grm", {})
    sequence = Sequence("walk", [(0, 0)], np.array([box]), np.ones(1, bool))
    with pytest.raises(InputError, match="sequence walk: .*first frame"):
        list(batched.Runner(tracker, variables, _read, slots=1).tracks([sequence]))
