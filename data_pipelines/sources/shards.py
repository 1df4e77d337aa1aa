"""What `python -m data_pipelines shards` wrote as a few large files (data_pipelines/builders/sequences.py):

    ROOT/{train,val,test}/{annotations.npz, sequences/1.0.0/...}

Which splits are there is up to what was written.
"""

import dataclasses
import functools

import numpy as np

from data_pipelines import annotations
from data_pipelines.builders.sequences import ANNOTATIONS, NAME, VERSION
from data_pipelines.sources import Facts, Sequence, Source
from trackers.errors import InputError
from trackers.io import array_files, numbers, plain_text

FACTS = Facts()
_LAYOUT = f"SPLIT/{{{ANNOTATIONS},{NAME}/{VERSION}/...}}, as python -m data_pipelines shards writes it"


@dataclasses.dataclass(frozen=True)
class Record:
    """One image of a split, read when asked for; stands in for its path.

    folder: the split's. index: the record's number.
    """

    folder: str
    index: int

    @property
    def name(self):
        return f"record {self.index}"

    def __str__(self):
        return f"{self.folder} record {self.index}"

    def read_bytes(self):
        """The image file's bytes. Raises: InputError where the records are damaged."""
        with plain_text.naming(self, "write the data set again"):
            return bytes(_records(self.folder)[self.index]["image"])


@functools.lru_cache(maxsize=8)
def _records(folder):
    import tensorflow_datasets as tfds
    from etils import epath

    path = epath.Path(folder)
    try:
        return tfds.builder_from_directory(path / NAME / VERSION).as_data_source(path.name)
    except Exception as error:  # TFDS reads JSON of its own, by readers that raise what they like
        place = path / NAME / VERSION
        raise InputError(f"{place} is damaged ({plain_text.reason(error)}): write the data set again") from None


def open(root, split="train"):
    """The sequences of ROOT/SPLIT -> Source, named as the data set that was written.

    Raises: InputError where the split is not there, is unfinished, or its annotations are damaged.
    """
    folder = annotations.folder(root, "shards", _LAYOUT) / split
    file = folder / ANNOTATIONS
    if not file.exists():
        raise InputError(f"shards: no {file}; expected {_LAYOUT}")
    with plain_text.naming(f"shards: {file}", "write the data set again"):
        with file.open("rb") as opened:
            known = array_files.read_npz(opened, f"shards: {file}")
        records, boxes, visible = _split(known)
        names, name, is_video = known["names"].tolist(), str(known["source"]), bool(known["is_video"])
        if not len(names) == len(records) == len(boxes) == len(visible):
            raise ValueError(f"{len(names)} names for {len(records)} sequences")

    def load(index):
        frames = [Record(str(folder), number) for number in records[index].tolist()]
        return Sequence(names[index], frames, boxes[index], visible[index])

    return Source(name, names, load, is_video)


def _split(known):
    """([records], [boxes], [visible]) of the sequences, from the arrays of an annotation file."""
    for name, kinds in {"frames": "iu", "annotated": "iu", "records": "iu", "visible": "b", "boxes": "f"}.items():
        if known[name].dtype.kind not in kinds or known[name].ndim != 1 + (name == "boxes"):
            raise ValueError(f"{name} is an array {known[name].shape} of {known[name].dtype}")
    if known["boxes"].shape[1] != 4 or (np.abs(known["boxes"]) > numbers.LARGEST_PIXEL).any():
        raise ValueError("boxes beyond what images have")
    if known["records"].min(initial=0) < 0:
        raise ValueError("records below 0")
    parts = (("records", "frames"), ("boxes", "annotated"), ("visible", "annotated"))
    for what, many in parts:
        if known[many].min(initial=0) < 0 or known[many].sum() != len(known[what]):
            raise ValueError(f"{many} does not add up to {what}")
    return [np.split(known[what], np.cumsum(known[many])[:-1]) for what, many in parts]
