"""Does distillation help at tiny size, on procedural video? Trains everything and prints validation IoU.

    python -m benchmarks.distillation --workdir DIR [--seeds 3] [--teacher_steps 2000] [--steps 1000]

Per seed: a MixViT teacher; a four-layer student alone and one taught by it (stage 1), at equal steps; then two layers
left of the taught one, by fading the others (half of the steps) and going on, beside two layers that start as its first
two (Tea-fir). Validation pairs are the same for all. What is finished in DIR is not trained again.
"""

import json
import statistics
from pathlib import Path

from absl import flags

import train
from configs import mixformer_v2, mixvit
from trackers import errors

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
flags.DEFINE_integer("seeds", 1, "How often everything is trained.")
flags.DEFINE_integer("teacher_steps", 2000, "Steps of the teacher.")
flags.DEFINE_integer("steps", 1000, "Steps of each student of stage 1.")
flags.DEFINE_integer("prune_steps", 500, "Steps of each student of stage 2, fading included.")

_ROWS = (
    ("teacher (MixViT)", "teacher"),
    ("student alone", "alone"),
    ("student, stage 1", "stage1"),
    ("2 layers, Tea-fir", "fir2"),
    ("2 layers, pruned", "depth2"),
)


def main(argv):
    del argv
    results = {name: [] for _, name in _ROWS}
    for seed in range(FLAGS.seeds):
        for name, value in _one(Path(FLAGS.workdir) / f"seed{seed}", seed).items():
            results[name].append(value)
    print(f"{'':22s}{'validation IoU':>16s}{'spread':>10s}  each seed")
    for label, name in _ROWS:
        values = results[name]
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        each = " ".join(f"{value:.3f}" for value in values)
        print(f"{label:22s}{statistics.mean(values):16.3f}{spread:10.3f}  {each}")


def _one(folder, seed):
    """{run: validation IoU} of one seed."""
    run = lambda name, config, steps: _run(folder / name, config, seed, steps)  # noqa: E731
    found = {"teacher": run("teacher", _teacher(), FLAGS.teacher_steps)}
    for name in ("alone", "stage1"):
        found[name] = run(name, _stage(name, teacher=folder / "teacher"), FLAGS.steps)
    stage1 = {"teacher": folder / "stage1", "init": folder / "stage1"}
    found["fir2"] = run("fir2", _stage("fir2", **stage1), FLAGS.prune_steps)
    run("prune", _stage("prune", **stage1), FLAGS.prune_steps // 2)
    rest = _stage("depth2", teacher=folder / "stage1", init=folder / "prune")
    found["depth2"] = run("depth2", rest, FLAGS.prune_steps - FLAGS.prune_steps // 2)
    return found


def _teacher():
    """MixViT as the student's stage describes it, trained as the student is."""
    student, config = mixformer_v2.get_config("tiny_stage1"), mixvit.get_config("tiny")
    with config.unlocked():
        config.model = student.teacher.model
        config.data, config.tracking, config.train = student.data, student.tracking, student.train
    return config


def _stage(name, teacher, init=None):
    config = mixformer_v2.get_config(f"tiny_{name}")
    config.teacher.checkpoint = str(teacher)
    if init is not None:
        config.init.checkpoint = str(init)
    return config


def _run(workdir, config, seed, steps):
    """Trains for `steps` steps, the schedules fitted to them, and returns the validation IoU at their end."""
    with config.unlocked(), config.ignore_type():
        config.seed = seed
        epoch = max(1, steps // config.train.total_epochs)
        config.data.pairs_per_epoch = epoch * config.train.batch_size
        config.train.total_epochs = steps / epoch
        config.train.validate_every_epochs = 0
        config.data.synthetic.detail_steps = min(config.data.synthetic.detail_steps, steps // 2)
    if code := train.train(config, str(workdir)):
        raise SystemExit(code)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line["validation/iou"] for line in lines if "validation/iou" in line][-1]


if __name__ == "__main__":
    errors.run(main)
