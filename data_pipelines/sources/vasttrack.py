"""VastTrack (Peng et al., NeurIPS 2024): 47,110 sequences to train, 3,500 to test.

    ROOT/CLASS/CLASS-N/{imgs/00000001.jpg, Groundtruth.txt, nlp.txt}    img/ and groundtruth.txt in some copies
    ROOT/vasttrack_test_list.txt                                        the toolkit's list of the test sequences

The folders part-1, part-2, ... that the archives may have been unpacked to can stand between ROOT and CLASS. The
test list, in ROOT or named by list=FILE, makes the splits; without it the split is every sequence. Boxes count pixels
from 1 and stay as published; origin=zero takes 1 from x and y, as LoRAT does.
"""

from etils import epath

from data_pipelines import annotations, trees
from data_pipelines.sources import Facts, Source
from trackers.io.numbers import counted

FACTS = Facts(options={"origin": ("published", "zero"), "list": None}, sizes={"train": 47110, "test": 3500})
SPLITS = ("train", "test")
_LIST = "vasttrack_test_list.txt"
_BOXES = ("Groundtruth.txt", "groundtruth.txt")
_LAYOUT = f"VastTrack's CLASS/CLASS-N/{{imgs/00000001.jpg,Groundtruth.txt}} and {_LIST}"


def open(root, split="train", origin="published", list=None):
    """VastTrack at `root` (the folder of the classes) -> Source.

    Visible frames: every box with an area; 0,0,0,0 marks an absent target.
    """
    path = trees.root(root, "vasttrack", split, SPLITS, _LAYOUT)
    folders = trees.some("vasttrack", trees.folders_with(path, _BOXES, 3), "sequences", path, _LAYOUT)
    names = _split(epath.Path(list) if list else path / _LIST, split, folders, bool(list))
    trees.some("vasttrack", names, f"{split} sequences", path, _LAYOUT)
    return Source("vasttrack", names, lambda index: _load(folders[names[index]], origin))


def _split(listing, split, folders, named):
    if not (named or listing.exists()):
        annotations.say_once(
            f"vasttrack: no {listing}, so the {split} split is all {counted(len(folders), 'sequence')}"
        )
        return [*folders]
    test = set(annotations.read_list(listing, "the names of the test sequences, one a line"))
    # Parts may be unpacked alone, so what is listed need not be there.
    return [name for name in folders if (name in test) == (split == "test")]


def _load(folder, origin):
    read = annotations.box_reader(origin)
    images = folder / "imgs" if (folder / "imgs").is_dir() else folder / "img"
    boxes = next((folder / name for name in _BOXES if (folder / name).exists()), folder / _BOXES[0])
    return annotations.video(folder.name, images, boxes, read=read)
