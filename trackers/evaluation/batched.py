"""Whole sequences, many at a time: frames are decoded by threads ahead of the device, which steps all slots at once.

While the device works on one step, the frames of the next are decoded, laid into one array and sent, and the boxes of
the step before come back. Which slot shows which frame at which step follows from the lengths of the sequences alone,
so nothing on the host waits for a box. Sequences whose frames need equal canvases follow one another, so that little is
padded, and of these the longest begin first, so that few slots are idle at the end.

A step may take several frames of each slot in one dispatch (`frames` of Runner). Then a sequence begins with the first
frame of a step only, and templates are replaced after one, so that a slot may idle for the rest of it.

Time per frame: a step's time by the clock, from the boxes of one step to those of the next, compiling left out, divided
by the frames in it. Decoding, transfer and device share that time, so `Track.seconds` has no part that is the tracker's
alone, and `Track.elapsed` is their sum after the first frame.
"""

import collections
import concurrent.futures
import itertools
import os
import time
from typing import NamedTuple

import numpy as np

from trackers.errors import InputError
from trackers.evaluation import benchmark
from trackers.tracking import lockstep, single_object
from trackers.tracking.canvases import canvas_for

# Frame arrays in use at once: one that is filled, one that is sent or computed on, one whose boxes are awaited.
_BUFFERS = 3
# Decoded frames that wait for each thread that decodes.
_READ_AHEAD = 2
# Threads that copy decoded frames into the array of a step.
_LAYERS = 4


class _Cell(NamedTuple):
    """What a slot shows in a step: `count` frames of a sequence from `frame` on, all by number; last: whether they end
    the sequence."""

    slot: int
    sequence: int
    frame: int
    count: int
    last: bool


class _Step(NamedTuple):
    """Cells of a step, what the device is given, and {sequence number: (width, height)} of those that begin."""

    cells: list
    batch: lockstep.Batch
    image_sizes: dict


class Runner:
    """Tracks whole sequences, `slots` of them at a time; boxes are those of `benchmark.Runner` up to rounding.

    Args:
      tracker: single_object.Tracker. variables: its model's.
      read: path -> frame (H, W, 3) uint8 RGB; called by several threads.
      slots: sequences at a time, rounded up to a multiple of the devices.
      devices: list of jax devices; this process's when None.
      threads: that decode; as many as there are cores when None.
      frames: of each slot in one dispatch.
    """

    def __init__(self, tracker, variables, read, slots, devices=None, threads=None, frames=1):
        self._tracker, self._variables, self._read, self._frames = tracker, variables, read, frames
        self._slots, self._devices, self._threads = slots, devices, threads or len(os.sched_getaffinity(0))

    def tracks(self, sequences, tick=lambda: None, begin=lambda name: None, fail=benchmark.refuse):
        """Iterator of (Sequence, Track), each as soon as its last box is there.

        Args:
          sequences: list of data_pipelines Sequence.
          tick: called after every frame. begin: called with the name of each sequence whose first frame is tracked.
          fail: as of benchmark.Runner; called by another thread.

        Raises: InputError where a first frame cannot be read, and naming the sequence where its first box lies outside
          the first frame or has no area; what `fail` raises.
        """
        if not sequences:
            return
        sequences = self._ordered(sequences)
        boxes = [np.full((len(sequence.frames), 5), np.nan) for sequence in sequences]
        seconds = [np.zeros(len(sequence.frames)) for sequence in sequences]
        image_sizes = {}
        for step, found, spent in self._steps(sequences, fail):
            image_sizes |= step.image_sizes
            shown = sum(cell.count for cell in step.cells)
            for cell in step.cells:
                rows = slice(cell.frame, cell.frame + cell.count)
                boxes[cell.sequence][rows] = found[cell.slot, : cell.count, :5]
                if not cell.frame:
                    begin(sequences[cell.sequence].name)
                    boxes[cell.sequence][0] = [*sequences[cell.sequence].boxes[0], np.nan]
                seconds[cell.sequence][rows] = spent / shown
                for _ in range(cell.count):
                    tick()
            for number in (cell.sequence for cell in step.cells if cell.last):
                times, rows = seconds[number], boxes[number]
                size = image_sizes.pop(number)
                yield sequences[number], benchmark.Track(rows[:, :4], rows[:, 4], times, float(times[1:].sum()), size)

    def _ordered(self, sequences):
        """The sequences by canvas of their first frames, from large to small, and by length, the longest first."""
        with concurrent.futures.ThreadPoolExecutor(self._threads) as readers:
            sizes = list(readers.map(lambda sequence: self._read(sequence.frames[0]).shape[:2], sequences))

        def place(number):
            height, width = canvas_for([sizes[number]])
            return height * width, height, len(sequences[number].frames)

        return [sequences[number] for number in sorted(range(len(sequences)), key=place, reverse=True)]

    def _steps(self, sequences, fail):
        """Iterator of (_Step, found (slots, K, 6) float32, seconds), a step behind what the device is given."""
        # What few sequences are left of an interrupted run need no more slots than they are.
        slots = min(self._slots, len(sequences))
        device = lockstep.Lockstep(self._tracker, self._variables, slots, self._devices, self._frames)
        states, waiting = device.empty(), None
        steps = self._laid_out(sequences, device, fail)
        # A thread of its own lays out and sends the next step's frames meanwhile.
        with concurrent.futures.ThreadPoolExecutor(1) as sender:
            try:
                clock, coming = time.perf_counter(), sender.submit(next, steps, None)
                while (step := coming.result()) is not None:
                    compiling = time.perf_counter()
                    device.programs(step.batch.frames.shape[2:4])
                    clock += time.perf_counter() - compiling
                    coming = sender.submit(next, steps, None)
                    states, found = device.step(states, step.batch)
                    found.copy_to_host_async()
                    if waiting is not None:
                        last_clock, rows, clock = clock, np.asarray(waiting[1]), time.perf_counter()
                        yield waiting[0], rows, clock - last_clock
                    waiting = step, found
                if waiting is not None:
                    rows = np.asarray(waiting[1])
                    yield waiting[0], rows, time.perf_counter() - clock
            finally:
                sender.submit(steps.close)

    def _laid_out(self, sequences, device, fail):
        """Iterator of _Step in order, their frames on the way to the device."""
        lengths, broken = [len(sequence.frames) for sequence in sequences], set()
        steps = _schedule(lengths, device.slots, device.frames, self._tracker.is_due, broken)
        ahead = max(2, -(-_READ_AHEAD * self._threads // (device.slots * device.frames)))
        buffers = itertools.cycle([{} for _ in range(_BUFFERS)])
        readers = concurrent.futures.ThreadPoolExecutor(self._threads)
        # Threads of their own, so that laying out a step doesn't wait for the frames of steps to come.
        layers = concurrent.futures.ThreadPoolExecutor(_LAYERS)

        def read(cells):
            paths = [[sequences[cell.sequence].frames[cell.frame + k] for k in range(cell.count)] for cell in cells]
            return cells, [[readers.submit(self._read, path) for path in some] for some in paths]

        try:
            waiting = collections.deque(map(read, itertools.islice(steps, ahead)))
            while waiting:
                cells, frames = [], []
                for cell, coming in zip(*waiting.popleft(), strict=True):
                    if cell.sequence in broken:
                        continue
                    try:
                        frames += [frame.result() for frame in coming]
                        cells.append(cell)
                    except InputError as error:
                        broken.add(cell.sequence)
                        fail(sequences[cell.sequence], error)
                waiting.extend(map(read, itertools.islice(steps, 1)))
                if cells:
                    yield self._lay_out(cells, frames, sequences, device, next(buffers), layers)
        finally:
            readers.shutdown(cancel_futures=True)
            layers.shutdown()

    def _lay_out(self, cells, frames, sequences, device, buffer, layers):
        shape = device.slots, device.frames
        sizes, live, due = np.ones((*shape, 2), np.int32), np.zeros(shape, bool), np.zeros(device.slots, bool)
        starts, image_sizes = {}, {}
        places = [(cell, k) for cell in cells for k in range(cell.count)]
        for (cell, k), frame in zip(places, frames, strict=True):
            height, width = frame.shape[:2]
            sizes[cell.slot, k] = height, width
            number = cell.frame + k
            live[cell.slot, k] = number > 0
            if number:
                due[cell.slot] = self._tracker.is_due(number)
            else:
                sequence = sequences[cell.sequence]
                named = f"sequence {sequence.name}: the box of the first frame"
                starts[cell.slot] = single_object.check_box(sequence.boxes[0], height, width, named)
                image_sizes[cell.sequence] = width, height
        canvas = canvas_for(sizes.reshape(-1, 2))
        if canvas not in buffer:
            buffer.clear()
            buffer[canvas] = np.zeros((*shape, *canvas, 3), np.uint8)
        array = buffer[canvas]

        # What a former frame left beyond this one's size is never looked at.
        def lay(place, frame):
            cell, k = place
            array[cell.slot, k, : frame.shape[0], : frame.shape[1]] = frame

        list(layers.map(lay, places, frames))
        return _Step(cells, device.put(array, sizes, live, starts, due), image_sizes)


def _schedule(lengths, slots, together=1, is_due=lambda frame: False, broken=()):
    """Iterator of steps, lists of _Cell of slots that show frames; sequences begin in order, where slots are free.

    Args: lengths: of the sequences. together: frames of a slot in a step. is_due: frames after which its part ends.
      broken: numbers of sequences that are not gone on with, looked at in every step.
    """
    sequences = iter(range(len(lengths)))
    shown = {}
    while True:
        for slot in range(slots):
            cell = shown.pop(slot, None)
            if cell is None or cell.last or cell.sequence in broken:
                number, frame = next(sequences, None), 0
            else:
                number, frame = cell.sequence, cell.frame + cell.count
            if number is not None:
                frames = range(frame, min(frame + together, lengths[number]))
                count = next((k for k, each in enumerate(frames, 1) if each and is_due(each)), len(frames))
                shown[slot] = _Cell(slot, number, frame, count, frame + count == lengths[number])
        if not shown:
            return
        yield list(shown.values())
