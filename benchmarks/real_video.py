"""Tracks real video with a checkpoint, beside OpenCV's trackers and a box that never moves, in one table.

    python benchmarks/real_video.py --sequences DIR --config configs/grm.py:pocket --checkpoint DIR_OR_PTH
    python benchmarks/real_video.py --sequences DIR --config ... --workdir RUN --out DIR   # the curve of a run

DIR holds folders of frames with a groundtruth.txt (x,y,w,h in pixels a line). All trackers start from the same box and
see the same frames. AO and SR0.5 (got-10k toolkit), AUC and P (center within 20 pixels; pytracking) are means of the
sequences, in per cent; fps is the tracker alone, frames decoded before. With --workdir every checkpoint there is
judged, with its averaged weights where there are some: a run's own validation is procedural and does not foretell real
video.
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
from ml_collections import config_flags
from tqdm import tqdm

import trackers
from data_pipelines import sources
from trackers import errors
from trackers.evaluation import baselines, benchmark, figures, tables
from trackers.tracking import frames, single_object
from trackers.training import checkpoints

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "Config and variant of the tracker.", lock_config=True)
flags.DEFINE_string("checkpoint", None, "Workdir of train.py, one of its checkpoints, or a published file (.pth, ...).")
flags.DEFINE_string("sequences", None, "Folder of sequence folders.", required=True)
flags.DEFINE_list("baselines", list(baselines.NAMES), f"To compare with, of {', '.join(baselines.NAMES)}.")
flags.DEFINE_string("workdir", None, "A run of train.py whose checkpoints are all judged.")
flags.mark_flags_as_required(["config"])
flags.DEFINE_string("out", None, "Folder for table.md and, with --workdir, curve.json and curve.png.")

_HEADS = ["AO", "SR0.5", "AUC", "P"]
_VALUES = (("got10k", "AO"), ("got10k", "SR0.5"), ("pytracking", "AUC"), ("pytracking", "Precision"))


def main(argv):
    del argv
    if FLAGS.workdir and not FLAGS.out:
        raise errors.UsageError("--workdir needs --out, the folder for the curve")
    if not (FLAGS.workdir or FLAGS.checkpoint):
        raise errors.UsageError("give --checkpoint for the table, or --workdir for the curve of a run")
    sequences = sources.open_sequences(f"frames:{FLAGS.sequences}")[1]
    # Decoded once for all trackers.
    read = functools.cache(frames.read_image)
    tracker = single_object.Tracker(trackers.build(FLAGS.config.model), FLAGS.config.tracking)
    text = _curve(tracker, sequences, read) if FLAGS.workdir else _table(tracker, sequences, read)
    print(text)
    if FLAGS.out:
        out = epath.Path(FLAGS.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "table.md").write_text(text + "\n")


def _table(tracker, sequences, read):
    """One row a tracker, then AO sequence by sequence."""
    variables = jax.device_put(checkpoints.load_variables(FLAGS.checkpoint, FLAGS.config.model))
    runners = {FLAGS.config.model.name: benchmark.Runner(tracker, variables, read)}
    for name in FLAGS.baselines:
        runners[name] = benchmark.Runner(baselines.build(name), None, read, compiled=False)
    rows, each = [], {}
    for name, runner in runners.items():
        numbers, speed = judge(runner, sequences, name)
        rows.append([name, *_percent(numbers.mean(axis=0)), f"{speed:.0f}"])
        each[name] = numbers[:, 0]
    heads = ["AO of each", *each]
    of_each = [[s.name, *_percent(row)] for s, row in zip(sequences, np.stack(list(each.values()), 1), strict=True)]
    return "\n\n".join([tables.markdown(["", *_HEADS, "fps"], rows), tables.markdown(heads, of_each)])


def _curve(tracker, sequences, read):
    """One row a checkpoint; writes OUT/curve.json and OUT/curve.png."""
    out, found = epath.Path(FLAGS.out), []
    for folder in reversed(checkpoints.step_folders(epath.Path(FLAGS.workdir).resolve())):
        variables = jax.device_put(checkpoints.load_variables(folder, FLAGS.config.model))
        numbers, _ = judge(benchmark.Runner(tracker, variables, read), sequences, f"step {folder.name}")
        mean = numbers.mean(axis=0)
        found.append({"step": int(folder.name), **dict(zip(_HEADS, mean.tolist(), strict=True))})
    out.mkdir(parents=True, exist_ok=True)
    (out / "curve.json").write_text(json.dumps(found, indent=1) + "\n")
    figures.curve(out / "curve.png", found, "step", ("AO", "SR0.5"), f"{len(sequences)} real sequences")
    rows = [[str(row["step"]), *_percent(row[head] for head in _HEADS)] for row in found]
    return tables.markdown(["step", *_HEADS], rows)


def judge(runner, sequences, label):
    """(numbers (S, 4) as _VALUES, fractions; frames per second inside the tracker) of benchmark.Runner."""
    tracks = {}
    interval = 0.2 if sys.stderr.isatty() else 30.0
    total = sum(map(len, sequences))
    with tqdm(total=total, unit="frame", desc=label, mininterval=interval) as bar:
        for sequence in sequences:
            tracks[sequence.name] = runner.track(sequence, bar.update)
    boxes = {name: track.boxes for name, track in tracks.items()}
    sizes = {name: track.image_size for name, track in tracks.items()}
    scored = benchmark.score("frames", sequences, boxes, sizes)
    for toolkit, name in _VALUES:
        if "error" in scored[toolkit]:
            raise errors.InputError(f"{label}: no {name}: {scored[toolkit]['error']}")
    numbers = [[scored[t]["sequences"][s.name].values[value] for t, value in _VALUES] for s in sequences]
    return np.array(numbers), benchmark.speed([(t.seconds, t.elapsed) for t in tracks.values()])["tracker_fps"]


def _percent(values):
    return [f"{100 * value:.1f}" for value in values]


if __name__ == "__main__":
    errors.run(main)
