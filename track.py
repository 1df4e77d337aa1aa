"""Tracks one target through a video file or a folder of images; writes the boxes and a drawn video.

    python track.py --config configs/grm.py:b256 --checkpoint DIR_OR_PTH --video V.mp4 --box x,y,w,h --out DIR

--out gets boxes.csv (frame, x, y, w, h in pixels, score; frame 0 is the given box) and tracked.mp4.
"""

import contextlib
import csv
import sys
import time
from pathlib import Path

import jax
import numpy as np
from absl import flags
from etils import epath
from ml_collections import config_flags

import trackers
from data_pipelines.sources import annotations
from trackers import errors
from trackers.tracking import drawing, frames, single_object
from trackers.training import checkpoints

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "Config file and variant: configs/grm.py:b256.", lock_config=True)
flags.DEFINE_string("checkpoint", None, "Workdir of train.py, its checkpoints folder, or a published file (.pth, ...).")
flags.DEFINE_string("video", None, "Video file to track in.")
flags.DEFINE_string("images", None, "Folder of images to track in, in natural order of names; instead of --video.")
flags.DEFINE_string("box", None, "Target in the first frame: x,y,w,h in pixels, x and y of the top left corner.")
flags.DEFINE_string("out", None, "Local folder for boxes.csv and tracked.mp4.")
flags.DEFINE_integer("layer", 0, "Shade the tokens that this layer (from 1) keeps from the template; 0: none.")
flags.DEFINE_bool("no-draw", False, "Write the boxes only, no video.")
flags.mark_flags_as_required(["config", "checkpoint", "box", "out"])


def main(argv):
    del argv
    config, out = FLAGS.config, Path(FLAGS.out)
    box = _parse_box(FLAGS.box)
    source = _open_source()
    model = trackers.build(config.model)
    if not 0 <= FLAGS.layer <= model.depth:
        raise errors.UsageError(f"--layer {FLAGS.layer}: the model has layers 1 to {model.depth}; 0 shades none")
    tracker = single_object.Tracker(model, config.tracking)
    variables = jax.device_put(checkpoints.load_variables(FLAGS.checkpoint, config.model))

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.InputError(f"--out {out} cannot be made a folder: {error.strerror}") from None
    with contextlib.ExitStack() as stack:
        video = None
        if not FLAGS["no-draw"].value:
            video = stack.enter_context(drawing.VideoWriter(_replace(out / "tracked.mp4"), source.rate))
        table = _Table(stack.enter_context(_replace(out / "boxes.csv").open("w")))
        start = time.perf_counter()
        try:
            _track(tracker, variables, source, box, table, video)
        except errors.InputError as error:
            if not table.rows:
                raise
            raise errors.InputError(f"{error}; the boxes of the {table.rows} frames before are in {out}") from None
        seconds = time.perf_counter() - start
    expected = len(source)
    if table.rows < expected:
        print(f"the video's header says {expected} frames, {table.rows} could be decoded", file=sys.stderr)
    written = "boxes.csv" if video is None else "boxes.csv and tracked.mp4"
    print(f"{table.rows} frames in {seconds:.1f} s, reading and drawing included; wrote {written} in {out}")


def _parse_box(text):
    try:
        box = [float(part) for part in text.split(",")]
    except ValueError:
        box = []
    if len(box) != 4:
        raise errors.UsageError(f"--box {text!r}: write four numbers x,y,w,h in pixels, such as --box=110,90,48,40")
    return box


def _open_source():
    if (FLAGS.video is None) == (FLAGS.images is None):
        raise errors.UsageError("give either --video FILE or --images FOLDER")
    if FLAGS.video is not None:
        return frames.Video(FLAGS.video)
    folder = epath.Path(FLAGS.images)
    names = annotations.image_names(folder)
    if not names:
        kinds = ", ".join(annotations.IMAGE_SUFFIXES)
        raise errors.InputError(f"--images {folder}: no such folder, or no images ({kinds}) in it")
    return frames.Images(annotations.Frames(folder, names))


def _replace(path):
    if path.exists():
        print(f"replacing {path}", file=sys.stderr)
    return path


class _Table:
    """boxes.csv, complete up to the last frame at any time; `rows` counts the frames."""

    def __init__(self, file):
        self.rows = 0
        self._file, self._writer = file, csv.writer(file, lineterminator="\n")
        self._writer.writerow(["frame", "x", "y", "w", "h", "score"])

    def add(self, box, score=""):
        self._writer.writerow([self.rows, *(f"{value:.3f}" for value in box), score])
        self._file.flush()
        self.rows += 1


def _track(tracker, variables, source, box, table, video):
    from tqdm import tqdm

    state = size = None
    interval = 0.2 if sys.stderr.isatty() else 10.0
    for frame in tqdm(source, total=len(source) or None, unit="frame", smoothing=0.05, mininterval=interval):
        if state is None:
            size = frame.shape
            state = tracker.init(variables, frame, box)
            table.add(box)
            drawn = {"box": box}
        else:
            if frame.shape != size:
                sizes = " and ".join(f"{width}x{height}" for height, width, _ in (frame.shape, size))
                raise errors.InputError(f"frame {table.rows} and the first one have {sizes} pixels: they must be equal")
            state, output = tracker.step(variables, state, frame)
            found, score = np.asarray(output.box), float(output.score)
            table.add(found, f"{score:.5f}")
            drawn = {"box": found, "score": score, **_division(tracker.model, output)}
        if video is not None:
            video.write(drawing.annotate(frame, number=table.rows - 1, **drawn))


def _division(model, output):
    """The chosen layer's division as drawing.annotate takes it."""
    if not FLAGS.layer:
        return {}
    if output.division is None:
        raise errors.UsageError(f"--layer: model {FLAGS.config.model.name} does not divide its tokens")
    division = np.asarray(output.division[FLAGS.layer - 1]).reshape(model.search_grid)
    return {"division": division, "window": np.asarray(output.window)}


if __name__ == "__main__":
    errors.run(main)
