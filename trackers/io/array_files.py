"""NumPy's .npz files, read without trusting what they say about themselves."""

import math
import zipfile

import numpy as np

from trackers.errors import InputError
from trackers.io import limits

_KINDS = "biufcSU"


def read_npz(stream, source):
    """{name: array} of the .npz file in a binary stream that can seek.

    What every header states is checked first: against the length that the archive states for the array, and all of
    them against the length of the file (limits.EXPANSION).

    Raises: InputError for arrays of objects or out of proportion; zipfile's, zlib's and numpy's errors for damage.
    """
    stored = stream.seek(0, 2)
    stream.seek(0)
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) != len(members):
            raise InputError(f"{source} holds two arrays of one name")
        limits.check_expansion(source, sum(member.file_size for member in members), stored)
        for member in members:
            _check_header(archive, member, source)
        return {member.filename.removesuffix(".npy"): _read(archive, member) for member in members}


def _check_header(archive, member, source):
    with archive.open(member) as opened:
        version = np.lib.format.read_magic(opened)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise InputError(f"{source}: array {member.filename} is of .npy version {version}, not 1.0 or 2.0")
        shape, _, dtype = read_header(opened)
        if dtype.kind not in _KINDS or not dtype.itemsize:
            # numpy's own words name allow_pickle.
            raise InputError(f"{source}: array {member.filename} holds {dtype}, no numbers (needs allow_pickle)")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or size != member.file_size - opened.tell():
            raise InputError(
                f"{source}: array {member.filename} of shape {shape}, {dtype} has {size} bytes, the file"
                f" {member.file_size - opened.tell()}"
            )


def _read(archive, member):
    with archive.open(member) as opened:
        array = np.lib.format.read_array(opened, allow_pickle=False)
        opened.read(1)  # the checksum is looked at behind the last byte
        return array
