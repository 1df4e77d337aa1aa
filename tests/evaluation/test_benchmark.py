import time
from typing import NamedTuple

import numpy as np
import pytest

from data_pipelines.sources import Sequence
from trackers.errors import InputError
from trackers.evaluation import benchmark, scores


class _Output(NamedTuple):
    box: np.ndarray
    score: float


class _Probe:
    """Says what it is given: the box moves by the brightness of the frame's first pixel."""

    def __init__(self):
        self.canvases, self.sizes = [], []

    def init(self, variables, frame, box, frame_size=None):
        self._see(frame, frame_size)
        return box

    def step(self, variables, state, frame, frame_size=None):
        self._see(frame, frame_size)
        state = state + [float(frame[0, 0, 0]), 0, 0, 0]
        return state, _Output(state, 0.5)

    def _see(self, frame, frame_size):
        self.canvases.append(frame.shape)
        self.sizes.append(None if frame_size is None else tuple(frame_size))


def _sequence(frames, boxes=None, name="walk", visible=None):
    boxes = np.tile([[10.0, 20, 30, 40]], (len(frames), 1)) if boxes is None else np.asarray(boxes, float)
    visible = np.ones(len(boxes), bool) if visible is None else visible
    return Sequence(name, list(frames), boxes, visible)


def _frame(shape, value):
    return np.full((*shape, 3), value, np.uint8)


def test_frames_reach_the_tracker_in_order_and_padded():
    pictures = [_frame((100, 200), value) for value in range(20)]
    probe, ticks = _Probe(), []

    def read(number):
        time.sleep(0.002 * (number % 3))  # the two readers overtake each other
        return pictures[number]

    track = benchmark.Runner(probe, None, read).track(_sequence(range(20)), lambda: ticks.append(1))
    np.testing.assert_array_equal(track.boxes[:, 0], 10 + np.cumsum(np.arange(20)))
    assert np.isnan(track.scores[0]) and (track.scores[1:] == 0.5).all()
    assert (len(ticks), track.seconds.shape, track.image_size) == (20, (20,), (200, 100))
    assert set(probe.canvases) == {(384, 384, 3)} and set(probe.sizes) == {(100, 200)}
    assert len(probe.canvases) == 20 + 2  # one init and one step to compile


def test_few_canvases_serve_many_sizes():
    sizes = [(240, 320), (360, 480), (360, 640), (480, 640), (720, 1280), (1080, 1920), (2160, 4096), (5000, 300)]
    probe = _Probe()
    runner = benchmark.Runner(probe, None, lambda size: _frame(size, 0))
    for size in sizes:
        runner.track(_sequence([size, size]))
    assert len(set(probe.canvases)) <= 7
    for canvas, (height, width) in zip(probe.canvases, probe.sizes, strict=True):
        assert canvas[0] >= height and canvas[1] >= width
        assert canvas[0] * canvas[1] <= 2.3 * max(height, 384) * max(width, 384)


def test_a_change_of_size_within_a_sequence():
    probe = _Probe()
    sizes = [(240, 320), (240, 320), (480, 640)]
    track = benchmark.Runner(probe, None, lambda size: _frame(size, 1)).track(_sequence(sizes))
    assert track.boxes[-1, 0] == 12


def test_baselines_get_plain_frames():
    probe = _Probe()
    benchmark.Runner(probe, None, lambda size: _frame(size, 0), compiled=False).track(_sequence([(100, 200)] * 3))
    assert set(probe.canvases) == {(100, 200, 3)} and set(probe.sizes) == {None} and len(probe.canvases) == 3


def test_compiling_is_not_timed():
    class Slow(_Probe):
        def step(self, *arguments, **options):
            if not self.canvases[1:]:
                time.sleep(0.3)
            return super().step(*arguments, **options)

    track = benchmark.Runner(Slow(), None, lambda _: _frame((100, 200), 0)).track(_sequence(range(3)))
    assert track.seconds.sum() < 0.2 and track.elapsed < 0.2


@pytest.mark.parametrize("box", [[10, 20, 0, 40], [300, 20, 30, 40], [np.nan, 20, 30, 40]])
def test_an_impossible_first_box_names_the_sequence(box):
    with pytest.raises(InputError, match="sequence walk: .*first frame"):
        benchmark.Runner(_Probe(), None, lambda _: _frame((100, 200), 0)).track(_sequence([0], [box]))


def test_a_broken_frame_stops_the_readers():
    def read(number):
        if number == 3:
            raise InputError("image 3 is cut short")
        return _frame((100, 200), 0)

    with pytest.raises(InputError, match="image 3"):
        benchmark.Runner(_Probe(), None, read).track(_sequence(range(1000)))


def test_speed_leaves_the_first_frame_out():
    found = benchmark.speed([(np.array([9.0, 0.1, 0.1]), 0.5), (np.array([9.0, 0.2]), 0.25)])
    assert found == {"tracker_fps": pytest.approx(3 / 0.4), "end_to_end_fps": pytest.approx(4.0)}
    assert benchmark.speed([(np.array([9.0]), 0.0)]) == {"tracker_fps": 0.0, "end_to_end_fps": 0.0}


def test_every_toolkit_scores_and_a_refusal_is_said():
    truth = np.tile([[10.0, 20, 30, 40]], (6, 1))
    visible = np.array([True, True, True, False, False, False])
    sequences = [_sequence(range(6), truth, "a", visible), _sequence(range(6), truth, "b", visible)]
    boxes = {"a": truth.copy(), "b": truth.copy()}
    boxes["a"][3:] += 500  # only where the target is hidden
    sizes = dict.fromkeys("ab", (640, 480))
    assert set(benchmark.score("lasot", sequences, boxes, sizes)) == set(scores.COMMON)
    found = benchmark.score("lasot", sequences, boxes, sizes, scores.TOOLKITS)
    assert set(found) == set(scores.TOOLKITS)
    assert found["got10k"]["overall"].values["AO"] == pytest.approx(1)
    assert found["pytracking"]["overall"].values["NormPrecision"] == 1
    assert found["ostrack"]["overall"].values["NormPrecision"] == 0.5
    assert found["lasot_toolkit"]["overall"].values["OP50"] == 0.5
    assert found["lasot_visible"]["overall"].values["OP50"] == 1
    # Outside LaSOT the program counts frames without a target as hits of NormPrecision.
    assert benchmark.score("otb", sequences, boxes, sizes)["ostrack"]["overall"].values["NormPrecision"] == 1

    boxes["b"][1] = np.nan
    found = benchmark.score("lasot", sequences, boxes, sizes)
    assert "sequence b" in found["pytracking"]["error"]
    assert "overall" in found["got10k_otb"]


def test_overlaps_have_gaps_where_the_target_is_hidden():
    sequence = _sequence(range(3), visible=np.array([True, False, True]))
    np.testing.assert_allclose(benchmark.overlaps(sequence, sequence.boxes), [1, np.nan, 1])
