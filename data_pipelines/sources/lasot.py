"""LaSOT (Fan et al., CVPR 2019) as published:

    ROOT/CATEGORY/SEQUENCE/{img/00000001.jpg, groundtruth.txt, full_occlusion.txt, out_of_view.txt}
    ROOT/{training_set.txt, testing_set.txt}            not in every download

The lists (names, one a line) make the splits; without them protocol II does: 1,120 sequences train, 280 test. Sequence
folders directly under ROOT are found too, and a toolkit's absent.txt (one 0/1 a line) in place of the two flag files.
Images beyond the boxes, as monkey-17 has, are left out as in the official evaluation.

Boxes count pixels from 1. They stay as published, as in pytracking and its descendants; origin=zero takes 1 from x and
y, as LoRAT does.
"""

from data_pipelines import annotations, published, trees
from data_pipelines.sources import Facts, Source
from trackers.io.numbers import counted

FACTS = Facts(options={"origin": ("published", "zero")}, sizes={"train": 1120, "test": 280})
SPLITS = {"train": "training_set.txt", "test": "testing_set.txt"}
_PROTOCOL = {"train": published.LASOT_TRAIN, "test": published.LASOT_TEST}
_LAYOUT = "LaSOT's CATEGORY/SEQUENCE/{img/00000001.jpg,groundtruth.txt,full_occlusion.txt,out_of_view.txt}"
# Sequences that have an image less than boxes in some downloads.
_LACKING = ("airplane-14", "airplane-15", "bus-4", "paddle-1", "paddle-10")


def open(root, split="train", origin="published"):
    """LaSOT at `root` (the folder of the categories) -> Source.

    Visible frames: neither fully occluded nor out of view, with an area. A line on stderr says where the split is not
    that of a list at the root.
    """
    path = trees.root(root, "lasot", split, SPLITS, _LAYOUT)
    folders = find(path)
    trees.some("lasot", folders, "sequences", path, _LAYOUT)
    names = _split(path, split, folders)
    return Source("lasot", names, lambda index: load(folders[names[index]], origin))


def _split(path, split, folders):
    listing = path / SPLITS[split]
    if listing.exists():
        names = trees.listed("lasot", listing, folders, _LAYOUT)
        return trees.some("lasot", names, f"{split} sequences", listing, "names, one a line")
    names = list(folders)
    if set(names) <= _PROTOCOL["train"] | _PROTOCOL["test"]:
        names = [name for name in names if name in _PROTOCOL[split]]
        trees.some("lasot", names, f"{split} sequences of protocol II (name others in {listing.name})", path, _LAYOUT)
        annotations.say_once(
            f"lasot: no {listing}, so the {split} split is protocol II's, of which {len(names)} are there"
        )
        return names
    annotations.say_once(f"lasot: no {listing}, so the {split} split is all {counted(len(names), 'sequence')}")
    return names


def find(path):
    """{sequence name: folder} of the folders holding a groundtruth.txt, under categories or directly."""
    return trees.folders_with(path, ("groundtruth.txt",), 2)


def load(path, origin="published"):
    """The Sequence of a folder."""
    read = annotations.box_reader(origin)
    return annotations.video(
        path.name,
        path / "img",
        path / "groundtruth.txt",
        lambda count: hidden(path, count),
        read=read,
        surplus=True,
        lacking=path.name in _LACKING,
    )


def hidden(path, count):
    """(count,) bool of one sequence folder, True where the target is fully occluded or out of view."""
    if annotations.exists(path / "absent.txt") and not annotations.exists(path / "full_occlusion.txt"):
        return annotations.read_flags(path / "absent.txt", count) != 0
    occluded = annotations.read_flags(path / "full_occlusion.txt", count) != 0
    return occluded | (annotations.read_flags(path / "out_of_view.txt", count) != 0)
