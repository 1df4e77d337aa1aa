"""Tracks real video with a checkpoint, beside OpenCV's trackers and a box that never moves, in one table.

    python benchmarks/real_video.py --sequences DIR [--config configs/grm.py:t128 --checkpoint DIR_OR_PTH]
    python benchmarks/real_video.py --sequences DIR --workdir RUN --out DIR    # the curve over a run's checkpoints

DIR holds folders of frames with a groundtruth.txt (x,y,w,h in pixels a line). All trackers start from the same box and
see the same frames. AO and SR0.5 (got-10k toolkit), AUC and P (center within 20 pixels; pytracking) are means of the
sequences, in per cent; fps is the tracker alone, frames decoded before. With --workdir every checkpoint there is
judged, with its averaged weights where there are some: a run's own validation is procedural and does not foretell real
video. With --starts 6 the trackers start from six frames of every sequence, forwards and backwards, and the numbers are
means of these tracks: less depends on luck.
"""

import functools
import json
import sys
from pathlib import Path

# Run as a file, Python looks for modules beside it only.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
from absl import flags
from etils import epath

import trackers
from data_pipelines import sources
from experiments import judging
from trackers import errors, weights
from trackers.evaluation import baselines, benchmark, plots, tables
from trackers.io import image_files
from trackers.tracking import single_object

FLAGS = flags.FLAGS
weights.define_flags()
flags.DEFINE_string("sequences", None, "Folder of sequence folders.", required=True)
flags.DEFINE_list("baselines", list(baselines.NAMES), f"To compare with, of {', '.join(baselines.NAMES)}.")
flags.DEFINE_string("workdir", None, "A run of train.py whose checkpoints are all judged.")
flags.DEFINE_integer("starts", 1, "Frames of each sequence from which trackers start; 1: the first.", lower_bound=1)
flags.DEFINE_integer("length", 80, "With several starts: frames that are tracked from each.", lower_bound=10)
flags.DEFINE_string("out", None, "Folder for table.md and, with --workdir, curve.json and curve.png.")


def main(argv):
    del argv
    if FLAGS.workdir and not FLAGS.out:
        raise errors.UsageError("--workdir needs --out, the folder for the curve")
    sequences = sources.open_sequences(f"frames:{FLAGS.sequences}")[1]
    # Decoded once for all trackers.
    read = functools.cache(image_files.read_image)
    tracker = single_object.Tracker(trackers.build(FLAGS.config.model), FLAGS.config.tracking)
    text = _curve(tracker, sequences, read) if FLAGS.workdir else _table(tracker, sequences, read)
    print(text)
    if FLAGS.out:
        out = epath.Path(FLAGS.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "table.md").write_text(text + "\n")


def _table(tracker, sequences, read):
    """One row a tracker, then AO sequence by sequence."""
    variables = jax.device_put(weights.load(FLAGS.checkpoint, FLAGS.config.model))
    runners = {FLAGS.config.model.name: benchmark.Runner(tracker, variables, read)}
    for name in FLAGS.baselines:
        runners[name] = benchmark.Runner(baselines.build(name), None, read, compiled=False)
    rows, each = [], {}
    for name, runner in runners.items():
        numbers, speed = _judge(runner, sequences, name)
        rows.append([name, *_percent(numbers.mean(axis=0)), f"{speed:.0f}"])
        each[name] = numbers[:, 0]
    heads = ["AO of each", *each]
    of_each = [[s.name, *_percent(row)] for s, row in zip(sequences, np.stack(list(each.values()), 1), strict=True)]
    return "\n\n".join([tables.markdown(["", *judging.HEADS, "fps"], rows), tables.markdown(heads, of_each)])


def _curve(tracker, sequences, read):
    """One row a checkpoint; writes OUT/curve.json and OUT/curve.png, the baselines' AO as lines across."""
    out, found, levels = epath.Path(FLAGS.out), [], {}
    for name in FLAGS.baselines:
        runner = benchmark.Runner(baselines.build(name), None, read, compiled=False)
        levels[f"AO of {name}"] = _judge(runner, sequences, name)[0][:, 0].mean()
    for folder in reversed(weights.step_folders(epath.Path(FLAGS.workdir).resolve())):
        variables = jax.device_put(weights.load(folder, FLAGS.config.model))
        numbers, _ = _judge(benchmark.Runner(tracker, variables, read), sequences, f"step {folder.name}")
        mean = numbers.mean(axis=0)
        found.append({"step": int(folder.name), **dict(zip(judging.HEADS, mean.tolist(), strict=True))})
    out.mkdir(parents=True, exist_ok=True)
    (out / "curve.json").write_text(json.dumps(found, indent=1) + "\n")
    plots.curve(out / "curve.png", found, "step", ("AO", "SR0.5"), levels, f"{len(sequences)} real sequences")
    rows = [[str(row["step"]), *_percent(row[head] for head in judging.HEADS)] for row in found]
    return tables.markdown(["step", *judging.HEADS], rows)


def _judge(runner, sequences, label):
    return judging.judge(runner, sequences, label, FLAGS.starts, FLAGS.length)


def _percent(values):
    return [f"{100 * value:.1f}" for value in values]


if __name__ == "__main__":
    errors.run(main)
