"""Tracks one target through a video file or a folder of images; writes the boxes and a drawn video.

    python track.py --video V.mp4 --box x,y,w,h --out DIR           # the shipped GRM
    python track.py --config configs/grm.py:b256 --checkpoint DIR_OR_PTH --video V.mp4 --box x,y,w,h --out DIR

--out gets boxes.csv (frame, x, y, w, h in pixels, score; frame 0 is the given box), tracked.mp4 and, with --attention,
attention.png: where in the search crop the tokens of each layer look at the target.

Tracking with words: refer.py.
"""

import contextlib
import sys
import time
from pathlib import Path

import jax
import numpy as np
from absl import flags

import refer
import trackers
from data_pipelines import video_input
from trackers import errors, weights
from trackers.evaluation import records
from trackers.io import numbers, outputs, video_files
from trackers.tracking import single_object
from trackers.tracking.pictures import attention, drawing

FLAGS = flags.FLAGS
weights.define_flags()
video_input.define_flags()
flags.DEFINE_string("box", None, "Target in the first frame: x,y,w,h in pixels, x and y of the top left corner.")
flags.DEFINE_string("out", None, "Local folder for boxes.csv and tracked.mp4.")
flags.DEFINE_integer("layer", 0, "Shade the tokens that this layer (from 1) keeps from the template; 0: none.")
flags.DEFINE_list("attention", [], "Frames (1 is the first tracked) whose attention to the target is drawn: 10,40.")
flags.DEFINE_bool("no-draw", False, "Write the boxes only, no video.")
refer.define_flags()
flags.mark_flags_as_required(["out"])


def main(argv):
    del argv
    config, out = FLAGS.config, Path(FLAGS.out)
    model = trackers.build(config.model)
    if model.task != "track":
        return refer.track(config, model)
    refer.one_object()
    if not FLAGS.box:
        raise errors.UsageError("--box is needed: x,y,w,h in pixels, such as --box=110,90,48,40")
    box = _parse_box(FLAGS.box)
    source = video_input.open_frames()
    if not 0 <= FLAGS.layer <= model.depth:
        raise errors.UsageError(f"--layer {FLAGS.layer}: the model has layers 1 to {model.depth}; 0 shades none")
    if FLAGS.layer and "learned" not in model.layer_relations():
        raise errors.UsageError(f"--layer: model {config.model.name} does not divide its tokens")
    wanted = _parse_frames(FLAGS.attention)
    if wanted:
        attention.check(model)
    first = next(iter(source), None)  # seen before anything that lies in --out is replaced
    if first is not None:
        single_object.check_box(box, *first.shape[:2])
    outputs.claim_folder(out)
    for name in ("boxes.csv", "tracked.mp4", "attention.png"):
        outputs.claim_file(out / name)
    tracker = single_object.Tracker(model, config.tracking)
    variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))

    with contextlib.ExitStack() as stack:
        video = None
        if not FLAGS["no-draw"].value:
            video = stack.enter_context(video_files.VideoWriter(records.replacing(out / "tracked.mp4"), source.rate))
        table = _Table(records.replacing(out / "boxes.csv"), stack)
        maps = _AttentionMaps(tracker, variables, box, wanted)
        start = time.perf_counter()
        try:
            _track(tracker, variables, source, box, table, video, maps)
        except errors.InputError as error:
            if not table.rows:
                raise
            raise errors.InputError(f"{error}; the boxes of the {table.rows} frames before are in {out}") from None
        seconds = time.perf_counter() - start
    maps.write(out / "attention.png")
    if len(source) > table.rows and source.cut_short:
        print(f"the video's header says {len(source)} frames, {table.rows} could be decoded", file=sys.stderr)
    written = "boxes.csv" if video is None else "boxes.csv and tracked.mp4"
    print(f"{table.rows} frames in {seconds:.1f} s, reading and drawing included; wrote {written} in {out}")


def _parse_box(text):
    try:
        box = [numbers.number(part.strip()) for part in text.split(",")]
    except ValueError:
        box = []
    if len(box) != 4:
        raise errors.UsageError(f"--box {text!r}: write four numbers x,y,w,h in pixels, such as --box=110,90,48,40")
    return box


def _parse_frames(texts):
    if not all(numbers.is_digits(text) and int(text) > 0 for text in texts):
        raise errors.UsageError(
            f"--attention {','.join(texts)}: write numbers of frames from 1, such as --attention=10,40"
        )
    return {int(text) for text in texts}


class _Table:
    """boxes.csv, complete up to the last frame at any time; `rows` counts the frames."""

    def __init__(self, path, stack):
        self.rows, self._path = 0, path
        # Without a buffer, so that what the disk does not take is known at once, and not tried again on closing.
        self._file = stack.enter_context(path.open("wb", buffering=0))
        self._write(["frame", "x", "y", "w", "h", "score"])

    def add(self, box, score=""):
        self._write([str(self.rows), *(f"{value:.3f}" for value in box), score])
        self.rows += 1

    def _write(self, cells):
        line = (",".join(cells) + "\n").encode()
        try:
            while line:  # a disk that is nearly full takes a part
                line = line[self._file.write(line) :]
        except OSError as error:
            raise errors.InputError(f"{self._path} cannot be written: {errors.os_reason(error)}") from None


class _AttentionMaps:
    """attention.png of the wanted frames, where there are any."""

    def __init__(self, tracker, variables, box, wanted):
        self._maps = attention.Maps(tracker, variables, box) if wanted else None
        self._wanted, self._rows, self._depth = wanted, [], tracker.model.depth

    def look(self, number, state, frame):
        if number in self._wanted:
            self._rows.append((number, *self._maps(state, frame)))

    def write(self, path):
        missing = sorted(self._wanted - {number for number, *_ in self._rows})
        if missing:
            print(f"--attention: the video has no frame {', '.join(map(str, missing))}", file=sys.stderr)
        if self._rows:
            attention.draw(records.replacing(path), self._rows, attention.shown_layers(self._depth))


def _track(tracker, variables, source, box, table, video, maps):
    state = size = None
    for frame in video_input.watched(source):
        if state is None:
            size = frame.shape
            state = tracker.init(variables, frame, box)
            table.add(box)
            drawn = {"box": box}
        else:
            if frame.shape != size:
                sizes = " and ".join(f"{width}x{height}" for height, width, _ in (frame.shape, size))
                raise errors.InputError(f"frame {table.rows} and the first one have {sizes} pixels: they must be equal")
            maps.look(table.rows, state, frame)
            state, output = tracker.step(variables, state, frame)
            here, score = np.asarray(output.box), float(output.score)
            table.add(here, f"{score:.5f}")
            drawn = {"box": here, "score": score, **_division(tracker.model, output)}
        if video is not None:
            video.write(drawing.annotate(frame, number=table.rows - 1, **drawn))


def _division(model, output):
    """The chosen layer's division as drawing.annotate takes it."""
    if not FLAGS.layer:
        return {}
    division = np.asarray(output.division[FLAGS.layer - 1]).reshape(model.search_grid)
    return {"division": division, "window": np.asarray(output.window)}


if __name__ == "__main__":
    errors.run(main)
