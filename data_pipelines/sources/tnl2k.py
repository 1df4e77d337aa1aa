"""TNL2K (Wang et al., CVPR 2021): 1,300 sequences to train and 700 to test, in two downloads.

    ROOT/SEQUENCE/{imgs/00001.png, groundtruth.txt, language.txt}       images named in several ways, .png or .jpg
    ROOT/{TNL2K_train_set.txt, TNL2K_testing_set.txt}                   the toolkit's lists, where they are there
    ROOT/annos/absent/SEQUENCE.txt                                      its flags, where they are there

Without a list the split is every sequence in ROOT that the other list does not name. Names are kept as they are, spaces
too. Known damage is mended: a frame that cannot be decoded is replaced by the one before it, boxes without image are
left out.
"""

import dataclasses

from data_pipelines import annotations, trees
from data_pipelines.sources import Facts, Source
from trackers import errors
from trackers.io.image_files import read_image
from trackers.io.numbers import counted

FACTS = Facts(sizes={"train": 1300, "test": 700})
SPLITS = {"train": "TNL2K_train_set.txt", "test": "TNL2K_testing_set.txt"}
_LAYOUT = "TNL2K's SEQUENCE/{imgs/00001.png,groundtruth.txt,language.txt}"
# The image that is damaged in the download, and the sequence that may lack images there.
_DAMAGED = {"test_015_Sord_video_Q01_done": "00000492.png"}
_LACKING = ("Fight_video_6-Done",)


def open(root, split="train"):
    """TNL2K at `root` (the folder of one download's sequences) -> Source.

    Visible frames: every box with an area, and not absent where the toolkit's flags are there.
    """
    path = trees.root(root, "tnl2k", split, SPLITS, _LAYOUT)
    folders = trees.some("tnl2k", trees.folders_with(path, ("groundtruth.txt",)), "sequences", path, _LAYOUT)
    names = _split(path, split, folders)
    gone = [name for name in names if name in _LACKING and not annotations.image_names(folders[name] / "imgs")]
    if gone:
        annotations.say_once(f"tnl2k: {gone[0]} has no images in {folders[gone[0]] / 'imgs'}: left out")
        names = [name for name in names if name not in gone]
    return Source("tnl2k", names, lambda index: _load(path, folders[names[index]]))


def _split(path, split, folders):
    listing, other = path / SPLITS[split], path / SPLITS["train" if split == "test" else "test"]
    if listing.exists():
        names = trees.listed("tnl2k", listing, folders, _LAYOUT)
        return trees.some("tnl2k", names, f"{split} sequences", listing, "names, one a line")
    # What the other list holds out is never trained on.
    theirs = annotations.read_list(other, "the names of its sequences, one a line") if other.exists() else ()
    names = [name for name in folders if name not in set(theirs)]
    trees.some("tnl2k", names, f"{split} sequences (name them in {listing.name})", path, _LAYOUT)
    beside = f" but those of {other.name}" if theirs else ""
    annotations.say_once(f"tnl2k: no {listing}, so the {split} split is all {counted(len(names), 'sequence')}{beside}")
    return names


def _load(path, folder):
    name, flags = folder.name, path / "annos" / "absent" / f"{folder.name}.txt"
    hidden = (lambda count: annotations.read_flags(flags, count) != 0) if annotations.exists(flags) else None
    lacking = name in _LACKING
    video = annotations.video(name, folder / "imgs", folder / "groundtruth.txt", hidden, lacking=lacking)
    return _mended(video, _DAMAGED[name]) if name in _DAMAGED else video


def _mended(video, damaged):
    """The video with the frame before it in place of image `damaged`, where that cannot be decoded."""
    names = [frame.name for frame in video.frames]
    place = names.index(damaged) if damaged in names else 0
    try:
        if place:
            read_image(video.frames[place])
    except errors.InputError as error:
        annotations.say_once(f"tnl2k: {error}; the frame before it takes its place")
        frames = list(video.frames)
        frames[place] = frames[place - 1]
        return dataclasses.replace(video, frames=frames)
    return video
