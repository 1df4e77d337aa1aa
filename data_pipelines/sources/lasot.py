"""LaSOT (Fan et al., CVPR 2019) as published:

    ROOT/CATEGORY/SEQUENCE/{img/00000001.jpg, groundtruth.txt, full_occlusion.txt, out_of_view.txt}
    ROOT/{training_set.txt, testing_set.txt}

The two lists (names, one a line; from the data set's own download) make protocol II: 1,120 sequences to train on, 280
to test. Sequence folders directly under ROOT are found too, and a toolkit's absent.txt (one 0/1 a line) in place of the
two flag files.
"""

import sys

from data_pipelines import annotations
from data_pipelines.sources import Facts, Source
from trackers import errors

FACTS = Facts()
SPLITS = {"train": "training_set.txt", "test": "testing_set.txt"}
_LAYOUT = "LaSOT's CATEGORY/SEQUENCE/{img/00000001.jpg,groundtruth.txt,full_occlusion.txt,out_of_view.txt}"


def open(root, split="train"):
    """LaSOT at `root` (the folder of the categories) -> Source.

    Visible frames: neither fully occluded nor out of view, with an area. Where the split's list is not at the root the
    source is every sequence found, and a line on stderr says so.
    """
    if split not in SPLITS:
        raise errors.InputError(f"lasot has no split {split!r}: use one of {', '.join(SPLITS)}")
    path = annotations.folder(root, "lasot", _LAYOUT)
    folders = _find(path)
    listing = path / SPLITS[split]
    if listing.exists():
        names = annotations.read_list(listing, "the names of the split's sequences, one a line")
        missing = [name for name in names if name not in folders]
        if missing:
            raise errors.InputError(
                f"lasot: {len(missing)} of the {len(names)} sequences in {listing} are not under {path}, the first is"
                f" {missing[0]}; expected {_LAYOUT} (unpack it, or shorten the list)"
            )
    else:
        names = sorted(folders, key=annotations.natural_key)
        if names:
            print(f"lasot: no {listing}, so the {split} split is all {len(names)} sequences", file=sys.stderr)
    if not names:
        raise errors.InputError(f"lasot: no sequences in {path}; expected {_LAYOUT}")
    return Source("lasot", names, lambda index: _load(folders[names[index]]))


def _find(path):
    """{sequence name: folder} of the folders holding a groundtruth.txt, under categories or directly."""
    folders = {}
    for child in path.iterdir():
        if not child.is_dir():
            continue
        if (child / "groundtruth.txt").exists():
            folders[child.name] = child
        else:
            folders |= {p.name: p for p in child.iterdir() if (p / "groundtruth.txt").exists()}
    return folders


def _load(path):
    return annotations.video(path.name, path / "img", path / "groundtruth.txt", lambda count: hidden(path, count))


def hidden(path, count):
    """(count,) bool of one sequence folder, True where the target is fully occluded or out of view."""
    if (path / "absent.txt").exists() and not (path / "full_occlusion.txt").exists():
        return annotations.read_flags(path / "absent.txt", count) != 0
    occluded = annotations.read_flags(path / "full_occlusion.txt", count) != 0
    return occluded | (annotations.read_flags(path / "out_of_view.txt", count) != 0)
