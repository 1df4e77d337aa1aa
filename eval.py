"""A benchmark, from frames on disk to scores: tracks every sequence, keeps the boxes, scores them and draws plots.

    python eval.py --benchmark otb:/data/OTB --out DIR              # the small GRM that comes along
    python eval.py --config configs/grm.py:b256 --checkpoint DIR_OR_PTH --benchmark got10k:/data/GOT-10k/test --out DIR

--out holds the boxes in the toolkits' formats, results.json, table.md, success.png, precision.png and overlap.png.
A sequence that is finished there with the same configuration and weights is not tracked again.

    python eval.py --benchmark frames:DIR --starts 6 --baselines static,kcf,csrt,mil --out DIR    # less luck
    python eval.py --benchmark frames:DIR --workdir RUN --out DIR              # the curve over a run's checkpoints

With --starts trackers start from so many frames of every sequence, forwards and backwards (1: from the first frame);
AO, SR0.5, AUC, P and fps, means of the sequences, in starts.md. With --workdir every checkpoint there is judged so:
curve.md, curve.json and curve.png.

Tracking with words, with the tracks of any tracker or, to see what the words alone are worth, the true ones:

    python eval.py --config configs/ikun.py:cascade_attention --checkpoint DIR_OR_PTH \\
        --benchmark refer_kitti:/data/refer-kitti --tracks DIR_OR_truth --out DIR

--out holds VIDEO/PHRASE/{gt,predict}.txt and seqmap.txt as TrackEval's RMOT copy takes them, similarities by video,
results.json and table.md. Results of others in that layout: python -m trackers.evaluation --results DIR.
"""

import dataclasses
import importlib.metadata
import platform
import sys

import jax
import numpy as np
from absl import flags
from etils import epath

import trackers
from data_pipelines import phrase_annotations as referring_sets
from data_pipelines import sources, wording
from trackers import errors, weights
from trackers.evaluation import baselines, benchmark, plots, records, starts, tables
from trackers.evaluation import phrase_results as phrase_results
from trackers.io import image_files, mot_files, video_files
from trackers.tracking import single_object, with_words
from trackers.tracking.pictures import drawing

FLAGS = flags.FLAGS
weights.define_flags()
flags.DEFINE_string(
    "benchmark", None, f"NAME:PATH, NAME one of {', '.join(sorted(sources.LAYOUTS))}, PATH the folder of its sequences."
)
flags.DEFINE_string("out", None, "Folder for boxes, scores and plots.")
# A baseline beside those of trackers.evaluation.baselines: the same network with random weights.
_UNTRAINED = "untrained"
flags.DEFINE_list(
    "baselines", [], f"To compare with, of {', '.join(baselines.NAMES)}, {_UNTRAINED} (this network, random weights)."
)
flags.DEFINE_list("sequences", [], "Only these sequences, by name; empty: all.")
flags.DEFINE_bool("draw", False, "Also write MP4s of all sequences and a filmstrip, with boxes of tracker and truth.")
flags.DEFINE_string(
    "tracks", None, "With words: folder of VIDEO.txt, VIDEO/gt/gt.txt or VIDEO/{car,pedestrian}/predict.txt; or: truth."
)
flags.DEFINE_integer("first_frame", 1, "Number that --tracks gives to a video's first image; iKUN's NeuralSORT: 0.")
flags.DEFINE_enum(
    "convention",
    "image",
    sorted(referring_sets.CONVENTIONS),
    "Ground truth of phrases: image, boxes of the labelled image; published, Refer-KITTI's gt.txt, a frame late.",
)
flags.DEFINE_string("calibration", None, "With words: CLIP's ViT-B-32.pt; calibrates by phrase frequency.")
flags.DEFINE_integer("starts", 0, "Frames of each sequence to start from; 1: the first; 0: all scores.", lower_bound=0)
flags.DEFINE_integer("length", 80, "With several starts: frames that are tracked from each.", lower_bound=10)
flags.DEFINE_string("workdir", None, "A run of train.py whose checkpoints are all judged, from --starts (default 1).")
flags.mark_flags_as_required(["benchmark", "out"])

# Strips in overlap.png; more are not readable.
_STRIPS = 12
# Sequences and frames of each in filmstrip.png.
_STRIP_ROWS, _STRIP_FRAMES = 4, 5


def main(argv):
    del argv
    if FLAGS.config.model.name == "ikun":
        _evaluate_words(FLAGS.config, epath.Path(FLAGS.out))
    else:
        _evaluate_tracker(FLAGS.config, epath.Path(FLAGS.out))


def _evaluate_tracker(config, out):
    others = {name: baselines.build(name) for name in FLAGS.baselines if name != _UNTRAINED}
    name, sequences = sources.open_sequences(FLAGS.benchmark)
    sequences = _chosen(sequences, FLAGS.sequences)
    model = _with_threshold(trackers.build(config.model), config.tracking, name)
    tracker = single_object.Tracker(model, single_object.for_benchmark(config.tracking, name))
    if FLAGS.starts or FLAGS.workdir:
        if FLAGS.draw:
            raise errors.UsageError("--draw shows whole sequences: leave it out with --starts and --workdir")
        among = starts.Starts(FLAGS.starts or 1, FLAGS.length)
        comparison = starts.Comparison(tracker, config, name, sequences, FLAGS.baselines, among)
        print(comparison.curve(FLAGS.workdir, out) if FLAGS.workdir else comparison.table(FLAGS.checkpoint, out))
        return
    variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))

    settings = {"model": repr(model), "tracking": repr(tracker.settings)}
    config_digest, weights_digest = records.digest(settings), records.digest(variables)
    runner = benchmark.Runner(tracker, variables, image_files.read_image)
    runs = {config.model.name: (runner, f"{config_digest} {weights_digest}")}
    if _UNTRAINED in FLAGS.baselines:
        random = trackers.init(model, jax.random.key(config.seed))
        runs[_UNTRAINED] = (benchmark.Runner(tracker, random, image_files.read_image), f"{config_digest} {_UNTRAINED}")
    for other, baseline in others.items():
        runs[other] = (benchmark.Runner(baseline, None, image_files.read_image, compiled=False), f"baseline {other}")
    tracks = _track(runs, name, sequences, out)

    results = {
        "benchmark": FLAGS.benchmark,
        "sequences": len(sequences),
        "checkpoint": FLAGS.checkpoint or "shipped",
        "weights_digest": weights_digest,
        "config_digest": config_digest,
        "config": trackers.to_plain(config),
        "division_threshold": _threshold(model),
        "versions": _versions(),
        "units": "scores are fractions; frames per second; a score that is null is not a number in the toolkit either",
        "speed_means": benchmark.SPEED,
        "trackers": {tracker: {"speed": _speed(found)} for tracker, found in tracks.items()},
    }
    if any(sequence.truth_withheld for sequence in sequences):
        _report_withheld(results, tracks, name, sequences, out)
    else:
        _report(results, tracks, name, sequences, out)
    if FLAGS.draw:
        _draw(tracks[config.model.name], sequences, out)


def _evaluate_words(config, out):
    if not FLAGS.tracks:
        raise errors.UsageError("--tracks is needed with words: the folder of a tracker's results, or truth")
    name, videos = wording.open_benchmark(config, FLAGS.benchmark)
    videos = _chosen(list(videos), FLAGS.sequences)
    referrer = with_words.Referrer(trackers.build(config.model), config.tracking)
    variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))
    given = {"tracks": FLAGS.tracks, "first_frame": FLAGS.first_frame, "benchmark": FLAGS.benchmark}
    facts = {"config": trackers.to_plain(config), "weights_digest": records.digest(variables), **given}
    pairs = []
    for video in videos:
        texts = [phrase.text for phrase in video.phrases]
        tracks = (
            video.tracks
            if FLAGS.tracks == "truth"
            else wording.read_tracks(FLAGS.tracks, video.name, FLAGS.first_frame)
        )
        found = _similarities(referrer, variables, config, video, tracks, texts, out, records.digest(facts))
        if FLAGS.calibration:
            training = wording.open_benchmark(config, FLAGS.benchmark, "train")[1]
            found = found + wording.calibration_shift(config, FLAGS.calibration, training, texts).astype(found.dtype)
        for k, phrase in enumerate(video.phrases):
            kept = with_words.chosen(tracks, found[:, k], referrer.settings.threshold)
            # The published ground truth is numbered as the program's tracks are: by image.
            shift = FLAGS.first_frame - 1 if FLAGS.convention == "published" else 0
            truth = referring_sets.ground_truth(video, phrase, FLAGS.convention)
            phrase_results.write(out, video.name, phrase.name, mot_files.renumber(kept, shift), truth)
            pairs.append((video.name, phrase.name))
            if FLAGS.draw:
                drawing.write_tracks(
                    out / video.name / phrase.name / "tracked.mp4", _frames(video), kept, phrase.sentence
                )
    phrase_results.write_seqmap(out, pairs)
    scores = phrase_results.score(out)
    text = phrase_results.report(f"{config.model.name} {config.model.fusion}", scores)
    facts |= {"convention": FLAGS.convention, "calibration": FLAGS.calibration, "versions": _versions()}
    phrase_results.write_report(out, text, scores, **facts)
    print(text)
    print(f"wrote {name}: {len(pairs)} phrases, results.json and table.md in {out}")


def _similarities(referrer, variables, config, video, tracks, texts, out, run):
    """Similarities (n, P) of a video, kept in OUT/VIDEO and taken from there where the same run left them."""
    run = f"{run} {records.digest([tracks.frames, tracks.ids, tracks.boxes])}"
    kept = phrase_results.read_similarities(out / video.name, run, len(tracks))
    if kept is not None:
        print(f"{video.name} is finished in {out} and is not tracked again", flush=True)
        return kept
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else 10.0
    frames_seen = tqdm(_frames(video), total=len(video), unit="frame", desc=video.name, mininterval=interval)
    found, _ = referrer.similarities(variables, tracks, frames_seen, wording.tokens(config, texts))
    phrase_results.write_similarities(
        out / video.name, tracks, [phrase.name for phrase in video.phrases], found, run=run
    )
    return found


def _frames(video):
    return map(video.load, video.frames)


def _chosen(sequences, wanted):
    names = [sequence.name for sequence in sequences]
    for name in wanted:
        if name not in names:
            some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise errors.UsageError(f"--sequences: the benchmark has no {name!r}; it has {some}")
    return [sequence for sequence in sequences if not wanted or sequence.name in wanted]


def _with_threshold(model, tracking, name):
    """The model with the benchmark's own division threshold, where config.tracking.thresholds gives one."""
    threshold = tracking.get("thresholds", {}).get(name)
    if threshold is None or _threshold(model) is None:
        return model
    print(f"division threshold {threshold} for {name} (config.tracking.thresholds.{name})", flush=True)
    return model.clone(division=dataclasses.replace(model.division, threshold=threshold))


def _threshold(model):
    return getattr(getattr(model, "division", None), "threshold", None)


def _track(runs, name, sequences, out):
    """{tracker: {sequence: (boxes, seconds, facts)}}; tracks what is not finished in `out`."""
    from tqdm import tqdm

    stores = {tracker: records.Records(out, name, tracker, run) for tracker, (_, run) in runs.items()}
    tracks = {tracker: {} for tracker in runs}
    pending = []
    for tracker, store in stores.items():
        for sequence in sequences:
            found = store.finished(sequence.name, len(sequence.frames), first_box=list(sequence.boxes[0]))
            if found is None:
                pending.append((tracker, sequence))
            else:
                tracks[tracker][sequence.name] = found
    done = len(runs) * len(sequences) - len(pending)
    if done:
        print(f"{done} of {done + len(pending)} are finished in {out} and are not tracked again", flush=True)

    total = sum(len(sequence.frames) for _, sequence in pending)
    interval = 0.2 if sys.stderr.isatty() else 10.0
    with tqdm(total=total, unit="frame", smoothing=0.05, mininterval=interval, disable=not pending) as bar:
        for tracker, sequence in pending:
            bar.set_postfix_str(f"{tracker} {sequence.name}", refresh=False)
            track = runs[tracker][0].track(sequence, bar.update)
            store = stores[tracker]
            store.write(
                sequence.name,
                track.boxes,
                track.seconds,
                first_box=list(sequence.boxes[0]),
                image_size=list(track.image_size),
                elapsed=track.elapsed,
                scores=[round(float(score), 5) for score in track.scores[1:]],
            )
            # Read back, so that a resumed run and an uninterrupted one score the same three decimals.
            tracks[tracker][sequence.name] = store.finished(sequence.name, len(sequence.frames))
    return tracks


def _speed(found):
    return benchmark.speed([(seconds, facts["elapsed"]) for _, seconds, facts in found.values()])


def _report(results, tracks, name, sequences, out):
    scored = {}
    for tracker, found in tracks.items():
        boxes = {sequence: track[0] for sequence, track in found.items()}
        sizes = {sequence: track[2]["image_size"] for sequence, track in found.items()}
        scored[tracker] = benchmark.score(name, sequences, boxes, sizes)
        results["trackers"][tracker] |= {"scores": _plain_scores(scored[tracker])}
        for toolkit, score in scored[tracker].items():
            if "error" in score:
                print(f"{tracker}: {toolkit} gives no scores: {score['error']}", flush=True)
    records.write_json(out / "results.json", results)

    speeds = {tracker: values["speed"] for tracker, values in results["trackers"].items()}
    text = "\n\n".join(
        [
            f"{FLAGS.benchmark}: {len(sequences)} sequences, in per cent",
            tables.overall(scored, speeds),
            tables.sequences(scored),
            tables.LEGEND,
        ]
    )
    (out / "table.md").write_text(text + "\n")
    print(text)

    analysed = {tracker: score["pytracking"] for tracker, score in scored.items()}
    curves = {tracker: score["overall"] for tracker, score in analysed.items() if "overall" in score}
    if curves:
        title = f"{name}, {len(sequences)} sequences"
        plots.success(out / "success.png", curves, title)
        plots.precision(out / "precision.png", curves, title)
    shown = sequences[:_STRIPS]
    strips = {
        sequence.name: {
            tracker: benchmark.overlaps(sequence, found[sequence.name][0]) for tracker, found in tracks.items()
        }
        for sequence in shown
    }
    title = name if len(shown) == len(sequences) else f"{name}, the first {len(shown)} of {len(sequences)} sequences"
    plots.overlaps(out / "overlap.png", strips, title)
    print(f"wrote {out}/results.json, table.md, success.png, precision.png, overlap.png and the boxes in {out}/{name}")


def _plain_scores(score):
    def plain(found):
        return {"frames": found.frames, **found.values}

    return {
        toolkit: found
        if "error" in found
        else {"overall": plain(found["overall"]), "sequences": {k: plain(v) for k, v in found["sequences"].items()}}
        for toolkit, found in score.items()
    }


def _report_withheld(results, tracks, name, sequences, out):
    """Only the first boxes are public: the files are the result."""
    records.write_json(out / "results.json", results)
    print(f"{name}: only the first box of a sequence is published, so its server scores the boxes in {out}/{name}")
    if name == "got10k":
        for tracker in tracks:
            path = records.Records(out, name, tracker, run=None).submission([sequence.name for sequence in sequences])
            print(f"for the server: {path}")


def _draw(found, sequences, out):
    """OUT/videos/NAME.mp4: the recorded boxes and the ground truth on the frames; OUT/filmstrip.png: a few of these."""
    from tqdm import tqdm

    folder = out / "videos"
    folder.mkdir(parents=True, exist_ok=True)
    strips = []
    interval = 0.2 if sys.stderr.isatty() else 10.0
    total = sum(len(sequence.frames) for sequence in sequences)
    with tqdm(total=total, unit="frame", desc="drawing", mininterval=interval) as bar:
        for sequence in sequences:
            boxes, _, facts = found[sequence.name]
            kept = np.linspace(0, len(sequence.frames) - 1, _STRIP_FRAMES).astype(int).tolist()
            strip = {}
            with video_files.VideoWriter(folder / f"{sequence.name}.mp4") as video:
                for number, path in enumerate(sequence.frames):
                    truth = sequence.boxes[number] if number < len(sequence.boxes) else None
                    score = facts["scores"][number - 1] if number else None
                    shown = drawing.annotate(image_files.read_image(path), boxes[number], score, number, truth)
                    video.write(shown)
                    if number in kept:
                        strip[number] = shown
                    bar.update()
            strips.append([strip[number] for number in kept])
    drawing.write_filmstrip(out / "filmstrip.png", strips[:_STRIP_ROWS])
    print(f"wrote {len(sequences)} videos in {folder}, and {out / 'filmstrip.png'}")


def _versions():
    names = ("jax", "flax", "numpy", "opencv-contrib-python-headless")
    known = {}
    for name in names:
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            known[name] = None
    return {"python": platform.python_version(), **known, "device": jax.devices()[0].device_kind}


if __name__ == "__main__":
    errors.run(main)
