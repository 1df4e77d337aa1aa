"""GOT-10k (Huang et al., TPAMI 2021), full_data as published:

    ROOT/{train,val,test}/list.txt
    ROOT/{train,val,test}/SEQUENCE/{00000001.jpg, groundtruth.txt, absence.label, cover.label}

list.txt names the sequences; without it every folder that holds a groundtruth.txt counts. The test split publishes the
first box only. Parts of the training split: exclude=vot leaves out the 1,000 sequences that VOT forbids to train on;
list=FILE takes the sequences of a file of names, or of numbers that count the lines of list.txt from 0, as pytracking's
got10k_vot_train_split.txt has them.
"""

import numpy as np

from data_pipelines import annotations, published, trees
from data_pipelines.sources import Facts, Source
from trackers import errors
from trackers.io import numbers
from trackers.io.numbers import counted

FACTS = Facts(
    validation="val",
    options={"exclude": ("none", "vot"), "list": None},
    sizes={"train": 9335, "val": 180, "test": 180},
)
SPLITS = ("train", "val", "test")
_LAYOUT = "GOT-10k's {train,val,test}/list.txt and {train,val,test}/SEQUENCE/{00000001.jpg,groundtruth.txt}"


def open(root, split="train", exclude="none", list=None):
    """GOT-10k at `root` (the folder of the splits, or one split's folder itself) -> Source.

    Visible frames: absence.label 0, cover.label above 0 (where the labels are there) and a box with area.
    """
    path = trees.root(root, "got10k", split, SPLITS, _LAYOUT)
    if (path / split).is_dir():
        path = path / split
    elif any((path / other).is_dir() for other in SPLITS):
        raise errors.InputError(f"got10k: {path} has no folder {split}; expected {_LAYOUT}")
    elif split == "val" != path.name:
        annotations.say_once(f"got10k: {path} has no folders {', '.join(SPLITS)}, so the val split is all of it")
    listing = path / "list.txt"
    if listing.exists():
        names = annotations.read_list(listing, "the names of the sequences, one a line")
    else:
        names = [*trees.folders_with(path, ("groundtruth.txt",))]
    trees.some("got10k", names, "sequences", path, _LAYOUT)
    if list is not None and split == "train":
        names = _chosen(names, list)
    if exclude == "vot":
        names = [name for name in names if name not in published.GOT10K_FORBIDDEN]
        trees.some("got10k", names, "sequences that VOT allows", list or path, _LAYOUT)
    return Source("got10k", names, lambda index: _load(path / names[index], split == "test"))


def _chosen(names, file):
    """Those of the names that a file names, or whose numbers from 0 it has."""
    lines = annotations.read_list(file, "names of sequences, or their numbers in list.txt from 0, one a line")
    if all(map(numbers.is_digits, lines)):
        beyond = [line for line in lines if int(line) >= len(names)]
        if beyond:
            raise errors.InputError(
                f"got10k: {file} has the number {beyond[0]}, and the split has"
                f" {counted(len(names), 'sequence')} from 0 on: use it"
                " with the whole published list.txt"
            )
        return [names[int(line)] for line in lines]
    unknown = set(lines) - set(names)
    if unknown:
        raise errors.InputError(f"got10k: {file} names {min(unknown)}, which is not in the training split")
    return lines


def _load(path, first_box_only):
    def hidden(count):
        flags = np.zeros(count, bool)
        if annotations.exists(path / "absence.label"):
            flags |= annotations.read_flags(path / "absence.label", count) != 0
        if annotations.exists(path / "cover.label"):
            flags |= annotations.read_flags(path / "cover.label", count) == 0
        return flags

    return annotations.video(path.name, path, path / "groundtruth.txt", hidden, first_box_only)
