"""Several short trainings to be compared with each other: run, resumed, read back, tabulated with their spread."""

import statistics

import train
from trackers.evaluation import tables
from trackers.io import compiled, outputs
from trackers.training import metrics


def share_programs(workdir):
    """Runs of equal shapes compile once: what is compiled is kept in DIR/compiled."""
    outputs.claim_folder(workdir, "--workdir")
    compiled.keep_of_run("workdir", workdir)


def run(workdir, config, seed, steps):
    """Trains for `steps` steps, the schedules fitted to them; returns {metric: value} of the last validation."""
    with config.unlocked(), config.ignore_type():
        config.seed = seed
        epoch = max(1, steps // config.train.total_epochs)
        config.data.pairs_per_epoch = epoch * config.train.batch_size
        config.train.total_epochs = steps / epoch
        config.train.validate_every_epochs = 0
    if code := train.train(config, str(workdir)):
        raise SystemExit(code)
    last = [line for line in metrics.read(workdir) if "validation/iou" in line][-1]
    return {name.removeprefix("validation/"): value for name, value in last.items() if name.startswith("validation/")}


def spread(values):
    """[mean, standard deviation over the seeds ("" of one), each] as text, three decimals."""
    deviation = f"{statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return [f"{statistics.mean(values):.3f}", deviation, " ".join(f"{value:.3f}" for value in values)]


def table(rows, seeds):
    """Markdown of [(label, name)] from [{name: {metric: value}}], one of each seed."""
    lines = []
    for label, name in rows:
        overlaps, wrong = ([results[name][metric] for results in seeds] for metric in ("iou", "wrong_template_iou"))
        lines.append([label, *spread(overlaps), f"{statistics.mean(wrong):.3f}"])
    return tables.markdown(["", "validation IoU", "spread", "each seed", "wrong template"], lines)
