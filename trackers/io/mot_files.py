"""Tracks as MOTChallenge text files: one box a line, frame,id,x,y,w,h,confidence,class,visibility.

The columns after h may be absent. Frames and boxes are kept as written: frames usually count from 1, x and y are of the
top left corner in pixels, and confidence 0 marks a row of ground truth that does not count.
"""

import array
import dataclasses
import re

import numpy as np
from etils import epath

from trackers.errors import InputError
from trackers.io import numbers, outputs, plain_text
from trackers.io.numbers import counted

_COLUMNS = 8
# Keys of an ini file are of any case, and stand before = or a colon.
_LENGTH = re.compile(r"^\s*seqLength\s*[=:]\s*([0-9]+)\s*$", re.MULTILINE | re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Tracks:
    """Boxes of any tracker, or of the ground truth, sorted by frame. n rows.

    frames, ids: (n,) int64. boxes: (n, 4) float64 x, y, w, h in pixels. confidence: (n,) float64, 1 where not given.
    labels: (n,) int64 class numbers, 1 where not given.
    """

    frames: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    confidence: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.frames)

    def select(self, rows):
        """The rows of a mask or an index array, in their order."""
        return Tracks(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def from_rows(frames, ids, boxes, confidence=None, labels=None, source="tracks", lines=None):
    """Tracks from columns, sorted by frame (rows of a frame keep their order).

    lines: the line of `source` that each row stands in, for the message.

    Raises: InputError naming `source` where an id occurs twice in a frame, a number is not finite or not whole, or a
      box is larger than images are.
    """

    def refuse(bad, what):
        row = int(np.argmax(bad))
        raise InputError(f"{source}{'' if lines is None else f' line {lines[row]}'}: row {row + 1} has {what}")

    count = len(frames)
    boxes = np.asarray(boxes, np.float64).reshape(count, 4)
    confidence = np.ones(count) if confidence is None else np.asarray(confidence, np.float64)
    labels = np.ones(count) if labels is None else np.asarray(labels)
    whole = {}
    for name, column in (("frame", frames), ("id", ids), ("class", labels)):
        column = np.asarray(column, np.float64)
        bad = ~np.isfinite(column) | (column != np.floor(column)) | (np.abs(column) > numbers.LARGEST_WHOLE)
        if bad.any():
            refuse(bad, f"{name} {column[bad][0]:g}: give whole numbers")
        whole[name] = column.astype(np.int64)
    for bad, what in (
        (~np.isfinite(boxes).all(axis=1), "a box that is not finite"),
        ((np.abs(boxes) > numbers.LARGEST_PIXEL).any(axis=1), f"a box beyond {numbers.LARGEST_PIXEL} pixels"),
        (~np.isfinite(confidence), "a confidence that is not finite"),
    ):
        if bad.any():
            refuse(bad, what)
    order = np.argsort(whole["frame"], kind="stable")
    tracks = Tracks(whole["frame"], whole["id"], boxes, confidence, whole["class"]).select(order)
    keys, counts = np.unique(np.stack([tracks.frames, tracks.ids]), axis=1, return_counts=True)
    if (counts > 1).any():
        frame, number = keys[:, np.argmax(counts > 1)]
        raise InputError(f"{source}: id {number} is twice in frame {frame}; an object has one box a frame")
    return tracks


def empty():
    """Tracks without a row."""
    return from_rows(np.zeros(0), np.zeros(0), np.zeros((0, 4)))


def read(path, first_frame=0, length=None, judged=False):
    """Tracks of a file; columns separated by commas or white space, empty lines skipped, an empty file has no rows.

    Args:
      first_frame: the number of the video's first frame. length: how many frames the video has, None where that is not
        known.
      judged: whether these are a tracker's boxes that are to be scored, of which TrackEval takes ids from 0 on only,
        and no class above 1.

    Raises: InputError naming the file, and the line where there is one, for what cannot be read.
    """
    path = epath.Path(path)
    try:
        text = plain_text.read_text(path, "lines frame,id,x,y,w,h,...")
    except InputError as error:
        remedy = "give a text file of lines frame,id,x,y,w,h,..."
        raise InputError(f"tracks {path} cannot be read: {remedy} ({error})") from None
    values, lines, read_line = array.array("d"), array.array("q"), numbers.line_reader(text, _COLUMNS)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = read_line(line)
        except ValueError:
            raise InputError(f"{path} line {number}: {line.strip()[:60]!r} is not frame,id,x,y,w,h,...") from None
        if len(row) < 6:
            raise InputError(f"{path} line {number}: {counted(len(row), 'column')}, frame,id,x,y,w,h are needed")
        values.extend(row + [1.0] * (_COLUMNS - len(row)))
        lines.append(number)
    table = np.frombuffer(values, np.float64).reshape(-1, _COLUMNS)
    columns = (table[:, 0], table[:, 1], table[:, 2:6], table[:, 6], table[:, 7])
    tracks = from_rows(*columns, source=path, lines=lines)
    last = np.inf if length is None else first_frame + length - 1
    remedy = "give --first_frame, or count frames as the video does"
    for bad, column, what in (
        (table[:, 0] < first_frame, 0, f"frame {{}} is before the first frame, {first_frame}: {remedy}"),
        (table[:, 0] > last, 0, f"frame {{}} is after the last of the video, {last}: {remedy}"),
        (judged & (table[:, 1] < 0), 1, "id {} is below 0: give each object a number of its own"),
        (judged & (table[:, 7] > 1), 7, "class {}: only pedestrians are scored, write -1 or take such lines out"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(f"{path} line {lines[row]}: {what.format(int(table[row, column]))}")
    return tracks


def length_of(folder):
    """The frames of a video that its folder's seqinfo.ini tells, None where there is none. Raises: InputError."""
    info = epath.Path(folder) / "seqinfo.ini"
    if not info.exists():
        return None
    match = _LENGTH.search(plain_text.read_text(info, "lines key=value"))
    if match is None:
        raise InputError(f"{info} has no line seqLength=NUMBER: unpack it again")
    return int(match[1])


def write(path, tracks):
    """Writes a result file, `as_text` of the tracks; folders are made."""
    outputs.write_text(path, as_text(tracks))


def write_truth(path, tracks):
    """Writes a ground-truth file as TrackEval wants it: frame,id,x,y,w,h,1,1,1, all of the one class."""
    outputs.write_text(path, as_text(dataclasses.replace(tracks, confidence=np.ones(len(tracks))), "1,1"))


def as_text(tracks, rest="-1,-1,-1"):
    """The lines of a file, frame,id,x,y,w,h,confidence and `rest`, boxes with two decimals."""
    lines = []
    for frame, number, box, confidence in zip(tracks.frames, tracks.ids, tracks.boxes, tracks.confidence, strict=True):
        numbers = ",".join(f"{value:.2f}" for value in box)
        lines.append(f"{frame},{number},{numbers},{confidence:g},{rest}\n")
    return "".join(lines)


def merge(parts):
    """Tracks of several files of one video (cars and pedestrians, say) as one; the ids of each part are moved above
    the largest of those before it, as iKUN's program does."""
    offset, moved = 0, []
    for part in parts:
        moved.append(dataclasses.replace(part, ids=part.ids + offset))
        offset = max(offset, int(moved[-1].ids.max(initial=offset)))
    columns = [np.concatenate([getattr(part, f.name) for part in moved]) for f in dataclasses.fields(Tracks)]
    return from_rows(*columns)


def renumber(tracks, shift):
    """The same tracks with `shift` added to every frame number."""
    return dataclasses.replace(tracks, frames=tracks.frames + shift)


def pieces(frames):
    """Where one track runs without a missing frame.

    Args: frames: (n,) int, ascending, no two equal. Returns: [slice] of the runs of consecutive numbers, in order.
    """
    frames = np.asarray(frames)
    if not len(frames):
        return []
    breaks = np.flatnonzero(np.diff(frames) != 1) + 1
    edges = [0, *breaks.tolist(), len(frames)]
    return [slice(first, last) for first, last in zip(edges[:-1], edges[1:], strict=True)]
