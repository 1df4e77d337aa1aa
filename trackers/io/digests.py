"""Digests of the files of a folder, kept beside them in digests.json: one flipped bit anywhere is found on reading.

SHA-256 of every file, data and metadata alike, read back from the disk; several files at a time.
"""

import concurrent.futures
import hashlib
import json

from etils import epath

from trackers.io import outputs, ownership, plain_text

FILE = "digests.json"
# Written by orbax once the digests are there: that and when a checkpoint was completed, of which no value depends.
_LATER = ("commit_success.txt", "_CHECKPOINT_METADATA")
_ALGORITHM = "sha256"
_THREADS = 4


class Damaged(ValueError):
    """A file of the folder is not what was written; the message names it."""


def write(folder):
    """Writes FOLDER/digests.json of all files under `folder` (any path that etils.epath knows)."""
    folder = epath.Path(folder)
    names = [name for name in _files(folder) if name not in (FILE, ownership.FILE, outputs.UNFINISHED, *_LATER)]
    outputs.write_text(folder / FILE, json.dumps({_ALGORITHM: _digests(folder, names)}, indent=0) + "\n")


def verify(folder, parts=None):
    """Compares the files under `folder` with its digests.

    Args:
      folder: path. parts: files and subfolders that the digests must tell of where they are there; of subfolders no
        others are looked into. None: all that they tell of.

    Returns: False where the folder has no digests, else True.

    Raises: Damaged for a file that is missing, unreadable, other than it was, or not told of.
    """
    folder = epath.Path(folder)
    if not (folder / FILE).exists():
        return False
    try:
        kept = dict(plain_text.read_json(folder / FILE, "digests")[_ALGORITHM].items())
    except plain_text.DAMAGE:
        raise Damaged(f"{FILE} is damaged") from None
    told = {name.split("/")[0] for name in kept}
    if not told or any(part not in told and (folder / part).exists() for part in parts or ()):
        raise Damaged(f"{FILE} does not tell of all that is there")
    names = [name for name in kept if parts is None or "/" not in name or name.split("/")[0] in parts]
    try:
        found = _digests(folder, names)
    except (OSError, ValueError) as error:
        raise Damaged(f"a file is missing or unreadable: {' '.join(str(error).split())}") from None
    if changed := [name for name in names if found[name] != kept[name]]:
        raise Damaged(f"{changed[0]} is not what was written: its digest differs")
    return True


def _files(folder, prefix=""):
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name


def _digests(folder, names):
    """{name: digest in hexadecimal} of files."""

    def digest(name):
        with (folder / name).open("rb") as file:
            return hashlib.file_digest(file, _ALGORITHM).hexdigest()

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as workers:
        return dict(zip(names, workers.map(digest, names), strict=True))
