"""Figures made of rows of images, with maps of numbers laid over them, as PNG files."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from trackers.io import figures, outputs

# Side of a panel in inches, dots an inch, and the share of a map's colors in what is shown.
_SIDE, _DPI, _ALPHA = 1.6, 150, 0.55
_COLORS = "jet"


@dataclasses.dataclass(frozen=True)
class Panel:
    """One image of a row.

    image: (H,W,3) uint8. title: above it, where the panel above has another one. caption: below it.
    mark: function (axis) that draws on the image in its pixels, or None.
    """

    image: np.ndarray
    title: str = ""
    caption: str = ""
    mark: Callable | None = None


@dataclasses.dataclass(frozen=True)
class Legend:
    """What stands below a figure. bar: the words at both ends of the bar of colors, or None for no bar.

    lines: {name: color} of the curves.
    """

    bar: tuple[str, str] | None = None
    lines: dict = dataclasses.field(default_factory=dict)


def blend(image, values, lowest=None):
    """A map of numbers over an image, in colors from blue to red.

    Args:
      image: (H,W,3) uint8.
      values: (h,w), enlarged to the image bilinearly; the largest is the reddest.
      lowest: the value that is the bluest; the least of all when None.

    Returns: (H,W,3) uint8.
    """
    import matplotlib

    values = np.asarray(values, np.float32)
    lowest = values.min() if lowest is None else lowest
    span = values.max() - lowest
    shares = (values - lowest) / span if span > 0 else np.zeros_like(values)
    enlarged = np.asarray(jax.image.resize(shares, image.shape[:2], "linear"))
    colors = 255 * matplotlib.colormaps[_COLORS](enlarged)[..., :3]
    return np.round((1 - _ALPHA) * image + _ALPHA * colors).astype(np.uint8)


def draw_box(axis, box):
    """Draws a box, (4,) x,y,w,h in pixels of a panel's image."""
    from matplotlib.patches import Rectangle

    x, y, w, h = (float(value) for value in box)
    axis.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, edgecolor="#ffc400", linewidth=1.2))


def draw(path, rows, title, legend=None):
    """Writes a figure.

    Args:
      path: a .png file.
      rows: [(label, [Panel])], equally many panels in each.
      title: above the figure, in one line or more.
      legend: Legend.

    Raises: InputError where the file cannot be written.
    """
    import matplotlib.figure

    legend = legend or Legend()
    columns = len(rows[0][1])
    below = 0.5 * (legend.bar is not None) + 0.25 * bool(legend.lines)
    size = (_SIDE * columns + 0.3, (_SIDE + 0.15) * len(rows) + 0.5 + below)
    figure = matplotlib.figure.Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.06)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    above = [None] * columns
    for line, (label, panels) in zip(axes, rows, strict=True):
        for axis, panel, title_above in zip(line, panels, above, strict=True):
            _show(axis, panel, panel.title if panel.title != title_above else "")
        place = {"transform": line[0].transAxes, "ha": "right", "va": "center", "rotation": 90}
        line[0].text(-0.05, 0.5, label, fontsize=7, **place)
        above = [panel.title for panel in panels]
    figure.suptitle(title, fontsize=8)
    if legend.bar is not None:
        shape = {"location": "bottom", "aspect": 60, "shrink": 0.6, "pad": 0.1 / size[1], "fraction": 0.3 / size[1]}
        bar = figure.colorbar(matplotlib.cm.ScalarMappable(cmap=_COLORS), ax=axes, ticks=(0, 1), **shape)
        bar.ax.set_xticklabels(legend.bar, fontsize=7)
    if legend.lines:
        handles = [matplotlib.lines.Line2D([], [], color=color) for color in legend.lines.values()]
        figure.legend(handles, legend.lines, loc="outside lower center", ncols=len(handles), fontsize=7)
    outputs.write_bytes(path, figures.png(figure, _DPI))


def _show(axis, panel, title):
    height, width = panel.image.shape[:2]
    axis.imshow(panel.image, interpolation="bicubic")
    axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axis.set_title(title, fontsize=7)
    axis.text(0.5, -0.03, panel.caption, fontsize=5.5, transform=axis.transAxes, ha="center", va="top")
    axis.set_axis_off()
    if panel.mark is not None:
        panel.mark(axis)
