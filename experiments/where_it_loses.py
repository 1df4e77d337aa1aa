"""Where a tracker loses its overlap: its own boxes, of which the truth tells one thing at a time.

    python -m experiments.where_it_loses --benchmark frames:DIR --out OUT                       # the shipped GRM
    python -m experiments.where_it_loses --benchmark frames:DIR --results EVAL --peers EVAL2 --out OUT

The tracker runs from the first frame of every sequence, or its boxes are those that eval.py left in --results. AO is
told anew with the true size at its centers; the true aspect alone (width over height, its own area); the true area
alone; and the true center with its own sizes. "touches" is the share of frames whose box overlaps the target at all.
So a tracker that finds its target and does not know what the box should cover gains by the size, and one that lags
behind by the center. AUC and P as eval.py has them; all means are of sequences.

--peers are folders of eval.py with other trackers' boxes on the same sequences. OUT gets where_it_loses.md, .csv and
.png, the gains of every sequence as bars.
"""

import jax
from absl import flags
from etils import epath

import trackers
from data_pipelines import sources
from trackers import errors, progress, weights
from trackers.evaluation import benchmark, exports, oracles, plots, records, tables
from trackers.io import image_files, outputs
from trackers.io.numbers import counted
from trackers.tracking import single_object

FLAGS = flags.FLAGS
NAME = "where_it_loses"
HEADS = ["AO", *(f"true {kind}" for kind in oracles.KINDS), "touches", "AUC", "P"]
MEAN = "mean of sequences"


def define_flags():
    weights.define_flags()
    flags.DEFINE_string("benchmark", None, "NAME:PATH as eval.py takes it, with public boxes.", required=True)
    flags.DEFINE_list("sequences", [], "Only these sequences, by name; empty: all.")
    flags.DEFINE_string("results", None, "Folder of eval.py whose boxes are taken; None: the tracker runs.")
    flags.DEFINE_list("peers", [], "Folders of eval.py with boxes of trackers to compare with.")
    flags.DEFINE_string("out", None, "Folder for table and picture.", required=True)


def main(argv):
    del argv
    errors.require("matplotlib")
    if FLAGS.results:
        errors.leave_out(["config", "checkpoint"], "has no use with --results, whose boxes are taken")
    name, sequences = sources.open_sequences(FLAGS.benchmark)
    sequences = sources.chosen(sequences, FLAGS.sequences)
    for sequence in sequences:
        if sequence.truth_withheld:
            raise errors.InputError(f"sequence {sequence.name}: its true boxes are not public, so nothing can be told")
    found = {} if not FLAGS.results else _read("--results", FLAGS.results, name, sequences)
    for folder in FLAGS.peers:
        read = _read("--peers", folder, name, sequences)
        found |= {
            label if label not in found else f"{label} ({epath.Path(folder).name})": tracks
            for label, tracks in read.items()
        }
    outputs.claim_folder(epath.Path(FLAGS.out))
    if not FLAGS.results:
        found = {**_tracked(name, sequences), **found}
    losses = {
        label: {one.name: oracles.of_sequence(name, one, *tracks[one.name]) for one in sequences}
        for label, tracks in found.items()
    }
    print(_written(FLAGS.benchmark, losses, epath.Path(FLAGS.out)))


def _read(flag, folder, name, sequences):
    """{tracker: {sequence: (boxes, image size)}} of a folder of eval.py."""
    labels = records.trackers_of(folder, name)
    if not labels:
        raise errors.InputError(
            f"{flag} {folder} holds no boxes on {name}: name a folder that eval.py wrote (its --out)"
        )
    found = {}
    for label in labels:
        store, found[label] = records.Records(folder, name, label, run=None), {}
        for sequence in sequences:
            kept = store.kept(sequence.name, len(sequence.frames))
            if kept is None or "image_size" not in kept[2]:
                raise errors.InputError(
                    f"{flag} {folder}: {label} has no finished boxes for the"
                    f" {counted(len(sequence.frames), 'frame')} of {sequence.name}: run eval.py with"
                    " this --out again, or choose with --sequences"
                )
            found[label][sequence.name] = kept[0], tuple(kept[2]["image_size"])
    return found


def _tracked(name, sequences):
    """The same of the tracker of --config and --checkpoint, which runs."""
    config = weights.chosen_config()
    model, tracking, _ = single_object.for_benchmark(config, name)
    tracker = single_object.Tracker(trackers.build(model), tracking)
    benchmark.check_starts(sequences, image_files.read_image)
    runner = benchmark.Runner(
        tracker, jax.device_put(weights.load(FLAGS.checkpoint, config.model)), image_files.read_image
    )
    with progress.bar(total=sum(len(sequence.frames) for sequence in sequences)) as bar:
        tracks = runner.tracks(sequences, bar.update)
        return {config.model.name: {sequence.name: (track.boxes, track.image_size) for sequence, track in tracks}}


def _written(title, losses, out):
    """The tables as text, also in OUT, with the numbers as CSV and the picture."""
    every = {label: {**each, MEAN: oracles.mean(list(each.values()))} for label, each in losses.items()}
    parts = []
    if len(every) > 1:
        parts.append(tables.markdown([MEAN, *HEADS], [[label, *_cells(each[MEAN])] for label, each in every.items()]))
    parts += [
        tables.markdown([label, *HEADS], [[name, *_cells(loss)] for name, loss in each.items()])
        for label, each in every.items()
    ]
    text = "\n\n".join(parts)
    lines = [[label, name, *_numbers(loss)] for label, each in every.items() for name, loss in each.items()]
    outputs.write_text(out / f"{NAME}.md", f"{title}, in per cent\n\n{text}\n")
    heads = ["tracker", "sequence", *(f"{head} [%]" for head in HEADS)]
    outputs.write_text(
        out / f"{NAME}.csv", exports.csv_text(heads, [[*row[:2], *map("{:.4f}".format, row[2:])] for row in lines])
    )
    gains = {label: {name: _bars(loss) for name, loss in each.items()} for label, each in every.items()}
    plots.gains(out / f"{NAME}.png", gains, "What AO would gain if the truth told one thing")
    return text


def _numbers(loss):
    values = loss.ao, *loss.told.values(), loss.touching, loss.auc, loss.precision
    return [100 * value for value in values]


def _cells(loss):
    return [f"{value:.1f}" for value in _numbers(loss)]


def _bars(loss):
    return {"AO": loss.ao, **{f"true {kind}": told - loss.ao for kind, told in loss.told.items()}}


if __name__ == "__main__":
    define_flags()
    errors.run(main)
