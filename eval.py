"""A benchmark, from frames on disk to scores: tracks every sequence, keeps the boxes, scores them and draws plots.

    python eval.py --benchmark otb:/data/OTB --out DIR              # the shipped GRM
    python eval.py --config configs/grm.py:b256 --checkpoint DIR_OR_PTH --benchmark got10k:/data/GOT-10k/test --out DIR

--out holds the boxes in the toolkits' formats, results.json, table.md, success.png, precision.png and overlap.png.
A sequence that is finished there with the same configuration and weights is not tracked again. --batch N tracks N
sequences at a time, to the same boxes (what time per frame means then: trackers/evaluation/batched.py). What
config.tracking.benchmarks sets for a benchmark holds there. --repeat N tracks everything N times: mean and spread.

    python eval.py --benchmark frames:DIR --starts 6 --baselines static,kcf,csrt,mil --out DIR    # less luck
    python eval.py --benchmark frames:DIR --workdir RUN --out DIR              # the curve over a run's checkpoints

With --starts trackers start from so many frames of every sequence, forwards and backwards (1: from the first frame);
AO, SR0.5, AUC, P and fps, means of the sequences, in starts.md. With --workdir every checkpoint there is judged so:
curve.md, curve.json and curve.png.

Benchmarks with words: refer.py.
"""

import jax
from absl import flags
from etils import epath

import refer
import trackers
from data_pipelines import sources
from trackers import errors, progress, weights
from trackers.evaluation import baselines, batched, benchmark, records, repetitions, reports, starts
from trackers.io import image_files, outputs, ownership
from trackers.tracking import single_object

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
    f"To compare with, of {', '.join(baselines.NAMES)}, {starts.UNTRAINED} (this network, random weights).",
)
flags.DEFINE_list("sequences", [], "Only these sequences, by name; empty: all.")
flags.DEFINE_bool("draw", False, "Also write MP4s of all sequences and a filmstrip, with boxes of tracker and truth.")
flags.DEFINE_integer("starts", 0, "Frames of each sequence to start from; 1: the first; 0: all scores.", lower_bound=0)
flags.DEFINE_integer("batch", 1, "Sequences that are tracked at a time: faster, to the same boxes.", lower_bound=1)
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
    config, out = weights.chosen_config(), epath.Path(FLAGS.out)
    model = trackers.build(config.model)
    if model.task != "track":
        return refer.evaluate(config, model)
    refer.one_object()
    if not (FLAGS.starts or FLAGS.workdir):
        errors.leave_out(["length"], "is of --starts")
    if FLAGS.workdir:
        errors.leave_out(["checkpoint"], "has no use with --workdir, whose checkpoints are judged")
    others = {name: baselines.build(name) for name in FLAGS.baselines if name != starts.UNTRAINED}
    name, sequences = sources.open_sequences(FLAGS.benchmark)
    sequences = sources.chosen(sequences, FLAGS.sequences)
    outputs.claim_folder(out)

    # The tracker as this benchmark runs it.
    model_section, tracking, chosen = single_object.for_benchmark(config, name)
    if chosen:
        settings = ", ".join(f"{key}={value}" for key, value in chosen.items())
        print(f"{settings} for {name} (config.tracking.benchmarks.{name})", flush=True)
    model = trackers.build(model_section)
    tracker = single_object.Tracker(model, tracking)
    with ownership.hold(out):
        return _evaluate(model, tracker, chosen, config, name, sequences, others, out)


def _evaluate(model, tracker, chosen, config, name, sequences, others, out):
    if FLAGS.starts or FLAGS.workdir:
        return _compare(tracker, config, name, sequences, out)
    records.Records(out, name, config.model.name, run=None).claim(sequences)
    benchmark.check_starts(sequences, image_files.read_image)
    variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))

    # Every tracker over every sequence.
    settings = {"model": repr(model), "tracking": repr(tracker.settings)}
    config_digest, weights_digest = records.digest(settings), records.digest(variables)
    runs = {config.model.name: (_runner(tracker, variables), f"{config_digest} {weights_digest}")}
    if starts.UNTRAINED in FLAGS.baselines:
        random = trackers.init(model, jax.random.key(config.seed))
        runs[starts.UNTRAINED] = (_runner(tracker, random), f"{config_digest} {starts.UNTRAINED}")
    for other, baseline in others.items():
        runs[other] = (benchmark.Runner(baseline, None, image_files.read_image, compiled=False), f"baseline {other}")
    runs = repetitions.multiplied(runs, FLAGS.repeat)
    for number in range(2, FLAGS.repeat + 1 if starts.UNTRAINED in FLAGS.baselines else 0):
        run = repetitions.label(starts.UNTRAINED, number)
        random = trackers.init(model, jax.random.key(config.seed + number - 1))
        runs[run] = (_runner(tracker, random), runs[run][1])
    repeated = repetitions.of(_track(runs, name, sequences, out), FLAGS.repeat)
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
        return batched.Runner(tracker, variables, image_files.read_image, FLAGS.batch)
    return benchmark.Runner(tracker, variables, image_files.read_image)


def _compare(tracker, config, name, sequences, out):
    if FLAGS.draw:
        raise errors.UsageError("--draw shows whole sequences: leave it out with --starts and --workdir")
    if FLAGS.batch > 1:
        raise errors.UsageError("--batch tracks whole sequences: leave it out with --starts and --workdir")
    if FLAGS.repeat > 1:
        raise errors.UsageError("--repeat repeats whole sequences: leave it out with --starts and --workdir")
    among = starts.Starts(FLAGS.starts or 1, FLAGS.length)
    comparison = starts.Comparison(tracker, config, name, sequences, FLAGS.baselines, among)
    print(comparison.curve(FLAGS.workdir, out) if FLAGS.workdir else comparison.table(FLAGS.checkpoint, out))


def _track(runs, name, sequences, out):
    """{tracker: {sequence: (boxes, seconds, facts)}}; tracks what is not finished in `out`."""
    stores = {tracker: records.Records(out, name, tracker, run) for tracker, (_, run) in runs.items()}
    tracks = {tracker: {} for tracker in runs}
    pending = {tracker: [] for tracker in runs}
    for tracker, store in stores.items():
        for sequence in sequences:
            finished = store.finished(sequence.name, len(sequence.frames), first_box=list(sequence.boxes[0]))
            if finished is None:
                pending[tracker].append(sequence)
            else:
                tracks[tracker][sequence.name] = finished
    left = sum(map(len, pending.values()))
    done = len(runs) * len(sequences) - left
    if done:
        print(f"{done} of {done + left} are finished in {out} and are not tracked again", flush=True)

    total = sum(len(sequence.frames) for some in pending.values() for sequence in some)
    with progress.bar(total=total, smoothing=0.05, disable=not left) as bar:
        for tracker, store in stores.items():

            def begin(name, tracker=tracker):
                bar.set_postfix_str(f"{tracker} {name}", refresh=False)

            for sequence, track in runs[tracker][0].tracks(pending[tracker], bar.update, begin):
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


if __name__ == "__main__":
    errors.run(main)
