"""What was parsed of a large data set, kept from run to run, so that it is there at once.

    CACHE/trackers/index/NAME-DIGEST.json            the frames of each sequence, and the files that it was read from
    CACHE/trackers/index/NAME-DIGEST.{boxes,visible}.npy

CACHE is $XDG_CACHE_HOME or ~/.cache. The digest is of the folder, the split, the options, the sequences' names and the
code that reads them. A sequence whose files or folders have another time or size than when it was read, or about which
something was said (surplus images, damage), is read anew. Sets of a few sequences, and those that are not on a local
disk, have no index.
"""

import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib

import numpy as np
from etils import epath

from data_pipelines import annotations, cache, sources
from trackers import errors, progress
from trackers.io import outputs

# Sequences from which on an index is kept.
LEAST = 200
_THREADS = 16
_FORMAT = 1
_CODE = ("annotations.py", "regions.py", "published.py", "trees.py", "index.py")


def indexed(source, name, given, split):
    """The Source with what its index has, which is made first where there is none.

    Args: source: as opened. name: its layout. given: the folder as text, with options. split: of it.
    """
    if len(source) < LEAST or not source.is_video or "://" in given or not isinstance(source.names, list):
        return source
    path = cache.folder("index") / f"{name}-{_digest(name, given, split, source.names)}.json"
    try:
        known = _read(path, source.names)
    except (OSError, ValueError, LookupError, TypeError):
        if not _has_folders(source):
            return source
        known = _made(path, source)
    return source.loading(functools.partial(_load, source, known))


def _has_folders(source):
    """Whether its frames are images of a folder; others, as shards have them, are told without looking."""
    try:
        return isinstance(source[0].frames, annotations.Frames)
    except errors.InputError:
        return True


def _digest(name, given, split, names):
    here = pathlib.Path(__file__).parent
    checksum = hashlib.sha256(f"{_FORMAT}\0{os.path.abspath(given)}\0{split}\0".encode())
    checksum.update("\0".join(names).encode())
    for file in (*(here / file for file in _CODE), *sorted((here / "sources").glob("*.py"))):
        checksum.update(file.read_bytes())
    return checksum.hexdigest()[:16]


def _made(path, source):
    """The index of a source, also written to `path` where that can be: {"sequences", "boxes", "visible"}."""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as readers:
        entries = readers.map(functools.partial(_entry, source), range(len(source)))
        read = list(progress.bar(entries, total=len(source), desc=f"index of {source.name}", disable=None))
    found, start = [], 0
    for entry in read:
        if entry is not None:
            entry[0]["start"] = start
            start += entry[0]["count"]
        found.append(entry and entry[0])
    parts = [entry[1] for entry in read if entry is not None]
    boxes = np.concatenate([part.boxes for part in parts]) if parts else np.zeros((0, 4))
    visible = np.concatenate([part.visible for part in parts]) if parts else np.zeros(0, bool)
    known = {"sequences": found, "boxes": boxes, "visible": visible}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for what in ("boxes", "visible"):
            part = outputs.part_of(_array(path, what))
            with part.open("wb") as opened:
                np.save(opened, known[what])
            part.replace(_array(path, what))
        # Last: an index without it is none.
        outputs.write_text(path, json.dumps({"names": source.names, "sequences": found, "frames": len(boxes)}))
    except (OSError, errors.InputError) as error:
        annotations.say_once(f"{source.name}: no index is kept in {path.parent} ({error}); set XDG_CACHE_HOME")
    return known


def _entry(source, index):
    """(what JSON holds of a sequence, the Sequence); None where it has to be read anew each time."""
    with annotations.watching() as watched:
        try:
            # Past the source's own cache, which would hold all of it twice.
            sequence = source.read(index)
        except errors.InputError:
            return None
    frames = sequence.frames
    if watched.said or not isinstance(frames, annotations.Frames):
        return None
    parent, names = frames.rule
    files = [[file, *_stamp(file)] for file in dict.fromkeys(watched.files)]
    count = len(sequence.boxes)
    return {"name": sequence.name, "parent": parent, "frames": names, "count": count, "files": files}, sequence


def _stamp(file):
    """(time of change in ns, bytes) of a file or folder; (0, -1) where there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return 0, -1
    return status.st_mtime_ns, status.st_size


def _read(path, names):
    content = json.loads(path.read_text())
    known = {what: np.load(_array(path, what), mmap_mode="r").view(np.ndarray) for what in ("boxes", "visible")}
    frames = content["frames"]
    shapes = known["boxes"].shape, known["visible"].shape
    if content["names"] != names or len(content["sequences"]) != len(names) or shapes != ((frames, 4), (frames,)):
        raise ValueError
    return known | {"sequences": content["sequences"]}


def _array(path, what):
    return path.with_suffix(f".{what}.npy")


def _load(source, known, index):
    entry = known["sequences"][index]
    if entry is None or any(_stamp(file) != (time, size) for file, time, size in entry["files"]):
        return source.read(index)
    rows = slice(entry["start"], entry["start"] + entry["count"])
    frames = annotations.Frames.of_rule(epath.Path(entry["parent"]), entry["frames"])
    return sources.Sequence(entry["name"], frames, known["boxes"][rows], known["visible"][rows])
