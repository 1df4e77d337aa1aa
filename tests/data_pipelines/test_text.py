"""The tokenizer against CLIP's recorded ids, and with a vocabulary of five merges."""

import gzip
import json
import sys

import numpy as np
import pytest

from data_pipelines import text
from tests.recipes import load
from trackers.errors import InputError

MERGES = "#version: 0.2\nr e\nre d</w>\nc a\nca r</w>\nt h\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "merges.txt"
    path.write_text(MERGES)
    return text.Tokenizer(path)


@pytest.fixture
def clip(vocabulary):
    return text.Tokenizer(vocabulary)


def test_ids_equal_the_recorded_ones(clip):
    manifest, out = load("ikun_losses")
    phrases = manifest["values"]["token_ids"]
    assert clip.size == 49408
    ids = clip(list(phrases))
    np.testing.assert_array_equal(ids, out["token_matrix"], strict=True)
    for phrase, row in zip(phrases.values(), ids, strict=True):
        assert row[: len(phrase)].tolist() == phrase and not row[len(phrase) :].any()


def test_a_small_vocabulary(small):
    assert small.size == 512 + 5 + 2
    assert small(["red car"], length=5).tolist() == [[517, 513, 515, 518, 0]]
    # Without merges a word is its letters, the last one marked; "!" is id 0, the padding.
    word = small(["dog"], length=6)[0].tolist()
    assert word == [517, ord("d") - 33, ord("o") - 33, ord("g") - 33 + 256, 518, 0]
    assert small(["the"], length=5)[0].tolist() == [517, 516, ord("e") - 33 + 256, 518, 0]
    assert small.end == small([""], length=2)[0].max()


def test_cleaning(small):
    same = ["red  car", "RED\tcar ", "red&#32;car", "red &amp;amp; car".replace(" &amp;amp;", "")]
    rows = small(same, length=8)
    assert (rows == rows[0]).all()
    quotes = small(["the car\u2019s", "the car's", "cafe\u0301", "caf\u00e9"], length=16)
    np.testing.assert_array_equal(quotes[0], quotes[1])
    np.testing.assert_array_equal(quotes[2], quotes[3])


def test_text_is_mended_as_in_the_program(clip):
    def ids(phrase):
        row = clip([phrase])[0]
        return row[1 : np.argmax(row == clip.end)].tolist()

    assert ids("ligature \ufb01ne \ufb02ow") == [19915, 4490, 3797, 5608]
    assert ids("fullwidth \uff21\uff22\uff23 \uff11\uff12\uff13") == [9407, 23571, 5334, 272, 273, 274]
    assert ids("red\u0345 car") == ids("red car")
    assert ids("voitures \u00c3\u00a0 c\u00c3\u00b4t\u00c3\u00a9") == ids("voitures \u00e0 c\u00f4t\u00e9")


@pytest.mark.parametrize(
    "phrase, want",
    [
        ("red<|endoftext|>car", ["red", None, "car"]),
        ("<|StartOfText|> red", [-1, "red"]),
        ("<|endoftext|><|startoftext|>", [None, -1]),
        # The run of signs before it takes its first two, as in the program's expression.
        ("car !<|endoftext|>", ["car", "!<|", "endoftext", "|>"]),
        ("car \u0301<|endoftext|>", ["car", "\u0301<|", "endoftext", "|>"]),
    ],
)
def test_start_and_end_in_a_text(clip, phrase, want):
    marks = {None: clip.end, -1: clip.start}

    def inner(part):
        row = clip([part])[0]
        return row[1 : np.argmax(row == clip.end)].tolist()

    expected = [id for part in want for id in ([marks[part]] if part in marks else inner(part))]
    row = clip([phrase])[0].tolist()
    assert row[: len(expected) + 2] == [clip.start, *expected, clip.end] and not any(row[len(expected) + 2 :])


def test_a_missing_package_is_named_when_text_is_read(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(InputError, match="pip install ftfy"):
        small(["red car"], length=5)


def test_long_phrases(small):
    long = "red " * 30
    with pytest.raises(InputError, match="'red red .*' has 32 tokens, the model takes 10: shorten it"):
        small([long], length=10)
    row = small([long], length=10, truncate=True)[0].tolist()
    assert row == [517] + [513] * 8 + [518]
    assert small([long.strip()], length=32).shape == (1, 32)


def test_gzip_and_plain_files_are_the_same(tmp_path):
    path = tmp_path / "merges.txt.gz"
    path.write_bytes(gzip.compress(MERGES.encode()))
    assert text.read_merges(path) == [("r", "e"), ("re", "d</w>"), ("c", "a"), ("ca", "r</w>"), ("t", "h")]


@pytest.mark.parametrize(
    "content, says",
    [
        (None, "does not exist: give bpe_simple_vocab_16e6.txt.gz"),
        (b"", "no merges"),
        (b"header\na b c\n", "line 2 is 'a b c', not two symbols"),
        (b"header\nab c\n", "uses 'ab', which no line makes"),
        (gzip.compress(MERGES.encode(), mtime=0)[:20], "is damaged"),
        (b"header\n\xff\xfe b\n", "is damaged"),
    ],
)
def test_wrong_files_are_named(tmp_path, content, says):
    path = tmp_path / "merges.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        text.Tokenizer(path)
    assert "\n" not in str(caught.value) and json.dumps(str(path))[1:-1] in str(caught.value)
