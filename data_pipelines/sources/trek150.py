"""TREK-150 (Dunnhofer et al., IJCV 2023): 150 egocentric sequences, all to test.

    ROOT/P01-P01_03-188/{img/*.jpg, groundtruth_rect.txt, frames.txt, anchors.txt, attributes.txt, ...}

x,y,w,h a line, -1,-1,-1,-1 where the target is not visible. Read for the one-pass protocol; the anchors of the
multi-start one are not used.
"""

from data_pipelines import annotations, trees
from data_pipelines.sources import Facts, Source

FACTS = Facts(sizes={"test": 150})
SPLITS = ("train", "test")
_LAYOUT = "TREK-150's P01-P01_03-188/{img/*.jpg,groundtruth_rect.txt}"


def open(root, split="train"):
    """TREK-150 at `root` (the folder of the sequence folders) -> Source. Train and test are both everything.

    Visible frames: every box with an area.
    """
    path = trees.root(root, "trek150", split, SPLITS, _LAYOUT)
    folders = trees.some("trek150", trees.folders_with(path, ("groundtruth_rect.txt",)), "sequences", path, _LAYOUT)
    names = list(folders)
    return Source("trek150", names, lambda index: _load(folders[names[index]]))


def _load(folder):
    return annotations.video(folder.name, folder / "img", folder / "groundtruth_rect.txt")
