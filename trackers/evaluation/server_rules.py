"""What each server and toolkit rejects in a file of results, one function a kind: `check(tree, expected, found)`.

tree: archives.Tree of the file. expected: {sequence: Expected} of the data set, None where that is not known.
found: Findings that the function adds to. Kinds are described in servers.py; the rules are those of the programs that
read the files, as far as they are public.
"""

import codecs
import dataclasses
import re

import numpy as np

from data_pipelines import published
from trackers.errors import InputError
from trackers.io import numbers, plain_text
from trackers.io.numbers import counted

GOT10K = frozenset(f"GOT-10k_Test_{number:06d}" for number in range(1, 181))
TRACKINGNET_VIDEOS = 511
_BOX = "x,y,w,h"
# What lies above the sequence's folder, the sequence, and which file of it this is.
_GOT10K_FILE = re.compile(r"(.*/)?([^/]+)/\2_(00[1-3]|time)\.txt")
_TRACK, _TRACK_COLUMNS, _TRUTH_COLUMNS = "frame,id,x,y,w,h,confidence,-1,-1,-1", 10, 9
# No file of results has as many; more would take memory out of proportion.
MOST_LINES = 10**6
_OF_MACOS = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$|\._[^/]*$)")
# Lines that numpy's loadtxt passes over, with which GOT-10k's toolkit reads, and those that pandas does, TrackingNet's.
_NUMPY, _PANDAS = re.compile(r"(#.*)?\r?"), re.compile(r"[ \t]*\r?")
# Of sequences that are not there so many are named one by one.
_NAMED = 10
# Numbers with three decimals, and what rounding them to whole pixels takes away.
_CLOSE, _ROUNDED = 0.0015, 0.5015


@dataclasses.dataclass(frozen=True)
class Expected:
    """A sequence as the data set has it: number of frames, and the given first box (4,) where there is one."""

    frames: int
    first: np.ndarray | None = None


class Findings:
    """faults: {place: what is wrong}, in order, each reason for a rejection. notes: the same of what is only odd."""

    def __init__(self):
        self.faults, self.notes = [], []

    def fault(self, place, what):
        """place: "FILE" or "FILE:LINE"."""
        self.faults.append(f"{place}: {what}")

    def note(self, place, what):
        self.notes.append(f"{place}: {what}")


class Lines:
    """Faults of one file's lines: of each kind of fault the first line, and how many follow."""

    def __init__(self, name):
        self._name, self._of = name, {}

    def add(self, number, what):
        """what: the kind of fault up to its first colon."""
        kind = what.split(":")[0]
        first, count = self._of.get(kind, ((number, what), 0))
        self._of[kind] = (first, count + 1)

    def tell(self, fault):
        """Gives them to Findings.fault or Findings.note."""
        for (number, what), count in self._of.values():
            fault(f"{self._name}:{number}", what + (f" (and {counted(count - 1, 'more line')})" if count > 1 else ""))


def read_text(tree, name, found, marked=False):
    """Text of a file, None after a fault where it is none, or too long. marked: whether a byte order mark is taken."""
    try:
        data = tree.read(name)
        text = plain_text.decode(data, name, "lines of numbers")
    except InputError as error:
        found.fault(name, str(error).removeprefix(f"{name} "))
        return None
    if data.startswith(codecs.BOM_UTF8) and not marked:
        found.fault(name, "begins with a byte order mark, which is read as part of the first number: save it without")
    if text.count("\n") > MOST_LINES:
        found.fault(name, f"has more than {MOST_LINES:,} lines, which no sequence has")
        return None
    return text


def lines_of(text, blank_end=False):
    """Lines of a text. blank_end: whether blank ones at its end are passed over, as MATLAB does."""
    if blank_end:
        return text.rstrip().split("\n") if text.strip() else []
    return text.removesuffix("\n").split("\n") if text else []


def rows(tree, name, found, columns, form, commas=True, least=None, tracks=False, marked=False, skipped=None):
    """{line: [float]} of a file of numbers, None after faults where lines are not `form`.

    columns: numbers in a line; least: fewer that are still taken. commas: whether nothing else separates them.
    tracks: read as TrackEval does it: a comma may end a line, no blank line the file. marked: as of read_text.
    skipped: pattern of lines that are passed over, a note each but at the end.
    """
    text = read_text(tree, name, found, marked)
    if text is None:
        return None
    lines, faults, notes, table = lines_of(text, blank_end=not (tracks or skipped)), Lines(name), Lines(name), {}
    while skipped and lines and skipped.fullmatch(lines[-1]):
        lines.pop()
    for number, line in enumerate(lines, 1):
        if skipped and skipped.fullmatch(line):
            notes.add(number, f"passed over: {repr(line.strip()[:40]) if line.strip() else 'a blank line'}")
            continue
        cells = line.split(",") if commas else line.replace(",", " ").split()
        if tracks and len(cells) > 1 and not cells[-1].strip():
            cells.pop()
        if not line.strip():
            faults.add(number, "a blank line: take it out")
        elif commas and len(cells) == 1 and len(line.split()) > 1:
            faults.add(number, "not separated by commas: spaces and tabs are not taken")
        elif not (least or columns) <= len(cells) <= columns:
            faults.add(number, f"not {form}: {counted(len(cells), 'number')} in {line.strip()[:40]!r}")
        else:
            table[number] = _numbers(cells, number, faults)
    notes.tell(found.note)
    seen = len(found.faults)
    faults.tell(found.fault)
    return table if len(found.faults) == seen else None


def _numbers(cells, number, faults):
    values = []
    for cell in cells:
        try:
            values.append(numbers.number(cell.strip(), missing=True))
        except ValueError:
            faults.add(number, f"not a number: {cell.strip()[:40]!r}")
            return values
    return values


def _nan(name, table, found):
    """Faults for lines that hold nan."""
    faults = Lines(name)
    for number, row in table.items():
        if not all(value == value for value in row):
            faults.add(number, "nan: write a box, the last one where there is none")
    faults.tell(found.fault)


def _odd_boxes(name, table, found):
    """Notes for boxes that can only be misses."""
    notes = Lines(name)
    for number, row in table.items():
        if row[2] <= 0 or row[3] <= 0:
            notes.add(number, "a box without area: it counts as a miss")
    notes.tell(found.note)


def _count(name, count, frames, found, what="box"):
    if count != frames:
        found.fault(
            name, f"{counted(count, what)} for {counted(frames, 'frame')}: write one a frame, the first included"
        )


def missing_as(names, found, what="sequence"):
    """Faults for names that are not there, the first few one by one."""
    names = sorted(names)
    shown = _NAMED if len(names) > _NAMED + 1 else len(names)
    for name in names[:shown]:
        found.fault(name, f"{what} is missing")
    if len(names) > shown:
        more = len(names) - shown - 1
        found.fault(names[shown], f"and {counted(more, f'more {what}')} {'is' if more == 1 else 'are'} missing, too")


def surplus(name, found, what):
    """A fault for a file that should not be there."""
    found.fault(name, f"surplus file: {what}")


def readable(tree, found):
    """Names of files that can be read, without those that macOS adds; the others become faults."""
    wrong = tree.faults | tree.outside
    for name, what in wrong.items():
        found.fault(name, what)
    names = [name for name in tree.names if name not in wrong]
    added = [name for name in names if _OF_MACOS.search(name)]
    if added:
        more = f" (and {counted(len(added) - 1, 'more file')})" if len(added) > 1 else ""
        tell = found.fault if tree.is_zip else found.note
        tell(added[0], f"is what macOS adds to a folder or zip: leave it out{more}")
    return [name for name in names if name not in added]


def got10k(tree, expected, found):
    """SEQUENCE/SEQUENCE_001.txt (to _003) and SEQUENCE_time.txt, at the top or below one folder."""
    names = readable(tree, found)
    # Told by the results alone: other files may lie above them.
    above = {match[1] or "" for match in map(_GOT10K_FILE.fullmatch, names) if match}
    top = above.pop() if len(above) == 1 else ""
    parts = {}
    for name in names:
        folders = name.removeprefix(top).split("/")
        if len(folders) != 2 or not name.startswith(top) or top.count("/") > 1:
            found.fault(name, "wrong depth: expected SEQUENCE/SEQUENCE_001.txt, at most one folder above")
            continue
        match = re.fullmatch(re.escape(folders[0]) + r"_(00[1-3]|time)\.txt", folders[1])
        if match is None:
            surplus(name, found, f"expected {folders[0]}_001.txt (to 003) and {folders[0]}_time.txt")
            continue
        parts.setdefault(folders[0], {})[match[1]] = name
    wanted = set(expected or GOT10K)
    missing_as(wanted - set(parts), found)
    whole = True
    for sequence, files in parts.items():
        if sequence not in wanted:
            surplus(files.get("001") or min(files.values()), found, "the server knows no such sequence")
            continue
        whole &= _got10k_sequence(tree, sequence, files, (expected or {}).get(sequence), found)
    if whole and parts and not found.faults:
        found.note(tree.path.name, "all boxes are whole pixels: three decimals score better")


def _got10k_sequence(tree, sequence, files, known, found):
    """Checks one sequence; whether all of its boxes are whole pixels."""
    runs = sorted(set(files) - {"time"})
    if runs != [f"{k:03d}" for k in range(1, len(runs) + 1)] or not runs:
        found.fault(sequence, f"{sequence}_001.txt is missing: repetitions count from 001")
    frames, whole = known.frames if known else None, True
    for run in runs:
        table = rows(tree, files[run], found, 4, _BOX, skipped=_NUMPY)
        if table is None:
            continue
        _nan(files[run], table, found)
        _odd_boxes(files[run], table, found)
        frames = frames or len(table)
        _count(files[run], len(table), frames, found)
        whole &= all(value == int(value) for row in table.values() for value in row if value == value)
        if known and known.first is not None and table:
            _first_box(files[run], *next(iter(table.items())), known.first, found)
    if "time" not in files:
        found.fault(sequence, f"{sequence}_time.txt is missing: seconds a frame, a column for each repetition")
        return whole
    times = rows(tree, files["time"], found, max(1, len(runs)), "seconds, a column for each repetition", skipped=_NUMPY)
    if times is not None and frames:
        _nan(files["time"], times, found)
        _count(files["time"], len(times), frames, found, "line")
    return whole


def _first_box(name, number, row, first, found):
    """The first line of numbers has to be the given box, with three decimals."""
    off = float(np.max(np.abs(np.array(row) - first)))
    given = ",".join(f"{value:.3f}" for value in first)
    if not off <= _ROUNDED:
        found.fault(f"{name}:{number}", f"not the given first box: that is {given}")
    elif off > _CLOSE:
        found.fault(f"{name}:{number}", f"rounded: the given first box is {given}; write boxes with three decimals")


def trackingnet(tree, expected, found):
    """VIDEO.txt anywhere, one for each test video."""
    for name, what in tree.faults.items():
        found.fault(name, what)
    for name, what in tree.outside.items():
        found.note(name, f"{what} (the server unpacks nothing, and takes it)")
    names = [name for name in tree.names if "__MACOSX" not in name and name not in tree.faults]
    texts = [name for name in names if name.endswith(".txt")]
    for name in sorted(set(names) - set(texts)):
        found.note(name, "is no .txt: the server passes over it")
    videos = set(expected) if expected else {_stem(name) for name in texts}
    if not expected and len(videos) != TRACKINGNET_VIDEOS:
        found.fault(tree.path.name, f"{counted(len(videos), 'video')}: the test set has {TRACKINGNET_VIDEOS}")
        if len(videos) > 10 * TRACKINGNET_VIDEOS:  # each is looked for in all names
            return
    # As the server looks: the file's name somewhere in a path.
    files = {video: [name for name in texts if f"{video}.txt" in name] for video in sorted(videos)}
    for video, names in files.items():
        if len(names) > 1:
            found.fault(names[1], f"{video}.txt is there {len(names)} times for the server: it takes none of them")
    missing_as({video for video, names in files.items() if not names}, found, "video")
    for name in sorted(set(texts).difference(*files.values())):
        surplus(name, found, "the server knows no such video")
    for video, name in ((video, names[0]) for video, names in files.items() if len(names) == 1):
        table = rows(tree, name, found, 4, _BOX, marked=True, skipped=_PANDAS)
        if table is None:
            continue
        _nan(name, table, found)
        _odd_boxes(name, {number: [0, 0, *np.round(row[2:])] for number, row in table.items()}, found)
        if not table:
            found.fault(name, "is empty")
        elif expected:
            _count(name, len(table), expected[video].frames, found)
            (number, row), first = next(iter(table.items())), expected[video].first
            if first is not None and not np.allclose(row, first, atol=1, rtol=0):
                given = ",".join(f"{value:.2f}" for value in first)
                found.fault(f"{name}:{number}", f"not the given first box: that is {given}")


def lasot(tree, expected, found):
    """TRACKER_tracking_result/SEQUENCE.txt; the toolkit reads any separator, cuts surplus lines, repeats nan."""
    parts, trackers = {}, set()
    ending = "_tracking_result"
    own = tree.path.name.endswith(ending) and not tree.is_zip
    for name in readable(tree, found):
        folders = ([tree.path.name] if own else []) + name.split("/")
        if not name.endswith(".txt") or name.endswith("_time.txt"):
            found.note(name, "is no SEQUENCE.txt: the toolkit passes over it")
        elif len(folders) != 2 or not folders[0].endswith(ending):
            found.fault(name, "wrong depth or folder: expected TRACKER_tracking_result/SEQUENCE.txt")
        else:
            trackers.add(folders[0])
            parts[folders[0], folders[1][:-4]] = name
    if not parts:
        found.fault(tree.path.name, "holds no results: expected TRACKER_tracking_result/SEQUENCE.txt")
    wanted = set(expected or ())
    known = published.LASOT_TEST | published.LASOT_TRAIN
    if not wanted and parts and {sequence for _, sequence in parts} <= known:
        wanted = set(published.LASOT_TEST)
    for tracker in sorted(trackers):
        missing = {f"{tracker}/{one}.txt" for one in wanted} - {f"{t}/{one}.txt" for t, one in parts}
        missing_as(missing, found)
    for (_, sequence), name in parts.items():
        if expected and sequence not in expected:
            found.note(name, "the data set has no such sequence: the toolkit passes over it")
            continue
        table = rows(tree, name, found, 4, _BOX, commas=False)
        if table is None:
            continue
        if any(value != value for value in table.get(1, ())):
            found.fault(f"{name}:1", "nan: the first box cannot repeat one before it")
        if not table:
            found.fault(name, "is empty")
        elif expected and len(table) < expected[sequence].frames:
            _count(name, len(table), expected[sequence].frames, found)
        elif expected and len(table) > expected[sequence].frames:
            found.note(
                name,
                f"{counted(len(table) - expected[sequence].frames, 'surplus box')}: the toolkit cuts what is too much",
            )
        _odd_boxes(name, table, found)


def _tracks(tree, name, frames, found, columns=_TRACK_COLUMNS):
    """Checks a file of tracks. frames: of the video, None where not known. columns: that are usual."""
    least = 7 if columns == _TRACK_COLUMNS else 8
    table = rows(tree, name, found, _TRACK_COLUMNS, _TRACK, least=least, tracks=True)
    if table is None:
        return
    if not table:
        found.note(name, "is empty: no boxes")
    _nan(name, table, found)
    faults, notes, seen, widths = Lines(name), Lines(name), set(), {}
    for number, row in table.items():
        frame, track = row[0], row[1]
        if frame != frame or track != track:
            continue
        if frame != int(frame) or track != int(track) or track < 0:
            faults.add(number, f"not whole: frame {frame:g} and id {track:g} have to be whole numbers, from 1")
        elif frame < 1 or (frames is not None and frame > frames):
            last = "" if frames is None else f" to {frames}"
            faults.add(number, f"no such frame: {frame:g}, where frames count from 1{last}")
        elif (frame, track) in seen:
            faults.add(number, f"twice: id {track:g} in frame {frame:g}, where an object has one box a frame")
        seen.add((frame, track))
        if widths.setdefault(frame, len(row)) != len(row):
            faults.add(number, f"other columns: {len(row)}, where frame {frame:g} has lines of {widths[frame]}")
        if columns == _TRUTH_COLUMNS and row[7] != 1:
            faults.add(number, f"class {row[7]:g}: only boxes of class 1 are what a phrase means, write 1")
        elif len(row) >= 8 and row[7] > 1:
            faults.add(number, f"class {row[7]:g}: only pedestrians are scored, write -1")
        if len(row) != columns:
            notes.add(number, f"{counted(len(row), 'column')}: such files have {columns}")
        if row[4] <= 0 or row[5] <= 0:
            notes.add(number, "a box without area: it counts as a false positive")
    faults.tell(found.fault)
    notes.tell(found.note)


def mot(tree, expected, found, folder=""):
    """SEQUENCE.txt at the root, or in the one folder."""
    where = f"{folder}SEQUENCE.txt" if folder else "SEQUENCE.txt at the root, in no folder"
    parts = {}
    for name in readable(tree, found):
        if not name.startswith(folder) or "/" in name[len(folder) :]:
            found.fault(name, f"wrong depth or folder: expected {where}")
        elif not name.endswith(".txt"):
            surplus(name, found, f"expected {where}")
        else:
            parts[name[len(folder) : -4]] = name
    if not parts:
        found.fault(tree.path.name, f"holds no results: expected {where}")
    for sequence, name in parts.items():
        if expected and sequence not in expected:
            surplus(name, found, "the data set has no such sequence")
        else:
            _tracks(tree, name, expected[sequence].frames if expected else None, found)
    missing_as({f"{folder}{sequence}.txt" for sequence in set(expected or ()) - set(parts)}, found)


def dancetrack(tree, expected, found):
    """tracker/SEQUENCE.txt: the folder has to be called so."""
    mot(tree, expected, found, "tracker/")


def rmot(tree, expected, found):
    """VIDEO/PHRASE/{gt,predict}.txt of every line VIDEO+PHRASE of seqmap.txt; other files are not looked at."""
    for name, what in (tree.faults | tree.outside).items():
        found.fault(name, what)
    text = read_text(tree, "seqmap.txt", found) if "seqmap.txt" in tree.names else None
    if text is None:
        if "seqmap.txt" not in tree.names:
            found.fault("seqmap.txt", "is missing: a line VIDEO+PHRASE for each phrase, without heading")
        return
    listed = []
    for number, line in enumerate(text.rstrip("\n").split("\n"), 1):
        video, plus, phrase = line.strip().partition("+")
        if not (plus and video and phrase):
            what = "a heading: RMOT's copy of TrackEval has none" if line.strip() == "name" else "not VIDEO+PHRASE"
            found.fault(f"seqmap.txt:{number}", f"{line.strip()[:60]!r} is {what}")
        elif f"{video}/{phrase}" in listed:
            found.fault(f"seqmap.txt:{number}", f"{line.strip()[:60]!r} is there twice")
        else:
            listed.append(f"{video}/{phrase}")
    missing_as(set(expected or ()) - set(listed), found, "phrase")
    names = set(tree.names)
    for pair in listed:
        if expected and pair not in expected:
            found.fault(pair, "the data set has no such phrase")
            continue
        for file, columns in ((f"{pair}/gt.txt", _TRUTH_COLUMNS), (f"{pair}/predict.txt", _TRACK_COLUMNS)):
            if file not in names:
                found.fault(file, "is missing: an empty file says that there are no boxes")
            else:
                _tracks(tree, file, expected[pair].frames if expected else None, found, columns)
    places = {name.rpartition("/")[0] for name in names if name.endswith("/predict.txt")}
    for place in sorted(places - set(listed)):
        found.note(place, "is not in seqmap.txt: not scored")


def _stem(name):
    return name.rpartition("/")[2][:-4]
