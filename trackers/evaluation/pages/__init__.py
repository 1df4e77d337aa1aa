"""Pages of HTML in one file each, that need no network: text is escaped, style and script (ours) stand inside."""

import dataclasses
import math
from pathlib import Path
from xml.etree import ElementTree

from trackers.evaluation import palette, tables

_HERE = Path(__file__).parent
# Nothing may be fetched, whatever a name in the page says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
MISSING = "–"
_DASHED = {"7 3": "dashed", "2 3": "dotted"}


def element(tag, *children, **attributes):
    """An element of HTML or SVG, xml.etree's, whose text and attributes are escaped when it is written.

    Args:
      tag: its name. children: texts and elements in order, None for nothing.
      attributes: class_="a b" is class="a b", data_value is data-value; None leaves one out.
    """
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    made = ElementTree.Element(tag, {key: tables.printable(str(value)) for key, value in named.items()})
    for child in children:
        if isinstance(child, ElementTree.Element):
            made.append(child)
        elif child is not None and len(made):
            made[-1].tail = (made[-1].tail or "") + tables.printable(str(child))
        elif child is not None:
            made.text = (made.text or "") + tables.printable(str(child))
    return made


def page(title, *sections):
    """The text of a whole page. title: str. sections: elements, None for none."""
    style, script = ElementTree.Element("style"), ElementTree.Element("script")
    style.text = (_HERE / "page.css").read_text() + palette.css()
    script.text = (_HERE / "page.js").read_text()
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        style,
    )
    made = element("html", head, element("body", element("main", *sections), script), lang="en")
    return "<!DOCTYPE html>\n" + ElementTree.tostring(made, encoding="unicode", method="html") + "\n"


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    name: its heading. unit: below it, "" where the heading says it. digits: decimals of its numbers; None: text.
    bar: whether its numbers, per cent, are also drawn as bars. ranked: whether the largest one may be bold.
    """

    name: str
    unit: str = ""
    digits: int | None = None
    bar: bool = False
    ranked: bool = False


def percent(name, bar=False):
    """The Column of a score in per cent with one decimal."""
    return Column(name, "%", 1, bar, ranked=True)


def table(columns, rows, foot=(), label="", best=None):
    """A table that is sorted by the heading that is pressed.

    Args:
      columns: list of Column. rows, foot: lists of cells: text or element where the column is text, else a number, NaN
        for a missing one. The foot is not sorted.
      label: what it holds, for those who hear the page. best: "column" or "row": the largest number of each,
        as it is written, is bold, of the columns that are ranked; None: no number is.
    """
    ranked = [
        [round(value, column.digits) if column.ranked else math.nan for column, value in zip(columns, row, strict=True)]
        for row in rows
    ]
    nothing = [None] * len(columns)
    if best == "column" and len(rows) > 1:
        largest = [[_largest(values) for values in zip(*ranked, strict=True)]] * len(rows)
    elif best == "row":
        largest = [[_largest(values)] * len(columns) for values in ranked]
    else:
        largest = [nothing] * len(rows)

    def cells(row, largest=nothing):
        return element("tr", *map(_cell, columns, row, largest))

    heads = (
        element(
            "th",
            element("span", column.name),
            element("span", column.unit, class_="unit") if column.unit else None,
            scope="col",
            class_="text" if column.digits is None else "number",
        )
        for column in columns
    )
    made = element(
        "table",
        element("thead", element("tr", *heads)),
        element("tbody", *map(cells, rows, largest)),
        element("tfoot", *map(cells, foot)) if foot else None,
        class_="sortable",
    )
    return element("div", made, class_="scroll", tabindex=0, role="region", aria_label=label)


def _largest(values):
    return max((value for value in values if not math.isnan(value)), default=None)


def _cell(column, value, largest):
    if column.digits is None:
        return element("td", value, class_="name")
    if math.isnan(value):
        return element("td", MISSING, data_value="")
    named = " ".join(
        name for name, holds in (("bar", column.bar), ("best", round(value, column.digits) == largest)) if holds
    )
    share = f"--share:{min(max(value, 0.0), 100.0):.1f}%" if column.bar else None
    return element("td", f"{value:,.{column.digits}f}", data_value=f"{value:.6g}", class_=named or None, style=share)


def swatch(order):
    """The line that stands for the tracker number `order`."""
    named = ["swatch", palette.line_class(order), _DASHED.get(palette.dash(order))]
    return element("span", class_=" ".join(filter(None, named)), aria_hidden="true")


def tracker(name, order):
    """A tracker's name behind its color."""
    return element("span", swatch(order), name)


def legend(entries):
    """A list of (name, order, text): the trackers of a picture, each behind its color."""
    items = (
        element("li", swatch(order), element("span", name, class_="label"), element("span", text))
        for name, order, text in entries
    )
    return element("ul", *items, class_="legend")


def figure(heading, chart, meaning, entries):
    """A chart under a heading, with its legend below. meaning: of the numbers there. entries: as of `legend`."""
    return element("figure", element("h3", heading), chart, paragraph(meaning, "muted small"), legend(entries))


def section(heading, *children):
    """A part of a page under a heading of its own."""
    return element("section", element("h2", heading), *children)


def paragraph(text, classes=None):
    return element("p", text, class_=classes)


def facts(values):
    """A list of what holds for a page. values: {name: text}; empty ones are left out."""
    pairs = [(element("dt", name), element("dd", text)) for name, text in values.items() if text not in (None, "", {})]
    return element("dl", *(item for pair in pairs for item in pair))
