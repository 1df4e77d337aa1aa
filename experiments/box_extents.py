"""Does a tracker that is told the template's box learn what the box covers?

    python -m experiments.box_extents --workdir DIR [--seeds 2] [--steps 800] [--rows grid,box]
        [--config configs/grm.py:demo --config.KEY=VALUE]

Per seed, on the same procedural pairs of configs/grm.py:t128_extents, for as many steps: a tracker whose template
tokens are not told the box, one whose are (model.template_position), one whose head is told the box's sides
(model.head.template_sides), both, and one whose crops take the box's aspect (tracking.crop_aspect). All runs of a seed
have the same validation pairs; "wrong template" is the IoU when every search crop is shown with its neighbor's template
and box. A run in DIR that was stopped goes on where it stood, and what is finished is not trained again.
"""

from absl import flags

from configs import grm
from experiments import short_runs
from trackers import errors

FLAGS = flags.FLAGS
errors.define_config("Config file and variant of a tracker with a center head.", "configs/grm.py:demo")
flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
flags.DEFINE_integer("seeds", 1, "How often everything is trained.", lower_bound=1)
flags.DEFINE_integer("steps", 800, "Steps of each run.", lower_bound=20)

# Label, config.model.template_position, config.model.head.template_sides, config.tracking.crop_aspect.
_ROWS = {
    "grid": ("not told", "grid", False, 0.0),
    "box": ("tokens are told the box", "box", False, 0.0),
    "sides": ("the head is told its sides", "grid", True, 0.0),
    "both": ("both", "box", True, 0.0),
    "aspect": ("crops have its aspect", "grid", False, 1.0),
}
flags.DEFINE_list("rows", list(_ROWS), f"What is trained, of {', '.join(_ROWS)}.")


def main(argv):
    del argv
    short_runs.compare(FLAGS.workdir, _ROWS, FLAGS.rows, FLAGS.seeds, FLAGS.steps, _config)


def _config(name):
    config = FLAGS.config.copy_and_resolve_references()
    _, position, sides, crop_aspect = _ROWS[name]
    with config.unlocked(), config.ignore_type():
        grm.told_extents(config)
        config.model.template_position, config.model.head.template_sides = position, sides
        config.tracking.crop_aspect = crop_aspect
        config.data.synthetic.detail_steps = FLAGS.steps // 2
        config.train.update({"total_epochs": 10, "drop_epoch": 8, "keep_checkpoints": 1})
        # An average over so many steps as are a twentieth of the run.
        config.train.ema_decay = 1 - 20 / max(FLAGS.steps, 40)
    return config


if __name__ == "__main__":
    errors.run(main)
