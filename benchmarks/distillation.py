"""Does distillation help at tiny size, on procedural video? Trains everything and prints a table of validation IoU.

    python -m benchmarks.distillation --workdir DIR [--seeds 3] [--teacher_steps 1400] [--steps 1500]

Per seed: a MixViT teacher; a four-layer student alone and one taught by it (stage 1), from the same first weights, on
the same pairs, for as many steps; then two layers left of the taught one, by fading the others (half of the steps) and
going on, beside two layers that start as its first two (Tea-fir), again for as many steps. All runs of a seed have the
same validation pairs; "wrong template" is the IoU when every search crop is shown with its neighbor's template. A run
in DIR that was stopped goes on where it stood, and what is finished is not trained again.
"""

import json
import statistics
from pathlib import Path

import jax
from absl import flags

import train
from configs import mixformer_v2, mixvit
from trackers import errors
from trackers.evaluation import tables

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
flags.DEFINE_integer("seeds", 1, "How often everything is trained.", lower_bound=1)
flags.DEFINE_integer("teacher_steps", 1400, "Steps of the teacher.", lower_bound=40)
flags.DEFINE_integer("steps", 1500, "Steps of each student of stage 1.", lower_bound=40)
flags.DEFINE_integer("prune_steps", 600, "Steps of each student of stage 2, fading included.", lower_bound=80)

_ROWS = (
    ("teacher (MixViT)", "teacher"),
    ("student alone", "alone"),
    ("student, stage 1", "stage1"),
    ("2 layers, Tea-fir", "fir2"),
    ("2 layers, pruned", "depth2"),
)
_METRICS = ("iou", "wrong_template_iou")


def main(argv):
    del argv
    # The runs of all seeds compile the same programs.
    jax.config.update("jax_compilation_cache_dir", str(Path(FLAGS.workdir).resolve() / "compiled"))
    seeds = [_one(Path(FLAGS.workdir) / f"seed{seed}", seed) for seed in range(FLAGS.seeds)]
    rows = []
    for label, name in _ROWS:
        overlaps, wrong = ([found[name][metric] for found in seeds] for metric in _METRICS)
        spread = f"{statistics.stdev(overlaps):.3f}" if len(overlaps) > 1 else ""
        each = " ".join(f"{value:.3f}" for value in overlaps)
        rows.append([label, f"{statistics.mean(overlaps):.3f}", spread, each, f"{statistics.mean(wrong):.3f}"])
    print(tables.markdown(["", "validation IoU", "spread", "each seed", "wrong template"], rows))


def _one(folder, seed):
    """{run: {metric: value}} of one seed."""

    def run(name, config, steps):
        return _run(folder / name, config, seed, steps)

    teacher, taught, pruned = (folder / name for name in ("teacher", "stage1", "prune"))
    found = {"teacher": run("teacher", _teacher(), FLAGS.teacher_steps)}
    for name in ("alone", "stage1"):
        found[name] = run(name, _stage(name, teacher, teacher), FLAGS.steps)
    found["fir2"] = run("fir2", _stage("fir2", taught, taught), FLAGS.prune_steps)
    fading = FLAGS.prune_steps // 2
    run("prune", _stage("prune", taught, taught), fading)
    found["depth2"] = run("depth2", _stage("depth2", taught, pruned), FLAGS.prune_steps - fading)
    return found


def _teacher():
    """MixViT as the student's stage describes it, trained as the student is."""
    student, config = mixformer_v2.get_config("tiny_stage1"), mixvit.get_config("tiny")
    with config.unlocked():
        config.model = student.teacher.model
        config.data, config.tracking, config.train = student.data, student.tracking, student.train
        # Convolutions over the search tokens bear more than prediction tokens do.
        config.train.learning_rate = 1.5e-3
    return config


def _stage(name, teacher, init):
    config = mixformer_v2.get_config(f"tiny_{name}")
    config.teacher.checkpoint, config.init.checkpoint = str(teacher), str(init)
    return config


def _run(workdir, config, seed, steps):
    """Trains for `steps` steps, the schedules fitted to them; returns {metric: value} of the last validation."""
    with config.unlocked(), config.ignore_type():
        config.seed = seed
        epoch = max(1, steps // config.train.total_epochs)
        config.data.pairs_per_epoch = epoch * config.train.batch_size
        config.train.total_epochs = steps / epoch
        config.train.validate_every_epochs = 0
    if code := train.train(config, str(workdir)):
        raise SystemExit(code)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "validation/iou" in line][-1]
    return {metric: last[f"validation/{metric}"] for metric in _METRICS}


if __name__ == "__main__":
    errors.run(main)
