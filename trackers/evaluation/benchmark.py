"""Runs trackers over the sequences of a benchmark, timed and resumable, and scores the boxes with every toolkit."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import time

import jax
import numpy as np

from trackers.errors import InputError
from trackers.evaluation import official, scores
from trackers.io.numbers import counted
from trackers.tracking import canvases, single_object

SPEED = {
    "tracker_fps": "frames per second inside the tracker, one at a time, the first left out: frame to the device, crop,"
    " network, box back on the host; no image decoding, no compilation",
    "end_to_end_fps": "frames per second of the whole loop, image decoding included; no compilation",
    "batched": "sequences tracked many at a time (--batch) have one time: both numbers are frames per second of the"
    " whole pipeline, in which decoding, transfer and network overlap, over all sequences at a time; of several hosts,"
    " the mean of one",
}
_READ_AHEAD = 8
# Sequences that are named where several are not usable.
_NAMED = 20
# pytracking treats these benchmarks by rules of their own: {benchmark: its name for them}. LaSOT_ext is not among them.
_OWN_RULES = {"lasot": "lasot", "uav": "uav", "uav123": "uav", "uav20l": "uav", "avist": "avist"}


@dataclasses.dataclass(frozen=True)
class Track:
    """A tracked sequence of T frames.

    boxes: (T, 4) float64 x, y, w, h in pixels, the first as given. scores: (T,), the first NaN.
    seconds: (T,) inside the tracker. elapsed: seconds of the loop after the first frame, reading included. (What both
      are where many sequences are tracked at a time: batched.py.)
    image_size: (width, height) of the first frame.
    """

    boxes: np.ndarray
    scores: np.ndarray
    seconds: np.ndarray
    elapsed: float
    image_size: tuple


def refuse(sequence, error):
    """Ends tracking at the first sequence that has a frame that cannot be read."""
    del sequence
    raise error


class Runner:
    """Tracks whole sequences with one tracker.

    Args:
      tracker: anything with the interface of `single_object.Tracker` (`baselines` too).
      variables: what it takes; None for baselines.
      read: path -> frame (H, W, 3) uint8 RGB.
      compiled: whether the tracker is jitted: then frames are padded to few sizes, and compiling is not timed.
    """

    def __init__(self, tracker, variables, read, compiled=True):
        self._tracker, self._variables, self._read, self._compiled = tracker, variables, read, compiled
        self._warm = set()

    def track(self, sequence, tick=lambda: None):
        """Tracks a data_pipelines Sequence from its first box -> Track; `tick()` is called after every frame.

        Raises: InputError naming the sequence where its first box lies outside the first frame or has no area.
        """
        box = np.asarray(sequence.boxes[0], np.float64)
        with _reading(self._read, sequence.frames) as frames:
            frame = next(frames)
            height, width = frame.shape[:2]
            single_object.check_box(box, height, width, f"sequence {sequence.name}: the box of the first frame")
            self._warm_up(frame)
            start = time.perf_counter()
            state = self._start(frame, box)
            boxes, scores_seen, seconds = [box], [np.nan], [time.perf_counter() - start]
            tick()
            begin, compiling = time.perf_counter(), 0.0
            for frame in frames:
                compiling += self._warm_up(frame)
                start = time.perf_counter()
                state, output = self._advance(state, frame)
                boxes.append(np.asarray(output.box, np.float64))
                scores_seen.append(float(output.score))
                seconds.append(time.perf_counter() - start)
                tick()
            elapsed = time.perf_counter() - begin - compiling
        return Track(np.array(boxes), np.array(scores_seen), np.array(seconds), elapsed, (width, height))

    def tracks(self, sequences, tick=lambda: None, begin=lambda name: None, fail=refuse):
        """Tracks sequences one after the other, an iterator of (Sequence, Track).

        Args:
          sequences: list of data_pipelines Sequence.
          tick: called after every frame. begin: called with the name of each sequence before it is tracked.
          fail: called with each Sequence that has a frame that cannot be read, and the InputError that says so; the
            others are tracked.

        Raises: what `fail` raises.
        """
        for sequence in sequences:
            begin(sequence.name)
            try:
                track = self.track(sequence, tick)
            except InputError as error:
                fail(sequence, error)
            else:
                yield sequence, track

    def _start(self, frame, box):
        padded, size = self._pad(frame)
        return jax.block_until_ready(self._tracker.init(self._variables, padded, box, frame_size=size))

    def _advance(self, state, frame):
        padded, size = self._pad(frame)
        return self._tracker.step(self._variables, state, padded, frame_size=size)

    def _pad(self, frame):
        if not self._compiled:
            return frame, None
        return canvases.pad(frame)

    def _warm_up(self, frame):
        """Compiles for this frame's canvas, once; the seconds it took."""
        canvas = canvases.canvas_for([frame.shape[:2]])
        if not self._compiled or canvas in self._warm:
            return 0.0
        start = time.perf_counter()
        self._warm.add(canvas)
        # A box in the middle, as the first frame's box may lie outside a later frame of another size.
        height, width = frame.shape[:2]
        middle = np.array([width / 4, height / 4, width / 2, height / 2])
        jax.block_until_ready(self._advance(self._start(frame, middle), frame))
        return time.perf_counter() - start


def check_starts(sequences, read):
    """Checks, before anything is tracked, that every sequence can be: its first frame can be read and shows its box.

    Args:
      sequences: list of data_pipelines Sequence. read: path -> frame (H, W, 3) uint8 RGB; called by several threads.

    Raises: InputError naming all sequences that a tracker cannot start in.
    """

    def problem(sequence):
        try:
            height, width = read(sequence.frames[0]).shape[:2]
            named = f"sequence {sequence.name}: the box of the first frame"
            single_object.check_box(sequence.boxes[0], height, width, named)
        except InputError as error:
            return sequence.name, str(error)
        return None

    with concurrent.futures.ThreadPoolExecutor() as readers:
        problems = dict(found for found in readers.map(problem, sequences) if found)
    if problems:
        raise unusable(problems, sequences, "no usable first frame or box")


def unusable(problems, sequences, what):
    """The InputError about sequences that cannot be tracked.

    Args: problems: {name: what is wrong}. sequences: all of them. what: they have, where they are several.
    """
    first = next(iter(problems.values()))
    if len(problems) == 1:
        return InputError(f"{first}; or leave the sequence out (--sequences)")
    names = list(problems)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return InputError(
        f"{len(names)} of {counted(len(sequences), 'sequence')} have {what}: {', '.join(names[:_NAMED])}{more};"
        f" the first: {first}; or leave them out (--sequences)"
    )


def speed(tracks):
    """{"tracker_fps", "end_to_end_fps"} as SPEED defines them, over [(seconds (T,), elapsed)] of the sequences."""
    frames = sum(len(seconds) - 1 for seconds, _ in tracks)
    inside = sum(float(np.sum(seconds[1:])) for seconds, _ in tracks)
    around = sum(elapsed for _, elapsed in tracks)
    return {"tracker_fps": frames / inside if inside else 0.0, "end_to_end_fps": frames / around if around else 0.0}


def score(benchmark, sequences, boxes, image_sizes, toolkits=scores.COMMON):
    """Scores of one tracker by toolkits of scores.TOOLKITS.

    Args:
      benchmark: name; selects pytracking's rules for frames without a target.
      sequences: list of data_pipelines Sequence. boxes: {name: (T, 4)}. image_sizes: {name: (width, height)}.
      toolkits: their keys.

    Returns: {toolkit: {"overall": Score, "sequences": {name: Score}}}, or {"error": str} where that toolkit refuses.
    Hidden frames do not count for GOT-10k's numbers and are absent for LaSOT's, whatever the benchmark.
    """
    rules = _OWN_RULES.get(benchmark, "otb")
    ways = {
        "got10k": lambda pair, size, visible: scores.got10k(*pair, size, cover=visible),
        "got10k_otb": lambda pair, size, visible: scores.got10k_otb(*pair),
        "got10k_lasot": lambda pair, size, visible: scores.got10k_lasot(*pair),
        "pytracking": lambda pair, size, visible: scores.pytracking(*pair, visible, rules),
        "ostrack": lambda pair, size, visible: scores.ostrack(*pair, visible, rules),
        "avist": lambda pair, size, visible: official.avist(*pair, visible),
        "lasot_toolkit": lambda pair, size, visible: official.lasot_toolkit(*pair, ~visible),
        "lasot_visible": lambda pair, size, visible: official.lasot_toolkit(*pair, ~visible, of_all=False),
        "otb_toolkit": lambda pair, size, visible: official.otb_toolkit(*pair),
        "trackingnet": lambda pair, size, visible: official.trackingnet(*pair),
    }

    result = {}
    for toolkit in toolkits:
        parts = {}
        try:
            for sequence in sequences:
                pair = boxes[sequence.name], sequence.boxes
                parts[sequence.name] = ways[toolkit](pair, image_sizes[sequence.name], sequence.visible)
            result[toolkit] = {"overall": scores.combine(list(parts.values())), "sequences": parts}
        except InputError as error:
            result[toolkit] = {"error": f"sequence {sequence.name}: {error}"}
    return result


def overlaps(sequence, boxes):
    """IoU (T,) for a plot over time, NaN (a gap) where the target is hidden."""
    values = scores.overlap(np.asarray(boxes), sequence.boxes)
    return np.where(sequence.visible, values, np.nan)


@contextlib.contextmanager
def _reading(read, paths):
    """Iterator of `read` of each path in order, by two threads a few frames ahead (image decoders release the GIL)."""
    paths = iter(paths)
    pool = concurrent.futures.ThreadPoolExecutor(2)

    def ahead(count):
        return [pool.submit(read, path) for path in itertools.islice(paths, count)]

    def frames():
        waiting = collections.deque(ahead(_READ_AHEAD))
        while waiting:
            frame = waiting.popleft().result()
            waiting.extend(ahead(1))
            yield frame

    try:
        yield frames()
    finally:
        pool.shutdown(cancel_futures=True)
