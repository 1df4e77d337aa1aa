"""No small file takes much memory: measured in a process of its own."""

import gzip
import re
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest

from tests import programs
from trackers.errors import InputError, UsageError
from trackers.io import image_headers, limits

MEGABYTES = 60
READ = """
import resource, sys
from data_pipelines import text
from trackers.convert import read_checkpoint
from trackers.errors import InputError
from trackers.io import image_files
import cv2
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
folder, before = sys.argv[1], peak()
for read, name in ((text.read_merges, "b.gz"), (read_checkpoint, "b.npz"), (image_files.read_image, "b.png")):
    try:
        read(f"{folder}/{name}")
        print(name, "was accepted", end="; ")
    except InputError as error:
        print(name, "allowed: set" in str(error), end="; ")
print(peak() - before)
"""


def png(width, height):
    """A PNG of black pixels, 1 bit each."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes((width // 8 + 1) * height), 1)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_three_small_files_take_little_memory(tmp_path):
    """What took 23 GB, 1.5 GB and 2.3 GB, in sizes that a test can make."""
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"#version\n" + b"a b\n" * 40_000_000, 1))
    np.savez_compressed(tmp_path / "b.npz", a=np.zeros(60_000_000, np.float32))
    (tmp_path / "b.png").write_bytes(png(20_000, 20_000))
    assert max(file.stat().st_size for file in tmp_path.iterdir()) < 2_000_000
    command = [sys.executable, "-c", READ, str(tmp_path)]
    done = subprocess.run(
        command, env=programs.environ(), cwd=programs.ROOT, capture_output=True, text=True, timeout=120
    )
    *refused, grown = done.stdout.split("; ")
    assert refused == ["b.gz True", "b.npz True", "b.png True"], done.stdout + done.stderr
    assert int(grown) < MEGABYTES


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff"])
def test_size_is_read_from_the_header(suffix):
    cv2 = pytest.importorskip("cv2")
    data = cv2.imencode(suffix, np.zeros((30, 47, 3), np.uint8))[1].tobytes()
    assert image_headers.image_size(data, "a") == (47, 30)
    assert image_headers.image_size(data[:9], "a") is None or suffix == ".bmp"


def test_a_jpeg_of_many_scans_or_segments_is_refused_at_once():
    cv2 = pytest.importorskip("cv2")
    data = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    image_headers.check(data, "a.jpg")
    with pytest.raises(InputError, match="a.jpg has .* scans; 100 are allowed: set TRACKERS_MAX_JPEG_SCANS"):
        image_headers.check(data[:-2] + b"\xff\xda\0\x08\x01\x01\0\0?\0" * 200 + data[-2:], "a.jpg")
    start = time.perf_counter()
    for filling in (b"\xff" * 10_000_000, b"\xff\xe0\0\x02" * 3_000_000):
        with pytest.raises(InputError, match="cannot be decoded"):
            image_headers.check(data[:2] + filling + data[2:], "a.jpg")
    assert time.perf_counter() - start < 20  # what goes over the bytes again for each would take hours


def test_limits_are_set_by_the_environment(monkeypatch):
    cv2 = pytest.importorskip("cv2")
    data = cv2.imencode(".jpg", np.zeros((100, 200, 3), np.uint8))[1].tobytes()
    image_headers.check(data, "a.jpg")
    monkeypatch.setenv("TRACKERS_MAX_IMAGE_MEGAPIXELS", "0.01")
    with pytest.raises(InputError, match="a.jpg of 200x100 has 0.02 megapixels; 0.01 are allowed"):
        image_headers.check(data, "a.jpg")
    for wrong in ("0", "-1", "much", "inf", ""):
        monkeypatch.setenv("TRACKERS_MAX_TEXT_MB", wrong)
        with pytest.raises(UsageError, match="TRACKERS_MAX_TEXT_MB=.*: give a number above 0, such as 64"):
            limits.TEXT.check("a", 1)


def test_every_limit_is_documented():
    named = [limit for limit in vars(limits).values() if isinstance(limit, limits.Limit)]
    assert len(named) == 9
    for limit in named:
        assert re.search(rf"{limit.name} +{limit.default} ", limits.__doc__)
