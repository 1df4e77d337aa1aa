"""Tracks of multi-object data sets as sequences of one target each, for training pairs."""

import functools

import numpy as np

from data_pipelines import annotations, phrase_annotations, trees
from data_pipelines.bad_samples import MissingFrames
from data_pipelines.sources import Source
from trackers import errors
from trackers.io import mot_files, numbers

# Place of the visible share in a line of the ground truth.
_VISIBILITY = 8


def open(name, folders, layout, label=1):
    """The tracks of videos -> Source of sequences VIDEO.ID, from a track's first frame to its last.

    Args:
      name: the data set's.
      folders: {video: folder with img1/ and gt/gt.txt}.
      layout: as trees.root takes it.
      label: the class whose tracks are taken.

    Rows with confidence 0 do not count. Visible frames: those with a row, a box with an area, and a visible share above
    0 where the file states it. Boxes stay as published, counted from 1, zeros where there is no row.
    Raises: InputError naming file and line, and where there are no tracks.
    """
    found = []
    for video, folder in folders.items():
        tracks = _read(folder / "gt" / "gt.txt", label)
        # Sorted by id once: a video has hundreds of tracks.
        order = np.argsort(tracks.ids, kind="stable")
        ids, firsts = np.unique(tracks.ids[order], return_index=True)
        parts = np.split(order, firsts[1:]) if len(ids) else []
        found += [(f"{video}.{number}", folder, tracks.select(rows)) for number, rows in zip(ids, parts, strict=True)]
    trees.some(name, found, "tracks", ", ".join(folders), layout)
    return Source(name, [track for track, _, _ in found], lambda index: _load(*found[index]))


def _read(file, label):
    tracks = mot_files.read(file, first_frame=1)
    keep = (tracks.confidence != 0) & (tracks.labels == label)
    visibility = _visibility(file)
    if visibility:
        keys = zip(tracks.frames.tolist(), tracks.ids.tolist(), strict=True)
        keep &= np.array([visibility.get(key, 1.0) > 0 for key in keys], bool)
    return tracks.select(keep)


def _visibility(file):
    """{(frame, id): visible share} of the lines that state one; the file has been read as tracks before."""
    known, expected = {}, "lines frame,id,x,y,w,h,confidence,class,visibility"
    for number, line in enumerate(annotations.read_text(file, expected).split("\n"), 1):
        cells = numbers.cells(line)
        if len(cells) > _VISIBILITY:
            try:
                frame, track, share = (numbers.number(cells[place]) for place in (0, 1, _VISIBILITY))
            except ValueError:
                raise errors.InputError(f"{file}:{number}: {line.strip()[:60]!r}: expected {expected}") from None
            known[int(frame), int(track)] = share
    return known


@functools.lru_cache(maxsize=4096)
def _images(folder):
    return phrase_annotations.numbered(folder)


def _load(name, folder, track):
    images = folder / "img1"
    files = _images(images)
    first, last = int(track.frames[0]), int(track.frames[-1])
    missing = next((number for number in range(first, last + 1) if number not in files), None)
    if missing is not None:
        raise MissingFrames(f"sequence {name}: no image with the number {missing} in {images}; unpack it again")
    boxes = np.zeros((last - first + 1, 4))
    boxes[track.frames - first] = track.boxes
    return annotations.sequence(name, images, [files[number] for number in range(first, last + 1)], boxes)
