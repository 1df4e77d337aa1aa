"""Results as markdown tables that read well as plain text, too. Scores are in per cent."""

import math

import numpy as np

from trackers.io.plain_text import printable

# (heading, toolkit, value): GOT-10k's numbers, then those that papers give for LaSOT, OTB, UAV.
COLUMNS = (
    ("AO", "got10k", "AO"),
    ("SR0.5", "got10k", "SR0.5"),
    ("SR0.75", "got10k", "SR0.75"),
    ("AUC", "pytracking", "AUC"),
    ("P", "pytracking", "Precision"),
    ("NP", "pytracking", "NormPrecision"),
)

_SPEEDS = ("tracker_fps", "end_to_end_fps")
LEGEND = """\
AO, SR: got-10k toolkit; overall: all frames of all sequences.
AUC, P (20 px), NP (0.20): pytracking as in GRM's analysis; overall: mean of sequences.
fps: frames per second in the tracker alone; end to end: image decoding included. With --batch both are end to end."""


def markdown(heads, rows):
    """A table; the first column is left-aligned, the others right. heads: list of str, rows: lists of str."""
    heads, rows = [_escaped(cell) for cell in heads], [[_escaped(cell) for cell in row] for row in rows]
    widths = [max(len(str(row[i])) for row in [heads, *rows]) for i in range(len(heads))]

    def line(cells):
        numbers = [str(cell).rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join([str(cells[0]).ljust(widths[0]), *numbers]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([line(heads), rule, *(line(row) for row in rows)])


def _escaped(cell):
    """A cell's text where "|" and line breaks of a name do not end the cell or the row."""
    return printable(str(cell).replace("\\", "\\\\").replace("|", "\\|"))


def overall(scored, speed=None):
    """One row a tracker.

    Args:
      scored: {tracker: {toolkit: {"overall": Score, ...} or {"error": str}}}, as `benchmark.score` gives it.
      speed: {tracker: {"tracker_fps": float, "end_to_end_fps": float}} or None.
    """
    heads = ["tracker", *(head for head, _, _ in COLUMNS), *(["fps", "end to end"] if speed else [])]
    rows = []
    for tracker, toolkits in scored.items():
        row = [tracker, *(_cell(number(toolkits, toolkit, value)) for _, toolkit, value in COLUMNS)]
        if speed:
            row += [f"{speed[tracker][key]:.{0 if speed[tracker][key] >= 100 else 1}f}" for key in _SPEEDS]
        rows.append(row)
    return markdown(heads, rows)


def sequences(scored):
    """One row a sequence: all numbers of the first tracker, and AO of the others; then their means over sequences."""
    first, *others = scored
    parts = scored[first]["got10k"].get("sequences") or scored[first]["pytracking"].get("sequences", {})
    heads = ["sequence", "frames", *(head for head, _, _ in COLUMNS), *(f"{tracker} AO" for tracker in others)]
    table = []
    for name, part in parts.items():
        row = [number(scored[first], toolkit, value, name) for _, toolkit, value in COLUMNS]
        row += [number(scored[tracker], "got10k", "AO", name) for tracker in others]
        table.append((name, str(part.frames), row))
    rows = [[name, frames, *(_cell(value) for value in row)] for name, frames, row in table]
    if len(rows) > 1:
        means = np.mean([row for _, _, row in table], axis=0)
        total = str(sum(part.frames for part in parts.values()))
        rows.append(["mean of sequences", total, *(_cell(value) for value in means)])
    return markdown(heads, rows)


def number(toolkits, toolkit, name, sequence=None):
    """One of a toolkit's numbers of one tracker, a fraction; NaN where the toolkit refuses. sequence: None for all."""
    score = toolkits[toolkit]
    if "error" in score:
        return math.nan
    return (score["overall"] if sequence is None else score["sequences"][sequence]).values[name]


def _cell(value):
    return "-" if math.isnan(value) else f"{100 * value:.1f}"
