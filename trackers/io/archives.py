"""A folder or a zip of text files, read alike and never unpacked to disk, so that a zip can do no harm.

A zip is refused as a whole where its list of files is damaged, or where it is a part of a split one; what is wrong
with one of its files is a fault of that file: a link, encryption, a compression that Python has not, a size beyond
limits.TEXT, a name that is there twice, or one that leads elsewhere.
"""

import contextlib
import re
import stat
import zipfile
from pathlib import Path

from trackers.errors import InputError
from trackers.io import limits, plain_text

_DRIVE = re.compile("[A-Za-z]:")
# Bits of a member's flags: encryption, and that of its newer kind.
_ENCRYPTED = 0x41
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class Tree:
    """Files below one place.

    names: list of str, paths of the files with "/" between folders, sorted. faults: {name: what is wrong with it};
    such files are in `names`, too, but cannot be read. outside: the same of names that are none within the place where
    a zip is unpacked; such files can be read. path: of the folder or zip. is_zip: whether it is one.
    """

    def __init__(self, path, files, faults, outside, is_zip):
        self.path, self.faults, self.outside, self.is_zip = path, faults, outside, is_zip
        self._files = files
        self.names = sorted(files)

    def read(self, name):
        """Bytes of a file. Raises: InputError naming it where it is damaged, unreadable or larger than limits.TEXT."""
        if name in self.faults:
            raise InputError(f"{name} {self.faults[name]}")
        with plain_text.naming(name, "pack it again"), self._files[name]() as stream:
            return limits.read(stream, limits.TEXT, name)


@contextlib.contextmanager
def open_tree(path):
    """Context of the Tree of a folder or zip file.

    Raises: InputError naming the path where there is none, or it is neither.
    """
    path = Path(path)
    if path.is_dir():
        files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if not file.is_dir()}
        yield Tree(path, {name: lambda file=file: file.open("rb") for name, file in files.items()}, {}, {}, False)
        return
    if not path.exists():
        raise InputError(f"{path} is missing: expected a zip file or a folder of results")
    try:
        archive = zipfile.ZipFile(path)
    except plain_text.DAMAGE as error:
        raise InputError(f"{path} is no zip that can be read ({plain_text.reason(error)}): pack it again") from None
    with archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        if any(info.volume for info in members):
            raise InputError(f"{path} is one part of a split zip: pack all of it in one file")
        faults, outside, seen = {}, {}, set()
        for info in members:
            fault = "is in the zip twice: keep one" if info.filename in seen else _fault(info)
            if fault:
                faults.setdefault(info.filename, fault)
            elif _leads_outside(info):
                what = "leads outside of where it is unpacked, or is no path: pack plain relative names"
                outside[info.filename] = what
            seen.add(info.filename)
        files = {info.filename: lambda info=info: archive.open(info) for info in members}
        yield Tree(path, files, faults, outside, True)


def _fault(info):
    """What is wrong with a member of a zip by its entry, None where nothing is."""
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a link: pack the file that it names"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted: pack it without a password"
    if info.compress_type not in _COMPRESSIONS:
        named = zipfile.compressor_names.get(info.compress_type, f"number {info.compress_type}")
        return f"is compressed by method {named}, which few programs read: pack it with Deflate, as zip does"
    if info.file_size > limits.TEXT.value:
        return f"unpacks to {info.file_size / 2**20:.4g} MB, which no file of results has: pack it again"
    return None


def _leads_outside(info):
    parts = info.filename.split("/")
    # zipfile has made "/" of the backslashes of Windows only where it runs there.
    return ".." in parts or "" in parts or "\\" in info.orig_filename or bool(_DRIVE.match(info.filename))
