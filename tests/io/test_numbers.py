"""One rule for numbers: ASCII decimals, finite, whole where an id is."""

import re
from pathlib import Path

import pytest

from trackers.io import numbers

NO_NUMBERS = ("1_0", "１２", "1²", "٣", "0x10", "inf", "-Infinity", "1e400", "", "1 2", "1,5", "true", "--1", "1e")


@pytest.mark.parametrize("text", [*NO_NUMBERS, "nan"])
def test_what_is_no_number(text):
    with pytest.raises(ValueError, match="is not a number"):
        numbers.number(text)


@pytest.mark.parametrize("text", ["1", "-1.5", "+2", ".5", "1.", "1e-3", "6.02E23", "0.1"])
def test_numbers_are_floats_own(text):
    assert numbers.number(text) == float(text)
    assert numbers.line_reader(text)(text) == [float(text)]


@pytest.mark.parametrize("text", [*NO_NUMBERS, "nan", "1.0", "²", "9" * 20, str(2**53 + 1)])
def test_what_is_no_whole_number(text):
    with pytest.raises(ValueError, match="is not a whole number"):
        numbers.whole(text)


def test_whole_numbers():
    assert [numbers.whole(text) for text in ("0", "-3", "+3", "007", str(2**53))] == [0, -3, 3, 7, 2**53]
    assert numbers.is_digits("012") and not any(map(numbers.is_digits, ("²", "１", "", "-1", "1.0")))


@pytest.mark.parametrize("value", [True, 1.0, 0.4, "12", None, [1], 2**53 + 1, float("nan")])
def test_ids_in_json_are_ints(value):
    assert numbers.is_whole(-3) and not numbers.is_whole(value)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 1e200, -(10**400), 2**24 + 1])
def test_coordinates_in_json_are_finite(value):
    assert numbers.is_pixel(-3) and numbers.is_pixel(2.5) and not numbers.is_pixel(value)


@pytest.mark.parametrize("line", ["1,,3", ",1,2", "10,5 20,5", "1 2,3", "1\t10,5\t2"])
def test_a_line_has_one_separator_and_no_empty_place(line):
    """A missing value would give the next one its place, and a decimal comma is none."""
    with pytest.raises(ValueError, match="float|is not a number"):
        numbers.line_reader(line)(line)
    with pytest.raises(ValueError, match="is not a number"):
        [numbers.number(cell) for cell in numbers.cells(line)]
    assert numbers.line_reader("1,2 ,")("1,2 ,") == [1, 2] and numbers.cells("1,2 ,") == ["1", "2"]


@pytest.mark.parametrize("space", ["\xa0", "\u2028", "\x0c", "\x1f", "\x85"])
def test_only_blanks_and_commas_separate(space):
    assert numbers.cells(" 1, 2,\t3 ") == numbers.cells("1 2\t 3") == ["1", "2", "3"]
    with pytest.raises(ValueError, match="other characters"):
        numbers.line_reader(f"1{space}2")(f"1{space}2")


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [(1, "box", "1 box"), (0, "box", "0 boxes"), (1200, "frame", "1,200 frames"), (2, "more class", "2 more classes")],
)
def test_counts_in_words(count, noun, said):
    assert numbers.counted(count, noun, ",") == said


def test_what_is_counted_for_users_is_counted_in_one_way():
    """No message puts the length of something before a plural, which reads "1 boxes"."""
    root = Path(__file__).resolve().parents[2]
    programs = [root / name for name in ("eval.py", "refer.py", "track.py")]
    files = [*programs, *root.glob("trackers/**/*.py"), *root.glob("data_pipelines/**/*.py")]
    pattern = re.compile(r"\{len\([\w.]+\)\} (more |surplus )?(\w+s)\b")
    nouns = {noun for file in files for _, noun in pattern.findall(file.read_text())}
    assert nouns <= {"times", "tracks", "loops", "bytes", "tokens"}
