"""Do unlabelled frames of one kind of video make the shipped tracker better on other videos of that kind?

    python -m experiments.own_footage --footage DIR,DIR --benchmark frames:DIR --sequences NAME,NAME --workdir RUN
                                      [--seeds 2] [--steps 100] [--procedural 1] [--learning_rate 3e-5]

--footage are videos or folders of frames, none of which may be a held-out video; no label of theirs is read
(data_pipelines/unlabelled). The shipped weights (weights/grm_t128) are trained on them for --steps steps of 16 pairs,
once for each seed, with --procedural pairs of procedural video for each of theirs (0: none). The held-out sequences, of
--benchmark and with boxes, are tracked before and after from --starts frames each. "region IoU" is that of regions of
the last tenth of the footage: whether what was trained for was learned. A run that was stopped goes on where it stood.
"""

import pathlib
import statistics

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
flags.DEFINE_list("footage", None, "Folders of videos or frames without labels.", required=True)
flags.DEFINE_string("benchmark", None, "NAME:PATH of the held-out videos, with boxes.", required=True)
flags.DEFINE_list("sequences", [], "Only these of the held-out videos, by name; empty: all.")
flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
flags.DEFINE_integer("seeds", 2, "How often the weights are trained.", lower_bound=1)
flags.DEFINE_integer("steps", 100, "Steps of each training, of 16 pairs.", lower_bound=1)
flags.DEFINE_float("procedural", 1.0, "Pairs of procedural video for each pair of footage.", lower_bound=0.0)
flags.DEFINE_float("learning_rate", 3e-5, "Highest rate of the training.", lower_bound=0.0)
flags.DEFINE_integer("starts", 3, "Frames of each held-out video that the tracker starts from.", lower_bound=1)
_SHIPPED = pathlib.Path(__file__).resolve().parents[1] / "weights" / "grm_t128"


def main(argv):
    del argv
    name, sequences = sources.open_sequences(FLAGS.benchmark)
    sequences = sources.chosen(sequences, FLAGS.sequences)
    benchmark.check_starts(sequences, image_files.read_image)
    short_runs.share_programs(FLAGS.workdir)
    footage = _linked(FLAGS.footage, sequences)
    sources.open_source("footage", str(footage))  # nothing usable in it is said before anything is tracked
    before, after, regions = _judged(None, name, sequences), [], []
    for seed in range(FLAGS.seeds):
        run = pathlib.Path(FLAGS.workdir) / f"seed{seed}"
        regions.append(short_runs.run(run, _config(footage), seed, FLAGS.steps)["iou"])
        after.append(_judged(str(run), name, sequences))
    print(_table(sequences, before, after))
    print(f"\nregion IoU after the training: {', '.join(f'{value:.3f}' for value in regions)}")


def _linked(folders, sequences):
    """One folder that shows all of the footage. Raises: UsageError where a held-out video is among it."""
    held_out = {frame.parent.resolve(): s.name for s in sequences for frame in s.frames[:1] if hasattr(frame, "parent")}
    home = pathlib.Path(FLAGS.workdir).resolve() / "footage"
    home.mkdir(exist_ok=True)
    for number, folder in enumerate(folders):
        path = pathlib.Path(folder).resolve()
        if not path.is_dir():
            raise errors.InputError(f"--footage: {folder} is not a folder")
        if seen := [name for place, name in held_out.items() if pathlib.Path(place).is_relative_to(path)]:
            raise errors.UsageError(f"--footage={folder} holds {seen[0]}, which is held out: give other videos")
        link = home / f"{number}-{path.name}"
        if not link.is_symlink():
            link.symlink_to(path)
    if {link.resolve() for link in home.iterdir()} != {pathlib.Path(folder).resolve() for folder in folders}:
        raise errors.UsageError(f"--workdir={FLAGS.workdir} is of other footage: name another")
    return home


def _config(footage):
    config = grm.get_config("t128")
    with config.unlocked():
        config.init.checkpoint = str(_SHIPPED)
        config.data.footage, config.data.ratio.footage = str(footage), 1.0
        config.data.ratio.synthetic = FLAGS.procedural
        config.data.validation_pairs = 64
        # Procedural video that is made fast on a few cores.
        config.data.synthetic.update({"detail_steps": 0, "backgrounds": 32, "families": 24, "renew_every_steps": 1000})
        config.train.update({"batch_size": 16, "total_epochs": 1, "warmup_epochs": 0.1, "ema_decay": 0.0})
        config.train.update({"learning_rate": FLAGS.learning_rate, "steps_per_dispatch": 1, "log_every_steps": 10})
    return config


def _judged(run, name, sequences):
    """(S, 4) numbers of the weights of a run (None: the shipped ones) on the sequences, as starts.HEADS, fractions."""
    config = grm.get_config("t128")
    model, settings, _ = single_object.for_benchmark(config, name)
    variables = jax.device_put(weights.load(run, config.model))
    runner = benchmark.Runner(single_object.Tracker(trackers.build(model), settings), variables, image_files.read_image)
    return starts.judge(runner, sequences, run or "shipped", starts.Starts(FLAGS.starts), name)[0]


def _table(sequences, before, after):
    """AO and SR0.5 in per cent: before, the mean after with its standard deviation over the seeds, and each seed's."""
    rows = []
    for column, head in enumerate(starts.HEADS[:2]):
        for label, rows_of in [(s.name, [i]) for i, s in enumerate(sequences)] + [("mean", range(len(sequences)))]:
            old, *new = (100 * statistics.mean(values[i, column] for i in rows_of) for values in (before, *after))
            spread = f"{statistics.stdev(new):.1f}" if len(new) > 1 else ""
            each = " ".join(f"{value:.1f}" for value in new)
            rows.append([f"{head}, {label}", f"{old:.1f}", f"{statistics.mean(new):.1f}", spread, each])
    return tables.markdown(["", "as shipped", "after footage", "spread", "each seed"], rows)


if __name__ == "__main__":
    errors.run(main)
