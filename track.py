"""Tracks one target through a video file or a folder of images; writes the boxes and a drawn video.

    python track.py --video V.mp4 --box x,y,w,h --out DIR           # the small GRM that comes along
    python track.py --config configs/grm.py:b256 --checkpoint DIR_OR_PTH --video V.mp4 --box x,y,w,h --out DIR

--out gets boxes.csv (frame, x, y, w, h in pixels, score; frame 0 is the given box), tracked.mp4 and, with --attention,
attention.png: where in the search crop the tokens of each layer look at the target.

Which tracks of any tracker does a phrase mean? --tracks is a file of frame,id,x,y,w,h,..., ground truth too:

    python track.py --config configs/ikun.py:cascade_attention --checkpoint DIR_OR_PTH --video V.mp4 \\
        --tracks T.txt --phrases "a man in red;people walking left" --config.data.vocabulary=MERGES --out DIR

--out gets VIDEO/PHRASE/{predict.txt,tracked.mp4}, seqmap.txt, and VIDEO/similarity.{npz,json} of every box and phrase.

    python track.py --config configs/neural_kalman.py:mot --checkpoint DIR --tracks T.txt --out DIR

smooths tracks and fills gaps up to config.tracking.largest_gap: tracks.txt.
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

import trackers
from data_pipelines import annotations, wording
from trackers import errors, weights
from trackers.evaluation import phrase_results as phrase_results
from trackers.io import image_files, mot_files, video_files
from trackers.tracking import single_object, smoothing, with_words
from trackers.tracking.pictures import attention, drawing

FLAGS = flags.FLAGS
weights.define_flags()
flags.DEFINE_string("video", None, "Video file to track in.")
flags.DEFINE_string("images", None, "Folder of images to track in, in natural order of names; instead of --video.")
flags.DEFINE_string("box", None, "Target in the first frame: x,y,w,h in pixels, x and y of the top left corner.")
flags.DEFINE_string("out", None, "Local folder for boxes.csv and tracked.mp4.")
flags.DEFINE_integer("layer", 0, "Shade the tokens that this layer (from 1) keeps from the template; 0: none.")
flags.DEFINE_list("attention", [], "Frames (1 is the first tracked) whose attention to the target is drawn: 10,40.")
flags.DEFINE_bool("no-draw", False, "Write the boxes only, no video.")
flags.DEFINE_string("tracks", None, "MOT file of the tracks that phrases choose from, or that are smoothed.")
flags.DEFINE_string("phrases", None, "Phrases separated by ;, or @FILE with one a line.")
flags.DEFINE_integer("first_frame", 1, "Number that --tracks gives to the first frame of the video.")
flags.DEFINE_string("calibration", None, "CLIP's ViT-B-32.pt: calibrates similarities by phrase frequency.")
flags.DEFINE_string("calibration_data", None, "Training set of --calibration: refer_kitti:FOLDER, refer_dance:FOLDER.")
flags.mark_flags_as_required(["out"])


def main(argv):
    del argv
    program = {"ikun": _track_words, "neural_kalman": _smooth}.get(FLAGS.config.model.name, _track_object)
    program(FLAGS.config, Path(FLAGS.out))


def _track_object(config, out):
    box = _parse_box(_needed("box"))
    source = _open_source()
    model = trackers.build(config.model)
    if not 0 <= FLAGS.layer <= model.depth:
        raise errors.UsageError(f"--layer {FLAGS.layer}: the model has layers 1 to {model.depth}; 0 shades none")
    wanted = _parse_frames(FLAGS.attention)
    tracker = single_object.Tracker(model, config.tracking)
    variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))

    _make_folder(out)
    with contextlib.ExitStack() as stack:
        video = None
        if not FLAGS["no-draw"].value:
            video = stack.enter_context(video_files.VideoWriter(_replace(out / "tracked.mp4"), source.rate))
        table = _Table(stack.enter_context(_replace(out / "boxes.csv").open("w")))
        maps = _AttentionMaps(tracker, variables, box, wanted)
        start = time.perf_counter()
        try:
            _track(tracker, variables, source, box, table, video, maps)
        except errors.InputError as error:
            if not table.rows:
                raise
            raise errors.InputError(f"{error}; the boxes of the {table.rows} frames before are in {out}") from None
        seconds = time.perf_counter() - start
    maps.write(_replace, out / "attention.png")
    expected = len(source)
    if table.rows < expected:
        print(f"the video's header says {expected} frames, {table.rows} could be decoded", file=sys.stderr)
    written = "boxes.csv" if video is None else "boxes.csv and tracked.mp4"
    print(f"{table.rows} frames in {seconds:.1f} s, reading and drawing included; wrote {written} in {out}")


def _track_words(config, out):
    phrases = _parse_phrases(_needed("phrases"))
    folders = phrase_results.folder_names(phrases)
    tracks = mot_files.read(_needed("tracks"))
    source = _open_source()
    texts = [wording.sentence(phrase) for phrase in phrases]
    tokens, shift = wording.tokens(config, texts), _calibration(config, texts)
    referrer = with_words.Referrer(trackers.build(config.model), config.tracking)
    variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))

    _make_folder(out)
    name = phrase_results.folder_name(Path(FLAGS.video or FLAGS.images).resolve().stem)
    start = time.perf_counter()
    frames_seen = _progress(source)
    found, work = referrer.similarities(variables, tracks, frames_seen, tokens, FLAGS.first_frame)
    found = found + shift
    seconds = time.perf_counter() - start
    phrase_results.write_similarities(out / name, tracks, phrases, found)
    phrase_results.write_seqmap(out, [(name, folder) for folder in folders])
    for k, (phrase, folder) in enumerate(zip(phrases, folders, strict=True)):
        kept = with_words.chosen(tracks, found[:, k], referrer.settings.threshold)
        phrase_results.write(out, name, folder, kept)
        print(f"{phrase}: {len(kept)} of {len(tracks)} boxes, ids {', '.join(map(str, np.unique(kept.ids))) or 'none'}")
        if not FLAGS["no-draw"].value:
            path = _replace(out / name / folder / "tracked.mp4")
            drawing.write_tracks(path, source, kept, phrase, FLAGS.first_frame)
    print(
        f"{work.crops} crops, {work.frames} frames and {work.phrases} phrases encoded, {work.pairs} pairs fused in"
        f" {seconds:.1f} s, reading included; wrote {out / name}"
    )


def _parse_phrases(text):
    if text.startswith("@"):
        try:
            lines = Path(text[1:]).read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            raise errors.InputError(f"--phrases: file {text[1:]} cannot be read: give one phrase a line") from None
    else:
        lines = text.split(";")
    phrases = [line.strip() for line in lines if line.strip()]
    if not phrases:
        raise errors.UsageError('--phrases: no phrase; write them separated by ;, such as --phrases="a man;a woman"')
    return phrases


def _calibration(config, texts):
    """What is added to each phrase's similarities, 0 without --calibration."""
    if not FLAGS.calibration:
        return 0.0
    _, videos = wording.open_benchmark(config, _needed("calibration_data"), "train")
    return wording.calibration_shift(config, FLAGS.calibration, videos, texts).astype(np.float32)


def _smooth(config, out):
    tracks = mot_files.read(_needed("tracks"))
    model = trackers.build(config.model)
    variables = weights.load(FLAGS.checkpoint, config.model)
    _make_folder(out)
    smoothed = smoothing.smooth(model, variables, tracks, config.tracking.largest_gap)
    mot_files.write(_replace(out / "tracks.txt"), smoothed)
    print(f"{len(tracks)} boxes in, {len(smoothed)} out; wrote {out / 'tracks.txt'}")


def _needed(name):
    """The value of a flag that this kind of tracking cannot do without."""
    if not FLAGS[name].value:
        raise errors.UsageError(
            f"--{name} is needed with model {FLAGS.config.model.name}; --help says how it is written"
        )
    return FLAGS[name].value


def _make_folder(out):
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.InputError(f"--out {out} cannot be made a folder: {error.strerror}") from None


def _parse_box(text):
    try:
        box = [float(part) for part in text.split(",")]
    except ValueError:
        box = []
    if len(box) != 4:
        raise errors.UsageError(f"--box {text!r}: write four numbers x,y,w,h in pixels, such as --box=110,90,48,40")
    return box


def _parse_frames(texts):
    if not all(text.isdecimal() and int(text) > 0 for text in texts):
        raise errors.UsageError(
            f"--attention {','.join(texts)}: write numbers of frames from 1, such as --attention=10,40"
        )
    return {int(text) for text in texts}


def _open_source():
    if (FLAGS.video is None) == (FLAGS.images is None):
        raise errors.UsageError("give either --video FILE or --images FOLDER")
    if FLAGS.video is not None:
        return video_files.Video(FLAGS.video)
    folder = epath.Path(FLAGS.images)
    names = annotations.image_names(folder)
    if not names:
        kinds = ", ".join(annotations.IMAGE_SUFFIXES)
        raise errors.InputError(f"--images {folder}: no such folder, or no images ({kinds}) in it")
    return image_files.Images(annotations.Frames(folder, names))


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


class _AttentionMaps:
    """attention.png of the wanted frames, where there are any."""

    def __init__(self, tracker, variables, box, wanted):
        self._maps = attention.Maps(tracker, variables, box) if wanted else None
        self._wanted, self._rows, self._depth = wanted, [], tracker.model.depth

    def look(self, number, state, frame):
        if number in self._wanted:
            self._rows.append((number, *self._maps(state, frame)))

    def write(self, replace, path):
        missing = sorted(self._wanted - {number for number, *_ in self._rows})
        if missing:
            print(f"--attention: the video has no frame {', '.join(map(str, missing))}", file=sys.stderr)
        if self._rows:
            attention.draw(replace(path), self._rows, attention.shown_layers(self._depth))


def _track(tracker, variables, source, box, table, video, maps):
    state = size = None
    for frame in _progress(source):
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
            found, score = np.asarray(output.box), float(output.score)
            table.add(found, f"{score:.5f}")
            drawn = {"box": found, "score": score, **_division(tracker.model, output)}
        if video is not None:
            video.write(drawing.annotate(frame, number=table.rows - 1, **drawn))


def _progress(source):
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(source, total=len(source) or None, unit="frame", smoothing=0.05, mininterval=interval)


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
