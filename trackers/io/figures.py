"""Figures of matplotlib as PNG files, in which names are text and never formulas."""

import io
import warnings

from trackers.io import plain_text


def png(figure, dpi=150):
    """The bytes of a matplotlib Figure's PNG, on white.

    Texts are drawn as they are: a dollar sign begins no formula, control characters but line breaks are escapes (not in
    labels of ticks).
    """
    from matplotlib.text import Text

    # Those that are empty until they are drawn are numbers at the ticks, which on an axis of powers are formulas.
    for text in figure.findobj(lambda part: isinstance(part, Text) and part.get_text()):
        text.set_parse_math(False)
        text.set_text("\n".join(map(plain_text.printable, text.get_text().split("\n"))))
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        # A name in letters that the font lacks is drawn as boxes; the pages have it.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(drawn, format="png", dpi=dpi, facecolor="white")
    return drawn.getvalue()
