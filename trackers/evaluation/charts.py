"""Charts as SVG elements: curves, IoU strips, radar.

Colors stand in the elements, so that a file of its own needs no style sheet; a page's style sheet overrides them for
dark screens. Plots as PNG files: plots.py.
"""

import dataclasses
import math
from xml.etree import ElementTree

import numpy as np

from trackers.evaluation import palette, scores
from trackers.evaluation.pages import element
from trackers.io.numbers import counted

_WIDTH, _HEIGHT = 380, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 10, 8, 44
_LETTER = 6.3  # about the width of one, for what must fit where letters cannot be measured
_FONT = "system-ui, 'Helvetica Neue', 'DejaVu Sans', sans-serif"
# Points of a line over time; longer sequences are drawn as means of neighboring frames.
STRIP_POINTS = 600
_STRIP_WIDTH, _STRIP_HEIGHT = 1000, 100
_RADAR = 140
# Between the lines of a legend.
_ROW = 17


@dataclasses.dataclass(frozen=True)
class Curve:
    """One of the curves of pytracking's Score.

    key: in Score.curves. value, label: the number that sums it up, in Score.values, and its name. steps: thresholds.
    ticks: those that are written. title, x, y: of the chart and its axes. at: threshold of that number; None: the mean.
    """

    key: str
    value: str
    label: str
    steps: np.ndarray
    ticks: tuple
    title: str
    x: str
    y: str
    at: float | None = None


CURVES = (
    Curve(
        *("success", "AUC", "AUC", scores.OVERLAP_STEPS, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        *("Success", "Overlap threshold [IoU]", "Frames above it [%]"),
    ),
    Curve(
        *("precision", "Precision", "P at 20 px", scores.PIXEL_STEPS, (0, 10, 20, 30, 40, 50)),
        *("Precision", "Center error threshold [px]", "Frames within it [%]", 20),
    ),
    Curve(
        *("norm_precision", "NormPrecision", "NP at 0.20", scores.RELATIVE_STEPS, (0, 0.1, 0.2, 0.3, 0.4, 0.5)),
        *("Normalized precision", "Center error threshold [target sizes]", "Frames within it [%]", 0.2),
    ),
)


def curves(kind, scored):
    """A chart of one kind of curve.

    Args: kind: Curve. scored: {tracker: Score with that curve}, drawn in this order, the first one above the others.
    """
    return lines(kind.steps, kind.ticks, kind.x, kind.y, _fractions(kind, scored), kind.at)


def lines(steps, ticks, x, y, series, at=None):
    """A chart of shares over thresholds.

    Args:
      steps: thresholds, from 0 or more. ticks: those that are written. x, y: names of the axes with their units.
      series: {name: fractions, one a step}, the first one drawn above the others; none where they are not finite.
      at: a threshold that is marked, or None.
    """
    return _svg(_WIDTH, _HEIGHT, *_panel(steps, ticks, x, y, series, at), label=f"{y} over {x}: {', '.join(series)}")


def best_first(kind, scored):
    """[(tracker, its number from 0, fraction)], best first, those that are not a number last."""
    entries = [(name, order, score.values[kind.value]) for order, (name, score) in enumerate(scored.items())]
    return sorted(entries, key=lambda entry: math.inf if math.isnan(entry[2]) else -entry[2])


def _fractions(kind, scored):
    return {name: score.curves[kind.key] for name, score in scored.items()}


def _panel(steps, ticks, x_label, y_label, series, at):
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    last = float(max(steps[-1], ticks[-1]))

    def point(threshold, fraction):
        return f"{_LEFT + width * threshold / last:.1f},{_TOP + height * (1 - min(fraction, 1.0)):.1f}"

    parts = []
    for level in range(0, 101, 20):
        y = _TOP + height * (1 - level / 100)
        parts += [
            _line(_LEFT, y, _LEFT + width, y, "axis" if level == 0 else "grid"),
            _text(_LEFT - 7, y + 4, level, anchor="end", muted=True),
        ]
    for tick in ticks:
        parts.append(_text(_LEFT + width * tick / last, _TOP + height + 17, f"{tick:g}", "middle", muted=True))
    if at is not None:
        x = _LEFT + width * at / last
        parts.append(_line(x, _TOP, x, _TOP + height, "axis", stroke_dasharray="2 3"))
    parts += [
        _text(_LEFT + width / 2, _HEIGHT - 8, x_label, "middle"),
        _text(-(_TOP + height / 2), 11, y_label, "middle", transform="rotate(-90)"),
    ]
    for order, (name, values) in reversed(list(enumerate(series.items()))):
        points = [point(step, value) for step, value in zip(steps, values, strict=True)]
        if all(np.isfinite(values)):
            parts.append(_path("M" + "L".join(points), order, width=2.4 if order == 0 else 1.7, title=name))
    return parts


def sheet(scored, title):
    """The text of an SVG file with all CURVES side by side and, below each, the trackers from best to worst."""
    gap = 26
    height = 34 + _HEIGHT + 24 + _ROW * len(scored)
    parts = [
        element("rect", width=len(CURVES) * (_WIDTH + gap), height=height, fill="white"),
        _text(_LEFT, 20, _short(title, 3 * _WIDTH), size=14),
    ]
    for number, kind in enumerate(CURVES):
        below = [_text(_LEFT, _HEIGHT + 14, f"{kind.label} [%]", muted=True)]
        for place, (name, order, value) in enumerate(best_first(kind, scored)):
            y = _HEIGHT + 14 + _ROW * (place + 1)
            below += [
                _path(f"M{_LEFT},{y - 4}h20", order, width=2.4),
                _text(_LEFT + 28, y, _short(name, _WIDTH - _LEFT - _RIGHT - 70)),
                _text(_WIDTH - _RIGHT, y, percent(value), "end"),
            ]
        shift = f"translate({number * (_WIDTH + gap)},30)"
        panel = _panel(kind.steps, kind.ticks, kind.x, kind.y, _fractions(kind, scored), kind.at)
        parts.append(element("g", *panel, *below, transform=shift))
    return file(_svg(len(CURVES) * (_WIDTH + gap), height, *parts, label=title))


def strip(lines, marks=()):
    """IoU over time, to be stretched to any width; 0 lies at the lower edge, 1 at the upper one.

    Args:
      lines: {tracker: IoU (T,)}, NaN where the target is hidden: gaps. The first one is filled.
      marks: frames (from 0) that are marked.
    """
    frames = max(len(values) for values in lines.values())
    bin_size = -(-frames // STRIP_POINTS)
    last = max(1, frames - 1)

    def x(frame):
        return _STRIP_WIDTH * frame / last

    levels = [_line(0, y, _STRIP_WIDTH, y, "grid") for y in (0, _STRIP_HEIGHT / 2, _STRIP_HEIGHT)]
    ticks = [_line(x(mark), 0, x(mark), _STRIP_HEIGHT, "axis", stroke_dasharray="2 3") for mark in marks]
    paths = []
    for order, (name, values) in reversed(list(enumerate(lines.items()))):
        for first, run in _runs(_binned(np.asarray(values, float), bin_size)):
            middle = (bin_size - 1) / 2
            points = [
                (x(min(last, bin_size * (first + k) + middle)), _STRIP_HEIGHT * (1 - v)) for k, v in enumerate(run)
            ]
            if len(points) == 1:  # a line of one point is not seen
                points.append((points[0][0] + 2, points[0][1]))
            line = "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in points)
            if order == 0:
                area = f"{line}V{_STRIP_HEIGHT}H{points[0][0]:.1f}Z"
                paths.append(element("path", d=area, fill=palette.color(0), fill_opacity=0.18, class_="area c0"))
            paths.append(_path(line, order, width=2 if order == 0 else 1.2, title=name))
    named = f"IoU over {counted(frames, 'frame')}: {', '.join(lines)}"
    return _svg(_STRIP_WIDTH, _STRIP_HEIGHT, *levels, *ticks, *paths, label=named, preserveAspectRatio="none")


def _binned(values, size):
    """Means of `size` neighbors each, of those that are numbers; NaN where none is."""
    padded = np.concatenate([values, np.full(-len(values) % size, np.nan)]).reshape(-1, size)
    known = ~np.isnan(padded)
    with np.errstate(invalid="ignore"):
        return np.where(known, padded, 0).sum(axis=1) / known.sum(axis=1)


def _runs(values):
    """[(first index, values)] of what lies between gaps (NaN)."""
    known = np.concatenate([[False], ~np.isnan(values), [False]])
    edges = np.flatnonzero(known[1:] != known[:-1])
    return [(first, values[first:end]) for first, end in edges.reshape(-1, 2)]


def radar(axes, series, legend=False):
    """A radar of scores, per cent.

    Args:
      axes: names around it, three or more. series: {tracker: fractions, one an axis}, NaN drawn as 0.
      legend: whether the trackers are listed below it.
    """
    top = max([value for values in series.values() for value in values if not math.isnan(value)], default=1.0)
    rings = min(5, math.ceil(5 * top)) or 5
    top = rings / 5
    side, middle = 2 * (_RADAR + 40), _RADAR + 40
    wide = side + 240
    angles = [2 * math.pi * k / len(axes) - math.pi / 2 for k in range(len(axes))]

    def corner(k, radius):
        return wide / 2 + radius * math.cos(angles[k]), middle + radius * math.sin(angles[k])

    def ring(radii):
        return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in map(corner, range(len(axes)), radii)) + "Z"

    parts = [
        element("path", d=ring([_RADAR * k / rings] * len(axes)), fill="none", stroke=palette.GRID, class_="grid")
        for k in range(1, rings + 1)
    ]
    for k, name in enumerate(axes):
        x, y = corner(k, _RADAR + 12)
        parts.append(_line(wide / 2, middle, *corner(k, _RADAR), "grid"))
        sideways = math.cos(angles[k])
        anchor = "middle" if abs(sideways) < 0.2 else "start" if sideways > 0 else "end"
        parts.append(_text(x, y + 4 + 6 * math.sin(angles[k]), _short(name, 170), anchor))
    for order, (name, values) in reversed(list(enumerate(series.items()))):
        shape = ring([_RADAR * (0.0 if math.isnan(value) else value) / top for value in values])
        parts.append(_path(shape, order, width=2.2 if order == 0 else 1.6, title=name))
    for k in range(1, rings + 1):
        level = _text(wide / 2 + 4, middle - _RADAR * k / rings + 11, f"{20 * k} %", muted=True, size=10)
        level.attrib |= {"class": "muted level", "paint-order": "stroke", "stroke": "white", "stroke-width": "3"}
        parts.append(level)
    for order, name in enumerate(series if legend else ()):
        y = side + _ROW * (order + 1)
        parts += [_path(f"M{_LEFT},{y - 4}h20", order, width=2.4), _text(_LEFT + 28, y, _short(name, wide - 110))]
    height = side + (_ROW * (len(series) + 1) if legend else 0)
    return _svg(wide, height, *parts, label=f"radar of {', '.join(axes)}")


def file(svg):
    """The text of an SVG file."""
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    svg.set("width", svg.get("viewBox").split()[2])
    svg.set("height", svg.get("viewBox").split()[3])
    svg.set("font-family", _FONT)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _svg(width, height, *parts, label, **attributes):
    return element("svg", *parts, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label, **attributes)


def _line(x1, y1, x2, y2, kind, **attributes):
    color = palette.GRID if kind == "grid" else palette.MUTED
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    return element("line", **ends, stroke=color, stroke_width=1, class_=kind, **attributes)


def _path(d, order, width, title=None):
    return element(
        "path",
        None if title is None else element("title", title),
        d=d,
        fill="none",
        stroke=palette.color(order),
        stroke_width=width,
        stroke_linejoin="round",
        stroke_dasharray=palette.dash(order),
        class_=f"line {palette.line_class(order)}",
    )


def _text(x, y, text, anchor="start", muted=False, size=11.5, **attributes):
    return element(
        "text",
        text,
        x=f"{x:.1f}",
        y=f"{y:.1f}",
        fill=palette.MUTED if muted else palette.INK,
        font_size=size,
        text_anchor=anchor,
        class_="muted" if muted else None,
        **attributes,
    )


def _short(text, width):
    """The text, cut to what fits into `width` pixels."""
    most = max(4, int(width / _LETTER))
    return text if len(text) <= most else text[: most - 1] + "…"


def percent(fraction):
    """A fraction in per cent with one decimal, a dash for NaN."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.1f}"
