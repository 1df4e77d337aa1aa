"""Damage of the kinds that files suffer: from disks, careless editors, foreign programs, and on purpose."""

import gzip
import io
import re
import struct
import warnings
import zipfile
import zlib

BOM = b"\xef\xbb\xbf"
_NUMBERS = (
    *("nan", "NaN", "-inf", "inf", "Infinity", "1e400", "-1e308", "1e200", "1e30", "1_0", "0x10", "1e", "--1", "+1"),
    *(
        "１２",
        "1²",
        "²",
        "٣",
        "0.4",
        "-0",
        "-1",
        "0",
        "00",
        "1.7",
        "true",
        "null",
        '"12"',
        "[1]",
        "{}",
        "",
        " ",
        "9" * 400,
    ),
    *("9" * 5000, str(2**31), str(2**53 + 1), str(2**63), str(-(2**63) - 1), "1e-400", "16777217", "1,5", "1.", ".5"),
)
_PIECES = (
    *(b"\0", b"\xff", b"\xc3", b"\n", b"\r\n", b"\r", b"\t", b" ", b",", b";", b"|", b"+", b'"', b"\\", b"\\u0000"),
    *(b"\xe2\x80\xa8", b"\xc2\x85", b"\xc2\xa0", b"\x1f", b"\x0c", BOM, b"[" * 50, b"]" * 3, b"A" * 300, b"/" * 5),
    *(
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b"(" * 9000,
        b"../" * 5,
        b"\x1f\x8b\x08",
        b"PK\x03\x04",
        b"\x93NUMPY",
        b"1" * 9000,
    ),
    *(b"\xff\xd9", b"\xff\xd8", b"\xff\xda", b"IEND", b'"id": 1, ', b'"label": {}, ', b'"sentence": 3, ', b"NaN, "),
)
_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")


def flip(rng, data):
    """One bit."""
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def flips(rng, data):
    for _ in range(rng.randrange(2, 20)):
        data = flip(rng, data)
    return data


def truncate(rng, data):
    return data[: rng.randrange(len(data) + 1)]


def insert(rng, data):
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_PIECES) + data[at:]


def overwrite(rng, data):
    at, piece = (
        rng.randrange(len(data) + 1),
        rng.choice((*_PIECES, b"\xff" * 4, b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7)),
    )
    return data[:at] + piece + data[at + len(piece) :]


def drop(rng, data):
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.randrange(1, 30) :]


def repeat(rng, data):
    at = rng.randrange(len(data) + 1)
    piece = data[at : at + rng.randrange(1, 60)]
    return data[:at] + piece * rng.choice((2, 3, 50)) + data[at:]


def renumber(rng, data):
    """Another number, or something like one, in a number's place."""
    found = list(_NUMBER.finditer(data[:100_000]))
    if not found:
        return insert(rng, data)
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(_NUMBERS).encode() + data[match.end() :]


def mark(rng, data):
    """A byte order mark in front."""
    return BOM + data


def recode(rng, data):
    """Another encoding."""
    text = data.decode(errors="replace")
    return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7")), errors="replace")


def ends(rng, data):
    """Another system's line ends."""
    return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"\xe2\x80\xa8")))


def swap_lines(rng, data):
    lines = data.split(b"\n")
    rng.shuffle(lines)
    return b"\n".join(lines)


BINARY = (flip, flips, truncate, insert, overwrite, drop, repeat)
TEXT = (*BINARY, renumber, renumber, renumber, renumber, mark, recode, ends, swap_lines)


def mutate(rng, data, kind):
    """(mutated bytes, names of what was done). kind: "text", "binary", "zip", "gzip" or "png"."""
    inside = {"zip": _in_zip, "gzip": _in_gzip, "png": _in_png, "safetensors": _in_safetensors}.get(kind)
    if inside and rng.random() < 0.7:
        return inside(rng, data)
    return _several(rng, data, TEXT if kind == "text" else BINARY)


def _several(rng, data, choice):
    names = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(choice)
        data = change(rng, data)
        names.append(change.__name__)
    return data, names


def _in_zip(rng, data):
    """Damage below the checksums of an archive, which an attacker recomputes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at, names = rng.randrange(len(members)), ["inside"]
    name, content = members[at]
    if rng.random() < 0.1:
        content = content + bytes(rng.choice((10**6, 3 * 10**8)))
    else:
        # Headers decide; numbers are only numbers.
        head = content[:128]
        head, names = _several(rng, head, TEXT if rng.random() < 0.5 else BINARY)
        content = head + content[128:]
    members[at] = (name, content)
    if rng.random() < 0.1:
        members.append(rng.choice(members))
    out = io.BytesIO()
    packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    packing = packing if len(content) < 10**7 else zipfile.ZIP_DEFLATED
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", packing, compresslevel=1) as archive:
        warnings.simplefilter("ignore")  # of a name twice, which is meant
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue(), ["in zip", *names]


def _in_gzip(rng, data):
    text = gzip.decompress(data)
    if rng.random() < 0.05:
        return gzip.compress(text + b"a b\n" * 10_000_000, 1), ["bomb"]
    text, names = _several(rng, text, TEXT)
    return gzip.compress(text, 1), ["in gzip", *names]


def _in_png(rng, data):
    """Damage to the size and kind that a PNG's header states, its checksum made anew."""
    head = bytearray(data[16:29])
    if rng.random() < 0.5:
        side = rng.choice((0, 1, 2**15, 20_000, 2**31 - 1, 2**32 - 1))
        struct.pack_into(">I", head, 4 * rng.randrange(2), side)
    else:
        head = bytearray(flip(rng, bytes(head)))
    return data[:16] + bytes(head) + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + data[33:], ["header"]


def _in_safetensors(rng, data):
    (length,) = struct.unpack("<Q", data[:8])
    head, names = _several(rng, data[8 : 8 + length], TEXT)
    return struct.pack("<Q", len(head)) + head + data[8 + length :], ["header", *names]
