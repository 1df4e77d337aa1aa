"""Where results go: an output path is checked before work begins, and a file is there whole or not at all.

A program claims each of its output paths (`claim_folder`, `claim_file`) as soon as it knows it. What goes wrong later,
a full disk for example, is an OSError that errors.run turns into its one line.
"""

import contextlib
import os
import secrets
from pathlib import Path

from etils import epath

from trackers.errors import InputError, os_reason

# Bytes in the name of a file or folder that disks take (ext4, XFS, APFS, NTFS all about as many).
LONGEST_NAME = 255
# Stands in a data set that is being written, and is taken away last: readers refuse a folder that has it.
UNFINISHED = "UNFINISHED"


def claim_folder(path, flag="--out"):
    """Makes a folder for results, parents too, and makes sure that it can be written to.

    Args: path: anything etils.epath knows. flag: what the path was given with, for the message.

    Returns: the path as etils.epath.Path.

    Raises: InputError where it, or a folder above it, is a file, cannot be made, or cannot be written to.
    """
    path = epath.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        _probe(part_of(path / "probe"))
    except OSError as error:
        raise InputError(f"{flag} {path} cannot be a folder for results: {os_reason(error)}") from None
    return path


def claim_file(path, flag="--out"):
    """Makes sure that a file can be written: its folder is made, its name is no folder's and not too long.

    Args, Returns and Raises as of claim_folder.
    """
    path = epath.Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise InputError(f"{flag} {path} is a folder: name a file in it")
        _probe(path.parent / f"{path.name}.part")  # a name that is too long is too long here, too
    except OSError as error:
        raise InputError(f"{flag} {path} cannot be written: {os_reason(error)}") from None
    return path


def part_of(path):
    """A path beside `path` to write to before it is renamed to it: no other process or thread has the same."""
    return path.parent / f".{os.getpid()}-{secrets.token_hex(4)}.part"


def _probe(path):
    """Writes and removes a file. Not where each file is a request over a network."""
    if "://" not in str(path):
        try:
            path.write_bytes(b"?")
        finally:
            path.unlink(missing_ok=True)


def write_bytes(path, data):
    """Writes a file, whole or not at all, whenever the program is killed; its folder is made.

    Args: path: anything etils.epath knows. data: bytes.

    Raises: InputError where it cannot be written.
    """
    path = epath.Path(path)
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise InputError(f"{path} cannot be written: {os_reason(error)}") from None


def write_text(path, text):
    """Writes a text file in UTF-8; otherwise as write_bytes."""
    write_bytes(path, text.encode())


@contextlib.contextmanager
def unfinished(folder):
    """While this context lasts, and after it where it did not end well, `check_finished` refuses the folder."""
    mark = epath.Path(folder) / UNFINISHED
    write_text(mark, "This data set was not written to its end: remove the folder and write it again.\n")
    yield
    mark.unlink()


def check_finished(folder):
    """Raises: InputError where the writing of the data set in `folder` did not come to its end."""
    if (epath.Path(folder) / UNFINISHED).exists():
        raise InputError(
            f"{folder} was not written to its end: wait where a program still writes it, else remove it and write it"
            " again"
        )


def name_of(path):
    """The name that results of a video get: a file's without its ending, a folder's whole ("cam1.left")."""
    path = Path(path).resolve()
    return path.name if path.is_dir() else path.stem


def check_distinct(paths):
    """Refuses names whose files would replace one another's.

    Args: paths: {name: the files that it writes}, or a list of such pairs.

    Raises: InputError naming both and the file.
    """
    owner = {}
    for name, files in paths.items() if isinstance(paths, dict) else paths:
        for file in map(str, files):
            if file in owner:
                raise InputError(f"{owner[file]!r} and {name!r} would both write {file}: rename one, or leave it out")
            owner[file] = name
