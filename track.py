"""Tracks one target, or several at once, through a video, a camera or a stream.

    python track.py --video V.mp4 --box x,y,w,h --out DIR           # the shipped GRM
    python track.py --config configs/grm.py:b256 --checkpoint DIR_OR_PTH --video V.mp4 --box x,y,w,h --out DIR
    python track.py --camera 0 --box mouse --window --record --out DIR
    python track.py --stream rtsp://HOST/PATH --box 10,20,40,40 --box 90,20,30,50 --jsonl --out DIR | your_program

--video FILE, --images FOLDER, --camera NUMBER or --stream URL; --start_frame and --every choose frames. --box is
x,y,w,h in pixels of the frame that tracking starts in, repeated for several targets; @FILE, lines id,x,y,w,h, or
frame,id,x,y,w,h of targets that start in frames of their own (docs/track.md); or mouse, to draw on the screen. --out
gets boxes.csv (frame, x, y, w, h in pixels, score; the first row is the given box; with several targets also id and
lost) and tracked.mp4; with --mot also tracks.txt as MOTChallenge has it, with --record also source.mp4, the frames as
they came. --window shows it live; --jsonl prints a line of JSON a frame on standard output, and all else on standard
error. A target that is lost is looked for in the whole frame (docs/lost_and_found.md); --lost_below=0 leaves that out.

Exit codes: 0, 1 for what cannot be read or written, 2 for a wrong flag, 130 for Ctrl-C. What was found up to then is
kept in --out in any case, and a closed window ends as the end of the video does.

The papers' figures of the frames that are asked for (docs/figures.md), of one target:

    --attention=5,20,40    attention.png: how much the search tokens of each layer look at the exemplar, or, of trackers
                           with prediction tokens, what these look at. --base_config and --base_checkpoint put another
                           tracker's rows beside it, which looks at the same place.
    --division=5,20,40     division.png: which search tokens a layer keeps from the template.

Tracking with words: refer.py.
"""

import contextlib
import itertools
import sys
import time
from pathlib import Path

import numpy as np
from absl import flags

import refer
import trackers
from configs import variants
from data_pipelines import video_input
from trackers import errors, progress, signals, weights
from trackers.evaluation import records, track_results
from trackers.io import compiled, live_video, numbers, outputs, ownership, target_files
from trackers.io.numbers import counted
from trackers.tracking import recovery, single_object, video_tracker
from trackers.tracking.pictures import attention, maps, panels
from trackers.tracking.pictures import window as windows

FLAGS = flags.FLAGS
# Frames that the drawn trails of several targets go back.
_TRAIL = 30
weights.define_flags()
video_input.define_flags()
video_input.define_live_flags()
flags.DEFINE_multi_string(
    "box",
    None,
    "Target in the first frame: x,y,w,h in pixels, x and y of the top left corner; repeated for several. @FILE: lines"
    " id,x,y,w,h, or frame,id,x,y,w,h. mouse: drawn on the screen.",
)
flags.DEFINE_string("out", None, "Local folder for boxes.csv and tracked.mp4.")
flags.DEFINE_bool("window", False, "Show what is tracked in a window, with frames per second; Escape or q ends it.")
flags.DEFINE_bool("record", False, "Also write source.mp4, the frames as they came.")
flags.DEFINE_bool("mot", False, "Also write tracks.txt, as MOTChallenge has it.")
flags.DEFINE_bool("jsonl", False, "Print a line of JSON a frame on standard output, and all else on standard error.")
flags.DEFINE_integer("trail", None, "Frames that a drawn trail goes back. None: 0 of one target, 30 of several.", 0)
flags.DEFINE_float(
    "lost_below", None, "Score below which a target is lost, 0: never. None: the config's or 0.35.", 0, 1
)
flags.DEFINE_float("found_above", None, "Score from which on it is found again. None: the config's or 0.75.", 0, 1)
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
    compiled.keep_of_user()
    if not FLAGS.jsonl:
        return _main(None)
    lines = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        return _main(lines)


def _main(lines):
    """lines: stream for JSON lines, or None. The exit code."""
    config, out = weights.chosen_config(), Path(FLAGS.out)
    model = trackers.build(config.model)
    if model.task != "track":
        return refer.track(config, model)
    refer.one_object()
    if FLAGS["no-draw"].value and not FLAGS.window:
        errors.leave_out(["layer", "trail"], "is drawn, which --no-draw leaves out")
    targets = _targets()
    source = video_input.open_frames()
    if not 0 <= FLAGS.layer <= model.depth:
        raise errors.UsageError(f"--layer {FLAGS.layer}: the model has layers 1 to {model.depth}; 0 shades none")
    _check_divides("layer", FLAGS.layer, config, model)
    _check_divides("division", FLAGS.division, config, model)
    wanted = {name: _parse_frames(name, source) for name in ("attention", "division")}
    if any(wanted.values()):
        errors.require("matplotlib")
    base = _base(model)
    layers = _picture_layers([model] if base is None else [model, base[0].model])
    targets, frames = _selected(targets, source)
    pairs = iter(frames)
    first = next(pairs)  # seen before anything that lies in --out is replaced

    with contextlib.ExitStack() as stack:
        window = None
        if FLAGS.window or not targets:
            window = windows.Window("track.py")
            stack.callback(window.destroy)
        if not targets:
            drawn = enumerate(window.ask_boxes(first[1]), start=1)
            targets = {number: target_files.Start(box, first[0]) for number, box in drawn}
        if not targets:
            raise errors.UsageError("--box=mouse: the window was closed before a box was drawn")
        _check_targets(targets, first[1])
        track_results.claim(out)
        for name in ("attention.png", "division.png"):
            outputs.claim_file(out / name)
        stack.enter_context(ownership.hold(out))
        tracker = single_object.Tracker(
            model, recovery.switched_on(config.tracking, FLAGS.lost_below, FLAGS.found_above)
        )
        follower = video_tracker.VideoTracker(tracker, weights.load(FLAGS.checkpoint, config.model))
        results = stack.enter_context(_results(out, source, frames, targets, lines, window if FLAGS.window else None))
        pictures = _pictures(tracker, follower.variables, base, wanted, layers)
        pairs = progress.bar(itertools.chain([first], pairs), total=len(frames) or None, smoothing=0.05)
        stack.enter_context(pairs)
        start, code = time.perf_counter(), 0
        try:
            _track(follower, pairs, targets, results, pictures, window if FLAGS.window else None)
        except errors.InputError as error:
            if not results.frames:
                raise
            raise errors.InputError(
                f"{error}; the boxes of the {counted(results.frames, 'frame')} before are in {out}"
            ) from None
        except KeyboardInterrupt:
            signals.obeyed()
            code = 130
        except BrokenPipeError:  # whoever reads the JSON lines has read enough
            code = 0
        seconds = time.perf_counter() - start
        written = [*results.names, *(name for picture in pictures for name in picture.write(out))]
    if source.cut_short and len(source) > results.last + 1:
        said = f"the video's header says {counted(len(source), 'frame')}"
        print(f"{said}, {results.last + 1} could be decoded", file=sys.stderr)
    if results.frames:
        late = [f"target {name} (frame {start.frame})" for name, start in targets.items() if start.frame > results.last]
        if late:
            print(f"frame {results.last} was the last, never started: {', '.join(late)}", file=sys.stderr)
    names = " and ".join(filter(None, [", ".join(written[:-1]), written[-1]]))
    print(
        f"{counted(results.frames, 'frame')} in {seconds:.1f} s, reading and drawing included; wrote {names} in {out}"
    )
    if code:
        print(f"interrupted after {counted(results.frames, 'frame')}", file=sys.stderr)
    return code


def _targets():
    """{id: target_files.Start} that --box says; empty for the mouse."""
    given = FLAGS.box
    if not given or {"", "@"} & set(given):
        raise errors.UsageError(
            "--box is needed: x,y,w,h in pixels, such as --box=110,90,48,40, or mouse to draw it on the screen"
        )
    if len(given) == 1 and given[0] == "mouse":
        return {}
    if len(given) == 1 and given[0].startswith("@"):
        return target_files.read_targets(given[0][1:])
    targets = {}
    for text in given:
        try:
            targets[len(targets) + 1] = target_files.Start(target_files.parse_box(text))
        except ValueError:
            raise errors.UsageError(
                f"--box {text!r}: write four numbers x,y,w,h in pixels, such as --box=110,90,48,40; @FILE and mouse"
                " stand alone"
            ) from None
    return targets


def _selected(targets, source):
    """(the targets in the order in which they start, the frames from the first start on)."""
    first = FLAGS.start_frame if FLAGS["start_frame"].present else None
    # What a stream says of its length is not relied on.
    length = 0 if isinstance(source, live_video.LiveVideo) else len(source)
    targets = target_files.in_order(targets, first, FLAGS.every, length)
    earliest = next(iter(targets.values()), None)
    if earliest is None or not earliest.line:
        return targets, video_input.Selected(source, FLAGS.start_frame, FLAGS.every)
    asked = f"{earliest.line}: frame {earliest.frame}"
    return targets, video_input.Selected(source, earliest.frame, FLAGS.every, asked)


def _check_targets(targets, frame):
    for number, start in targets.items():
        name = "the box of the first frame" if len(targets) == 1 else f"the box of target {number}"
        single_object.check_box(start.box, *frame.shape[:2], f"{start.line}: {name}" if start.line else name)
    alone = [name for name in ("attention", "division", "layer") if FLAGS[name].value]
    if len(targets) > 1 and alone:
        raise errors.UsageError(f"--{alone[0]} is drawn of one target: {len(targets)} are tracked")


def _results(out, source, frames, targets, lines, window):
    trail = FLAGS.trail if FLAGS.trail is not None else _TRAIL * (len(targets) > 1)
    wanted = track_results.Wanted(not FLAGS["no-draw"].value, FLAGS.record, FLAGS.mot, trail, lines, window)
    paced = getattr(source, "goes_on", False)
    return track_results.TrackResults(out, wanted, list(targets), frames.rate, paced)


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


def _track(follower, pairs, targets, results, pictures, window):
    """Goes through the (number, frame) pairs until they end, or the window is closed."""
    size = None
    for number, frame in pairs:
        starts = np.array([start.box for start in targets.values() if start.frame == number], np.float64)
        new = starts, np.full(len(starts), np.nan), np.zeros(len(starts), bool)
        if size is None:
            size = frame.shape
            follower.start(frame, starts[0] if len(starts) == 1 else starts)
            results.add(number, frame, *new)
            for picture in pictures:
                picture.start(frame, starts[0])
        else:
            if frame.shape != size:
                sizes = " and ".join(f"{width}x{height}" for height, width, _ in (frame.shape, size))
                raise errors.InputError(f"frame {number} and the first one have {sizes} pixels: they must be equal")
            before, found = follower.state, follower.update(frame)
            for picture in pictures:
                picture.look(number, before, frame, follower.output)
            shades = _division(follower.tracker.model, follower.output)
            each = np.reshape(found.box, (-1, 4)), np.reshape(found.score, -1), np.reshape(found.lost, -1)
            if len(starts):
                follower.add(frame, starts)
                each = [np.concatenate(pair) for pair in zip(each, new, strict=True)]
            results.add(number, frame, *each, **shades)
        if window is not None and window.closed:
            return


def _division(model, output):
    """The chosen layer's division as drawing.annotate takes it."""
    if not FLAGS.layer:
        return {}
    division = np.asarray(output.division[FLAGS.layer - 1]).reshape(model.search_grid)
    return {"division": division, "window": np.asarray(output.window)}


if __name__ == "__main__":
    errors.run(main)
