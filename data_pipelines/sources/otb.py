"""OTB100 (Wu et al., Object Tracking Benchmark, TPAMI 2015): 98 folders, 100 targets.

    ROOT/SEQUENCE/{img/0001.jpg, groundtruth_rect.txt}                  commas, tabs or spaces
    ROOT/{Jogging,Skating2}/groundtruth_rect.{1,2}.txt                  the targets Jogging.1, Jogging.2, ...
    ROOT/Human4/groundtruth_rect.{1,2}.txt                              the first is empty: the target Human4

Names are the got-10k toolkit's. Where a folder has images without boxes the annotated ones are taken (David: 300 to
770). Boxes count pixels from 1 and stay as published; origin=zero takes 1 from x and y. tiger1=6 begins Tiger1 with its
6th frame, as the Matlab toolkit and pytracking do; the default is the 1st, as in the got-10k toolkit.
"""

import dataclasses

from data_pipelines import annotations, published, trees
from data_pipelines.sources import Facts, Source, frames

FACTS = Facts(options={"origin": ("published", "zero"), "tiger1": ("1", "6")}, sizes={"test": 100})
SPLITS = ("train", "test")
_LAYOUT = "OTB's SEQUENCE/{img/0001.jpg,groundtruth_rect.txt}"
# Folders with images beyond their boxes, in the published set.
_SURPLUS = ("David", "Diving", "Football1", "Freeman3", "Freeman4")


def open(root, split="train", origin="published", tiger1="1"):
    """OTB at `root` (the folder of the sequence folders) -> Source. Train and test are both everything.

    Visible frames: every box with an area (the set flags nothing).
    """
    path = trees.root(root, "otb", split, SPLITS, _LAYOUT)
    found = trees.some("otb", frames.targets_in(path), "sequences", path, _LAYOUT)

    def load(index):
        video = _load(*found[index], origin)
        first = int(tiger1) - 1 if video.name == "Tiger1" else 0
        return _from(video, first) if first else video

    return Source("otb", [name for name, _, _ in found], load)


def _load(name, path, boxes_file, origin):
    images, read, surplus = frames.images(path), annotations.box_reader(origin), path.name in _SURPLUS
    # Copies that have the annotated images alone may number them anew.
    whole = len(annotations.image_names(images)) == len(read(boxes_file))
    known = None if whole else published.OTB.get(path.name)
    span = known and (known.first, known.last)
    return annotations.video(name, images, boxes_file, read=read, span=span, surplus=surplus)


def _from(video, first):
    """The video from its frame `first` (counted from 0) on."""
    values = {"boxes": video.boxes[first:], "visible": video.visible[first:]}
    return dataclasses.replace(video, frames=video.frames[first:], **values)
