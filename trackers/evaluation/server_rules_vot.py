"""What the VOT server would reject of a pack: the rules of `vot pack`, and of the toolkit's reading of regions.

    EXPERIMENT/SEQUENCE/SEQUENCE_001.txt (or .bin)     a run; SEQUENCE_ID_001 of one of several targets
    EXPERIMENT/SEQUENCE/SEQUENCE_00000050.txt          from the anchor at frame 50 (from 0), forward or backward
    EXPERIMENT/SEQUENCE/SEQUENCE_5d41402a.txt          of a phrase (md5 of it)
    EXPERIMENT/SEQUENCE/..._time.value                 seconds a frame, beside each
    manifest.yml                                       tracker, stack, when and by what it was packed

A region is a line: 0 no target, 1 the start, 2 a failure, x,y,w,h, a polygon, or m and a mask.
"""

import re

from trackers.errors import InputError
from trackers.evaluation import server_rules
from trackers.io import numbers, plain_text
from trackers.io.numbers import counted

MANIFEST = "manifest.yml"
_KEYS = ("identifier", "stack", "timestamp", "toolkit")
_FORM = "a region: 0, 1, 2, x,y,w,h, x1,y1,x2,y2,x3,y3,... or m and a mask"
_RUN = re.compile(r"(?P<prefix>.+)_(?P<run>[0-9]{3}|(?P<anchor>[0-9]{8})|[0-9a-f]{8})\.(?P<kind>txt|bin)")
_CODES = (0, 1, 2)


def check(tree, expected, found):
    """Arguments as of server_rules; expected names SEQUENCE, or SEQUENCE_ID where a sequence has several targets."""
    parts, values, experiments = {}, {}, set()
    for name in server_rules.readable(tree, found):
        folders = name.split("/")
        if name == MANIFEST:
            continue
        if len(folders) != 3:
            found.fault(name, "wrong depth: expected EXPERIMENT/SEQUENCE/SEQUENCE_001.txt and manifest.yml")
            continue
        experiments.add(folders[0])
        match = _RUN.fullmatch(folders[2])
        if folders[2].endswith(".value"):
            values[name] = name
        elif match is None or not _is_of(match["prefix"], folders[1]):
            server_rules.surplus(name, found, f"expected {folders[1]}_001.txt, or the number of an anchor instead")
        else:
            parts.setdefault((folders[0], match["prefix"]), {})[match["run"]] = (name, match)
    _manifest(tree, found)
    if not parts:
        found.fault(tree.path.name, "holds no results: expected EXPERIMENT/SEQUENCE/SEQUENCE_001.txt")
    for experiment in sorted(experiments):
        there = {prefix for other, prefix in parts if other == experiment}
        server_rules.missing_as({f"{experiment}/{one}" for one in set(expected or ()) - there}, found)
        for one in sorted(there - set(expected or there)):
            found.fault(f"{experiment}/{one}", "the data set has no such sequence or target")
    for (_, prefix), runs in parts.items():
        known = expected.get(prefix) if expected else None
        for name, match in runs.values():
            count = _regions(tree, name, match, known and known.frames, found)
            time = f"{name[:-4]}_time.value"
            if time not in values:
                found.note(name, "has no _time.value beside it")
            elif count is not None:
                _times(tree, time, count, found)


def _is_of(prefix, sequence):
    return prefix == sequence or prefix.startswith(f"{sequence}_")


def _manifest(tree, found):
    if MANIFEST not in tree.names:
        found.fault(MANIFEST, "is missing: it names the tracker and the stack")
        return
    import yaml

    text = server_rules.read_text(tree, MANIFEST, found, marked=True)
    if text is None:
        return
    try:
        with plain_text.naming(MANIFEST):
            known = yaml.safe_load(text)
    except (InputError, yaml.YAMLError) as error:
        found.fault(MANIFEST, f"is not YAML ({plain_text.reason(error)})")
        return
    for key in _KEYS:
        if not isinstance(known, dict) or key not in known:
            found.fault(MANIFEST, f"has no key {key}: vot pack writes {', '.join(_KEYS)}")
            return


def _regions(tree, name, match, frames, found):
    """Checks a file of regions; the number of its lines, None where that is not known. frames: of the sequence."""
    if match["kind"] == "bin":
        try:
            tree.read(name)
        except InputError as error:
            found.fault(name, str(error).removeprefix(f"{name} "))
        return None
    text = server_rules.read_text(tree, name, found)
    if text is None:
        return None
    lines, faults, starts = server_rules.lines_of(text), server_rules.Lines(name), 0
    for number, line in enumerate(lines, 1):
        try:
            starts += _region(line.strip()) == 1
        except ValueError as error:
            faults.add(number, f"not {_FORM.split(':')[0]}: {error}; expected {_FORM.partition(': ')[2]}")
    faults.tell(found.fault)
    if lines and not starts:
        found.fault(name, "no line is 1, which marks the frame of the start")
    _length(name, match, len(lines), frames, found)
    return len(lines)


def _length(name, match, count, frames, found):
    if not count:
        found.fault(name, "is empty")
    elif match["anchor"] and frames is not None:
        anchor = int(match["anchor"])
        if anchor >= frames:
            found.fault(name, f"starts from frame {anchor} of {frames}")
        elif count not in (frames - anchor, anchor + 1):
            found.fault(
                name,
                f"{counted(count, 'region')}, where {frames - anchor} follow the anchor and {anchor + 1} lead to it",
            )
    elif frames is not None and count != frames:
        found.fault(
            name, f"{counted(count, 'region')} for {counted(frames, 'frame')}: write one a frame, the first included"
        )


def _region(line):
    """The code of a special region, None for a shape. Raises: ValueError where it is none."""
    if line.startswith("m"):
        values = [numbers.whole(cell.strip()) for cell in line[1:].split(",")]
        if len(values) < 4 or min(values[2:]) < 0:
            raise ValueError("a mask without x,y,w,h or with a run below 0")
        if sum(values[4:]) > values[2] * values[3]:
            raise ValueError(f"a mask of {values[2]}x{values[3]} pixels whose runs have {sum(values[4:])}")
        return None
    # By commas alone, as the toolkit does it.
    values = [numbers.number(cell.strip(), missing=True) for cell in line.split(",")]
    if len(values) == 1 and values[0] in _CODES:
        return int(values[0])
    if len(values) in (2, 4) or (len(values) >= 6 and len(values) % 2 == 0):
        return None
    raise ValueError(f"{line[:40]!r}")


def _times(tree, name, count, found):
    text = server_rules.read_text(tree, name, found)
    lines = [] if text is None else text.rstrip().split("\n")
    if text is not None and len(lines) != count:
        found.fault(name, f"{counted(len(lines), 'line')} for {counted(count, 'region')}")
