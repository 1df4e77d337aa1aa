"""Reading what the layouts share: box files, flag files and folders of numbered frames.

Every failure is an InputError that names the file (and line) and says what was expected.
"""

import array
import collections.abc
import contextlib
import contextvars
import itertools
import re
import sys

import numpy as np
from etils import epath

from data_pipelines.bad_samples import MissingFrames
from data_pipelines.sources import Sequence
from trackers import errors
from trackers.io import numbers, outputs, plain_text
from trackers.io.numbers import counted

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_NUMBERS = re.compile(r"([0-9]+)")


def natural_key(name):
    """Sort key under which frame2 comes before frame10."""
    return [int(part) if numbers.is_digits(part) else part for part in _NUMBERS.split(name)]


def folder(root, what, expected):
    """`root` as a path, checked to be a folder; `expected` describes the layout in the message."""
    path = epath.Path(root)
    if not path.is_dir():
        raise errors.InputError(f"{what}: {path} is not a folder; expected {expected}")
    outputs.check_finished(path)
    return path


def read_text(path, expected):
    """Text of `path`; `expected` says what the file holds."""
    _watch(path)
    return plain_text.read_text(path, expected)


def exists(path):
    """Whether there is a file or folder, where what is read depends on it."""
    _watch(path)
    return path.exists()


class Watched:
    """What a `watching` block has seen: files, those read or looked for; said, whether a line was said."""

    def __init__(self):
        self.files, self.said = [], False


_watched = contextvars.ContextVar("watched", default=None)


@contextlib.contextmanager
def watching():
    """Context in which the files that this thread reads here are noted: the Watched."""
    token = _watched.set(Watched())
    try:
        yield _watched.get()
    finally:
        _watched.reset(token)


def _watch(path):
    if (watched := _watched.get()) is not None:
        watched.files.append(str(path))


def read_list(path, expected):
    """Non-empty lines of `path`, stripped: names of folders."""
    return plain_text.read_names(path, expected)


def read_boxes(path):
    """(T, 4) float64 boxes, one x,y,w,h a line, separated by comma, semicolon, tab or space; NaN is allowed."""
    expected = "one line of x,y,w,h for each frame"
    text = read_text(path, expected).rstrip().replace(";", ",")
    if not text:
        raise errors.InputError(f"{path} is empty: expected {expected}")
    boxes, read_line = array.array("d"), numbers.line_reader(text)
    for number, line in enumerate(text.split("\n"), 1):
        try:
            row = read_line(line)
        except ValueError:
            row = []
        if len(row) != 4 or max(map(abs, row)) > numbers.LARGEST_PIXEL:
            raise errors.InputError(f"{path}:{number}: {line.strip()[:60]!r} is not a box: expected {expected}")
        boxes.extend(row)
    return np.array(boxes, np.float64).reshape(-1, 4)


def read_flags(path, count):
    """(count,) integers, one a line or all on one line separated by commas."""
    expected = f"{count} whole numbers, one for each frame"
    flags = []
    for number, line in enumerate(read_text(path, expected).split("\n"), 1):
        try:
            flags += [numbers.whole(value) for value in numbers.cells(line)]
        except ValueError as error:
            raise errors.InputError(f"{path}: line {number}: {error}: expected {expected}") from None
    if len(flags) != count:
        raise errors.InputError(f"{path} has {counted(len(flags), 'value')}: expected {expected}")
    return np.array(flags, np.int64)


class Frames(collections.abc.Sequence):
    """Paths of a folder's images in natural order; numbered names are kept as a rule, not as strings."""

    def __init__(self, parent, names):
        self._parent, self._names = parent, _Numbered.of(names) or list(names)

    @property
    def rule(self):
        """(folder as text, its names as JSON holds them: a list, or the five values that _Numbered makes them from)."""
        names = self._names
        return str(self._parent), vars(names) if isinstance(names, _Numbered) else names

    @classmethod
    def of_rule(cls, parent, names):
        """The Frames that `rule` tells of."""
        frames = cls(parent, ())
        frames._names = _Numbered(**names) if isinstance(names, dict) else names
        return frames

    def __len__(self):
        return len(self._names)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self._parent / name for name in self._names[index]]
        return self._parent / self._names[index]


class _Numbered(collections.abc.Sequence):
    """The names prefix + number + suffix, numbers consecutive."""

    def __init__(self, prefix, first, width, suffix, count):
        self.prefix, self.first, self.width, self.suffix, self.count = prefix, first, width, suffix, count

    @classmethod
    def of(cls, names):
        """The rule that makes exactly `names`, or None."""
        match = re.fullmatch(r"(.*?)([0-9]+)(\.\w+)", names[0]) if names else None
        if match is None:
            return None
        prefix, digits, suffix = match.groups()
        rule = cls(prefix, int(digits), len(digits), suffix, len(names))
        return rule if list(rule) == list(names) else None

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.count))]
        if index < 0:
            index += self.count
        if not 0 <= index < self.count:
            raise IndexError(index)
        return f"{self.prefix}{self.first + index:0{self.width}d}{self.suffix}"


def image_names(path):
    """Names of the images directly in folder `path`, in natural order; empty where there is no such folder.

    Raises: InputError for two images of one name and number: 1.jpg and 1.png, or 1.jpg and 01.jpg.
    """
    _watch(path)
    if not path.is_dir():
        return []
    names = [child.name for child in path.iterdir()]
    images = (name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."))
    images = sorted(images, key=natural_key)
    # Neighbors in this order: only the ending tells them apart.
    for name, following in itertools.pairwise(images):
        if natural_key(name.rpartition(".")[0]) == natural_key(following.rpartition(".")[0]):
            raise errors.InputError(
                f"{path} has {name} and {following}, which would be two frames: keep one of the two kinds in the folder"
            )
    return images


def video(
    name,
    images,
    boxes_file,
    hidden=None,
    first_box_only=False,
    *,
    read=read_boxes,
    span=None,
    surplus=False,
    lacking=False,
):
    """One annotated video as a Sequence.

    Args:
      name: the sequence's.
      images: folder of its frames.
      boxes_file: its box file.
      hidden: function of the number of frames -> (T,) bool, True where the data set flags the target as not visible.
      first_box_only: whether a file with only the first frame's box is accepted.
      read: what parses the box file, path -> (T, 4) boxes.
      span: (first, last) of the numbers in the names of the images that the boxes are of, where the folder may have
        others, too.
      surplus, lacking: whether the data set is known to have images without a box, or boxes without an image, here:
        they are left out, which a line on stderr says.

    Raises: InputError where there are no frames or as many boxes as frames are not found; MissingFrames where it is
      frames that are too few.
    """
    names = frame_names(name, images)
    boxes = read(boxes_file)
    withheld = first_box_only and len(boxes) == 1
    if span is not None:
        names = [name for name in names if span[0] <= number_in(name) <= span[1]]
    if len(boxes) == len(names) or withheld:
        return sequence(name, images, names, boxes, None if withheld else hidden)
    if names and (surplus if len(names) > len(boxes) else lacking):
        return _left_over(name, images, names, boxes, hidden, boxes_file)
    within = f" numbered {span[0]} to {span[1]}" if span else ""
    message = (
        f"sequence {name}: {counted(len(names), 'frame')}{within} in {images} but"
        f" {counted(len(boxes), 'box')} in {boxes_file}; expected one"
        " box for each frame (unpack both again, or take the sequence out)"
    )
    if len(names) > len(boxes):
        raise errors.InputError(message)
    names = _with_missing(names, len(boxes)) if names else None
    raise MissingFrames(message, names and sequence(name, images, names, boxes, hidden))


def frame_names(name, images):
    """image_names of the folder of sequence `name`'s frames. Raises: MissingFrames where there is none."""
    names = image_names(images)
    if not names:
        raise MissingFrames(
            f"sequence {name}: no frames in {images}; expected images such as {images}/00000001.jpg"
            " (finish unpacking it, or take the sequence out)"
        )
    return names


def sequence(name, images, names, boxes, hidden=None):
    """The Sequence of T frames: `names` in folder `images`, (T, 4) boxes, visible where they have an area and `hidden`,
    as of `video`, doesn't say otherwise."""
    visible = has_area(boxes)
    if hidden is not None:
        visible &= ~hidden(len(boxes))
    return Sequence(name, Frames(images, names), boxes, visible)


def has_area(boxes):
    """(T,) bool of (T, 4) boxes: finite, width and height above 0."""
    return np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)


def box_reader(origin):
    """What reads a file of boxes that count pixels from 1: as published, or with origin "zero" counted from 0.

    The second is how LoRAT's program reads LaSOT and VastTrack; pytracking and its descendants do the first. Boxes
    without area, which mark absent targets, stay as they are.
    """

    def from_zero(path):
        boxes = read_boxes(path)
        boxes[has_area(boxes), :2] -= 1
        return boxes

    return from_zero if origin == "zero" else read_boxes


def say_once(line):
    """Says a line on stderr, once in a run: sequences are parsed for training and again for validation."""
    if (watched := _watched.get()) is not None:
        watched.said = True
    if line not in _told:
        _told.add(line)
        print(line, file=sys.stderr)


_told = set()


def number_in(name):
    """The last number in a file's name, -1 where it has none."""
    digits = re.findall("[0-9]+", name.rpartition(".")[0])
    return int(digits[-1]) if digits else -1


def _left_over(name, images, names, boxes, hidden, boxes_file):
    """The sequence of the frames that have both an image and a box."""
    count = len(boxes)
    if len(names) > count:
        say_once(
            f"sequence {name}: {len(names) - count} of {counted(len(names), 'image')} in {images} have no box: left out"
        )
        return sequence(name, images, names[:count], boxes, hidden and (lambda _: _flags(hidden, count, len(names))))
    say_once(
        f"sequence {name}: {count - len(names)} of {counted(count, 'box')} in {boxes_file} have no image: left out"
    )
    known = set(names)
    # Where the numbers in the names don't tell which are missing it is the last.
    expected = _with_missing(names, count) or names
    keep = np.array([place < len(expected) and expected[place] in known for place in range(count)])
    return sequence(name, images, names, boxes[keep], hidden and (lambda _: hidden(count)[keep]))


def _flags(hidden, count, most):
    """hidden(count), also where the flags are those of all `most` images."""
    try:
        return hidden(count)
    except errors.InputError as error:
        try:
            return hidden(most)[:count]
        except errors.InputError:
            raise error from None


def _with_missing(names, count):
    """The `count` consecutive names that `names` are some of; None where the numbers in them don't tell which."""
    matches = [re.fullmatch(r"(.*?)(\d+)(\.\w+)", name) for name in names]
    if None in matches or len({(match[1], match[3]) for match in matches}) > 1:
        return None
    prefix, digits, suffix = matches[0].groups()
    numbers = [int(match[2]) for match in matches]
    # Where a frame is missing at an end, data sets count from 0 or 1.
    starts = [start for start in range(max(numbers) - count + 1, min(numbers) + 1) if start >= 0]
    starts = starts if len(starts) == 1 else [start for start in starts if start <= 1]
    if len(starts) != 1:
        return None
    rule = _Numbered(prefix, starts[0], len(digits), suffix, count)
    return list(rule) if set(names) <= set(rule) else None
