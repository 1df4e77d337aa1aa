"""What `python -m data_pipelines shards` wrote as a few large files (data_pipelines/builders/sequences.py):

    ROOT/{train,val,test}/{annotations.npz, sequences/1.0.0/...}

Which splits are there is up to what was written. Packed ones (--packed) hold of each frame what lies around its target;
their annotations also say where that is.
"""

import collections.abc
import dataclasses
import functools

import numpy as np

from data_pipelines import annotations, record_files, tf_stream
from data_pipelines.builders.sequences import ANNOTATIONS, NAME, VERSION
from data_pipelines.contexts import Place
from data_pipelines.sources import Facts, Sequence, Source
from trackers.errors import InputError
from trackers.io import numbers, plain_text

FACTS = Facts()
_LAYOUT = f"SPLIT/{{{ANNOTATIONS},{NAME}/{VERSION}/...}}, as python -m data_pipelines shards writes it"


@dataclasses.dataclass(frozen=True)
class Record:
    """One image of a split, read when asked for; stands in for its path.

    folder: the split's. index: the record's number. place: where the record lies in its image; None for whole ones.
    """

    folder: str
    index: int
    place: Place | None = None

    @property
    def name(self):
        return f"record {self.index}"

    def __str__(self):
        return f"{self.folder} record {self.index}"

    def read_bytes(self):
        """The image file's bytes. Raises: InputError where the records are damaged."""
        (example, no_example), records = _example(), _records(self.folder)
        with plain_text.naming(self, record_files.AGAIN):
            try:
                # TFDS's own parser, made for any features, takes several times as long.
                record = example.FromString(records.data_source[self.index])
            except no_example as error:
                raise ValueError(str(error)) from None
            return record.features.feature["image"].bytes_list.value[0]


class Records(collections.abc.Sequence):
    """The frames of a sequence as Records, made when asked for. places: (regions, sizes, largest), or None."""

    def __init__(self, folder, numbers, places):
        self._folder, self._numbers, self._places = folder, numbers, places

    def __len__(self):
        return len(self._numbers)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = None
        if self._places is not None:
            regions, sizes, largest = self._places
            place = Place(tuple(regions[index].tolist()), tuple(sizes[index].tolist()), largest)
        return Record(self._folder, int(self._numbers[index]), place)


@functools.cache
def _example():
    """The protocol buffer that a record is, and what reading another raises."""
    from google.protobuf.message import DecodeError

    return tf_stream.tensorflow().train.Example, DecodeError


@functools.lru_cache(maxsize=8)
def _records(folder):
    import tensorflow_datasets as tfds
    from etils import epath

    path = epath.Path(folder)
    try:
        return tfds.builder_from_directory(path / NAME / VERSION).as_data_source(path.name)
    except Exception as error:  # TFDS reads JSON of its own, by readers that raise what they like
        place = path / NAME / VERSION
        raise InputError(f"{place} is damaged ({plain_text.reason(error)}): {record_files.AGAIN}") from None


def open(root, split="train"):
    """The sequences of ROOT/SPLIT -> Source, named as the data set that was written.

    Raises: InputError where the split is not there, is unfinished, or its annotations are damaged.
    """
    folder = annotations.folder(root, "shards", _LAYOUT) / split
    file = folder / ANNOTATIONS
    if not file.exists():
        raise InputError(f"shards: no {file}; expected {_LAYOUT}")
    known, places, context = record_files.read(file, "shards"), None, None
    if "regions" in known:
        with plain_text.naming(f"shards: {file}", record_files.AGAIN):
            places, context = _places(known)
    names, records = known["names"], known["records"]

    def load(index):
        frames = Records(str(folder), records[index], places and (places[0][index], places[1][index], places[2]))
        return Sequence(names[index], frames, known["boxes"][index], known["visible"][index])

    return Source(known["source"], names, load, known["is_video"], context=context)


def _places(known):
    """(([regions], [sizes], largest), context) of packed shards' sequences, from the arrays of an annotation file."""
    regions, sizes, largest, context = known["regions"], known["sizes"], int(known["largest"]), float(known["context"])
    for name, array, columns in (("regions", regions, 4), ("sizes", sizes, 2)):
        if array.dtype.kind not in "iu" or array.shape != (known["frames"].sum(), columns):
            raise ValueError(f"{name} is an array {array.shape} of {array.dtype}")
    regions, sizes = regions.astype(np.int64), sizes.astype(np.int64)
    starts, sides = regions[:, :2], regions[:, 2:]
    inside = (starts >= 0) & (sides >= 1) & (sides <= sizes) & (starts <= sizes - sides)
    if not inside.all() or sizes.max(initial=0) > numbers.LARGEST_PIXEL:
        raise ValueError("regions outside their images")
    if largest < 1 or not context > 0:
        raise ValueError(f"largest is {largest}, context {context}")
    ends = np.cumsum(known["frames"])[:-1]
    regions, sizes = (np.split(array.astype(np.int32), ends) for array in (regions, sizes))
    return (regions, sizes, largest), context
