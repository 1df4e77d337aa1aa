"""What a number is in a file or a flag: ASCII, in decimal, without Python's extras (1_0, full-width digits, infinity).

The rule is one for text and JSON, so that no reader has its own.
"""

import math

# Pixels beyond this are damage: no image is as large, and float32 no longer holds them exactly.
LARGEST_PIXEL = 2**24
# Ids and frame numbers beyond this would not survive the way through float64.
LARGEST_WHOLE = 2**53
_FRACTION = frozenset("0123456789+-.eE")
_MISSING = frozenset("nNaA")
_SPACE = frozenset(" \t\r\n")
# What Python takes for white space or an end of line, and no program writes between numbers.
_CONTROL = frozenset(map(chr, range(32))) - _SPACE


def is_digits(text):
    """Whether `text` is ASCII digits only (str.isdigit takes superscripts, str.isdecimal every script's digits)."""
    return text.isascii() and text.isdigit()


def number(text, missing=False):
    """float of text. missing: whether nan is a number here.

    Raises: ValueError for anything but a finite decimal number.
    """
    try:
        value = float(text) if set(text) <= (_FRACTION | _MISSING if missing else _FRACTION) else math.inf
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise ValueError(f"{text[:40]!r} is not a number") from None
    return value


def cells(text):
    """Parts of a line between its commas, or between white space where it has none: an empty one is a part, too.

    Raises: ValueError for other than ASCII separators.
    """
    if not text.isascii() or not _CONTROL.isdisjoint(text):
        raise ValueError(f"{text.strip()[:40]!r} has other characters than numbers have")
    return [cell.strip() for cell in _parts(text)]


def _parts(line):
    # Never between both: the numbers of "10,5 20,5" may be two or four.
    if "," not in line:
        return line.split()
    parts = line.split(",")
    # Many programs write a comma behind the last number, too.
    return parts if parts[-1].strip() else parts[:-1]


def line_reader(text, most=None):
    """The function that reads the lines of `text`: line -> [float] of its first `most` cells, nan for missing ones.

    It raises ValueError as `cells` and `number` do, but for what is too large (1e400), which may come out as infinity.
    """
    if set(text) <= _FRACTION | _MISSING | _SPACE | {","}:
        # Of these characters float makes nothing but numbers and nan, many times faster than asked one by one.
        return lambda line: list(map(float, _parts(line)[:most]))
    return lambda line: [number(cell, missing=True) for cell in cells(line)[:most]]


def whole(text):
    """int of text: ASCII digits, with or without a sign, at most LARGEST_WHOLE. Raises: ValueError."""
    if is_digits(text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")) and len(text) <= 17:
        value = int(text)
        if abs(value) <= LARGEST_WHOLE:
            return value
    raise ValueError(f"{text[:40]!r} is not a whole number")


def is_whole(value):
    """Whether a value from JSON is a whole number, as an id has to be: no bool, no float, no text."""
    return type(value) is int and abs(value) <= LARGEST_WHOLE


def is_pixel(value):
    """Whether a value from JSON can be a coordinate: an int or float, finite, of a size that images have."""
    return type(value) in (int, float) and abs(value) <= LARGEST_PIXEL


def counted(count, noun, form=""):
    """How many of what there are, in words: "1 box", "2 boxes". noun: of one; form: of the number, as format has it."""
    ending = "" if count == 1 else "es" if noun.endswith(("x", "s", "ch", "sh")) else "s"
    return f"{count:{form}} {noun}{ending}"
