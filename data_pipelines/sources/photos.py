"""Photographs without labels, any images at any depth:

    ROOT/**/NAME.jpg                                    or .jpeg, .png, .bmp

Regions stand in for targets, and search images are changed template images (data_pipelines/unlabelled). Validation has
the last tenth of the files.
"""

import numpy as np

from data_pipelines import annotations, trees
from data_pipelines.sources import Facts, Sequence, Source

FACTS = Facts(validation="validation")
SPLITS = ("train", "validation")
_LAYOUT = "images at any depth: NAME.jpg, .jpeg, .png, .bmp"


def open(root, split="train"):
    """The images in `root`, but for those that are held out -> Source without labels."""
    path = trees.root(root, "photos", split, SPLITS, _LAYOUT)
    files = [folder / name for folder in trees.folders_in(path) for name in annotations.image_names(folder)]
    files = trees.part("photos", files, split, "images", path, _LAYOUT)

    def load(index):
        return Sequence(names[index], [files[index]], np.zeros((1, 4)), np.ones(1, bool))

    names = [str(file.relative_to(path)) for file in files]
    return Source("photos", names, load, is_video=False, keep=False, labelled=False)
