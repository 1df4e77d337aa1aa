"""One rule for text and JSON, and one line about whatever is neither."""

import struct
import tokenize
import zipfile
import zlib

import numpy as np
import pytest

from trackers.errors import InputError
from trackers.io import array_files, plain_text


@pytest.mark.parametrize(
    "text, message",
    [
        ("[" * 100_000, "levels of brackets"),
        ('{"a": ' * 101 + "1" + "}" * 101, "101 levels of brackets; 100 are allowed: set TRACKERS_MAX_JSON_DEPTH"),
        ('{"a": 1, "b": 2, "a": 3}', "key 'a' stands twice"),
        (r'{"a": ["half a character \uD83D"]}', "not JSON .*surrogates not allowed"),
        ('{"a": NaN}', "NaN is not a number"),
        ("[-Infinity]", "-Infinity is not a number"),
        ("[1,\n2,,]", ":2: not JSON"),
        ("9" * 5000, "not JSON"),
        ("", ":1: not JSON"),
    ],
)
def test_what_is_no_json(tmp_path, text, message):
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        plain_text.read_json(file, "a config")
    assert "a.json" in str(caught.value) and "\n" not in str(caught.value)


def test_an_escaped_character_of_two_halves_is_one():
    assert plain_text.parse_json(r'["\ud83d\ude97", "\\ud83d"]', "x") == ["\U0001f697", r"\ud83d"]


def test_brackets_in_strings_are_no_levels():
    text = '["' + "[" * 200 + '", "\\"' + "{" * 200 + '", "\\\\", {"[[": []}]'
    assert plain_text.parse_json(text, "x")[3] == {"[[": []}
    assert plain_text.parse_json("[" * 100 + "]" * 100, "x")


def test_text_is_utf8_with_or_without_mark(tmp_path):
    file = tmp_path / "a.txt"
    for data in ("é\r\nb\rc\n".encode(), b"\xef\xbb\xbf" + "é\nb\nc\n".encode()):
        file.write_bytes(data)
        assert plain_text.read_text(file, "words") == "é\nb\nc\n"
    for data in ("é".encode("latin-1"), "a".encode("utf-16"), b"a\0b"):
        file.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.txt is not text .*: expected words; save it as UTF-8"):
            plain_text.read_text(file, "words")


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    cases = {tmp_path: "is a folder", tmp_path / "a" / "b": "is missing", tmp_path / ("n" * 300): "cannot be read"}
    for path, message in {**cases, f"{tmp_path}/a\0b": "cannot be read"}.items():
        with pytest.raises(InputError, match=message):
            plain_text.read_text(path, "words")
    (tmp_path / "long.txt").write_bytes(b"a" * 600_000)
    monkeypatch.setenv("TRACKERS_MAX_TEXT_MB", "0.5")
    with pytest.raises(InputError, match=r"long\.txt has more than 0\.5 MB; 0\.5 are allowed: set TRACKERS_MAX_T"):
        plain_text.read_text(tmp_path / "long.txt", "words")


@pytest.mark.parametrize(
    "error",
    [
        *(
            RecursionError("x"),
            OverflowError("x"),
            zlib.error("x"),
            EOFError(),
            IsADirectoryError(21, "Is a directory"),
        ),
        *(
            NotImplementedError("type 99"),
            tokenize.TokenError("EOF", (1, 2)),
            struct.error("x"),
            zipfile.BadZipFile("x"),
        ),
        *(MemoryError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), KeyError("a"), SyntaxError("a\nb")),
    ],
)
def test_what_decoders_raise_becomes_one_line(error):
    message = r"^file f is damaged \(.+\): copy it again$"
    with pytest.raises(InputError, match=message) as caught, plain_text.naming("file f", "copy it again"):
        raise error
    assert "\n" not in str(caught.value)


def test_names_are_ones_that_folders_can_have(tmp_path):
    (tmp_path / "list.txt").write_text("a\n" + "é" * 128 + "\n")
    with pytest.raises(InputError, match="name 2, .* is too long for a folder"):
        plain_text.read_names(tmp_path / "list.txt", "names")


def npz(path, name, header, data, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        text = header.encode().ljust(117) + b"\n"
        archive.writestr(name, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data)
    return path


@pytest.mark.parametrize(
    "header, data, message",
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }", b"\0" * 8, "has 4000000000000 bytes"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -2), }", b"\0" * 8, "bytes, the file 8"),
        ("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,), }", b"", "no numbers"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"\0" * 8, "allow_pickle"),
    ],
)
def test_headers_of_arrays_are_not_trusted(tmp_path, header, data, message):
    with npz(tmp_path / "a.npz", "a.npy", header, data).open("rb") as opened, pytest.raises(InputError, match=message):
        array_files.read_npz(opened, "a.npz")


def test_arrays_come_back_as_they_were(tmp_path):
    want = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(["x", "yz"]), "c": np.array(True), "d": np.zeros((0, 3))}
    np.savez_compressed(tmp_path / "a.npz", **want)
    with (tmp_path / "a.npz").open("rb") as opened:
        found = array_files.read_npz(opened, "a.npz")
    assert found.keys() == want.keys()
    for name, array in want.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)
