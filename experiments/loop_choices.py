"""Which settings of the tracking loop pay, with the weights as they are: chosen on some videos, judged on others.

    python -m experiments.loop_choices --benchmark frames:DIR --out OUT [--config ... --checkpoint DIR_OR_PTH]
    python -m experiments.loop_choices --benchmark frames:DIR --out OUT --choices window=0.5,size_update=0.2

Each choice changes keys of config.tracking (or model.KEY). The tracker follows procedural videos of a seed that no
training shows, and the sequences of --benchmark, which are cut in two halves (every other one). A choice counts as
better where it gains on the procedural videos and on both halves. "Chosen on" names the choice that gains most on one
half and the procedural videos together, and what it then gains on the other half, which had no say.

Differences are to the config as it is, over the same sequences; behind "±" is their standard error over sequences. What
is smaller than that is noise. OUT gets loop_choices.md and .json; what is measured there with the same weights, config
and videos is not tracked again.
"""

import dataclasses
import tempfile

import jax
import numpy as np
from absl import flags
from etils import epath

import trackers
from data_pipelines import sources
from data_pipelines.procedural import video
from trackers import errors, weights
from trackers.evaluation import benchmark, records, starts, tables
from trackers.io import image_files, numbers, outputs, plain_text
from trackers.tracking import recovery, single_object

FLAGS = flags.FLAGS
NAME, AS_IT_IS = "loop_choices", "as it is"
PROCEDURAL = "procedural"
GRID = (
    *("window=0.25", "window=0.5", "window=0.75"),
    *("size_update=0.05", "size_update=0.2"),
    *("size_score_power=1", "size_update=0.2,size_score_power=2"),
    *("aspect_update=0", "aspect_update=0.3"),
    *("average_cells=1", "average_cells=2"),
    *("template_factor=1.8", "template_factor=2.2", "search_factor=3.6", "search_factor=4.4"),
    f"lost_below={recovery.LOST_BELOW},found_above={recovery.FOUND_ABOVE}",
    "model.templates=2,update_interval=20,update_threshold=0.7",
)


def define_flags():
    weights.define_flags()
    flags.DEFINE_string("benchmark", None, "NAME:PATH as eval.py takes it, with public boxes.", required=True)
    flags.DEFINE_multi_string("choices", list(GRID), "KEY=VALUE,...: one choice; to be given several times.")
    flags.DEFINE_integer("starts", 1, "Frames of each sequence to start from, as eval.py.", lower_bound=1)
    flags.DEFINE_integer("length", 80, "With several starts: frames that are tracked from each.", lower_bound=10)
    flags.DEFINE_integer("videos", 8, "Procedural videos.", lower_bound=2)
    flags.DEFINE_integer("frames", 60, "Frames of each.", lower_bound=2)
    flags.DEFINE_integer("seed", 60, "Number of the first of them.", lower_bound=0)
    flags.DEFINE_string("out", None, "Folder for the table.", required=True)


@dataclasses.dataclass(frozen=True)
class Choice:
    """changes: {key: number} of the tracking section. fields: {field: number} of the model."""

    changes: dict
    fields: dict


def main(argv):
    del argv
    choices = {AS_IT_IS: Choice({}, {}), **{text: parsed(text) for text in FLAGS.choices}}
    config = weights.chosen_config()
    model, tracking, _ = single_object.for_benchmark(config, FLAGS.benchmark.partition(":")[0])
    runs = {label: _tracker(model, tracking, choice) for label, choice in choices.items()}
    name, sequences = sources.open_sequences(FLAGS.benchmark)
    if len(sequences) < 4:
        raise errors.InputError(
            f"--benchmark {FLAGS.benchmark}: two halves need four sequences, there are {len(sequences)}"
        )
    out = epath.Path(FLAGS.out)
    outputs.claim_folder(out)
    variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))
    among = starts.Starts(FLAGS.starts, FLAGS.length)
    with tempfile.TemporaryDirectory() as folder:
        made = epath.Path(folder) / PROCEDURAL
        video.write_sequences(made, FLAGS.videos, FLAGS.frames, FLAGS.seed)
        sets = {PROCEDURAL: ("frames", sources.open_sequences(f"frames:{made}")[1]), "real": (name, sequences)}
        facts = {"weights": records.digest(variables), "starts": repr(among), "videos": _videos(sets)}
        found = _Measured(out / f"{NAME}.json")
        for label, tracker in runs.items():
            run = records.digest({**facts, "model": repr(tracker.model), "settings": repr(tracker.settings)})
            for kind, (rules, some) in sets.items():
                if not found.has(label, kind, run):
                    runner = benchmark.Runner(tracker, variables, image_files.read_image)
                    ao = starts.judge(runner, some, f"{label}, {kind}", among, rules)[0][:, 0]
                    found.add(label, kind, run, ao)
    text = table({label: found.of(label) for label in runs})
    outputs.write_text(out / f"{NAME}.md", text + "\n")
    print(text)


def parsed(text):
    """The Choice that a flag's text means. Raises: UsageError."""
    changes, fields = {}, {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        try:
            value = numbers.number(value)
        except ValueError:
            raise errors.UsageError(f"--choices {text}: {part!r} is no KEY=NUMBER, as window=0.5") from None
        section, key = (fields, key.removeprefix("model.")) if key.startswith("model.") else (changes, key)
        section[key] = int(value) if value == int(value) else value
    return Choice(changes, fields)


def _tracker(model, tracking, choice):
    model = trackers.build(trackers.merged(model, choice.fields))
    return single_object.Tracker(model, {**tracking, **choice.changes})


def _videos(sets):
    return {kind: [f"{one.name} {len(one.frames)}" for one in some] for kind, (_, some) in sets.items()}


class _Measured:
    """AO of each choice on each set of videos, kept in a JSON file."""

    def __init__(self, path):
        self._path = path
        self._found = plain_text.read_json(path, "what this program measured") if path.exists() else {}

    def has(self, label, kind, run):
        return self._found.get(label, {}).get(kind, {}).get("run") == run

    def add(self, label, kind, run, ao):
        self._found.setdefault(label, {})[kind] = {"run": run, "ao": list(ao)}
        records.write_json(self._path, self._found)

    def of(self, label):
        """{kind: AO (sequences,)}."""
        return {kind: np.array(entry["ao"]) for kind, entry in self._found[label].items()}


def table(found):
    """The table and what would have been chosen, as text.

    Args: found: {choice: {"procedural": AO (videos,), "real": AO (sequences,)}}, fractions; AS_IT_IS among them.
    """
    base = found[AS_IT_IS]
    rows, gains = [], {}
    for label, ao in found.items():
        gain = {kind: 100 * (ao[kind] - base[kind]) for kind in ao}
        halves = gain["real"][::2], gain["real"][1::2]
        gains[label] = {PROCEDURAL: gain[PROCEDURAL].mean(), "half 1": halves[0].mean(), "half 2": halves[1].mean()}
        absolute = ao[PROCEDURAL], ao["real"][::2], ao["real"][1::2], ao["real"]
        cells = [f"{100 * values.mean():.1f}" for values in absolute]
        cells += (
            ["", "", ""] if label == AS_IT_IS else [_gain(gain[PROCEDURAL]), _gain(gain["real"]), _better(gains[label])]
        )
        rows.append([label, *cells])
    heads = ["AO", PROCEDURAL, "half 1", "half 2", "all", "gain, procedural", "gain, all", "in all three"]
    return "\n\n".join([tables.markdown(heads, rows), *(_chosen(gains, *halves) for halves in _SWAPPED)])


_SWAPPED = (("half 1", "half 2"), ("half 2", "half 1"))


def _gain(values):
    return f"{values.mean():+.1f} ± {values.std(ddof=1) / np.sqrt(len(values)):.1f}"


def _better(gain):
    return "yes" if min(gain.values()) > 0 else "no"


def _chosen(gains, seen, unseen):
    label = max(gains, key=lambda each: gains[each][seen] + gains[each][PROCEDURAL])
    gain = gains[label]
    return (
        f"Chosen on {seen} and {PROCEDURAL}: {label} ({gain[seen]:+.1f} and {gain[PROCEDURAL]:+.1f} there,"
        f" {gain[unseen]:+.1f} on {unseen})."
    )


if __name__ == "__main__":
    define_flags()
    errors.run(main)
