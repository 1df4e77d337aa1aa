"""Tables of scores for other programs: CSV (per cent, four decimals) and LaTeX rows (per cent, one decimal)."""

import csv
import io
import math

from trackers.evaluation import result_folders, tables

_HEADS = [f"{head} [%]" for head, _, _ in tables.COLUMNS]
_LATEX = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
_LATEX |= {char: f"\\{char}" for char in "{}$&#_%"}


def overall_csv(scored, speeds):
    """A line a tracker. scored: as benchmark.score gives it, by tracker. speeds: {tracker: {"tracker_fps": ...}}."""
    heads = ["tracker", "sequences", *_HEADS, "tracker [frames/s]", "end to end [frames/s]"]
    rows = []
    for tracker, toolkits in scored.items():
        speed = [f"{speeds[tracker][key]:.2f}" for key in ("tracker_fps", "end_to_end_fps")]
        rows.append([tracker, len(result_folders.sequences(toolkits)), *_numbers(toolkits), *speed])
    return csv_text(heads, rows)


def sequences_csv(scored):
    """A line a tracker and sequence, with the frames that count for GOT-10k. Arguments as of overall_csv."""
    rows = []
    for tracker, toolkits in scored.items():
        for name in result_folders.sequences(toolkits):
            frames = next(part["sequences"][name].frames for part in toolkits.values() if "sequences" in part)
            rows.append([tracker, name, frames, *_numbers(toolkits, name)])
    return csv_text(["tracker", "sequence", "frames", *_HEADS], rows)


def latex_rows(scored):
    """Rows "name & number & ... \\\\" for a tabular; of several trackers the best is bold and the second underlined."""
    columns = []
    for _, toolkit, value in tables.COLUMNS:
        numbers = [tables.number(toolkits, toolkit, value) for toolkits in scored.values()]
        shown = ["--" if math.isnan(number) else f"{100 * number:.1f}" for number in numbers]
        ranks = sorted({float(text) for text in shown if text != "--"}, reverse=True) if len(shown) > 1 else []
        columns.append([_ranked(text, ranks) for text in shown])
    heads = " & ".join(["tracker", *(escaped(head) for head in _HEADS)])
    rows = [" & ".join([escaped(name), *cells]) for name, cells in zip(scored, zip(*columns, strict=True), strict=True)]
    return "\n".join([f"% {heads}", *(f"{row} \\\\" for row in rows)]) + "\n"


def escaped(text):
    """The text where LaTeX takes none of its characters for a command."""
    return "".join(_LATEX.get(char, char) for char in tables.printable(text))


def _ranked(text, ranks):
    if text == "--" or float(text) not in ranks[:2]:
        return text
    return f"\\textbf{{{text}}}" if float(text) == ranks[0] else f"\\underline{{{text}}}"


def _numbers(toolkits, sequence=None):
    values = (tables.number(toolkits, toolkit, value, sequence) for _, toolkit, value in tables.COLUMNS)
    return ["" if math.isnan(value) else f"{100 * value:.4f}" for value in values]


def csv_text(heads, rows):
    """CSV of a line of heads and one for each of `rows`, lists of cells."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heads, *([tables.printable(str(c)) for c in row] for row in rows)])
    return text.getvalue()
