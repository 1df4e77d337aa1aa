"""How much memory one file may ask for. Each limit has a name; the environment variable of that name sets it.

    TRACKERS_MAX_TEXT_MB               64   an annotation, track, list or phrase file
    TRACKERS_MAX_JSON_MB             1024   COCO's instance annotations (the largest published ones have 470 MB)
    TRACKERS_MAX_JSON_DEPTH           100   brackets inside one another
    TRACKERS_MAX_VOCABULARY_MB         16   a merges file, unpacked
    TRACKERS_MAX_IMAGE_MEGAPIXELS     100   width times height of an image or a video's frame
    TRACKERS_MAX_JPEG_SCANS           100   passes over the pixels of a progressive JPEG
    TRACKERS_MAX_EXPANSION             20   how many times its own size the arrays of a file may have; 64 MB always
    TRACKERS_MAX_TABLE_MILLIONS        50   cells that tracks fill in pairs (scores) or by frames (smoothing)
    TRACKERS_MAX_HEADER_MB             16   the list of tensors at the start of a .safetensors file

They are checked before anything is decoded, by what a file's header states, and decoders are stopped at them.
"""

import dataclasses
import os

from trackers.errors import InputError, UsageError
from trackers.io import numbers

_ALWAYS = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Limit:
    """name: of the environment variable. default, unit: the limit. scale: of its unit in what is counted."""

    name: str
    default: int
    unit: str
    scale: int = 1

    @property
    def value(self):
        """The limit in bytes, pixels or levels. Raises: UsageError where the environment sets it to no number."""
        given = os.environ.get(self.name)
        if given is None:
            return self.default * self.scale
        try:
            value = numbers.number(given.strip())
        except ValueError:
            value = 0
        if value <= 0:
            raise UsageError(f"{self.name}={given!r}: give a number above 0, such as {self.default}") from None
        return int(value * self.scale)

    def check(self, source, size):
        """Raises: InputError naming `source` where `size` (bytes, pixels, levels) is above the limit."""
        if size > self.value:
            raise self.error(source, f"{size / self.scale:.4g}")

    def error(self, source, has):
        """The InputError to raise. has: what the file has, as text."""
        return InputError(
            f"{source} has {has} {self.unit}; {self.value / self.scale:g} are allowed: set {self.name} if that is right"
        )


TEXT = Limit("TRACKERS_MAX_TEXT_MB", 64, "MB", 2**20)
JSON = Limit("TRACKERS_MAX_JSON_MB", 1024, "MB", 2**20)
JSON_DEPTH = Limit("TRACKERS_MAX_JSON_DEPTH", 100, "levels of brackets")
VOCABULARY = Limit("TRACKERS_MAX_VOCABULARY_MB", 16, "MB of text", 2**20)
IMAGE = Limit("TRACKERS_MAX_IMAGE_MEGAPIXELS", 100, "megapixels", 10**6)
SCANS = Limit("TRACKERS_MAX_JPEG_SCANS", 100, "scans")
EXPANSION = Limit("TRACKERS_MAX_EXPANSION", 20, "times its size in arrays")
TABLE = Limit("TRACKERS_MAX_TABLE_MILLIONS", 50, "million cells", 10**6)
HEADER = Limit("TRACKERS_MAX_HEADER_MB", 16, "MB of header", 2**20)


def check_expansion(source, unpacked, stored):
    """Raises: InputError where a file of `stored` bytes would fill `unpacked` bytes of arrays, out of proportion."""
    if unpacked > max(_ALWAYS, EXPANSION.value * stored):
        EXPANSION.check(source, unpacked / max(1, stored))


def read(stream, limit, source):
    """All bytes of a binary stream, unpacked or not, never more of them than the limit. Raises: InputError."""
    most, parts, size = limit.value, [], 0
    while part := stream.read(min(2**20, most + 1 - size)):
        size += len(part)
        if size > most:
            raise limit.error(source, f"more than {most / limit.scale:g}")
        parts.append(part)
    return b"".join(parts)
