"""What an evaluation leaves on disk: boxes in the toolkits' formats, what is finished, and results.json.

    OUT/BENCHMARK/TRACKER/NAME/NAME_001.txt   GOT-10k: x,y,w,h with three decimals a frame; NAME_time.txt: seconds
    OUT/BENCHMARK/TRACKER/NAME.txt            other benchmarks: the same lines; NAME_time.txt
    OUT/progress/BENCHMARK/TRACKER/NAME.json  identity of the run and the sequence, image size, seconds

The comma form is the got-10k toolkit's own for every benchmark, and pytracking's analysis reads it too. (pytracking
itself writes whole pixels, separated by tabs, and so rounds its boxes before it scores them.) What servers and other
toolkits take is made of these files: servers.py.
"""

import hashlib
import importlib.metadata
import json
import math
import platform
import sys

import numpy as np
from etils import epath

from trackers.io import numbers, outputs, plain_text


def digest(value):
    """Short hash (12 hex digits) of what JSON can hold, or of a tree of arrays: equal only for equal names and bits."""
    import jax

    checksum = hashlib.sha256()
    leaves = jax.tree_util.tree_leaves_with_path(value)
    for path, leaf in sorted(((jax.tree_util.keystr(path), leaf) for path, leaf in leaves), key=lambda pair: pair[0]):
        checksum.update(path.encode())
        if hasattr(leaf, "dtype"):
            array = np.asarray(leaf)
            checksum.update(f"{array.dtype}{array.shape}".encode())
            checksum.update(np.ascontiguousarray(array).tobytes())
        else:
            checksum.update(repr(leaf).encode())
    return checksum.hexdigest()[:12]


def replacing(path):
    """The path of a file that is about to be written, after a word on standard error where there is one already."""
    if path.exists():
        print(f"replacing {path}", file=sys.stderr)
    return path


def versions():
    """{name: version} of what decides the numbers of an evaluation, and the device that computes them."""
    import jax

    known = {}
    for name in ("jax", "flax", "numpy", "opencv-contrib-python-headless"):
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            known[name] = None
    return {"python": platform.python_version(), **known, "device": jax.devices()[0].device_kind}


class Records:
    """The boxes of one tracker on one benchmark.

    Args:
      out: folder (anything etils.epath knows).
      benchmark, tracker: names, as in the layout above.
      run: digest of whatever decides the boxes: configuration, weights. Sequences of another run are tracked again.
    """

    def __init__(self, out, benchmark, tracker, run):
        self._folder = epath.Path(out) / benchmark / tracker
        self._progress = epath.Path(out) / "progress" / benchmark / tracker
        self._nested = benchmark == "got10k"
        self._run = run

    def paths(self, name):
        """(boxes file, seconds file) of a sequence."""
        if self._nested:
            return self._folder / name / f"{name}_001.txt", self._folder / name / f"{name}_time.txt"
        return self._folder / f"{name}.txt", self._folder / f"{name}_time.txt"

    def claim(self, sequences):
        """Makes sure, before work begins, that every sequence has files of its own that can be written.

        Raises: InputError for two sequences that would write the same file, a name too long, and as outputs.claim_file.
        """
        outputs.check_distinct([(sequence.name, self.paths(sequence.name)) for sequence in sequences])
        for sequence in sequences:
            for path in (*self.paths(sequence.name), self._progress / f"{sequence.name}.json"):
                outputs.claim_file(path)

    def write(self, name, boxes, seconds, **facts):
        """Writes a finished sequence: boxes (T, 4), seconds (T,), and facts (JSON) that `finished` returns."""
        boxes_file, seconds_file = self.paths(name)
        outputs.write_text(seconds_file, lines(np.asarray(seconds).reshape(-1, 1), "%.8f"))
        outputs.write_text(boxes_file, lines(boxes, "%.3f"))
        # Last, so that a kill leaves either a finished sequence or one that is tracked again.
        outputs.write_text(self._progress / f"{name}.json", json.dumps(_plain({"run": self._run, **facts})) + "\n")

    def finished(self, name, frames, **facts):
        """(boxes (T, 4), seconds (T,), facts) of this run on this sequence, or None: not yet, another run, or damaged.

        facts: those given must be recorded with the same values.
        """
        found = self.kept(name, frames)
        wanted = {"run": self._run} | facts
        return found if found and all(found[2].get(key) == value for key, value in wanted.items()) else None

    def kept(self, name, frames):
        """(boxes (T, 4), seconds (T,), facts) of whatever run finished this sequence, or None: not yet, or damaged."""
        boxes_file, seconds_file = self.paths(name)
        try:
            known = plain_text.read_json(self._progress / f"{name}.json", "what is known of a finished sequence")
            boxes, seconds = (_read(file) for file in (boxes_file, seconds_file))
        except ValueError:
            return None
        shapes = boxes.shape == (frames, 4) and seconds.shape[:1] == (frames,) and seconds.ndim == 2
        # Further columns are those of repetitions (repetitions.py).
        return (boxes, seconds[:, 0], known) if shapes and isinstance(known, dict) else None


def trackers_of(out, benchmark):
    """Names of the trackers whose boxes on a benchmark a folder of eval.py holds, sorted; none where it holds none."""
    folder = epath.Path(out) / benchmark
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def write_json(path, value, indent=1):
    """Writes JSON, NaN and infinity as null, numpy numbers as numbers. indent: None for all in one line."""
    outputs.write_text(path, json.dumps(_plain(value), indent=indent) + "\n")


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def lines(rows, number):
    """Text of rows of numbers, commas between them; number: how one is written, such as "%.3f"."""
    return "".join(",".join(number % value for value in row) + "\n" for row in np.asarray(rows))


def _read(file):
    lines = plain_text.read_lines(file, "numbers separated by commas")
    return np.array([[numbers.number(cell) for cell in line.split(",")] for line in lines])
