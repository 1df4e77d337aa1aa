"""Tracks one target through a video file or a folder of images; writes the boxes and a drawn video.

    python track.py --video V.mp4 --box x,y,w,h --out DIR           # the shipped GRM
    python track.py --config configs/grm.py:b256 --checkpoint DIR_OR_PTH --video V.mp4 --box x,y,w,h --out DIR

--out gets boxes.csv (frame, x, y, w, h in pixels, score; frame 0 is the given box), tracked.mp4 and the papers' figures
of the frames that are asked for (docs/figures.md):

    --attention=5,20,40    attention.png: how much the search tokens of each layer look at the exemplar, or, of trackers
                           with prediction tokens, what these look at. --base_config and --base_checkpoint put another
                           tracker's rows beside it, which looks at the same place.
    --division=5,20,40     division.png: which search tokens a layer keeps from the template.

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
from configs import variants
from data_pipelines import video_input
from trackers import errors, weights
from trackers.evaluation import records
from trackers.io import numbers, outputs, video_files
from trackers.tracking import single_object
from trackers.tracking.pictures import attention, drawing, maps, panels

FLAGS = flags.FLAGS
weights.define_flags()
video_input.define_flags()
flags.DEFINE_string("box", None, "Target in the first frame: x,y,w,h in pixels, x and y of the top left corner.")
flags.DEFINE_string("out", None, "Local folder for boxes.csv and tracked.mp4.")
flags.DEFINE_integer("layer", 0, "Shade the tokens that this layer (from 1) keeps from the template; 0: none.")
flags.DEFINE_list("attention", [], "Frames (1 is the first tracked) whose attention is drawn: 10,40.")
flags.DEFINE_list("division", [], "Frames whose division of the search tokens is drawn.")
flags.DEFINE_list("picture_layers", [], "Layers (from 1) that these two pictures show. None: as in the papers.")
flags.DEFINE_string("base_config", None, "Config file and variant of a tracker whose attention is drawn beside it.")
flags.DEFINE_string("base_checkpoint", None, "Its checkpoint.")
flags.DEFINE_bool("no-draw", False, "Write the boxes only, no video.")
refer.define_flags()
flags.mark_flags_as_required(["out"])


def main(argv):
    del argv
    config, out = weights.chosen_config(), Path(FLAGS.out)
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
    _check_divides("layer", FLAGS.layer, config, model)
    _check_divides("division", FLAGS.division, config, model)
    wanted = {name: _parse_frames(name, source) for name in ("attention", "division")}
    base = _base(model)
    layers = _picture_layers([model] if base is None else [model, base[0].model])
    first = next(iter(source), None)  # seen before anything that lies in --out is replaced
    if first is not None:
        single_object.check_box(box, *first.shape[:2])
    outputs.claim_folder(out)
    for name in ("boxes.csv", "tracked.mp4", "attention.png", "division.png"):
        outputs.claim_file(out / name)
    tracker = single_object.Tracker(model, config.tracking)
    variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))

    with contextlib.ExitStack() as stack:
        video = None
        if not FLAGS["no-draw"].value:
            video = stack.enter_context(video_files.VideoWriter(records.replacing(out / "tracked.mp4"), source.rate))
        table = _Table(records.replacing(out / "boxes.csv"), stack)
        pictures = _pictures(tracker, variables, base, wanted, layers)
        start = time.perf_counter()
        try:
            _track(tracker, variables, source, box, table, video, pictures)
        except errors.InputError as error:
            if not table.rows:
                raise
            raise errors.InputError(f"{error}; the boxes of the {table.rows} frames before are in {out}") from None
        seconds = time.perf_counter() - start
    written = ["boxes.csv", *([] if video is None else ["tracked.mp4"])]
    written += [name for picture in pictures for name in picture.write(out)]
    if len(source) > table.rows and source.cut_short:
        print(f"the video's header says {len(source)} frames, {table.rows} could be decoded", file=sys.stderr)
    names = " and ".join(filter(None, [", ".join(written[:-1]), written[-1]]))
    print(f"{table.rows} frames in {seconds:.1f} s, reading and drawing included; wrote {names} in {out}")


def _parse_box(text):
    try:
        box = [numbers.number(part.strip()) for part in text.split(",")]
    except ValueError:
        box = []
    if len(box) != 4:
        raise errors.UsageError(f"--box {text!r}: write four numbers x,y,w,h in pixels, such as --box=110,90,48,40")
    return box


def _whole_numbers(flag, things):
    """The numbers, from 1, that a flag lists, in their order."""
    texts = FLAGS[flag].value
    if not all(numbers.is_digits(text) and int(text) > 0 for text in texts):
        given = ",".join(texts)
        raise errors.UsageError(f"--{flag} {given}: write numbers of {things} from 1, such as --{flag}=2,4")
    return tuple(dict.fromkeys(map(int, texts)))


def _parse_frames(flag, source):
    wanted, last = _whole_numbers(flag, "frames"), len(source) - 1
    if wanted and last >= 0 and min(wanted) > last:
        given = ",".join(FLAGS[flag].value)
        raise errors.UsageError(f"--{flag} {given}: the video has frames 1 to {last} after the first one")
    return wanted


def _check_divides(flag, wanted, config, model):
    if wanted and not maps.divides(model):
        raise errors.UsageError(f"--{flag}: model {config.model.name} does not divide its tokens")


def _picture_layers(models):
    """What --picture_layers says, () for nothing."""
    layers, depth = _whole_numbers("picture_layers", "layers"), min(map(attention.layer_count, models))
    if layers and not (FLAGS.attention or FLAGS.division):
        raise errors.UsageError("--picture_layers chooses what --attention and --division show: add one of them")
    if any(layer > depth for layer in layers):
        raise errors.UsageError(f"--picture_layers {','.join(FLAGS.picture_layers)}: there are layers 1 to {depth}")
    return layers


def _base(model):
    """(Tracker, variables) that --base_config and --base_checkpoint name, or None."""
    if FLAGS.base_config is None and FLAGS.base_checkpoint is None:
        return None
    if None in (FLAGS.base_config, FLAGS.base_checkpoint) or not FLAGS.attention:
        raise errors.UsageError("--base_config, --base_checkpoint and --attention go together: give all three")
    try:
        config = variants.load(FLAGS.base_config)
    except errors.UsageError as error:
        raise errors.UsageError(f"--base_config: {error}") from None
    base = trackers.build(config.model)
    if base.task != "track" or base.n_prediction_tokens or model.n_prediction_tokens:
        raise errors.UsageError(
            "--base_config: drawn together are two trackers of one object without prediction tokens"
        )
    return single_object.Tracker(base, config.tracking), weights.load(FLAGS.base_checkpoint, config.model)


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


class _Picture:
    """OUT/NAME.png of the frames that --NAME lists; figure: of maps."""

    def __init__(self, name, wanted, figure):
        self._name, self._missing, self._figure, self._rows = name, set(wanted), figure, []

    def start(self, frame, box):
        self._figure.start(frame, box)

    def look(self, number, state, frame, output):
        if number in self._missing:
            self._missing.remove(number)
            self._rows += self._figure.rows(f"frame {number}", state, frame, output)

    def write(self, out):
        """The name of the file, in a list; an empty one where no frame is to be drawn."""
        if self._missing:
            missing = ", ".join(map(str, sorted(self._missing)))
            print(f"--{self._name}: the video has no frame {missing}", file=sys.stderr)
        if not self._rows:
            return []
        path = records.replacing(out / f"{self._name}.png")
        panels.draw(path, self._rows, self._figure.title, self._figure.legend)
        return [path.name]


def _pictures(tracker, variables, base, wanted, layers):
    figures = {}
    if wanted["attention"]:
        figures["attention"] = maps.Attention(tracker, variables, layers, base)
    if wanted["division"]:
        figures["division"] = maps.Division(tracker, layers)
    return [_Picture(name, wanted[name], figure) for name, figure in figures.items()]


def _track(tracker, variables, source, box, table, video, pictures):
    state = size = None
    for frame in video_input.watched(source):
        if state is None:
            size = frame.shape
            state = tracker.init(variables, frame, box)
            table.add(box)
            drawn = {"box": box}
            for picture in pictures:
                picture.start(frame, box)
        else:
            if frame.shape != size:
                sizes = " and ".join(f"{width}x{height}" for height, width, _ in (frame.shape, size))
                raise errors.InputError(f"frame {table.rows} and the first one have {sizes} pixels: they must be equal")
            before = state
            state, output = tracker.step(variables, state, frame)
            for picture in pictures:
                picture.look(table.rows, before, frame, output)
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
