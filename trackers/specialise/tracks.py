"""A tracker over the sequences of a benchmark: the divisions that it makes, and two trackers side by side."""

import dataclasses
import time

import jax
import numpy as np

from trackers import progress
from trackers.evaluation import scores
from trackers.io import image_files
from trackers.specialise import forms
from trackers.tracking import canvases


def shortened(sequence, frames):
    """The first frames of a data_pipelines Sequence; the whole where frames is 0."""
    if not frames:
        return sequence
    parts = {name: getattr(sequence, name)[:frames] for name in ("boxes", "visible")}
    return dataclasses.replace(sequence, frames=list(sequence.frames)[:frames], **parts)


def shares(tracker, variables, sequences):
    """The share of interacting tokens (forms.interacting) in every frame that is tracked: (F,L) float64.

    Args: tracker: single_object.Tracker. variables: its model's. sequences: list of data_pipelines Sequence.
    """
    found = []
    with progress.bar(total=sum(map(len, sequences)), desc="divisions") as bar:
        for sequence in sequences:
            images = map(image_files.read_image, sequence.frames)
            state = tracker.init(variables, next(images), sequence.boxes[0])
            bar.update()
            for image in images:
                state, output = tracker.step(variables, state, image)
                found.append(forms.interacting(output.division))
                bar.update()
    return np.reshape(found, (len(found), tracker.model.depth))


@dataclasses.dataclass
class SideBySide:
    """Two trackers over the same frames, taking turns, F frames without the first ones.

    boxes: {sequence: ((T,4), (T,4))} float64 x, y, w, h in pixels, each on its own way.
    steps: (F,4) the second tracker's boxes in one step from the first one's last box, less the first one's, in pixels.
    seconds: (F,2) a frame on the clock; cpu: (F,2) of the process's threads together.
    sizes: {sequence: (width, height)}.
    """

    boxes: dict
    steps: np.ndarray
    seconds: np.ndarray
    cpu: np.ndarray
    sizes: dict

    def largest_step(self):
        """Pixels: the largest of `steps`, whatever its sign."""
        return float(np.abs(self.steps).max())

    def largest_difference(self):
        """(pixels, sequence, number of the frame from 0): where the trackers' own ways are farthest apart."""
        apart = {name: np.abs(one - other).max(axis=1) for name, (one, other) in self.boxes.items()}
        name = max(apart, key=lambda name: apart[name].max())
        return apart[name].max(), name, int(apart[name].argmax())

    def overlap(self):
        """Mean IoU of the two trackers' boxes, over all frames but the first ones."""
        return float(np.mean(np.concatenate([scores.overlap(*(b[1:] for b in pair)) for pair in self.boxes.values()])))

    def average_overlaps(self, sequences):
        """(AO, AO) of both against the truth, got-10k toolkit, mean of the sequences; None where truth is withheld."""
        if any(sequence.truth_withheld for sequence in sequences):
            return None
        values = [
            [
                scores.got10k(boxes, one.boxes, self.sizes[one.name], cover=one.visible).values["AO"]
                for boxes in self.boxes[one.name]
            ]
            for one in sequences
        ]
        return tuple(np.mean(values, axis=0))


def side_by_side(runs, sequences):
    """Tracks with two trackers, each with its own state: SideBySide.

    Args: runs: two (single_object.Tracker, variables). sequences: as of `shares`.
    """
    boxes, sizes, steps, seconds, cpu, warm = {}, {}, [], [], [], set()
    with progress.bar(total=sum(map(len, sequences)), desc="side by side") as bar:
        for sequence in sequences:
            images = map(image_files.read_image, sequence.frames)
            first = next(images)
            sizes[sequence.name] = first.shape[1::-1]
            states = [tracker.init(variables, first, sequence.boxes[0]) for tracker, variables in runs]
            track = [[np.asarray(sequence.boxes[0], np.float64)] for _ in runs]
            bar.update()
            for count, image in enumerate(images):
                canvas = canvases.canvas_for([image.shape[:2]])
                if canvas not in warm:  # compiled before it is timed
                    warm.add(canvas)
                    _advance(runs, states, image, (0, 1))
                from_the_same = [states[0], states[1].replace(box=states[0].box)]
                states, found, clock, processor = _advance(runs, states, image, (0, 1) if count % 2 else (1, 0))
                _, stepped, _, _ = _advance(runs, from_the_same, image, (1,))
                for one, box in zip(track, found, strict=True):
                    one.append(box)
                steps.append(stepped[1] - found[0])
                seconds.append(clock)
                cpu.append(processor)
                bar.update()
            boxes[sequence.name] = tuple(np.array(one) for one in track)
    return SideBySide(boxes, *(np.array(values) for values in (steps, seconds, cpu)), sizes)


def _advance(runs, states, image, order):
    """One frame with the trackers of these numbers, in order: (states, boxes, seconds, CPU seconds) of the two."""
    states, boxes, clock, cpu = list(states), [None, None], [0.0, 0.0], [0.0, 0.0]
    for i in order:
        tracker, variables = runs[i]
        begin = time.perf_counter(), time.process_time()
        states[i], output = jax.block_until_ready(tracker.step(variables, states[i], image))
        boxes[i] = np.asarray(output.box, np.float64)
        clock[i], cpu[i] = time.perf_counter() - begin[0], time.process_time() - begin[1]
    return states, boxes, clock, cpu
