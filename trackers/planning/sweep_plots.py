"""Pictures of a sweep: how throughput and utilization go with the number of chips."""

from trackers.io import figures, outputs

_COLORS = {"v5e": "#1f6fc4", "v4": "#e07b26", "v5p": "#2a9d72", "v6e": "#b04a8f"}
_INK, _MUTED, _GRID = "#22262b", "#6b7178", "#e3e6e9"


# Line and marker of a chip's first, second, ... way of sharding.
_WAYS = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))


def scaling(path, rows, per_chip, batch):
    """Four panels: weak scaling (`per_chip` rows on each chip) on the left, strong (`batch` rows in all) on the right;
    predicted pairs/s with the line of perfect scaling above, predicted MFU below.

    Args: path: PNG file. rows: list of reports.summary of one config; those that do not fit are left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharex=True, sharey="row")
    kinds = (
        (f"Weak scaling: {per_chip} pairs a chip", lambda row: row["batch"] == per_chip * row["chips"]),
        (f"Strong scaling: {batch} pairs in all", lambda row: row["batch"] == batch),
    )
    for column, (title, chosen) in enumerate(kinds):
        series = _series([row for row in rows if row["fits"] and chosen(row)])
        _panel(panels[0, column], series, lambda row: row["rate"] * row["chips"], perfect=True)
        _panel(panels[1, column], series, lambda row: 100 * row["mfu"], perfect=False)
        panels[0, column].set_title(title, loc="left", fontsize=10.5, color=_INK)
        panels[1, column].set_xlabel("Chips", color=_INK)
    ticks = sorted({row["chips"] for row in rows})
    panels[1, 0].set_xticks(ticks, [str(tick) for tick in ticks])
    panels[1, 0].margins(y=0.12)
    panels[1, 0].set_ylim(0, None)
    panels[0, 0].set_ylabel("Predicted pairs/s", color=_INK)
    panels[1, 0].set_ylabel("Predicted MFU [%]", color=_INK)
    lines = {line.get_label(): line for panel in panels[0] for line in panel.get_lines()}
    named = {label: line for label, line in lines.items() if not label.startswith("_")}
    style = {"frameon": False, "fontsize": 9, "handlelength": 3.2, "ncols": max(1, min(4, len(named)))}
    figure.legend(named.values(), named.keys(), loc="outside upper right", **style)
    figure.suptitle(rows[0]["config"].replace(".py", ""), x=0.01, ha="left", fontsize=11.5, color=_INK)
    outputs.write_bytes(path, figures.png(figure))


def _series(rows):
    """{label: rows by number of chips}, one for each kind of chip and each way of sharding."""
    series = {}
    for row in sorted(rows, key=lambda row: row["chips"]):
        split = [f"{axis} {row['mesh'][axis]}" for axis in ("fsdp", "tensor") if row["mesh"][axis] > 1]
        series.setdefault((row["chip"], ", ".join([row["chip"], *split])), []).append(row)
    return series


def _panel(axis, series, value, perfect):
    for order, ((chip, label), rows) in enumerate(series.items()):
        chips, values = [row["chips"] for row in rows], [value(row) for row in rows]
        color = _COLORS.get(chip, _INK)
        dashes, marker = _WAYS[sum(other == chip for other, _ in list(series)[:order]) % len(_WAYS)]
        axis.plot(chips, values, dashes, marker=marker, markersize=5, color=color, label=label, linewidth=1.8)
        if perfect:
            ideal = [values[0] * count / chips[0] for count in chips]
            axis.plot(chips, ideal, color=color, linewidth=0.9, alpha=0.35)
    axis.set_xscale("log", base=2)
    if perfect:
        axis.set_yscale("log", base=10)
    axis.grid(True, color=_GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(colors=_MUTED, length=0, labelsize=8.5)
    axis.minorticks_off()
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#b9bec4")
