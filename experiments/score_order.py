"""Does it matter whether MixFormerV2's score head takes its mean before or after the MLP, at tiny size?

    python -m experiments.score_order --workdir DIR --students DIR2 [--seeds 3] [--steps 600]

The program scores each prediction token and takes the mean of the scores, the supplement scores the mean of the tokens.
Per seed and order the score head alone is trained (configs/mixformer_v2.py:tiny_score) on the student that
`python -m experiments.distillation --workdir DIR2` left in DIR2/seedN/stage1, from the same first weights of the head,
on the same pairs, of which half show the target. "accuracy" is the share of validation pairs whose score is on the
right side of one half, "cross-entropy" their loss. A run in DIR that was stopped goes on where it stood, and what is
finished is not trained again.
"""

from pathlib import Path

from absl import flags

from configs import mixformer_v2
from experiments import short_runs
from trackers import errors
from trackers.evaluation import tables
from trackers.nn.distribution import SCORE_ORDERS

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
flags.DEFINE_string("students", None, "Workdir of experiments.distillation.", required=True)
flags.DEFINE_integer("seeds", 1, "How often everything is trained; of as many seeds there are students.", lower_bound=1)
flags.DEFINE_integer("steps", 600, "Steps of each score head.", lower_bound=20)


def main(argv):
    del argv
    students = [Path(FLAGS.students) / f"seed{seed}" / "stage1" for seed in range(FLAGS.seeds)]
    for student in students:
        if not student.is_dir():
            raise errors.InputError(f"--students: {student} does not exist: run experiments.distillation for this seed")
    short_runs.share_programs(FLAGS.workdir)
    runs = {order: [] for order in SCORE_ORDERS}
    for seed, student in enumerate(students):
        for order in SCORE_ORDERS:
            folder = Path(FLAGS.workdir) / f"seed{seed}" / order
            runs[order].append(short_runs.run(folder, _config(order, student), seed, FLAGS.steps))
    rows = [
        [order, *(cell for metric in ("accuracy", "loss") for cell in short_runs.spread([r[metric] for r in results]))]
        for order, results in runs.items()
    ]
    print(tables.markdown(["", "accuracy", "spread", "each seed", "cross-entropy", "spread", "each seed"], rows))


def _config(order, student):
    """The score stage on a student of four layers, whose score then depends on the template (docs/distillation.md)."""
    config = mixformer_v2.get_config("tiny_score")
    with config.unlocked():
        config.model.update({"depth": 4, "score_order": order})
        config.init.update({"checkpoint": str(student), "variants": ("configs/mixformer_v2.py:tiny_stage1",)})
    return config


if __name__ == "__main__":
    errors.run(main)
