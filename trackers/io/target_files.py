"""Boxes to start from, as text: x,y,w,h of one target, or a file of several, each in a frame of its own if need be."""

from typing import NamedTuple

from trackers.errors import InputError, UsageError
from trackers.io import numbers, plain_text
from trackers.io.numbers import counted

_EXPECTED = (
    "lines x,y,w,h of one target, id,x,y,w,h of several, or frame,id,x,y,w,h of those that start in other frames"
    " (boxes in pixels, frames from 0)"
)
_BOX = ["x", "y", "w", "h"]
# What may stand before the box: by the number of columns in all, and where a line of names says `frame`.
_BEFORE = {4: (), 5: ("id",), 6: ("frame", "id")}
_NAMED = (("frame",), ("frame", "id"), ("id", "frame"))


class Start(NamedTuple):
    """Where a target starts.

    box: [x, y, w, h] in pixels. frame: the number of its frame, from 0, None where nothing says it. line: the file and
    the line that name the frame, for messages, "" where none do.
    """

    box: list
    frame: int | None = None
    line: str = ""


def parse_box(text):
    """[x, y, w, h] of "x,y,w,h". Raises: ValueError for anything else."""
    box = [numbers.number(part.strip()) for part in text.split(",")]
    if len(box) != 4:
        raise ValueError(f"{counted(len(box), 'number')}, not 4")
    return box


def read_targets(path):
    """{id: Start} of a file, in its order; a line of names at the top may order the columns before the box.

    Lines of four columns are one target's, frame by frame, as in groundtruth.txt: the first counts, id 1. Lines of more
    are a target each. Where a frame and no id is given, ids count from 1.

    Raises: InputError naming the file and line.
    """
    targets, before, named = {}, None, None
    for number, line in enumerate(plain_text.read_text(path, _EXPECTED).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            cells = numbers.cells(line)
            if named is None:
                named = cells[-4:] == _BOX
                if named:
                    before = _columns_named(cells[:-4])
                    continue
            if before is None:
                before = _columns_counted(len(cells), named)
            if len(cells) != len(before) + 4:
                raise ValueError(counted(len(cells), "column"))
            said, box = dict(zip(before, cells, strict=False)), [numbers.number(cell) for cell in cells[-4:]]
            name = numbers.whole(said["id"]) if "id" in said else len(targets) + 1
            start = Start(box, _frame(said["frame"]), where) if "frame" in said else Start(box)
        except ValueError as error:
            raise InputError(f"{where}: {error}: give {_EXPECTED}") from None
        if name in targets:
            raise InputError(f"{where}: {_twice(name, targets[name], start)}")
        targets[name] = start
        if not before:
            return targets
    if not targets:
        raise InputError(f"{path} has no box: give {_EXPECTED}")
    return targets


def _columns_named(names):
    """The columns before the box that a line of names says, None where it leaves that to their number."""
    if "frame" not in names:
        return None
    if tuple(names) not in _NAMED:
        raise ValueError(f"columns {','.join(names)} before the box")
    return tuple(names)


def _columns_counted(count, named):
    """The columns before the box of lines of `count`. named: whether a line of names came, which named no frame."""
    if count not in _BEFORE or named and "frame" in _BEFORE[count]:
        raise ValueError(counted(count, "column"))
    return _BEFORE[count]


def _frame(text):
    try:
        frame = numbers.whole(text)
    except ValueError as error:
        raise ValueError(f"frame {error}") from None
    if frame < 0:
        raise ValueError(f"frame {frame} is before the first one, 0")
    return frame


def _twice(name, first, second):
    if first.frame == second.frame:
        return f"id {name} is there twice: give each target an id of its own"
    frames = f"in frame {first.frame} and again in frame {second.frame}"
    return f"id {name} starts {frames}: give each target one line, or an id of its own"


def in_order(targets, first=None, every=1, length=0):
    """Targets in the order in which they start, each with its frame.

    Args:
      targets: {id: Start}, of all of them a frame or of none.
      first: number of the frame that tracking may start in, from 0; None: the earliest of the targets'.
      every: frames from one that is tracked to the next.
      length: frames of the video, 0 where nobody knows.

    Returns: {id: Start}; those that start together are in the order given. Without frames all start in `first`.

    Raises: InputError for a frame beyond the video's end; UsageError for one that is not tracked.
    """
    if all(start.frame is None for start in targets.values()):
        return {name: start._replace(frame=first or 0) for name, start in targets.items()}
    ordered = dict(sorted(targets.items(), key=lambda item: item[1].frame))
    origin = next(iter(ordered.values())).frame if first is None else first
    for name, start in ordered.items():
        what = f"{start.line}: target {name} starts in frame {start.frame}"
        if length and start.frame >= length:
            raise InputError(f"{what}, and the video has frames 0 to {length - 1}: give one of these")
        if start.frame < origin:
            raise UsageError(f"{what}, before --start_frame {origin}: give a smaller --start_frame, or leave it out")
        if beyond := (start.frame - origin) % every:
            near = start.frame - beyond
            raise UsageError(
                f"{what}, which --every {every} from frame {origin} on leaves out: start it in frame {near} or"
                f" {near + every}, or leave --every out"
            )
    return ordered
