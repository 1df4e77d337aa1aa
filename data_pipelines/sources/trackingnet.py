"""TrackingNet (Mueller et al., ECCV 2018) as its own script unpacks it:

    ROOT/{TRAIN_0 .. TRAIN_11, TEST}/{anno/SEQUENCE.txt, frames/SEQUENCE/0.jpg}

All the TRAIN_* folders that are there make the training split; TEST publishes the first box only.
"""

from data_pipelines import annotations, trees
from data_pipelines.sources import Facts, Source

FACTS = Facts(sizes={"train": 12 * 2511, "test": 511})
SPLITS = ("train", "test")
_LAYOUT = "TrackingNet's {TRAIN_0..TRAIN_11,TEST}/{anno/SEQUENCE.txt,frames/SEQUENCE/0.jpg}"


def open(root, split="train"):
    """TrackingNet at `root` (the folder of the parts, or for the test split TEST itself) -> Source.

    Visible frames: every box with an area (the data set flags nothing else).
    """
    path = trees.root(root, "trackingnet", split, SPLITS, _LAYOUT)
    places = [path / f"TRAIN_{number}" for number in range(12)] if split == "train" else [path / "TEST", path]
    parts = [place for place in places if (place / "anno").is_dir()]
    if split == "test":
        parts = parts[:1]
    # The parts are in order of their numbers, the names in each as text.
    files = [(part, name) for part in parts for name in sorted(trees.box_files(part / "anno"))]
    trees.some("trackingnet", files, f"{split} annotations", path, _LAYOUT)
    names = [name for _, name in files]
    return Source("trackingnet", names, lambda index: _load(*files[index], split == "test"))


def _load(part, name, first_box_only):
    boxes_file = part / "anno" / f"{name}.txt"
    return annotations.video(name, part / "frames" / name, boxes_file, first_box_only=first_box_only)
