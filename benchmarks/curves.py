"""Loss and a score over the epochs of several runs in one picture, as SimTrack's Fig. 6 ("Table 6").

    python -m benchmarks.curves RUN RUN ... --out curves.png
    python -m benchmarks.curves RUN RUN ... --benchmark otb:/data/OTB --score AUC --out curves.png

A RUN is a workdir of train.py. Its loss is in its metrics.jsonl. Without --benchmark the score is the IoU of its
validations; with it every checkpoint that the run keeps (--config.train.keep_checkpoints) tracks all sequences, from
the first frame, with what the run's config says for that benchmark. What comes out is kept in RUN/curves.json by
weights, settings and sequences, so that only new checkpoints are tracked the next time. The table that is printed has
all four scores.
"""

import functools
import json

import jax
import ml_collections
from absl import flags
from etils import epath

import trackers
from data_pipelines import sources
from trackers import errors, weights
from trackers.evaluation import benchmark, plots, records, starts, tables
from trackers.io import image_files, outputs, plain_text
from trackers.tracking import single_object
from trackers.training import metrics

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "curves.png", "The picture, a PNG.")
flags.DEFINE_string("benchmark", None, "NAME:PATH whose sequences every kept checkpoint tracks.")
flags.DEFINE_enum("score", "AUC", starts.HEADS, "Which of the benchmark's scores is drawn.")
# In a run's folder: {what was judged: {score: fraction}}.
CACHE = "curves.json"
VALIDATION = "Validation IoU"
_FRAMES_KEPT = 1500


def labels(runs):
    """A name for each run: the last part of its path, or the path where two end alike."""
    names = [epath.Path(run).name for run in runs]
    return [name if names.count(name) == 1 else str(run) for name, run in zip(names, runs, strict=True)]


def losses(rows):
    """[(epoch, loss), ...] of what a run logged (metrics.read)."""
    return [(row["epoch"], row["loss"]) for row in rows if "loss" in row and "epoch" in row]


def epoch_steps(rows, run):
    """Steps in an epoch, from what a run logged (metrics.read).

    Raises: InputError, naming the run, where it has not logged a step yet.
    """
    logged = [row for row in rows if row.get("epoch")]
    if not logged:
        raise errors.InputError(f"{run} has not logged a step yet: wait for the first line, or leave it out")
    return logged[-1]["step"] / logged[-1]["epoch"]


class Judge:
    """The scores of a run's checkpoints on a benchmark.

    Args: spec: "NAME:PATH".

    Raises: UsageError and InputError as sources.open_sequences and benchmark.check_starts.
    """

    def __init__(self, spec):
        self.name, self._sequences = sources.open_sequences(spec)
        self._read = functools.lru_cache(_FRAMES_KEPT)(image_files.read_image)
        benchmark.check_starts(self._sequences, self._read)
        boxes = {sequence.name: [sequence.boxes, sequence.visible] for sequence in self._sequences}
        self._digest = records.digest([self.name, boxes])

    def scores(self, run, label):
        """{step: {name of starts.HEADS: fraction}} of every checkpoint that the run keeps, the first one first.

        Args: run: its workdir. label: what its progress bars are called.

        Raises: InputError where it has no config or checkpoint that can be read, or is of no tracker of one object.
        """
        run = epath.Path(run)
        config = ml_collections.ConfigDict(plain_text.read_json(run / weights.CONFIG_FILE, "the config of a run"))
        if trackers.build(config.model).task != "track":
            raise errors.InputError(f"{run} holds no tracker of one object: leave it out, or --benchmark")
        section, tracking, _ = single_object.for_benchmark(config, self.name)
        model = trackers.build(section)
        tracker = single_object.Tracker(model, tracking)
        settings = f"{model!r} {tracker.settings!r} {self._digest}"
        kept, found = _cached(run), {}
        for folder in weights.step_folders(run.resolve())[::-1]:
            variables = weights.load(folder, section)
            key = f"step {folder.name}, {self.name}, {records.digest([settings, records.digest(variables)])}"
            if key not in kept:
                runner = benchmark.Runner(tracker, jax.device_put(variables), self._read)
                numbers, _ = starts.judge(runner, self._sequences, f"{label} step {folder.name}", name=self.name)
                kept[key] = dict(zip(starts.HEADS, numbers.mean(axis=0).tolist(), strict=True))
                outputs.write_text(run / CACHE, json.dumps(kept, indent=1) + "\n")
            found[int(folder.name)] = kept[key]
        return found


def _cached(run):
    """The scores that are kept in a run's folder; {} where there are none, or none that can be read."""
    try:
        kept = plain_text.read_json(run / CACHE, "scores of checkpoints")
    except errors.InputError:
        return {}
    return kept if isinstance(kept, dict) else {}


def main(argv):
    if len(argv) < 2:
        raise errors.UsageError("name the workdirs of runs, e.g. runs/stark_sv runs/simtrack")
    errors.require("matplotlib")
    out = outputs.claim_file(FLAGS.out)
    names, judge = labels(argv[1:]), FLAGS.benchmark and Judge(FLAGS.benchmark)
    lines, points, rows = {}, {}, []
    for name, run in zip(names, argv[1:], strict=True):
        logged = metrics.read(run)
        length, lines[name] = epoch_steps(logged, run), losses(logged)
        if judge is None:
            validated = [row for row in logged if "validation/iou" in row]
            points[name] = [(row["step"] / length, row["validation/iou"]) for row in validated]
            rows += [[name, f"{epoch:.1f}", f"{100 * score:.1f}"] for epoch, score in points[name]]
            continue
        scored = judge.scores(run, name)
        points[name] = [(step / length, score[FLAGS.score]) for step, score in scored.items()]
        for step, score in scored.items():
            rows.append([name, f"{step / length:.1f}", *(f"{100 * score[head]:.1f}" for head in starts.HEADS)])
    score = f"{FLAGS.score} on {judge.name}" if judge else VALIDATION
    plots.runs(out, lines, points, score)
    print(tables.markdown(["run", "epoch", *(starts.HEADS if judge else [VALIDATION])], rows))
    print(f"{out} written")


if __name__ == "__main__":
    errors.run(main, positional=True)
