"""Which relation between template and search tokens learns best at the size of the pocket tracker (GRM, Tables 4, 5)?

    python -m experiments.relations --workdir DIR [--seeds 3] [--steps 2000] [--sequences DIR]

Per seed, on the same procedural pairs, for as many steps: two-stream (the last layer apart), one-stream, and division
learned in the layers of configs/grm.py:pocket, with the target pooled by maximum and by average. All runs of a seed
have the same validation pairs; "wrong template" is the IoU when every search crop is shown with its neighbor's
template; "interacting" is the mean share of search tokens that the division lets interact, in validation. With
--sequences also the AO on those (folders of frames with a groundtruth.txt). A run in DIR that was stopped goes on where
it stood, and what is finished is not trained again.
"""

import functools
from pathlib import Path

import jax
from absl import flags

import trackers
from configs import grm
from data_pipelines import sources
from experiments import short_runs
from trackers import errors, weights
from trackers.evaluation import benchmark, starts, tables
from trackers.io import image_files
from trackers.tracking import single_object

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
flags.DEFINE_integer("seeds", 1, "How often everything is trained.", lower_bound=1)
flags.DEFINE_integer("steps", 2000, "Steps of each run.", lower_bound=40)
flags.DEFINE_string("sequences", None, "Folder of sequence folders.")

_ROWS = {
    "two-stream (Table 4, #1)": {"mode": "two_stream"},
    "one-stream (#2)": {"mode": "one_stream"},
    "learned division (#5), maximum": {"mode": "learned", "pool": "max"},
    "learned division, average (Table 5)": {"mode": "learned", "pool": "average"},
}


def main(argv):
    del argv
    short_runs.share_programs(FLAGS.workdir)
    sequences = sources.open_sequences(f"frames:{FLAGS.sequences}")[1] if FLAGS.sequences else []
    read = functools.cache(image_files.read_image)
    results = {label: [] for label in _ROWS}
    for seed in range(FLAGS.seeds):
        for label, division in _ROWS.items():
            folder = Path(FLAGS.workdir) / f"seed{seed}" / "_".join(division.values())
            results[label].append(_one(folder, division, seed, sequences, read))
    heads = ["", "validation IoU", "spread", "each seed", "wrong template", "interacting"]
    heads += ["AO", "spread", "each seed"] if sequences else []
    print(tables.markdown(heads, [_row(label, runs) for label, runs in results.items()]))


def _one(folder, division, seed, sequences, read):
    """{metric: value} of one run, with "AO" where there are sequences."""
    config = grm.get_config("pocket")
    with config.unlocked():
        config.model.division.update(division)
        config.data.synthetic.detail_steps = FLAGS.steps // 2
        config.train.update({"total_epochs": 10, "drop_epoch": 8, "keep_checkpoints": 1})
        # An average over so many steps as are a twentieth of the run.
        config.train.ema_decay = 1 - 20 / FLAGS.steps
    numbers = short_runs.run(folder, config, seed, FLAGS.steps)
    if sequences:
        tracker = single_object.Tracker(trackers.build(config.model), config.tracking)
        variables = jax.device_put(weights.load(folder, config.model))
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
