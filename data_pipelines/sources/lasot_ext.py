"""LaSOT's extension subset (Fan et al., IJCV 2021), LaSOT_ext: 15 categories of 10 sequences, all to test.

    ROOT/CATEGORY/SEQUENCE/{img/00000001.jpg, groundtruth.txt, full_occlusion.txt, out_of_view.txt}

Read as LaSOT is, without lists: train and test are both everything. The boxes stay as published (origin=zero as there;
LoRAT, which takes 1 from LaSOT's x and y, leaves these as they are).
"""

from data_pipelines import trees
from data_pipelines.sources import Facts, Source, lasot

FACTS = Facts(options=lasot.FACTS.options, sizes={"test": 150})
SPLITS = ("train", "test")
_LAYOUT = "LaSOT_ext's CATEGORY/SEQUENCE/{img/00000001.jpg,groundtruth.txt,full_occlusion.txt,out_of_view.txt}"


def open(root, split="train", origin="published"):
    """LaSOT_ext at `root` (the folder of the categories) -> Source. Visible frames as LaSOT's."""
    path = trees.root(root, "lasot_ext", split, SPLITS, _LAYOUT)
    folders = trees.some("lasot_ext", lasot.find(path), "sequences", path, _LAYOUT)
    names = list(folders)
    return Source("lasot_ext", names, lambda index: lasot.load(folders[names[index]], origin))
