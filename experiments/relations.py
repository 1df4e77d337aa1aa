"""Which relation between template and search tokens learns best at the size of the pocket tracker (GRM, Tables 4, 5;
appendix C)?

    python -m experiments.relations --workdir DIR [--seeds 3] [--steps 2000] [--sequences DIR]
    python -m experiments.relations --workdir DIR --rows one_stream,learned_max,prototype [--variant demo] ...

Per seed, on the same procedural pairs, for as many steps: two-stream (the last layer apart), one-stream, and division
learned in the layers of configs/grm.py:pocket, with the target pooled by maximum and by average. With --rows also
appendix C's: the learned division with the box as auxiliary loss, the prototype, whose portions are chosen afterwards
on other validation pairs (experiments/portions.py), and continuous division by token and by region. All runs of a seed
have the same validation pairs; "wrong template" is the IoU when every search crop is shown with its neighbor's
template; "interacting" is the mean share of search tokens that the division lets interact, in validation. With
--sequences also the AO on those (folders of frames with a groundtruth.txt). A run in DIR that was stopped goes on where
it stood, and what is finished is not trained again.
"""

import functools
import sys
from pathlib import Path

import jax
from absl import flags

import trackers
from configs import grm
from data_pipelines import sources
from experiments import portions, short_runs
from trackers import errors, weights
from trackers.evaluation import benchmark, starts, tables
from trackers.io import image_files
from trackers.tracking import single_object

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
flags.DEFINE_integer("seeds", 1, "How often everything is trained.", lower_bound=1)
flags.DEFINE_integer("steps", 2000, "Steps of each run.", lower_bound=40)
flags.DEFINE_string("sequences", None, "Folder of sequence folders.")

# Label, and what is set in config.model.division and config.objective.
_ROWS = {
    "two_stream": ("two-stream (Table 4, #1)", {"mode": "two_stream"}, {}),
    "one_stream": ("one-stream (#2)", {"mode": "one_stream"}, {}),
    "learned_max": ("learned division (#5), maximum", {"mode": "learned", "pool": "max"}, {}),
    "learned_average": ("learned division, average (Table 5)", {"mode": "learned", "pool": "average"}, {}),
    "learned_box": ("learned division, box as auxiliary loss (C.1)", {"mode": "learned"}, {"division_weight": 1.0}),
    "prototype": ("prototype (C.1)", {"mode": "prototype"}, {"division_weight": 1.0}),
    "continuous": ("continuous division (C.3)", {"mode": "continuous"}, {}),
    "continuous_regions": ("continuous, 4 x 4 regions (C.3)", {"mode": "continuous", "regions": 4}, {}),
}
flags.DEFINE_list("rows", list(_ROWS)[:4], f"What is trained, of {', '.join(_ROWS)}.")
flags.DEFINE_enum("variant", "pocket", ["pocket", "demo", "tiny"], "Variant of configs/grm.py.")


def main(argv):
    del argv
    if unknown := [name for name in FLAGS.rows if name not in _ROWS]:
        raise errors.UsageError(f"--rows {unknown[0]}: choose among {', '.join(_ROWS)}")
    short_runs.share_programs(FLAGS.workdir)
    sequences = sources.open_sequences(f"frames:{FLAGS.sequences}")[1] if FLAGS.sequences else []
    read = functools.cache(image_files.read_image)
    results = {name: [] for name in FLAGS.rows}
    for seed in range(FLAGS.seeds):
        for name, runs in results.items():
            runs.append(_one(Path(FLAGS.workdir) / f"seed{seed}" / name, name, seed, sequences, read))
    heads = ["", "validation IoU", "spread", "each seed", "wrong template", "interacting"]
    heads += ["AO", "spread", "each seed"] if sequences else []
    print(tables.markdown(heads, [_row(_ROWS[name][0], runs) for name, runs in results.items()]))


def _one(folder, name, seed, sequences, read):
    """{metric: value} of one run, with "AO" where there are sequences."""
    config = grm.get_config(FLAGS.variant)
    _, division, objective = _ROWS[name]
    with config.unlocked():
        config.model.division.update(division)
        config.objective.update(objective)
        config.data.synthetic.detail_steps = FLAGS.steps // 2
        config.train.update({"total_epochs": 10, "drop_epoch": 8, "keep_checkpoints": 1})
        # An average over so many steps as are a twentieth of the run.
        config.train.ema_decay = 1 - 20 / FLAGS.steps
    numbers = short_runs.run(folder, config, seed, FLAGS.steps)
    variables = jax.device_put(weights.load(folder, config.model))
    if name == "prototype":
        pairs = config.data.validation_pairs
        best, _ = portions.tune(config, variables, portions.batches(config, pairs, seed + 1))
        numbers = portions.validate(config, variables, portions.batches(config, pairs, seed), best)
        with config.unlocked():
            config.model.division.portions = best
        print(f"portions {best}", file=sys.stderr)
    if sequences:
        tracker = single_object.Tracker(trackers.build(config.model), config.tracking)
        runner = benchmark.Runner(tracker, variables, read)
        numbers["AO"] = starts.judge(runner, sequences, str(folder))[0][:, 0].mean()
    return numbers


def _row(label, runs):
    def mean(metric):
        return sum(run[metric] for run in runs) / len(runs)

    interacting = f"{mean('division_share'):.2f}" if "division_share" in runs[0] else ""
    row = [label, *short_runs.spread([run["iou"] for run in runs]), f"{mean('wrong_template_iou'):.3f}", interacting]
    return [*row, *(short_runs.spread([run["AO"] for run in runs]) if "AO" in runs[0] else [])]


if __name__ == "__main__":
    errors.run(main)
