"""AVisT (Noman et al., BMVC 2022): 120 sequences in adverse visibility, all to test.

    ROOT/sequences/SEQUENCE/img_00001.jpg
    ROOT/anno/SEQUENCE.txt                              x y w h a line
    ROOT/full_occlusion/SEQUENCE_full_occlusion.txt     0 or 1 for each frame, separated by commas
    ROOT/out_of_view/SEQUENCE_out_of_view.txt           the same

Boxes stay as published.
"""

from data_pipelines import annotations, trees
from data_pipelines.sources import Facts, Source

FACTS = Facts(sizes={"test": 120})
SPLITS = ("train", "test")
_LAYOUT = (
    "AVisT's sequences/SEQUENCE/img_00001.jpg, anno/SEQUENCE.txt, full_occlusion/SEQUENCE_full_occlusion.txt and"
    " out_of_view/SEQUENCE_out_of_view.txt"
)


def open(root, split="train"):
    """AVisT at `root` -> Source. Train and test are both everything.

    Visible frames: neither fully occluded nor out of view, with an area.
    """
    path = trees.root(root, "avist", split, SPLITS, _LAYOUT)
    annotated = annotations.folder(path / "anno", "avist", _LAYOUT)
    names = trees.some("avist", trees.box_files(annotated), "annotations SEQUENCE.txt", annotated, _LAYOUT)
    return Source("avist", names, lambda index: _load(path, names[index]))


def _load(path, name):
    def hidden(count):
        files = (path / kind / f"{name}_{kind}.txt" for kind in ("full_occlusion", "out_of_view"))
        occluded, outside = (annotations.read_flags(file, count) != 0 for file in files)
        return occluded | outside

    return annotations.video(name, path / "sequences" / name, path / "anno" / f"{name}.txt", hidden)
