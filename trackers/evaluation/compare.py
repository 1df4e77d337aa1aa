"""Several results in one picture and one table:

    python -m trackers.evaluation.compare FOLDER FOLDER ... --out DIR

A FOLDER is what eval.py wrote (--out), with one tracker or several. Only sequences that all trackers were scored on
count; a line says which are left out. DIR gets

    comparison.html            the tables, success, precision and normalized precision, attributes; needs no network
    comparison.svg             the three plots side by side, for papers
    comparison.md .csv .tex    the table; comparison_sequences.csv has a line a tracker and sequence
    attributes.svg             a radar of AUC by attribute, where the benchmark has attributes

Attributes are read from attributes.json of the folders, or from --attributes. A tracker that stands in several folders
with the same numbers (a baseline) is shown once.
"""

import math

import numpy as np
from absl import flags
from etils import epath

from trackers import errors
from trackers.evaluation import charts, exports, html_report, pages, result_folders, tables
from trackers.io import outputs
from trackers.io.numbers import counted

FLAGS = flags.FLAGS
NAME = "comparison"
# Fewer axes make no radar.
_FEWEST_AXES = 3
# Names in the line about sequences that are left out.
_NAMED = 8


def gather(folders, wanted=()):
    """The trackers of several folders under names that tell them apart.

    Args: folders: paths. wanted: names of trackers; empty: all.

    Returns: (scored {name: {toolkit: {"overall", "sequences"}}} on what all have in common, the first trackers of the
      folders before the others; speeds {name: ...}; attributes {sequence: [attribute, ...]}; names of the sequences
      that are left out).
    Raises: InputError where a folder cannot be read, or nothing is in common; UsageError for an unknown tracker.
    """
    found = [result_folders.read(folder) for folder in folders]
    known = sorted({tracker for results in found for tracker in results.scored})
    for tracker in wanted:
        if tracker not in known:
            raise errors.UsageError(f"--trackers: no folder has {tracker!r}; they have {', '.join(known)}")
    entries = [
        (place, tracker, results, toolkits)
        for results in found
        for place, (tracker, toolkits) in enumerate(results.scored.items())
        if not wanted or tracker in wanted
    ]
    entries = sorted(entries, key=lambda entry: entry[0] > 0)
    common, left_out = _common(entries)
    kept = []
    for _, tracker, results, toolkits in entries:
        toolkits = result_folders.restricted(toolkits, common)
        if not any(tracker == other and _same(toolkits, theirs) for other, _, theirs in kept):
            kept.append((tracker, results, toolkits))
    names = _names(kept)
    scored = {name: toolkits for name, (_, _, toolkits) in zip(names, kept, strict=True)}
    speeds = {name: results.speeds[tracker] for name, (tracker, results, _) in zip(names, kept, strict=True)}
    attributes = {name: listed for results in found for name, listed in results.attributes.items()}
    return scored, speeds, attributes, left_out


def _common(entries):
    """(names of the sequences that all have, names of those that only some have)."""
    every = [result_folders.sequences(toolkits) for _, _, _, toolkits in entries]
    for (_, tracker, results, toolkits), names in zip(entries, every, strict=True):
        if not names:
            reason = next(score["error"] for score in toolkits.values())
            raise errors.InputError(f"{results.folder}: {tracker} has no scores ({reason}): leave it out (--trackers)")
    common = [name for name in every[0] if all(name in names for names in map(set, every))]
    if not common:
        raise errors.InputError(
            f"{entries[0][2].folder} and the others have no sequence in common: name results of one benchmark"
        )
    frames = {}
    for _, _, results, toolkits in entries:
        for toolkit, score in toolkits.items():
            for name in common if "sequences" in score else ():
                count = score["sequences"][name].frames
                first, folder = frames.setdefault((toolkit, name), (count, results.folder))
                if count != first:
                    raise errors.InputError(
                        f"sequence {name} has {counted(first, 'frame')} in {folder} and {count} in"
                        f" {results.folder}: name results"
                        " of one benchmark"
                    )
    return common, sorted({name for names in every for name in names} - set(common))


def _same(toolkits, others):
    """Whether two trackers have the same numbers on every sequence."""
    return all(
        ("error" in score) == ("error" in others[toolkit])
        and all(
            np.array_equal(list(part.values.values()), list(others[toolkit]["sequences"][name].values.values()), True)
            for name, part in score.get("sequences", {}).items()
        )
        for toolkit, score in toolkits.items()
    )


def _names(kept):
    """A name for each (tracker, Results, ...): the tracker's, with the folder's where several bear it."""
    trackers = [tracker for tracker, _, _ in kept]
    folders = {str(results.folder): results.folder.name for _, results, _ in kept}
    short = list(folders.values())
    return [
        tracker if trackers.count(tracker) == 1 else f"{tracker} ({path.name if short.count(path.name) == 1 else path})"
        for tracker, path in ((tracker, results.folder) for tracker, results, _ in kept)
    ]


def by_attribute(scored, attributes):
    """AUC by attribute.

    Args: scored: as gather gives it. attributes: {sequence: [attribute, ...]}.

    Returns: {attribute: (number of sequences, {tracker: fraction})}, means over the sequences that have it, in
      alphabetical order; trackers that pytracking's analysis refuses are NaN.
    """
    sequences = result_folders.sequences(next(iter(scored.values())))
    found = {}
    for attribute in sorted({name for sequence in sequences for name in attributes.get(sequence, ())}):
        among = [sequence for sequence in sequences if attribute in attributes.get(sequence, ())]
        values = {
            tracker: float(np.mean([tables.number(toolkits, "pytracking", "AUC", sequence) for sequence in among]))
            for tracker, toolkits in scored.items()
        }
        found[attribute] = len(among), values
    return found


def notice(left_out, common):
    """The line about sequences that do not count; None where all do."""
    if not left_out:
        return None
    named = ", ".join(tables.printable(name) for name in left_out[:_NAMED])
    more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
    total = common + len(left_out)
    return f"{len(left_out)} of {counted(total, 'sequence')} are left out, as not every tracker has them: {named}{more}"


def page(scored, speeds, attributes, left_out):
    """The text of comparison.html. Arguments as gather returns them."""
    sequences = result_folders.sequences(next(iter(scored.values())))
    said = notice(left_out, len(sequences))
    title = f"{counted(len(scored), 'tracker')} on {counted(len(sequences), 'sequence')}"
    latex = pages.element("pre", tabindex=0)
    # As they are: what would be escaped for a page's text are line breaks.
    latex.text = exports.latex_rows(scored)
    return pages.page(
        title,
        pages.element("h1", title),
        pages.paragraph(said, "notice") if said else None,
        pages.section(
            "All sequences together",
            html_report.overall(scored, speeds),
            *html_report.notes(tables.LEGEND),
            pages.paragraph("Speeds are those of each run, perhaps on different machines.", "muted small"),
            pages.element("details", pages.element("summary", "Rows for LaTeX"), latex),
        ),
        html_report.curves(scored),
        _attributes(by_attribute(scored, attributes)),
        pages.section("Sequence by sequence", pages.paragraph("AUC of every tracker.", "muted"), _sequences(scored)),
    )


def _attributes(found):
    """The section about attributes; None where there are none."""
    if not found:
        return None
    names = list(next(iter(found.values()))[1])
    columns = [pages.Column("attribute"), pages.Column("sequences", "", 0), *map(pages.percent, names)]
    rows = [[attribute, count, *(100 * values[name] for name in names)] for attribute, (count, values) in found.items()]
    legend = (
        pages.element("li", pages.swatch(order), pages.element("span", name, class_="label"))
        for order, name in enumerate(names)
    )
    return pages.section(
        "By attribute",
        pages.paragraph("AUC, mean of the sequences that have the attribute; a sequence may have several.", "muted"),
        pages.element("ul", *legend, class_="legend row"),
        pages.element("div", _radar(found), class_="radar") if len(found) >= _FEWEST_AXES else None,
        pages.table(columns, rows, label="AUC by attribute", best="row"),
    )


def _radar(found, legend=False):
    axes = [f"{attribute} ({count})" for attribute, (count, _) in found.items()]
    names = list(next(iter(found.values()))[1])
    return charts.radar(axes, {name: [values[name] for _, values in found.values()] for name in names}, legend)


def _sequences(scored):
    columns = [pages.Column("sequence"), pages.Column("frames", "that count", 0), *map(pages.percent, scored)]
    first = next(part for part in next(iter(scored.values())).values() if "sequences" in part)["sequences"]
    rows = []
    for name, part in first.items():
        values = (tables.number(toolkits, "pytracking", "AUC", name) for toolkits in scored.values())
        rows.append([name, part.frames, *(100 * value for value in values)])
    return pages.table(columns, rows, label="AUC of each sequence", best="row")


def write(out, scored, speeds, attributes, left_out):
    """Writes everything that this module's text lists; returns the table as text. out: folder."""
    out, sequences = epath.Path(out), result_folders.sequences(next(iter(scored.values())))
    parts = [f"{counted(len(sequences), 'sequence')}, in per cent", tables.overall(scored, speeds)]
    found = by_attribute(scored, attributes)
    if found:
        names = list(scored)
        rows = [
            [
                attribute,
                str(count),
                *("-" if math.isnan(values[name]) else f"{100 * values[name]:.1f}" for name in names),
            ]
            for attribute, (count, values) in found.items()
        ]
        parts.append(tables.markdown(["AUC by attribute", "sequences", *names], rows))
    text = "\n\n".join([*parts, tables.LEGEND])
    outputs.write_text(out / f"{NAME}.md", text + "\n")
    outputs.write_text(out / f"{NAME}.csv", exports.overall_csv(scored, speeds))
    outputs.write_text(out / f"{NAME}_sequences.csv", exports.sequences_csv(scored))
    outputs.write_text(out / f"{NAME}.tex", exports.latex_rows(scored))
    analyzed = {tracker: toolkits["pytracking"].get("overall") for tracker, toolkits in scored.items()}
    analyzed = {tracker: score for tracker, score in analyzed.items() if score}
    drawn = {f"{NAME}.svg": charts.sheet(analyzed, counted(len(sequences), "sequence")) if analyzed else None}
    drawn["attributes.svg"] = charts.file(_radar(found, legend=True)) if len(found) >= _FEWEST_AXES else None
    for name, picture in drawn.items():
        if picture is None:  # perhaps one of an earlier comparison lies there
            (out / name).unlink(missing_ok=True)
        else:
            outputs.write_text(out / name, picture)
    outputs.write_text(out / f"{NAME}.html", page(scored, speeds, attributes, left_out))
    return text


def main(argv):
    if len(argv) < 2:
        raise errors.UsageError("name the folders that eval.py wrote, e.g. runs/grm/eval runs/mixformer/eval")
    out = outputs.claim_folder(FLAGS.out)
    given = result_folders.read_attributes(FLAGS.attributes, needed=True) if FLAGS.attributes else {}
    scored, speeds, attributes, left_out = gather(argv[1:], FLAGS.trackers)
    said = notice(left_out, len(result_folders.sequences(next(iter(scored.values())))))
    if said:
        print(said)
    print(write(out, scored, speeds, given or attributes, left_out))
    drawn = [name for name in (f"{NAME}.svg", "attributes.svg") if (out / name).exists()]
    print(
        f"wrote {', '.join([f'{NAME}.html', *drawn, f'{NAME}.md', '.csv', '.tex'])} and {NAME}_sequences.csv in {out}"
    )


if __name__ == "__main__":
    flags.DEFINE_string("out", NAME, "Folder for the page, the picture and the tables.")
    flags.DEFINE_list("trackers", [], "Only these trackers, by name; empty: all.")
    flags.DEFINE_string("attributes", None, "JSON {sequence: [attribute, ...]}; none: attributes.json of the folders.")
    errors.run(main, positional=True)
