"""Plots of a benchmark as PNG files: success, precision, and overlap over the frames of each sequence."""

import math

import numpy as np

from trackers import errors
from trackers.evaluation import palette, scores
from trackers.evaluation.palette import COLORS as _COLORS
from trackers.evaluation.palette import GRID as _GRID
from trackers.evaluation.palette import INK as _INK
from trackers.evaluation.palette import MUTED as _MUTED
from trackers.io import figures, outputs

_POINTS_OF_A_LINE = 40
# Inches of a legend's entry: a letter of its name, about, the line before it with the gap after it; and of a row.
_LETTER, _HANDLE, _ROW = 0.075, 0.55, 0.17


def left_out():
    """Why no plot can be drawn, in one line; None where they can. Programs say it before they begin, and do without."""
    said = errors.missing("matplotlib")
    return said and f"plots (PNG) are left out, as {said}"


def success(path, curves, title=""):
    """Success plot: share of frames with an overlap above each threshold; the legend gives the area (AUC).

    Args:
      path: PNG file. title: str.
      curves: {tracker: Score of pytracking or OSTrack kind}, drawn in this order and listed from best to worst.
    """
    entries = {name: (score.curves["success"], score.values["AUC"]) for name, score in curves.items()}
    _curves(path, entries, scores.OVERLAP_STEPS, title, "Overlap threshold", "Success rate [%]", "AUC")


def precision(path, curves, title=""):
    """Precision plot: share of frames with a center error up to each distance; the legend gives it at 20 pixels."""
    entries = {name: (score.curves["precision"], score.values["Precision"]) for name, score in curves.items()}
    labels = ("Centre error threshold [pixels]", "Precision [%]", "P at 20 px")
    _curves(path, entries, scores.PIXEL_STEPS, title, *labels)


def overlaps(path, strips, title=""):
    """Overlap over time, a strip a sequence: where each tracker loses its target.

    Args:
      path: PNG file. title: str.
      strips: {sequence: {tracker: IoU (T,)}}; the first tracker of each is filled, the others are lines over it.
    """
    width, trackers = 9.0, list(next(iter(strips.values())))
    columns = _columns(trackers, width)
    figure = _figure(width, 0.9 + 0.95 * len(strips) + _ROW * -(-len(trackers) // columns))
    axes = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    handles = {}
    for axis, (sequence, lines) in zip(axes, strips.items(), strict=True):
        for number, (tracker, values) in enumerate(lines.items()):
            drawn, frames = _line(number), np.arange(len(values))
            if number == 0:
                axis.fill_between(frames, 0, values, color=drawn["color"], alpha=0.18, linewidth=0)
            style = {"linewidth": 1.6 if number == 0 else 1.0, "zorder": 3 if number == 0 else 2}
            handles[tracker] = axis.plot(frames, values, label=tracker, **drawn, **style)[0]
        axis.set(xlim=(0, max(1, max(len(values) for values in lines.values()) - 1)), ylim=(0, 1), yticks=(0, 0.5, 1))
        axis.set_title(sequence, loc="left", fontsize=8.5, color=_INK, pad=2)
        _plain_axes(axis)
        axis.tick_params(labelsize=7)
    axes[-1].set_xlabel("Frame", fontsize=9, color=_INK)
    figure.supylabel("Overlap (IoU)", fontsize=9, color=_INK)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=_INK)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )
    _save(figure, path)


def curve(path, rows, x, names, levels=None, title=""):
    """Numbers along a run.

    Args:
      path: PNG file. title: str.
      rows: [{x: number, name: fraction}]. x: key of the horizontal axis. names: keys of the lines.
      levels: {label: fraction}, drawn as lines across to compare with.
    """
    figure = _figure(6.6, 3.6)
    axis = figure.subplots()
    for order, name in enumerate(names):
        values = [100 * row[name] for row in rows]
        axis.plot([row[x] for row in rows], values, color=_COLORS[order], marker="o", markersize=3, label=name)
    for label, value in (levels or {}).items():
        axis.axhline(100 * value, color=_MUTED, linewidth=0.9, linestyle="--")
        axis.text(1.01, 100 * value, label, transform=axis.get_yaxis_transform(), fontsize=8, color=_MUTED, va="center")
    axis.set_ylim(bottom=0)
    axis.set_title(title, loc="left", fontsize=11, color=_INK)
    axis.set_xlabel(x, color=_INK)
    axis.set_ylabel("%", color=_INK)
    axis.legend(frameon=False, fontsize=9)
    _plain_axes(axis)
    _save(figure, path)


def runs(path, losses, scores, score, title=""):
    """Training loss and a score over the epochs, each run in a color of its own (as SimTrack's "Table 6", a figure).

    Args:
      path: PNG file. title: str.
      losses: {run: [(epoch, loss), ...]}, drawn pale, and as means of neighbors.
      scores: {run: [(epoch, fraction), ...]}, of none or some of these runs. score: what they are, for the axis.
    """
    figure = _figure(9.6, 3.9)
    left, right = figure.subplots(1, 2)
    handles, last = {}, 0.0
    for order, (run, points) in enumerate(losses.items()):
        style = {"color": _COLORS[order % len(_COLORS)], "linewidth": 1.8, "markersize": 3.5}
        points, found = (np.asarray(pairs, float).reshape(-1, 2) for pairs in (points, scores.get(run, ())))
        parts = np.array_split(points, max(1, min(len(points), _POINTS_OF_A_LINE))) if len(points) else []
        means = np.array([part.mean(axis=0) for part in parts]).reshape(-1, 2)
        left.plot(*points.T, color=style["color"], linewidth=0.8, alpha=0.25)
        marker = "o" if len(means) == 1 else None  # a line of one point is not seen
        handles[run] = left.plot(*means.T, marker=marker, **style)[0]
        right.plot(found[:, 0], 100 * found[:, 1], marker="o", clip_on=False, **style)
        last = max([last, *points[:, 0], *found[:, 0]])
    right.set_ylim(0, max(1.0, right.get_ylim()[1]))
    for axis, label in ((left, "Training loss"), (right, f"{score} [%]")):
        axis.set_xlim(0, last or 1.0)
        axis.set_ylabel(label, color=_INK)
        axis.set_xlabel("Epoch", color=_INK)
        _plain_axes(axis)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=_INK)
    columns = min(len(handles), 4)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )
    _save(figure, path)


def gains(path, bars, title=""):
    """Bars in panels side by side, a panel a quantity and a row a sequence; the last row stands apart, for the mean.

    Args:
      path: PNG file. title: str.
      bars: {tracker: {sequence: {quantity: fraction}}}, the same sequences and quantities for all. The first quantity
        has a scale of its own, from 0; the others, which may be negative, share one.
    """
    first = next(iter(bars.values()))
    names, quantities = list(first), list(next(iter(first.values())))
    figure = _figure(2.2 + 1.75 * len(quantities), 1.1 + (0.2 + 0.17 * len(bars)) * len(names))
    axes = figure.subplots(1, len(quantities), squeeze=False, sharey=True)[0]
    rows = -np.arange(len(names), dtype=float)
    rows[-1] -= 0.35
    values = 100 * np.array([[[each[name][q] for q in quantities] for name in names] for each in bars.values()])
    low, high = np.nanmin(values[..., 1:], initial=0), np.nanmax(values[..., 1:], initial=1)
    thickness, handles = 0.74 / len(bars), []
    for column, (axis, quantity) in enumerate(zip(axes, quantities, strict=True)):
        for order, found in enumerate(values[..., column]):
            places = rows + 0.37 - thickness * (order + 0.5)
            drawn = axis.barh(places, np.nan_to_num(found), 0.9 * thickness, color=_COLORS[order % len(_COLORS)])
            handles += [drawn] if not column else []
            for place, value in zip(places, found, strict=True):
                text = f"{value:.1f}" if column == 0 else f"{round(value, 1) + 0.0:+.1f}"
                axis.annotate(
                    text,
                    (max(value, 0), place),
                    (3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7,
                    color=_INK,
                )
        axis.set_xlim((0, 119) if column == 0 else (1.05 * low, 1.38 * high))
        axis.set_title(quantity if column == 0 else f"+ {quantity}", loc="left", fontsize=9.5, color=_INK)
        axis.axvline(0, color=_MUTED, linewidth=0.8)
        axis.axhline(rows[-2:].mean(), color="#b9bec4", linewidth=0.8)
        _plain_axes(axis)
        axis.grid(False, axis="y")
        axis.spines["left"].set_visible(False)
        axis.tick_params(labelsize=7)
    axes[0].set_yticks(rows, names, fontsize=8.5)
    axes[0].set_ylim(rows[-1] - 0.55, rows[0] + 0.55)
    axes[0].get_yticklabels()[-1].set_fontweight("bold")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=_INK)
    if len(bars) > 1:
        figure.legend(handles, list(bars), loc="outside lower center", ncols=len(bars), frameon=False, fontsize=8)
    _save(figure, path)


def _curves(path, entries, steps, title, x_label, y_label, number):
    figure = _figure(6.6, 4.4)
    axis = figure.subplots()
    lines = {}
    for order, (tracker, (values, score)) in enumerate(entries.items()):
        style = {"linewidth": 2.4 if order == 0 else 1.6, "zorder": 3 if order == 0 else 2, "clip_on": False}
        line = axis.plot(steps, 100 * np.asarray(values), **_line(order), **style)[0]
        lines[tracker] = (line, -1.0 if math.isnan(score) else score)
    best = sorted(lines, key=lambda tracker: -lines[tracker][1])
    labels = [f"{tracker}  {100 * entries[tracker][1]:.1f}" for tracker in best]
    # Beside the axes: inside, it would hide curves of good or of poor trackers.
    handles = [lines[tracker][0] for tracker in best]
    legend = figure.legend(
        handles, labels, title=number, loc="outside right upper", fontsize=9, alignment="left", frameon=False
    )
    legend.get_title().set(fontsize=8.5, color=_MUTED)
    axis.set(xlim=(steps[0], steps[-1]), ylim=(0, 100))
    axis.set_title(title, loc="left", fontsize=11, color=_INK)
    axis.set_xlabel(x_label, color=_INK)
    axis.set_ylabel(y_label, color=_INK)
    _plain_axes(axis)
    _save(figure, path)


def _line(order):
    """Color and dashes of the tracker number `order`, as pages have them."""
    dash = palette.dash(order)
    return {"color": palette.color(order), "linestyle": (0, tuple(map(int, dash.split()))) if dash else "-"}


def _columns(names, width):
    """How many of a legend's entries stand side by side in `width` inches."""
    return max(1, min(len(names), int(width / (_HANDLE + _LETTER * max(map(len, names))))))


def _plain_axes(axis):
    axis.grid(True, color=_GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(colors=_MUTED, length=0)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#b9bec4")


def _figure(width, height):
    """A figure without pyplot's global state; needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure, path):
    outputs.write_bytes(path, figures.png(figure))
