"""GOT-10k (Huang et al., TPAMI 2021), full_data as published:

    ROOT/{train,val,test}/list.txt
    ROOT/{train,val,test}/SEQUENCE/{00000001.jpg, groundtruth.txt, absence.label, cover.label}

list.txt names the sequences; shorten it to train on a part (such as the 1k sequences shared with VOT left out).
Without it every folder that holds a groundtruth.txt counts. The test split publishes the first box only.
"""

import numpy as np

from data_pipelines import annotations
from data_pipelines.sources import Facts, Source
from trackers import errors

FACTS = Facts(validation="val")
SPLITS = ("train", "val", "test")
_LAYOUT = "GOT-10k's {train,val,test}/list.txt and {train,val,test}/SEQUENCE/{00000001.jpg,groundtruth.txt}"


def open(root, split="train"):
    """GOT-10k at `root` (the folder of the splits, or one split's folder itself) -> Source.

    Visible frames: absence.label 0, cover.label above 0 (where the labels are there) and a box with area.
    """
    if split not in SPLITS:
        raise errors.InputError(f"got10k has no split {split!r}: use one of {', '.join(SPLITS)}")
    path = annotations.folder(root, "got10k", _LAYOUT)
    if (path / split).is_dir():
        path = path / split
    elif any((path / other).is_dir() for other in SPLITS):
        raise errors.InputError(f"got10k: {path} has no folder {split}; expected {_LAYOUT}")
    listing = path / "list.txt"
    if listing.exists():
        names = annotations.read_list(listing, "the names of the sequences, one a line")
    else:
        folders = [child.name for child in path.iterdir() if (child / "groundtruth.txt").exists()]
        names = sorted(folders, key=annotations.natural_key)
    if not names:
        raise errors.InputError(f"got10k: no sequences in {path}; expected {_LAYOUT}")
    return Source("got10k", names, lambda index: _load(path / names[index], split == "test"))


def _load(path, first_box_only):
    def hidden(count):
        flags = np.zeros(count, bool)
        if (path / "absence.label").exists():
            flags |= annotations.read_flags(path / "absence.label", count) != 0
        if (path / "cover.label").exists():
            flags |= annotations.read_flags(path / "cover.label", count) == 0
        return flags

    return annotations.video(path.name, path, path / "groundtruth.txt", hidden, first_box_only)
