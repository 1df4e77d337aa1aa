"""Data sets as they lie on disk: one module for each layout, its path is its name.

Every module offers `open(root, split="train") -> Source`. Nothing is read but the list of sequences until a sequence
is asked for; then its annotations are parsed once and kept (about 32 bytes a frame).
"""

import collections.abc
import dataclasses
import importlib
from collections.abc import Callable
from collections.abc import Sequence as ListLike

import numpy as np

from trackers import errors

# Benchmark name in a specification -> the module that knows the layout.
LAYOUTS = {
    "got10k": "got10k",
    "lasot": "lasot",
    "trackingnet": "trackingnet",
    "otb": "frames",
    "uav": "frames",
    "nfs": "frames",
    "avist": "frames",
    "frames": "frames",
}


@dataclasses.dataclass(frozen=True)
class Sequence:
    """One video with one target (or one image, for image data sets).

    Attributes:
      name: unique within its source.
      frames: list-like of T paths (`etils.epath.Path`), in order.
      boxes: (T, 4) float64 x, y, w, h in pixels exactly as published (OTB's are 1-based), NaN or without area where the
        data set says so; (1, 4) where only the first frame's box is published (test splits scored by a server).
      visible: (T,) bool, True where the target can be used: annotated, not absent or fully occluded; (1,) as boxes.
    """

    name: str
    frames: ListLike
    boxes: np.ndarray
    visible: np.ndarray

    def __len__(self):
        return len(self.frames)

    @property
    def truth_withheld(self):
        """True where only the first of several frames is annotated."""
        return len(self.boxes) < len(self.frames)


class Source(collections.abc.Sequence):
    """The sequences of one split of a data set, parsed when first asked for.

    Args:
      name: of the data set, for messages.
      names: list of the sequences' names.
      load: index -> Sequence; raises InputError naming the file.
      is_video: False for image data sets, whose template and search image are the same.
      keep: whether parsed sequences are kept; False where parsing costs nothing.
    """

    def __init__(self, name: str, names: ListLike, load: Callable, is_video: bool = True, keep: bool = True):
        self.name, self.names, self.is_video = name, names, is_video
        self._load, self._parsed = load, {} if keep else None

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} sequences, no number {index}")
        if self._parsed is None:
            return self._load(index)
        if index not in self._parsed:
            self._parsed[index] = self._load(index)
        return self._parsed[index]


def open_source(name, root, split="train"):
    """Opens split `split` of the data set in layout `name` (a module of this package) at `root` -> Source.

    Raises: InputError where the folder, its layout or the split is not there.
    """
    return importlib.import_module(f"{__name__}.{name}").open(root, split)


def open_sequences(spec):
    """The sequences of a benchmark for tracking and scoring.

    Args:
      spec: "BENCHMARK:PATH"; got10k and trackingnet: the split's folder (".../test", ".../val", ".../TEST") or the
        root, then its test split; lasot: the root, its test split where testing_set.txt is there, else everything;
        otb, uav, nfs, avist, frames: a folder of sequence folders.

    Returns: (benchmark name, list of Sequence).
    Raises: UsageError for an unknown benchmark, InputError for anything wrong on disk.
    """
    benchmark, separator, path = spec.partition(":")
    if not separator or benchmark not in LAYOUTS or not path:
        raise errors.UsageError(f"benchmark {spec!r}: write NAME:PATH with NAME one of {', '.join(sorted(LAYOUTS))}")
    return benchmark, list(open_source(LAYOUTS[benchmark], path, "test"))
