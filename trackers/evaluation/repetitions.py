"""eval.py --repeat N: a benchmark tracked N times, its scores as mean and spread.

The first repetition is the run without --repeat. The others lie beside it, and are kept and resumed like it:

    OUT/BENCHMARK/TRACKER_002/..., TRACKER_003/...   repetitions, in the layout of records.py
    OUT/got10k/TRACKER/NAME/NAME_002.txt, ...        GOT-10k: once more where its server looks for them, and in
                                                     NAME_time.txt a column for each
    OUT/repetitions.{md,json}                        mean and spread

Nothing in a network with given weights is random: its repetitions differ only where a device adds in another order each
time. Random weights are drawn anew (config.seed + 1, ...), and so are the random numbers of OpenCV's MIL.
"""

import re

import numpy as np

from trackers.evaluation import benchmark, records, tables
from trackers.io import outputs
from trackers.io.numbers import counted

# Layout whose toolkit keeps repetitions in one folder.
_NUMBERED = "got10k"
LEGEND = """\
Mean of the repetitions, in per cent, and after "±" their standard deviation (N - 1), where boxes differ at all."""


def label(tracker, number):
    """Name of a tracker's repetition, from 1: "grm", "grm_002"."""
    return tracker if number == 1 else f"{tracker}_{number:03d}"


def multiplied(runs, count):
    """Runs of eval.py, each so many times.

    Args: runs: {tracker: (runner, identity of the run)}. count: of repetitions.

    Returns: {label: (runner, identity)}, the repetitions of a tracker one after the other.
    """
    return {
        label(tracker, number): (runner, run if number == 1 else f"{run} repetition {number}")
        for tracker, (runner, run) in runs.items()
        for number in range(1, count + 1)
    }


def of(tracks, count):
    """{tracker: [its repetitions' entries of `tracks`]} of a dict whose keys are those of `multiplied`."""
    first = list(tracks)[::count]
    return {tracker: [tracks[label(tracker, number)] for number in range(1, count + 1)] for tracker in first}


def place(name, tracks, out):
    """GOT-10k: brings the repetitions together in the first one's folder, and takes out what is there of others.

    Args:
      name: the benchmark's. out: folder (etils.epath).
      tracks: {tracker: [{sequence: (boxes (T,4), seconds (T,), facts)} of each repetition]}.
    """
    if name != _NUMBERED:
        return
    for tracker, repeated in tracks.items():
        store = records.Records(out, name, tracker, run=None)
        for sequence in repeated[0]:
            boxes_file, seconds_file = store.paths(sequence)
            files = [boxes_file.parent / f"{sequence}_{number:03d}.txt" for number in range(1, len(repeated) + 1)]
            for file, finished in list(zip(files, repeated, strict=True))[1:]:
                outputs.write_text(file, records.lines(finished[sequence][0], "%.3f"))
            for file in boxes_file.parent.iterdir():
                if re.fullmatch(re.escape(sequence) + "_[0-9]{3}[.]txt", file.name) and file not in files:
                    file.unlink()
            columns = np.stack([finished[sequence][1] for finished in repeated], axis=1)
            outputs.write_text(seconds_file, records.lines(columns, "%.8f"))


def report(name, tracks, sequences, out):
    """Prints what N repetitions amount to, and writes OUT/repetitions.md and repetitions.json.

    Args: as of `place`; sequences: list of data_pipelines Sequence. Scores are left out where their truth is withheld.
    """
    count = len(next(iter(tracks.values())))
    differing = {tracker: _differing(repeated) for tracker, repeated in tracks.items()}
    lines = [
        f"{tracker}: the same boxes in all {count} repetitions, so its scores have no spread"
        if not number
        else f"{tracker}: boxes of {number} of {counted(len(sequences), 'sequence')} differ between repetitions"
        for tracker, number in differing.items()
    ]
    parts, values = [f"{name}: {counted(count, 'repetition')}", "\n".join(lines)], {}
    if not any(sequence.truth_withheld for sequence in sequences):
        values = {tracker: [_scores(name, sequences, track) for track in each] for tracker, each in tracks.items()}
        rows = [
            [tracker, *(_cell(column, differing[tracker]) for column in np.array(each).T)]
            for tracker, each in values.items()
        ]
        heads = ["tracker", *(head for head, _, _ in tables.COLUMNS)]
        parts += [tables.markdown(heads, rows), LEGEND]
    text = "\n\n".join(parts)
    outputs.write_text(out / "repetitions.md", text + "\n")
    facts = {tracker: {"sequences_that_differ": number} for tracker, number in differing.items()}
    for tracker, each in values.items():
        columns = np.array(each).T
        facts[tracker]["scores"] = {head: row for (head, _, _), row in zip(tables.COLUMNS, columns, strict=True)}
    records.write_json(out / "repetitions.json", {"repetitions": count, "units": "fractions", "trackers": facts})
    print(text)


def _differing(repeated):
    """Number of sequences whose boxes are not the same, to the three decimals that are kept, in all repetitions."""
    first = repeated[0]
    return sum(any(not np.array_equal(first[name][0], other[name][0]) for other in repeated[1:]) for name in first)


def _scores(name, sequences, track):
    """The numbers of tables.COLUMNS, fractions, NaN where a toolkit refuses."""
    boxes = {sequence: finished[0] for sequence, finished in track.items()}
    sizes = {sequence: finished[2]["image_size"] for sequence, finished in track.items()}
    scored = benchmark.score(name, sequences, boxes, sizes)
    return [
        scored[toolkit]["overall"].values[value] if "overall" in scored[toolkit] else float("nan")
        for _, toolkit, value in tables.COLUMNS
    ]


def _cell(values, differs):
    if not np.isfinite(values).all():
        return "-"
    mean = f"{100 * values.mean():.1f}"
    return f"{mean} ± {100 * values.std(ddof=1):.1f}" if differs else mean
