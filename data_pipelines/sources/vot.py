"""VOT and VOTS of any year (Kristan et al.), as the toolkit's workspace or its folder sequences holds them:

    ROOT/sequences/list.txt
    ROOT/sequences/SEQUENCE/{sequence, color/00000001.jpg, groundtruth.txt}
    ROOT/sequences/SEQUENCE/groundtruth_ID.txt          one for each target (VOTS): the sequences SEQUENCE.ID

The file `sequence` names the folder of the images, channels.color=color/%08d.jpg; without it they are in color/ or, as
in the first years, in the sequence's folder itself. Regions are rectangles, polygons or masks (data_pipelines/regions):
box=around, the default, takes the upright box around them, box=area pytracking's box of the same area for polygons of
four corners. Test sets whose truth is withheld have the first region only.
"""

import dataclasses

from data_pipelines import annotations, regions, trees
from data_pipelines.sources import Facts, Source

FACTS = Facts(options={"box": regions.RULES})
SPLITS = ("train", "test")
_LAYOUT = "VOT's sequences/{list.txt,SEQUENCE/{sequence,color/00000001.jpg,groundtruth.txt or groundtruth_ID.txt}}"
_SINGLE = "groundtruth.txt"
_COLOR = "channels.color"


def open(root, split="train", box="around"):
    """The targets of a VOT workspace at `root` -> Source. Train and test are both everything.

    A target that appears later starts there. Visible frames: every region with an area.
    """
    path = trees.root(root, "vot", split, SPLITS, _LAYOUT)
    if (path / "sequences").is_dir():
        path = path / "sequences"
    folders = {child.name: child for child in trees.folders(path) if _truths(child)}
    listing = path / "list.txt"
    names = trees.listed("vot", listing, folders, _LAYOUT) if listing.exists() else list(folders)
    targets = [(folders[name], file) for name in names for file in _truths(folders[name])]
    trees.some("vot", targets, "sequences", path, _LAYOUT)
    return Source("vot", [_name(*target) for target in targets], lambda index: _load(*targets[index], box))


def _truths(folder):
    """Names of the files of regions in a sequence's folder, one for each target."""
    names = [file.name for file in folder.iterdir() if file.name.startswith("groundtruth")]
    several = [name for name in names if name.startswith("groundtruth_") and name.endswith(".txt")]
    return [_SINGLE] if _SINGLE in names else sorted(several, key=annotations.natural_key)


def _name(folder, file):
    return folder.name if file == _SINGLE else f"{folder.name}.{file[len('groundtruth_') : -len('.txt')]}"


def _load(folder, file, box):
    video = annotations.video(
        _name(folder, file),
        _images(folder),
        folder / file,
        first_box_only=True,
        read=lambda path: regions.read(path, box),
    )
    if video.truth_withheld or not video.visible.any():
        return video
    start = int(video.visible.argmax())
    values = {"boxes": video.boxes[start:], "visible": video.visible[start:]}
    return dataclasses.replace(video, frames=video.frames[start:], **values) if start else video


def _images(folder):
    file = folder / "sequence"
    if annotations.exists(file):
        lines = annotations.read_text(file, "lines key=value").split("\n")
        known = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
        channels = [known[_COLOR]] if _COLOR in known else [v for k, v in known.items() if k.startswith("channels.")]
        if channels:
            return folder / channels[0].rpartition("/")[0] if "/" in channels[0] else folder
    return folder / "color" if (folder / "color").is_dir() else folder
