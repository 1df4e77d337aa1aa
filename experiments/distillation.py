"""Does distillation help at tiny size, on procedural video? Trains everything and prints a table of validation IoU.

    python -m experiments.distillation --workdir DIR [--seeds 3] [--teacher_steps 1400] [--steps 1500]

Per seed: a MixViT teacher; a four-layer student alone and one taught by it (stage 1), from the same first weights, on
the same pairs, for as many steps; then two layers left of the taught one, by fading the others (half of the steps) and
going on, beside two layers that start as its first two, again for as many steps. All runs of a seed have the
same validation pairs; "wrong template" is the IoU when every search crop is shown with its neighbor's template. A run
in DIR that was stopped goes on where it stood, and what is finished is not trained again.
"""

from pathlib import Path

from absl import flags

from configs import mixformer_v2, mixvit
from experiments import short_runs
from trackers import errors

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
    ("2 layers, its first", "fir2"),
    ("2 layers, pruned", "depth2"),
)


def main(argv):
    del argv
    short_runs.share_programs(FLAGS.workdir)
    seeds = [_one(Path(FLAGS.workdir) / f"seed{seed}", seed) for seed in range(FLAGS.seeds)]
    print(short_runs.table(_ROWS, seeds))


def _one(folder, seed):
    """{run: {metric: value}} of one seed."""

    def run(name, config, steps):
        return short_runs.run(folder / name, config, seed, steps)

    teacher, taught, pruned = (folder / name for name in ("teacher", "stage1", "prune"))
    results = {"teacher": run("teacher", mixvit.get_config("tiny_teacher"), FLAGS.teacher_steps)}
    for name in ("alone", "stage1"):
        results[name] = run(name, _stage(name, teacher, teacher), FLAGS.steps)
    results["fir2"] = run("fir2", _stage("fir2", taught, taught), FLAGS.prune_steps)
    fading = FLAGS.prune_steps // 2
    run("prune", _stage("prune", taught, taught), fading)
    results["depth2"] = run("depth2", _stage("depth2", taught, pruned), FLAGS.prune_steps - fading)
    return results


def _stage(name, teacher, init):
    config = mixformer_v2.get_config(f"tiny_{name}")
    config.teacher.checkpoint, config.init.checkpoint = str(teacher), str(init)
    return config


if __name__ == "__main__":
    errors.run(main)
