"""A benchmark, from frames on disk to scores: tracks every sequence, keeps the boxes, scores them and draws plots.

    python eval.py --benchmark otb:/data/OTB --out DIR              # the shipped GRM
    python eval.py --config configs/grm.py:b256 --checkpoint DIR_OR_PTH --benchmark got10k:/data/GOT-10k/test --out DIR

--out holds the boxes in the toolkits' formats, results.json, table.md, success.png, precision.png, overlap.png,
report.html, a page with all of it (docs/reports.md; several such folders: python -m trackers.evaluation.compare), and
what the benchmark's server or toolkit takes, where it has one (trackers/evaluation/servers.py).
A sequence that is finished there with the same configuration and weights is not tracked again. --batch N tracks N
sequences at a time, to the same boxes (what time per frame means then: trackers/evaluation/batched.py). What
config.tracking.benchmarks sets for a benchmark holds there. --repeat N tracks everything N times: mean and spread.
Started as several processes (srun, mpirun, pods: docs/training.md), each tracks its share of the sequences on its own
devices, and the first one scores them all.

    python eval.py --benchmark frames:DIR --starts 6 --baselines static,kcf,csrt,mil --out DIR    # less luck
    python eval.py --benchmark frames:DIR --baselines csrt,nano:BACKBONE.onnx,HEAD.onnx,vit:MODEL.onnx --out DIR
    python eval.py --benchmark frames:DIR --workdir RUN --out DIR              # the curve over a run's checkpoints

With --starts trackers start from so many frames of every sequence, forwards and backwards (1: from the first frame);
AO, SR0.5, AUC, P and fps, means of the sequences, in starts.md. With --workdir every checkpoint there is judged so:
curve.md, curve.json and curve.png.

Benchmarks with words: refer.py.
"""

import sys

import jax
import numpy as np
from absl import flags
from etils import epath

import refer
import trackers
from data_pipelines import sources
from trackers import errors, progress, weights
from trackers.evaluation import baselines, batched, benchmark, hosts, plots, records, repetitions, reports, starts
from trackers.io import compiled, image_files, outputs, video_files
from trackers.tracking import single_object
from trackers.training import processes

FLAGS = flags.FLAGS
weights.define_flags()
flags.DEFINE_string(
    "benchmark",
    None,
    f"NAME:PATH, NAME one of {', '.join(sorted(sources.LAYOUTS))}, PATH its folder and options (docs/data.md).",
)
flags.DEFINE_string("out", None, "Folder for boxes, scores and plots.")
flags.DEFINE_list(
    "baselines",
    [],
    f"To compare with, separated by commas: {baselines.CHOICE} (the last ones by the files of OpenCV's networks),"
    f" {starts.UNTRAINED} (this network, random weights).",
)
flags.DEFINE_list("sequences", [], "Only these sequences, by name; empty: all.")
flags.DEFINE_bool("draw", False, "Also write MP4s of all sequences and a filmstrip, with boxes of tracker and truth.")
flags.DEFINE_integer("starts", 0, "Frames of each sequence to start from; 1: the first; 0: all scores.", lower_bound=0)
flags.DEFINE_integer("batch", 1, "Sequences that are tracked at a time: faster, to the same boxes.", lower_bound=1)
flags.DEFINE_integer(
    "frames_per_dispatch",
    1,
    "With --batch: frames of each sequence in one call of the device; more pay where the call itself takes long.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "repeat",
    1,
    "Times that everything is tracked, for mean and spread (repetitions.md).",
    lower_bound=1,
    upper_bound=999,
)
flags.DEFINE_integer("length", 80, "With several starts: frames that are tracked from each.", lower_bound=10)
flags.DEFINE_string("workdir", None, "A run of train.py whose checkpoints are all judged, from --starts (default 1).")
refer.define_flags()
flags.mark_flags_as_required(["benchmark", "out"])


def main(argv):
    del argv
    compiled.keep_of_user()
    config, out = weights.chosen_config(), epath.Path(FLAGS.out)
    model = trackers.build(config.model)
    if model.task != "track":
        return refer.evaluate(config, model)
    refer.one_object()
    processes.join()
    if not (FLAGS.starts or FLAGS.workdir):
        errors.leave_out(["length"], "is of --starts")
    if FLAGS.batch == 1:
        errors.leave_out(["frames_per_dispatch"], "is of --batch")
    if FLAGS.workdir:
        errors.leave_out(["checkpoint"], "has no use with --workdir, whose checkpoints are judged")
    with hosts.opening():
        others = baselines.parse(FLAGS.baselines, [starts.UNTRAINED])
        others = {entry: None if entry.name == starts.UNTRAINED else entry.build() for entry in others}
        name, sequences = sources.open_sequences(FLAGS.benchmark)
        sequences = sources.chosen(sequences, FLAGS.sequences)
        outputs.claim_folder(out)
        if FLAGS.draw:
            video_files.encoder()
        drawn = FLAGS.workdir or not (FLAGS.starts or any(sequence.truth_withheld for sequence in sequences))
        if drawn and (said := plots.left_out()):
            print(said, file=sys.stderr, flush=True)

    # The tracker as this benchmark runs it.
    model_section, tracking, chosen = single_object.for_benchmark(config, name)
    if chosen:
        settings = ", ".join(f"{key}={value}" for key, value in chosen.items())
        print(f"{settings} for {name} (config.tracking.benchmarks.{name})", flush=True)
    model = trackers.build(model_section)
    tracker = single_object.Tracker(model, tracking)
    with hosts.hold(out) as crew:
        return _evaluate(model, tracker, chosen, config, name, sequences, others, out, crew)


def _evaluate(model, tracker, chosen, config, name, sequences, others, out, crew):
    if FLAGS.starts or FLAGS.workdir:
        return _compare(tracker, config, name, sequences, others, out, crew)
    records.Records(out, name, config.model.name, run=None).claim(sequences)
    benchmark.check_starts(sequences, image_files.read_image)
    variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))

    # Every tracker over every sequence.
    settings = {"model": repr(model), "tracking": repr(tracker.settings)}
    config_digest, weights_digest = records.digest(settings), records.digest(variables)
    runs = {config.model.name: (_runner(tracker, variables), f"{config_digest} {weights_digest}")}
    for entry, baseline in others.items():
        if baseline is None:
            runs[entry.label] = (_untrained(model, tracker, config.seed), f"{config_digest} {entry.name}")
        else:
            runs[entry.label] = (benchmark.Runner(baseline, None, image_files.read_image, compiled=False), entry.run)
    runs = repetitions.multiplied(runs, FLAGS.repeat)
    for number in range(2, FLAGS.repeat + 1 if starts.UNTRAINED in runs else 0):
        run = repetitions.label(starts.UNTRAINED, number)
        runs[run] = (_untrained(model, tracker, config.seed + number - 1), runs[run][1])
    stores = {tracker: records.Records(out, name, tracker, run) for tracker, (_, run) in runs.items()}
    _track(runs, stores, sequences, out, crew)
    if not crew.gather():
        return
    # Read back, so that a resumed run and an uninterrupted one score the same three decimals.
    tracks = {
        tracker: {sequence.name: _read_back(store, sequence) for sequence in sequences}
        for tracker, store in stores.items()
    }
    repeated = repetitions.of(tracks, FLAGS.repeat)
    repetitions.place(name, repeated, out)
    tracks = {tracker: each[0] for tracker, each in repeated.items()}

    # What it amounts to.
    facts = {
        "benchmark": FLAGS.benchmark,
        "sequences": len(sequences),
        "checkpoint": FLAGS.checkpoint or "shipped",
        "weights_digest": weights_digest,
        "config_digest": config_digest,
        "config": trackers.to_plain(config),
        "benchmark_settings": chosen,
        "versions": records.versions(),
    }
    if any(sequence.truth_withheld for sequence in sequences):
        reports.withheld(facts, tracks, name, sequences, out)
    else:
        reports.scored(facts, tracks, name, sequences, out)
    if FLAGS.repeat > 1:
        repetitions.report(name, repeated, sequences, out)
    if FLAGS.draw:
        reports.draw(tracks[config.model.name], sequences, out)


def _runner(tracker, variables):
    if FLAGS.batch > 1:
        frames = FLAGS.frames_per_dispatch
        return batched.Runner(tracker, variables, image_files.read_image, FLAGS.batch, frames=frames)
    return benchmark.Runner(tracker, variables, image_files.read_image)


def _untrained(model, tracker, seed):
    return _runner(tracker, trackers.init(model, jax.random.key(seed)))


def _compare(tracker, config, name, sequences, others, out, crew):
    if FLAGS.draw:
        raise errors.UsageError("--draw shows whole sequences: leave it out with --starts and --workdir")
    if FLAGS.batch > 1:
        raise errors.UsageError("--batch tracks whole sequences: leave it out with --starts and --workdir")
    if FLAGS.repeat > 1:
        raise errors.UsageError("--repeat repeats whole sequences: leave it out with --starts and --workdir")
    if crew.count > 1:
        raise errors.UsageError("--starts and --workdir take one process: start eval.py alone")
    among = starts.Starts(FLAGS.starts or 1, FLAGS.length)
    others = {entry.label: baseline for entry, baseline in others.items()}
    comparison = starts.Comparison(tracker, config, name, sequences, others, among)
    print(comparison.curve(FLAGS.workdir, out) if FLAGS.workdir else comparison.table(FLAGS.checkpoint, out))


def _finished(store, sequence):
    return store.finished(sequence.name, len(sequence.frames), first_box=list(sequence.boxes[0]))


def _read_back(store, sequence):
    found = _finished(store, sequence)
    if found is None:
        file = store.paths(sequence.name)[0]
        raise errors.InputError(f"{file} is not there as it was written: give a folder that all processes share")
    return found


def _track(runs, stores, sequences, out, crew):
    """Tracks what is not finished in `out`, this process's share of it.

    Raises: InputError, after all others are tracked, where sequences have a frame that cannot be read.
    """
    left = crew.agree(np.array([[_finished(store, each) is None for each in sequences] for store in stores.values()]))
    if not left.all() and crew.index == 0:
        print(f"{(~left).sum()} of {left.size} are finished in {out} and are not tracked again", flush=True)
    pending = {}
    for tracker, wanted in zip(stores, left, strict=True):
        among = [sequence for sequence, want in zip(sequences, wanted, strict=True) if want]
        share = hosts.shares([len(sequence.frames) for sequence in among], crew.count)[crew.index]
        pending[tracker] = [among[number] for number in sorted(share)]

    broken = {}

    def fail(sequence, error):
        broken[sequence.name] = error

    total = sum(len(sequence.frames) for some in pending.values() for sequence in some)
    of = f"process {crew.index} of {crew.count}" if crew.count > 1 else None
    with progress.bar(total=total, desc=of, smoothing=0.05, disable=not total) as bar:
        for tracker, store in stores.items():

            def begin(name, tracker=tracker):
                bar.set_postfix_str(f"{tracker} {name}", refresh=False)

            whole = [sequence for sequence in pending[tracker] if sequence.name not in broken]
            for sequence, track in runs[tracker][0].tracks(whole, bar.update, begin, fail):
                store.write(
                    sequence.name,
                    track.boxes,
                    track.seconds,
                    first_box=list(sequence.boxes[0]),
                    image_size=list(track.image_size),
                    elapsed=track.elapsed,
                    scores=[round(float(score), 5) for score in track.scores[1:]],
                )
    if broken:
        broken = {sequence.name: broken[sequence.name] for sequence in sequences if sequence.name in broken}
        error = benchmark.unusable(broken, sequences, "a frame that cannot be read")
        raise errors.InputError(f"{error}; what could be tracked is finished in {out}")


if __name__ == "__main__":
    errors.run(main)
