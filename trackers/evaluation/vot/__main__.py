"""VOT and VOTS: sets up a workspace of the official toolkit, and scores what it leaves without it.

    python -m trackers.evaluation.vot init --workspace W [--stack vot2022/shorttermbox] [--config ... --checkpoint ...]
                                           [--benchmark NAME:PATH [--sequences A,B]] [--name grm]
    PYTHONPATH=. vot evaluate --workspace W grm          # then `vot analysis`, `vot report` and `vot pack`
    python -m trackers.evaluation.vot score --results W/results/grm/baseline [--out DIR]

init   writes config.yaml, and stack.yaml for the stacks with EAO from multiple starts, where W has none, and adds the
       tracker to trackers.ini. Sequences are what the toolkit downloads, or, with --benchmark, those of any benchmark
       that eval.py reads, their images linked, so that nothing is downloaded. The toolkit imports this library, so
       start it where PYTHONPATH names this folder. It is installed by requirements/vot.txt.
score  accuracy, robustness and EAO of raw results of multi-start experiments, equal to the toolkit's; it needs W's
       files alone. --out gets table.md and results.json, the curve of EAO in it.
"""

import functools
import sys

from absl import flags
from etils import epath

import trackers
from data_pipelines import sources
from trackers import errors, weights
from trackers.evaluation import records, tables
from trackers.evaluation.vot import multistart_scores, workspace
from trackers.io import outputs
from trackers.tracking import single_object

FLAGS = flags.FLAGS
# Of each command, beside the config's.
_FLAGS = {
    "init": (
        "config", "checkpoint", "workspace", "stack", "name", "settings", "benchmark", "sequences", "anchor_distance",
        "low", "high",
    ),
    "score": ("results", "sequences_folder", "low", "high", "out"),
}  # fmt: skip
_HEADS = ["sequence", "accuracy", "robustness", "EAO"]


def main(command, argv):
    """Runs one of the commands; `argv` is what the flags left over."""
    del argv
    commands = {"init": init, "score": score}
    if command in ("help", "--help", "-h"):
        print(__doc__)
        return 0
    if command not in commands:
        raise errors.UsageError(
            f"command {command!r}: use {' or '.join(commands)} (python -m trackers.evaluation.vot --help)"
        )
    errors.leave_out(sorted({*sum(_FLAGS.values(), ())} - {*_FLAGS[command]}), f"has no use with {command}")
    return commands[command]()


def init():
    """Writes what the toolkit needs into the workspace."""
    if not FLAGS.workspace:
        raise errors.UsageError("init: give --workspace=FOLDER, the toolkit's workspace, there or not yet")
    config = weights.chosen_config()
    if trackers.build(config.model).task != "track":
        raise errors.UsageError(
            f"--config: {config.model.name} chooses among given tracks by a phrase, and the toolkit gives no tracks:"
            " give a tracker of one object"
        )
    if FLAGS.checkpoint and "://" not in FLAGS.checkpoint and not epath.Path(FLAGS.checkpoint).exists():
        raise errors.InputError(f"--checkpoint {FLAGS.checkpoint} does not exist")
    if not FLAGS.benchmark:
        errors.leave_out(["sequences", "anchor_distance"], "is of --benchmark")
    if FLAGS.stack not in workspace.STACKS:
        errors.leave_out(["low", "high"], f"is of a stack with EAO: {', '.join(workspace.STACKS)}")
    if not 1 <= FLAGS.low < FLAGS.high:
        raise errors.UsageError(f"--low {FLAGS.low} and --high {FLAGS.high}: give frames, 1 <= low < high")
    if any(FLAGS[flag].present for flag in ("stack", "low", "high")):
        workspace.check_stack(FLAGS.workspace, FLAGS.stack, FLAGS.low, FLAGS.high)
    settings = FLAGS.settings or workspace.SETTINGS.get(FLAGS.stack, "vot")
    model, tracking, set_there = single_object.for_benchmark(config, settings)
    if FLAGS.settings and not set_there:
        known = ", ".join(config.tracking.get("benchmarks", {})) or "none"
        raise errors.UsageError(
            f"--settings {settings}: config.tracking.benchmarks sets nothing for it; it has {known}"
        )
    weights.load(FLAGS.checkpoint, config.model)  # before a workspace names what cannot be loaded
    chosen = []
    if FLAGS.benchmark:
        chosen = sources.chosen(sources.open_sequences(FLAGS.benchmark)[1], FLAGS.sequences)
    folder = outputs.claim_folder(FLAGS.workspace, "--workspace")
    for key, value in set_there.items():
        print(f"{key}={value} for {settings} (config.tracking.benchmarks.{settings})")
    name = FLAGS.name or config.model.name
    workspace.add_tracker(folder, name, {"model": model, "tracking": tracking}, FLAGS.checkpoint)
    workspace.create(folder, FLAGS.stack, FLAGS.low, FLAGS.high)
    if chosen:
        workspace.write_sequences(folder, chosen, FLAGS.anchor_distance)
    print(f"wrote {name} in {folder}; next: PYTHONPATH={workspace.ROOT} vot evaluate --workspace {folder} {name}")


def score():
    """Prints accuracy, robustness and EAO of a folder of raw results."""
    if not FLAGS.results:
        raise errors.UsageError("score: give --results=FOLDER, such as W/results/TRACKER/baseline")
    results = epath.Path(FLAGS.results)
    if not results.is_dir():
        raise errors.InputError(f"--results {results}: no such folder; give one such as W/results/TRACKER/baseline")
    folder = epath.Path(FLAGS.sequences_folder or results.resolve().parent.parent.parent / "sequences")
    if FLAGS.out:
        outputs.claim_folder(FLAGS.out)
    scores = multistart_scores.score(results, folder, FLAGS.low, FLAGS.high)
    rows = [[name, f"{part.accuracy:.4f}", f"{part.robustness:.4f}", ""] for name, part in scores.sequences.items()]
    rows.append(["all", *(f"{value:.4f}" for value in (scores.accuracy, scores.robustness, scores.eao))])
    text = tables.markdown(_HEADS, rows)
    if FLAGS.out:
        outputs.write_text(epath.Path(FLAGS.out) / "table.md", text + "\n")
        values = {"accuracy": scores.accuracy, "robustness": scores.robustness, "eao": scores.eao}
        values |= {"low": FLAGS.low, "high": FLAGS.high, "curve": scores.curve}
        parts = {
            name: {"accuracy": part.accuracy, "robustness": part.robustness, "frames": part.frames}
            for name, part in scores.sequences.items()
        }
        records.write_json(epath.Path(FLAGS.out) / "results.json", {**values, "sequences": parts})
    print(text)


if __name__ == "__main__":
    weights.define_flags()
    flags.DEFINE_string("workspace", None, "init: the toolkit's workspace, a local folder.")
    flags.DEFINE_string("stack", "vot2022/shorttermbox", "init: the toolkit's name of a stack, or a path of one.")
    flags.DEFINE_string("name", None, "init: the tracker's in trackers.ini; None: the model's.")
    flags.DEFINE_string(
        "settings", None, "init: whose settings of config.tracking.benchmarks hold; None: the stack's (vot20, ...)."
    )
    flags.DEFINE_string("benchmark", None, "init: NAME:PATH of sequences to write into the workspace.")
    flags.DEFINE_list("sequences", [], "init: only these sequences of the benchmark, by name; empty: all.")
    flags.DEFINE_integer(
        "anchor_distance", workspace.ANCHOR_DISTANCE, "init: frames between two starts.", lower_bound=1
    )
    flags.DEFINE_integer("low", workspace.LOW, "The shortest length of EAO's interval, frames.", lower_bound=1)
    flags.DEFINE_integer("high", workspace.HIGH, "Its end, frames.", lower_bound=2)
    flags.DEFINE_string("results", None, "score: folder of raw results, W/results/TRACKER/EXPERIMENT.")
    flags.DEFINE_string("sequences_folder", None, "score: folder of the sequences; None: W/sequences.")
    flags.DEFINE_string("out", None, "score: folder for table.md and results.json; None: printed only.")
    # The command is the one word that is not a flag; what follows it is absl's.
    errors.run(functools.partial(main, sys.argv[1] if len(sys.argv) > 1 else ""), [sys.argv[0], *sys.argv[2:]])
