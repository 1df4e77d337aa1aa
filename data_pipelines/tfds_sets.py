"""Sources from the TFDS data sets that `python -m data_pipelines tfds` wrote, in place of the folders it read:

    DIR/sot_NAME/[CHOICE/]1.0.0/{dataset_info.json, sot_NAME-SPLIT.array_record-00000-of-00001, annotations-SPLIT.npz}

DIR, sot_NAME/CHOICE and 1.0.0 may all be named. A record is a sequence or, of long ones, a part of it: to read a frame
is to read its record, and each thread keeps its last one, so that a pair of one video reads it once.
"""

import collections.abc
import dataclasses
import functools
import re
import threading

import numpy as np
from etils import epath

from data_pipelines import record_files, sources
from trackers.errors import InputError, UsageError
from trackers.io import plain_text

VERSION, INFO = "1.0.0", "dataset_info.json"
# Splits of the sources whose FACTS do not count them; where train and test are one, it is written once.
_SPLITS = {"coco": ("train", "val"), "frames": ("train",), "vot": ("test",)}


def splits(layout):
    """The splits of a source as they are written: those published."""
    return _SPLITS.get(layout) or tuple(sources.find(layout).FACTS.sizes)


def annotations_name(split):
    """Name of a split's annotation file (record_files)."""
    return f"annotations-{split}.npz"


def choice_name(options="", splits=(), max_sequences=None, record_mib=None):
    """Name of the folder of a part of a data set, "" for all of it; arguments as of builders.datasets.Choice."""
    parts = [options, *splits]
    parts += [f"{what}_{count}" for what, count in (("first", max_sequences), ("mib", record_mib)) if count]
    return re.sub(r"[^\w.-]", "_", "-".join(filter(None, parts)))


def find(layout, folder, options):
    """The folder of the data set `sot_LAYOUT` that is in `folder`, None where that is no place of one.

    Args: options: text of the source's options, which name a choice.

    Raises: InputError where there are others than that, UsageError for options of what was written already.
    """
    path = epath.Path(folder)
    for place in (path, path / VERSION):
        if (place / INFO).exists():
            if options:
                raise UsageError(
                    f"{layout}: {place} was written as it is: {options} is for the folder that it was made of"
                )
            return place
    home = path / f"sot_{layout}"
    if not home.is_dir():
        return None
    place = home / choice_name(options) / VERSION
    if not (place / INFO).exists():
        parts = sorted(str(info.parents[1]) for info in home.glob(f"*/{VERSION}/{INFO}"))
        remedy = f"name the part that is meant: {', '.join(parts)}" if parts else "write it"
        raise InputError(f"{layout}: no data set in {place}: {remedy}")
    return place


def formats(place):
    """The formats in which the records of the data set in a folder are there, that of its information first."""
    info = plain_text.read_json(place / INFO, "what TFDS writes of a data set")
    with plain_text.naming(place / INFO, record_files.AGAIN):
        return [str(info["fileFormat"]), *map(str, info.get("alternativeFileFormats", ()))]


def open_split(layout, place, split):
    """The Source of a split of the data set in the folder `place`, as `find` gave it.

    Raises: InputError where it is of another source or not there, UsageError for a split that the source has not.
    """
    place, own = epath.Path(place), splits(layout)
    info = plain_text.read_json(place / INFO, "what TFDS writes of a data set")
    with plain_text.naming(place / INFO, record_files.AGAIN):
        if info["name"] != f"sot_{layout}":
            raise InputError(f"{layout}: {place} holds {str(info['name'])[:40]}, not sot_{layout}")
        known = [str(one["name"]) for one in info["splits"]]
    if "array_record" not in (written := formats(place)):
        raise InputError(
            f"{layout}: {place} is written as {written[0]}, which is read in order only: write it with"
            " --file_format=array_record, or =both"
        )
    if len(own) == 1 and split in ("train", "test"):
        split = own[0]
    if split not in known:
        raise InputError(f"{layout}: {place} has no split {split}; it has {', '.join(known)}: write that, too")
    file = place / annotations_name(split)
    if not file.exists():
        raise InputError(f"{layout}: no {file}: {record_files.AGAIN}")
    held = record_files.read(file, layout)
    # Which image of its record a frame is follows from the order.
    if any((np.diff(numbers) < 0).any() for numbers in held["records"]):
        raise InputError(f"{layout}: {file} is damaged (records out of order): {record_files.AGAIN}")

    def load(index):
        frames = Records(str(place), split, held["records"][index])
        return sources.Sequence(held["names"][index], frames, held["boxes"][index], held["visible"][index])

    return sources.Source(held["source"], held["names"], load, held["is_video"])


@dataclasses.dataclass(frozen=True)
class Record:
    """One image of a record, read when asked for; stands in for its path. index: the record's. image: which one."""

    folder: str
    split: str
    index: int
    image: int

    @property
    def name(self):
        return f"record {self.index} image {self.image}"

    def __str__(self):
        return f"{self.folder} {self.split} record {self.index} image {self.image}"

    def read_bytes(self):
        """The image file's bytes. Raises: InputError where the records are damaged."""
        with plain_text.naming(self, record_files.AGAIN):
            return bytes(_images(self.folder, self.split, self.index)[self.image])


class Records(collections.abc.Sequence):
    """The frames of a sequence as Records, made when asked for. numbers: (T,) the record of each, ascending."""

    def __init__(self, folder, split, numbers):
        self._folder, self._split, self._numbers = folder, split, numbers

    def __len__(self):
        return len(self._numbers)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        number = self._numbers[index]
        return Record(self._folder, self._split, int(number), index - int(np.searchsorted(self._numbers, number)))


# Of each thread: which record it read last, and that record's images.
_last = threading.local()


def _images(*which):
    if getattr(_last, "which", None) != which:
        folder, split, index = which
        # The old one goes before the new one comes: records are large.
        _last.which = _last.images = None
        _last.images = _records(folder, split)[index]["frames"]
        _last.which = which
    return _last.images


@functools.lru_cache(maxsize=16)
def _records(folder, split):
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(folder).as_data_source(split)
    except Exception as error:  # TFDS reads JSON of its own, by readers that raise what they like
        raise InputError(f"{folder} is damaged ({plain_text.reason(error)}): {record_files.AGAIN}") from None
