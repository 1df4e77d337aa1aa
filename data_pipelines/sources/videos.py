"""Video files with boxes beside them, your own for example:

    ROOT/NAME.mp4                                       or .avi, .mkv, .webm, .mov
    ROOT/NAME.csv                                       x,y,w,h in pixels a line, one for each frame

A CSV file may begin with a line of names; with a column `frame`, which counts from 1, frames may be missing: the target
is not visible there. Frames are decoded when they are asked for, in order at no extra cost. Training draws them at
random, which decodes much in vain: unpack videos to images for that.
"""

import dataclasses
import functools
import itertools
import threading

import numpy as np

from data_pipelines import annotations, bad_samples, trees
from data_pipelines.sources import Facts, Sequence, Source
from trackers import errors
from trackers.io import numbers, video_files
from trackers.io.numbers import counted

FACTS = Facts()
SPLITS = ("train", "test")
SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v")
_LAYOUT = "NAME.mp4 and NAME.csv, which has x,y,w,h for each frame, or lines frame,x,y,w,h below those names"
_COLUMNS = ("x", "y", "w", "h")
# Frames of a video whose file doesn't say how many it has, at most.
_MOST_FRAMES = 10**6


def open(root, split="train"):
    """The videos in `root` that have boxes -> Source. Train and test are both everything.

    Visible frames: every box with an area.
    """
    path = trees.root(root, "videos", split, SPLITS, _LAYOUT)
    files = sorted((p for p in path.iterdir() if p.suffix.lower() in SUFFIXES), key=lambda p: p.name)
    pairs = [(file, file.with_suffix(".csv")) for file in files if file.name[0] != "."]
    pairs = [(file, boxes) for file, boxes in pairs if boxes.exists()]
    trees.some("videos", pairs, "videos with boxes", path, _LAYOUT)
    return Source("videos", [file.stem for file, _ in pairs], lambda index: _load(*pairs[index]))


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame of a video file, decoded when asked for; stands in for the path of an image. index: from 0."""

    path: str
    index: int

    @property
    def name(self):
        return f"frame {self.index + 1}"

    def __str__(self):
        return f"{self.path} frame {self.index + 1}"

    def read_bytes(self):
        """The frame as the bytes of a BMP file. Raises: InputError where the video ends before it."""
        import cv2

        image = cv2.cvtColor(_decoder(self.path).frame(self.index), cv2.COLOR_RGB2BGR)
        return cv2.imencode(".bmp", image)[1].tobytes()


class _Decoder:
    """Frames by number, decoded in order from the one before or from the first."""

    def __init__(self, path):
        self._video, self._lock, self._next = video_files.Video(path), threading.Lock(), 0
        self._frames, self._last = iter(self._video), None

    def frame(self, index):
        with self._lock:
            if index < self._next - 1:
                self._frames, self._next = iter(self._video), 0
            for image in itertools.islice(self._frames, index + 1 - self._next):
                self._next, self._last = self._next + 1, image
            if self._next != index + 1:
                raise errors.InputError(f"video {self._video.path} ends before frame {index + 1}, which has a box")
            return self._last


@functools.lru_cache(maxsize=16)
def _decoder(path):
    return _Decoder(path)


def _load(file, boxes_file):
    length = len(bad_samples.read(video_files.Video, file))
    boxes, listed = read_csv(boxes_file, length)
    if listed and length and len(boxes) != length:
        raise errors.InputError(
            f"sequence {file.stem}: {counted(length, 'frame')} in {file} but"
            f" {counted(len(boxes), 'box')} in {boxes_file}; give one for each"
            " frame, or name the columns in its first line: frame,x,y,w,h"
        )
    frames = [Frame(str(file), index) for index in range(len(boxes))]
    return Sequence(file.stem, frames, boxes, annotations.has_area(boxes))


def read_csv(path, length):
    """The boxes of a CSV file.

    Args: path: the file. length: frames of its video, 0 where unknown.

    Returns: ((T, 4) float64 boxes x, y, w, h, zeros in frames without a line; whether each line is a frame's). With a
      column `frame` T is `length`, or the last frame's number where that is unknown.
    Raises: InputError naming file and line.
    """
    lines = annotations.read_text(path, _LAYOUT).rstrip().split("\n")
    heads = [cell.strip().strip('"').lower() for cell in lines[0].split(",")]
    named = set(_COLUMNS) <= set(heads)
    if named and (twice := [column for column in ("frame", *_COLUMNS) if heads.count(column) > 1]):
        raise errors.InputError(f"{path}:1: two columns are named {twice[0]}: keep one")
    columns = heads if named else list(_COLUMNS)
    rows, most = {}, length if length and "frame" in columns else _MOST_FRAMES
    for number, line in enumerate(lines[named:], 1 + named):
        try:
            cells = [numbers.number(cell, missing=True) for cell in numbers.cells(line)]
            row = dict(zip(columns, cells, strict=True))
            box = [row[column] for column in _COLUMNS]
            frame = numbers.whole(f"{row['frame']:.0f}") if "frame" in row else number - named
            wrong = max(map(abs, box)) > numbers.LARGEST_PIXEL or not 1 <= frame == row.get("frame", frame)
        except (ValueError, KeyError):
            wrong = True
        if wrong or frame in rows or frame > most:
            raise errors.InputError(
                f"{path}:{number}: {line.strip()[:60]!r}: expected {','.join(columns)}, a frame once and up to {most}"
            )
        rows[frame] = box
    if not rows:
        raise errors.InputError(f"{path} has no boxes: expected {_LAYOUT}")
    last = max(rows)
    boxes = np.zeros((max(length, last) if "frame" in columns else last, 4))
    boxes[np.array(list(rows)) - 1] = list(rows.values())
    return boxes, "frame" not in columns
