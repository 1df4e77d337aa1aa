"""Refer-Dance (Du et al., iKUN, CVPR 2024): DanceTrack (Sun et al., CVPR 2022) with phrases.

    ROOT/expression/dancetrack0001/PHRASE.json                which tracks a phrase means, by frame
    ROOT/seqmap.txt                                           lines VIDEO+PHRASE of the test videos
and the videos, either DanceTrack as it publishes them (here or under ROOT/DanceTrack/)
    ROOT/{train,val}/dancetrack0001/{img1/00000001.jpg, gt/gt.txt}
or as Refer-Dance does, with the images also directly in the video's folder
    ROOT/DanceTrack/training/image_02/dancetrack0001/img1/00000001.jpg
    ROOT/DanceTrack/labels_with_ids/image_02/dancetrack0001/00000001.txt

40 videos with 39 distinct descriptions train, 25 with 17 test. The set is open: a test description need not occur in
training, though some may. Frames count from 1 everywhere; boxes are in pixels of the images (the published gt_template
is on a canvas of 1920 x 1080, whatever the images' size).
"""

from data_pipelines import annotations, phrase_annotations, trees
from data_pipelines.sources import Facts, Source
from trackers import errors

FACTS = Facts(kind="clips", validation="test")
SPLITS = ("train", "test")
# What the paper counts (supplement).
_PUBLISHED = {
    "train": {"the published training split": {"videos": 40, "distinct descriptions": 39}},
    "test": {"the published test split": {"videos": 25, "distinct descriptions": 17}},
}
# DanceTrack's validation videos, which are Refer-Dance's test videos, where there is no seqmap.txt.
_TEST = tuple(
    f"dancetrack{number:04d}"
    for number in (4, 5, 7, 10, 14, 18, 19, 25, 26, 30, 34, 35, 41, 43, 47, 58, 63, 65, 73, 77, 79, 81, 90, 94, 97)
)
_LAYOUT = "Refer-Dance's expression/VIDEO/PHRASE.json, seqmap.txt and {train,val}/VIDEO/{img1/00000001.jpg,gt/gt.txt}"


def open(root, split="train"):
    """Refer-Dance at `root` -> Source of phrase_annotations.Video: the split's videos that have phrases."""
    if split not in SPLITS:
        raise errors.InputError(f"refer_dance has no split {split!r}: use one of {', '.join(SPLITS)}")
    path = annotations.folder(root, "refer_dance", _LAYOUT)
    folders = trees.folders(annotations.folder(path / "expression", "refer_dance", _LAYOUT))
    test = _test_videos(path)
    names = sorted(child.name for child in folders if (child.name in test) == (split == "test"))
    if not names:
        raise errors.InputError(f"refer_dance: no {split} videos in {path / 'expression'}; expected {_LAYOUT}")
    return Source("refer_dance", names, lambda index: _load(path, names[index]), published=_PUBLISHED[split])


def _test_videos(path):
    listing = path / "seqmap.txt"
    if not listing.exists():
        return set(_TEST)
    return {line.partition("+")[0] for line in annotations.read_list(listing, "lines VIDEO+PHRASE")}


def _load(path, name):
    parents = [
        place / part
        for place in (path, path / "DanceTrack", path / "dancetrack")
        for part in ("train", "val", "training/image_02")
    ]
    folder = next((parent / name for parent in parents if (parent / name).is_dir()), None)
    if folder is None:
        raise errors.InputError(f"video {name}: no folder of its images under {path}; expected {_LAYOUT}")
    images = folder / "img1" if (folder / "img1").is_dir() else folder
    files = phrase_annotations.numbered(images)
    if not files:
        raise errors.InputError(f"video {name}: no images in {images}; expected {_LAYOUT}")
    positions = {number: frame for frame, number in enumerate(files, 1)}
    frames = annotations.Frames(images, list(files.values()))
    phrases = phrase_annotations.read_phrases(path / "expression" / name, positions)
    return phrase_annotations.Video(name, frames, _tracks(folder, frames, positions), phrases)


def _tracks(folder, frames, positions):
    if (folder / "gt" / "gt.txt").exists():
        return phrase_annotations.read_mot(folder / "gt" / "gt.txt", positions)
    labels = folder.parents[2] / "labels_with_ids" / "image_02" / folder.name
    if not labels.is_dir():
        raise errors.InputError(f"{folder / 'gt' / 'gt.txt'} is missing: expected {_LAYOUT}")
    return phrase_annotations.read_label_folder(labels, positions, phrase_annotations.read_image(frames[0]).shape[:2])
