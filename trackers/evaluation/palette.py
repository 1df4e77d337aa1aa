"""Colors of trackers and of axes in plots and pages."""

# In fixed order, told apart in every common color blindness; the first tracker is the one that is evaluated.
COLORS = ("#1f6fc4", "#e07b26", "#2a9d72", "#b04a8f", "#8a6d3b", "#5b5f97", "#c23b3b", "#3aa6b9")
# The same hues on a dark ground.
DARK_COLORS = ("#5aa5f0", "#f0984e", "#4cc394", "#d77fbb", "#c3a36b", "#9a9ee0", "#f07a7a", "#62cbdc")
INK, MUTED, GRID = "#22262b", "#6b7178", "#e3e6e9"
# Lines of the ninth tracker and on have the first ones' colors, and these dashes.
_DASHES = (None, "7 3", "2 3")


def color(order):
    """The color of the tracker number `order`, from 0."""
    return COLORS[order % len(COLORS)]


def line_class(order):
    """The name of that color in a page's style sheet (css)."""
    return f"c{order % len(COLORS)}"


def dash(order):
    """SVG's stroke-dasharray of the tracker number `order`, None for a solid line."""
    return _DASHES[order // len(COLORS) % len(_DASHES)]


def css():
    """The style rules that give each line_class its color as --c, for light and dark pages."""

    def rules(colors):
        return "".join(f".c{order}{{--c:{shade}}}" for order, shade in enumerate(colors))

    return f"{rules(COLORS)}@media(prefers-color-scheme:dark){{{rules(DARK_COLORS)}}}"
