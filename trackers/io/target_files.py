"""Boxes to start from, as text: x,y,w,h of one target, or a file of several."""

from trackers.errors import InputError
from trackers.io import numbers, plain_text

_EXPECTED = "lines x,y,w,h of one target, or id,x,y,w,h of several, in pixels"


def parse_box(text):
    """[x, y, w, h] of "x,y,w,h". Raises: ValueError for anything else."""
    box = [numbers.number(part.strip()) for part in text.split(",")]
    if len(box) != 4:
        raise ValueError(f"{len(box)} numbers, not 4")
    return box


def read_targets(path):
    """{id: [x, y, w, h]} of a file, in its order; a line of names at the top is skipped.

    Lines of four columns are one target's, frame by frame, as in groundtruth.txt: the first counts, id 1. Lines of five
    are a target each.

    Raises: InputError naming the file and line.
    """
    targets = {}
    lines = plain_text.read_lines(path, _EXPECTED)
    for number, line in enumerate(lines, start=1):
        try:
            cells = line.replace(",", " ").split()
            if number == 1 and cells[-4:] == ["x", "y", "w", "h"]:
                continue
            if len(cells) == 4:
                return {1: [numbers.number(cell) for cell in cells]}
            if len(cells) != 5:
                raise ValueError(f"{len(cells)} columns")
            name, box = numbers.whole(cells[0]), [numbers.number(cell) for cell in cells[1:]]
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}: give {_EXPECTED}") from None
        if name in targets:
            raise InputError(f"{path}, line {number}: id {name} is there twice")
        targets[name] = box
    if not targets:
        raise InputError(f"{path} has no box: give {_EXPECTED}")
    return targets
