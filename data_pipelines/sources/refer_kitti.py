"""Refer-KITTI (Wu et al., Referring Multi-Object Tracking, CVPR 2023) as published, also version 2:

    ROOT/expression/0005/PHRASE.json                          which tracks a phrase means, by frame
    ROOT/KITTI/labels_with_ids/image_02/0005/000000.txt       boxes of a frame: class id x y w h, in fractions
    ROOT/KITTI/training/image_02/0005/000000.png              KITTI's tracking images, left color camera

Version 1 has 15 videos to train on and 3 to test, version 2 17 and 4, with phrases by a language model (a raw_sentence
in each file) and corrected labels_with_ids of its own: a folder with files of both is refused.

Images, label files and the frames in a phrase count from 0. The published gt.txt files pair a phrase with the boxes of
the image after it; `phrase_annotations.ground_truth` has both ways.
"""

from data_pipelines import annotations, phrase_annotations, trees
from data_pipelines.sources import Facts, Source
from trackers import errors

FACTS = Facts(kind="clips", validation="test")
SPLITS = ("train", "test")
# The published test videos; 0019 is in version 2 only.
_TEST = ("0005", "0011", "0013", "0019")
# What the two versions hold; of the training descriptions no number is published.
_PUBLISHED = {
    "train": {"the training split of version 1": {"videos": 15}, "the training split of version 2": {"videos": 17}},
    "test": {
        "the test split of version 1": {"videos": 3, "descriptions of a video": 150},
        "the test split of version 2": {"videos": 4, "descriptions of a video": 861},
    },
}
_LAYOUT = (
    "Refer-KITTI's expression/VIDEO/PHRASE.json, KITTI/labels_with_ids/image_02/VIDEO/000000.txt and"
    " KITTI/training/image_02/VIDEO/000000.png"
)


def open(root, split="train"):
    """Refer-KITTI at `root` -> Source of Videos that have phrases.

    Raises: InputError also where phrases of both versions are there.
    """
    path = trees.root(root, "refer_kitti", split, SPLITS, _LAYOUT)
    phrases = annotations.folder(path / "expression", "refer_kitti", _LAYOUT)
    folders = trees.folders(phrases)
    _check_version(folders)
    names = sorted(child.name for child in folders if (child.name in _TEST) == (split == "test"))
    trees.some("refer_kitti", names, f"{split} videos", phrases, _LAYOUT)
    return Source("refer_kitti", names, lambda index: _load(path, names[index]), published=_PUBLISHED[split])


def _check_version(folders):
    """Raises: InputError where the folders of phrases are not all of one version."""
    of_version = {}
    for folder in sorted(folders):
        # The key alone: whether the file is one of phrases is asked where it is read.
        for file in phrase_annotations.files(folder)[:1]:
            second = '"raw_sentence"' in annotations.read_text(file, "a phrase")
            of_version.setdefault(2 if second else 1, file)
    if len(of_version) > 1:
        raise errors.InputError(
            f"refer_kitti: {of_version[1]} is of version 1 and {of_version[2]}, which has a raw_sentence, of version 2:"
            " keep each in a folder of its own, with its own labels_with_ids"
        )


def _load(path, name):
    images = path / "KITTI" / "training" / "image_02" / name
    files = phrase_annotations.numbered(images)
    if not files:
        raise errors.InputError(f"video {name}: no images in {images}; expected {_LAYOUT}")
    positions = {number: frame for frame, number in enumerate(files, 1)}
    frames = annotations.Frames(images, list(files.values()))
    size = phrase_annotations.read_image(frames[0]).shape[:2]
    tracks = phrase_annotations.read_label_folder(
        path / "KITTI" / "labels_with_ids" / "image_02" / name, positions, size
    )
    phrases = phrase_annotations.read_phrases(path / "expression" / name, positions)
    return phrase_annotations.Video(name, frames, tracks, phrases)
