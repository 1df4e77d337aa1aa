"""Several short trainings to be compared with each other: run, resumed, read back, tabulated with their spread."""

import statistics
from pathlib import Path

import train
from trackers import errors
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


def compare(workdir, rows, chosen, seeds, steps, config_of):
    """Trains each chosen row with each seed in DIR/seedS/NAME and prints the table.

    Args: rows: {name: (label, ...)}. chosen: names. config_of: function of a name, its config.

    Raises: UsageError for a name that is none.
    """
    if unknown := [name for name in chosen if name not in rows]:
        raise errors.UsageError(f"--rows {unknown[0]}: choose among {', '.join(rows)}")
    share_programs(workdir)
    results = [
        {name: run(Path(workdir) / f"seed{seed}" / name, config_of(name), seed, steps) for name in chosen}
        for seed in range(seeds)
    ]
    print(table([(rows[name][0], name) for name in chosen], results))


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
