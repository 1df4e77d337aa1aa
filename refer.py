"""Which tracks of any tracker does a phrase mean? Tracking with words, its benchmarks, and smoothing of tracks.

    python refer.py --config configs/ikun.py:cascade_attention --checkpoint DIR_OR_PTH --video V.mp4 \\
        --tracks T.txt --phrases "a man in red;people walking left" --config.data.vocabulary=MERGES --out DIR

--tracks is a file of frame,id,x,y,w,h,..., ground truth too. --out gets VIDEO/PHRASE/{predict.txt,tracked.mp4},
seqmap.txt, and VIDEO/similarity.{npz,json} of every box and phrase.

    python refer.py --config configs/ikun.py:cascade_attention --checkpoint DIR_OR_PTH \\
        --benchmark refer_kitti:/data/refer-kitti --tracks DIR_OR_truth --out DIR

scores a benchmark, with the tracks of any tracker or, to see what the words alone are worth, the true ones. --out gets
VIDEO/PHRASE/{gt,predict}.txt and seqmap.txt as TrackEval's RMOT copy takes them, similarities by video, results.json,
table.md and report.html. Results of others in that layout: python -m trackers.evaluation --results DIR.

    python refer.py --config configs/neural_kalman.py:mot --checkpoint DIR --tracks T.txt --out DIR

smooths tracks and fills gaps up to config.tracking.largest_gap: tracks.txt.

track.py and eval.py take the same flags and hand over to this program where --config is of such a model.
"""

import time
from pathlib import Path

import jax
import numpy as np
from absl import flags
from etils import epath

import trackers
from data_pipelines import phrase_annotations, sources, video_input, wording
from trackers import errors, progress, weights
from trackers.evaluation import benchmark, phrase_report, phrase_results, records
from trackers.io import compiled, mot_files, outputs, ownership, plain_text, video_files
from trackers.io.numbers import counted
from trackers.tracking import smoothing, with_words
from trackers.tracking.pictures import drawing
from trackers.training import ranges

FLAGS = flags.FLAGS


def define_flags():
    """The flags about tracks and phrases, which track.py and eval.py have too."""
    flags.DEFINE_string(
        "tracks",
        None,
        "MOT file of the tracks that phrases choose from, or that are smoothed; with --benchmark the folder of"
        " VIDEO.txt, VIDEO/gt/gt.txt or VIDEO/{car,pedestrian}/predict.txt, or: truth.",
    )
    flags.DEFINE_string("phrases", None, "Phrases separated by ;, or @FILE with one a line.")
    help_first = "Number that --tracks gives to a video's first frame; iKUN's NeuralSORT: 0."
    flags.DEFINE_integer("first_frame", 1, help_first, lower_bound=0)
    flags.DEFINE_string("calibration", None, "CLIP's ViT-B-32.pt: calibrates similarities by phrase frequency.")
    help_data = "Training set of --calibration for --phrases: refer_kitti:FOLDER, refer_dance:FOLDER."
    flags.DEFINE_string("calibration_data", None, help_data)
    flags.DEFINE_enum(
        "convention",
        "image",
        sorted(phrase_annotations.CONVENTIONS),
        "Ground truth of phrases: image, boxes of the labeled image; published, Refer-KITTI's gt.txt, a frame late.",
    )


# Flags about a video, about a benchmark, about phrases, about tracks, and those of track.py and eval.py for one object.
_VIDEO, _BENCHMARK = ("video", "images", "phrases", "calibration_data", "no-draw"), ("sequences", "draw", "convention")
_WORDS, _TRACKS = ("phrases", "calibration", "calibration_data", "convention"), ("tracks", "first_frame")
_ONE_OBJECT = ("baselines", "starts", "batch", "frames_per_dispatch", "length", "workdir", "box", "layer", "attention")
_ONE_OBJECT += ("camera", "stream", "start_frame", "every", "window", "record", "mot", "jsonl", "trail", "lost_below")


def one_object():
    """Refuses, for programs that track one object, the flags of this one."""
    errors.leave_out((*_WORDS, *_TRACKS), f"is of tracking with words, which model {FLAGS.config.model.name} cannot do")


def main(argv):
    del argv
    compiled.keep_of_user()
    if FLAGS.benchmark and (FLAGS.video or FLAGS.images or FLAGS.phrases):
        raise errors.UsageError("--benchmark has its own videos and phrases: leave out --video, --images and --phrases")
    errors.leave_out(
        _VIDEO if FLAGS.benchmark else _BENCHMARK, f"has no use with{'' if FLAGS.benchmark else 'out'} --benchmark"
    )
    model = trackers.build(FLAGS.config.model)
    run = evaluate if FLAGS.benchmark else track
    run(FLAGS.config, model)


def track(config, model):
    """What --out is to get of one video: tracks that phrases mean, or smoothed tracks."""
    programs = {"refer": _track_words, "smooth": _smooth}
    _program(programs, config, model)(config, model, Path(FLAGS.out))


def evaluate(config, model):
    """What --out is to get of a benchmark."""
    _program({"refer": _evaluate_words}, config, model)(config, model, epath.Path(FLAGS.out))


def _program(programs, config, model):
    if model.task not in programs:
        raise errors.UsageError(
            f"--config: model {config.model.name} has no use for words or tracks here: give configs/ikun.py:..., or"
            " configs/neural_kalman.py:... to smooth tracks; for one object take track.py and eval.py"
        )
    errors.leave_out(_ONE_OBJECT, f"is of tracking one object, which model {config.model.name} does not")
    ranges.check({section: config[section] for section in ("tracking", "calibration") if section in config})
    return programs[model.task]


def _track_words(config, model, out):
    phrases = _parse_phrases(_needed("phrases"))
    folders = phrase_results.folder_names(phrases)
    given = _needed("tracks")
    frames = video_input.open_frames()
    # The header of a video file may say a wrong length.
    length = None if FLAGS.video else len(frames)
    tracks = mot_files.read(given, FLAGS.first_frame, length)
    if not FLAGS["no-draw"].value:
        video_files.encoder()
    texts = [wording.sentence(phrase) for phrase in phrases]
    name = phrase_results.folder_name(outputs.name_of(FLAGS.video or FLAGS.images))
    for folder in folders:
        outputs.claim_folder(out / name / folder)
    source = str(Path(FLAGS.video or FLAGS.images).resolve())
    phrase_results.check_source(out / name, source)
    tokens, shift = wording.tokens(config, texts), _calibration(config, texts)
    referrer = with_words.Referrer(model, config.tracking)
    with ownership.hold(out):
        variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))
        start = time.perf_counter()
        with video_input.watched(frames) as watched:
            similarities, work = referrer.similarities(
                variables, tracks, watched, tokens, FLAGS.first_frame, length=length
            )
            watched.end()  # frames after the last that it needs are not read
        similarities = similarities + shift
        seconds = time.perf_counter() - start
        phrase_results.write_similarities(out / name, tracks, phrases, similarities, source=source)
        phrase_results.write_seqmap(out, [(name, folder) for folder in folders])
        for k, (phrase, folder) in enumerate(zip(phrases, folders, strict=True)):
            meant = with_words.chosen(tracks, similarities[:, k], referrer.settings.threshold)
            phrase_results.write(out, name, folder, meant)
            ids = ", ".join(map(str, np.unique(meant.ids))) or "none"
            print(f"{phrase}: {len(meant)} of {counted(len(tracks), 'box')}, ids {ids}")
            if not FLAGS["no-draw"].value:
                path = records.replacing(out / name / folder / "tracked.mp4")
                drawing.write_tracks(path, frames, meant, phrase, FLAGS.first_frame)
        print(
            f"{counted(work.crops, 'crop')}, {counted(work.frames, 'frame')} and"
            f" {counted(work.phrases, 'phrase')} encoded, {counted(work.pairs, 'pair')} fused in"
            f" {seconds:.1f} s ({work.pairs / seconds:.1f} pairs/s), reading included; wrote {out / name}"
        )


def _parse_phrases(text):
    if text.startswith("@"):
        try:
            lines = plain_text.read_lines(text[1:], "one phrase a line")
        except errors.InputError as error:
            raise errors.InputError(
                f"--phrases: file {text[1:]} cannot be read: give one phrase a line ({error})"
            ) from None
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


def _smooth(config, model, out):
    unused = (*_VIDEO, *_WORDS, *_BENCHMARK, "first_frame")
    errors.leave_out(unused, f"has no use with model {config.model.name}, which smooths tracks")
    tracks = mot_files.read(_needed("tracks"))
    outputs.claim_folder(out)
    outputs.claim_file(out / "tracks.txt")
    with ownership.hold(out):
        variables = weights.load(FLAGS.checkpoint, config.model)
        smoothed = smoothing.smooth(model, variables, tracks, config.tracking.largest_gap)
        mot_files.write(records.replacing(out / "tracks.txt"), smoothed)
    print(f"{counted(len(tracks), 'box')} in, {len(smoothed)} out; wrote {out / 'tracks.txt'}")


def _needed(name):
    """The value of a flag that this kind of tracking cannot do without."""
    if not FLAGS[name].value:
        raise errors.UsageError(
            f"--{name} is needed with model {FLAGS.config.model.name}; --help says how it is written"
        )
    return FLAGS[name].value


def _evaluate_words(config, model, out):
    if not FLAGS.tracks:
        raise errors.UsageError("--tracks is needed with words: the folder of a tracker's results, or truth")
    name, videos = wording.open_benchmark(config, FLAGS.benchmark)
    videos = sources.chosen(list(videos), FLAGS.sequences)
    if FLAGS.draw:
        video_files.encoder()
    outputs.claim_folder(out)
    for video in videos:
        for phrase in video.phrases:
            outputs.claim_folder(out / video.name / phrase.name)
    referrer = with_words.Referrer(model, config.tracking)
    with ownership.hold(out):
        variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))
        _score_words(config, name, videos, referrer, variables, out)


def _score_words(config, name, videos, referrer, variables, out):
    asked = {"tracks": FLAGS.tracks, "first_frame": FLAGS.first_frame, "benchmark": FLAGS.benchmark}
    facts = {"config": trackers.to_plain(config), "weights_digest": records.digest(variables), **asked}
    # The published ground truth is numbered as the program's tracks are: by image.
    late = FLAGS.first_frame - 1 if FLAGS.convention == "published" else 0
    # All that is read, before the first video is tracked.
    tracks_of = {video.name: _tracks_of(video) for video in videos}
    tokens_of = {video.name: wording.tokens(config, [phrase.text for phrase in video.phrases]) for video in videos}
    training = wording.open_benchmark(config, FLAGS.benchmark, "train")[1] if FLAGS.calibration else None
    runs = {
        name: f"{records.digest(facts)} {records.digest([t.frames, t.ids, t.boxes])}" for name, t in tracks_of.items()
    }
    found, speed = _similarities(referrer, variables, videos, tracks_of, tokens_of, out, runs)
    pairs = []
    for video in videos:
        texts = [phrase.text for phrase in video.phrases]
        tracks, similarities = tracks_of[video.name], found[video.name]
        if FLAGS.calibration:
            shift = wording.calibration_shift(config, FLAGS.calibration, training, texts)
            similarities = similarities + shift.astype(similarities.dtype)
        for k, phrase in enumerate(video.phrases):
            meant = with_words.chosen(tracks, similarities[:, k], referrer.settings.threshold)
            truth = phrase_annotations.ground_truth(video, phrase, FLAGS.convention)
            phrase_results.write(out, video.name, phrase.name, mot_files.renumber(meant, late), truth)
            pairs.append((video.name, phrase.name))
            if FLAGS.draw:
                path = out / video.name / phrase.name / "tracked.mp4"
                drawing.write_tracks(path, _frames(video), meant, phrase.sentence)
    phrase_results.write_seqmap(out, pairs)
    scores = phrase_results.score(out, first_frame=min(1, 1 + late))
    method = f"{config.model.name} {config.model.fusion}"
    facts |= {"convention": FLAGS.convention, "calibration": FLAGS.calibration, "versions": records.versions()}
    print(phrase_results.write_report(out, method, scores, speed, **facts))
    phrase_report.write(out, f"{method} on {name}", scores)
    print(f"wrote {name}: {counted(len(pairs), 'phrase')}, results.json, table.md and report.html in {out}")


def _tracks_of(video):
    """The tracks of a benchmark's video that phrases choose from; its first frame has been seen to be readable."""
    video.load(video.frames[0])
    if FLAGS.tracks == "truth":
        return video.tracks
    return wording.read_tracks(FLAGS.tracks, video.name, FLAGS.first_frame, len(video.frames))


def _similarities(referrer, variables, videos, tracks_of, tokens_of, out, run):
    """({video: similarities (n, P)}, speed) of all videos: kept in OUT/VIDEO, and taken from there where the same run
    left them. speed: {"rows", "rows_per_second"} of those that were not there: pairs of a clip and a phrase.

    Raises: InputError, after all others are done, where videos have frames that cannot be read or are not the tracks'.
    """
    found, rows, runs, broken = {}, {}, {}, {}
    for video in videos:
        name, tracks = video.name, tracks_of[video.name]
        runs[name] = f"{run} {records.digest([tracks.frames, tracks.ids, tracks.boxes])}"
        found[name] = phrase_results.read_similarities(out / name, runs[name], len(tracks))
        if found[name] is None:
            size = video.load(video.frames[0]).shape[:2]
            rows[name] = with_words.pairs_of(tracks, referrer.settings, *size, len(video.phrases))
        else:
            print(f"{name} is finished in {out} and is not tracked again", flush=True)
    total, start = sum(rows.values()), time.perf_counter()
    with progress.bar(total=total, unit="row", smoothing=0.05, disable=not rows) as bar:
        for video in videos:
            name, tracks = video.name, tracks_of[video.name]
            if name in rows:
                bar.set_postfix_str(name, refresh=False)
                given = variables, tracks, _frames(video), tokens_of[name]
                try:
                    found[name], _ = referrer.similarities(*given, tick=bar.update, length=len(video.frames))
                except errors.InputError as error:
                    broken[name] = error
                    continue
                names = [phrase.name for phrase in video.phrases]
                phrase_results.write_similarities(out / name, tracks, names, found[name], run=runs[name])
    if broken:
        error = benchmark.unusable(broken, videos, "frames that cannot be read, or are not those of the tracks")
        raise errors.InputError(f"{error}; what could be tracked is finished in {out}")
    rate = total / (time.perf_counter() - start)
    if rows:
        print(
            f"{counted(total, 'row')}, pairs of a clip and a phrase, in {counted(len(rows), 'video')}:"
            f" {rate:.1f} rows/s",
            flush=True,
        )
    return found, {"rows": total, "rows_per_second": rate if rows else None}


def _frames(video):
    return map(video.load, video.frames)


def _define_all_flags():
    weights.define_flags()
    video_input.define_flags()
    define_flags()
    flags.DEFINE_string("benchmark", None, "refer_kitti:FOLDER, refer_dance:FOLDER or synthetic_referring.")
    flags.DEFINE_list("sequences", [], "With --benchmark: only these videos, by name; empty: all.")
    flags.DEFINE_bool("draw", False, "With --benchmark: also write MP4s of all videos and phrases.")
    flags.DEFINE_bool("no-draw", False, "With --video or --images: write the tracks only, no video.")
    flags.DEFINE_string("out", None, "Folder of the results.")
    flags.mark_flags_as_required(["out"])


if __name__ == "__main__":
    _define_all_flags()
    errors.run(main)
