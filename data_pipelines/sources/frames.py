"""Plain folders of frames with a box file, your own or OTB's (Wu et al., TPAMI 2015):

    ROOT/SEQUENCE/{00000001.jpg ..., groundtruth.txt}
    ROOT/SEQUENCE/{img/0001.jpg ..., groundtruth_rect.txt}

Either box file goes with either place of the images; a ROOT that is itself a sequence is a source of one. Boxes are
one x,y,w,h a line, separated by comma, semicolon, tab or space, in pixels, kept as published: OTB's count pixels from
1. Sequences with several targets (groundtruth_rect.1.txt, .2.txt) become NAME.1, NAME.2 as in the OTB benchmark.
"""

from data_pipelines import annotations
from data_pipelines.sources import Facts, Source
from trackers import errors

FACTS = Facts()
SPLITS = ("train", "test")
_LAYOUT = "SEQUENCE/{00000001.jpg,groundtruth.txt} or SEQUENCE/{img/0001.jpg,groundtruth_rect.txt}"
# OTB sequences whose box file covers a part of the published frames (1-based, inclusive).
_OTB_SPANS = {
    "David": (300, 770),
    "Diving": (1, 215),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
}


def open(root, split="train"):
    """The sequence folders in `root` -> Source. Such folders have no splits: train and test are both everything.

    Visible frames: every box with an area; a line of NaN marks a frame without target.
    """
    if split not in SPLITS:
        raise errors.InputError(f"frames has no split {split!r}: its folders are used whole, for train and for test")
    path = annotations.folder(root, "frames", _LAYOUT)
    children = sorted((p for p in path.iterdir() if p.is_dir()), key=lambda p: annotations.natural_key(p.name))
    targets = [target for child in (path, *children) for target in _targets(child)]
    if not targets:
        raise errors.InputError(f"frames: no sequences in {path}; expected {_LAYOUT}")
    return Source("frames", [name for name, _, _ in targets], lambda index: _load(*targets[index]))


def _targets(path):
    """[(name, sequence folder, box file)] of the targets annotated in a sequence folder."""
    names = {p.name for p in path.iterdir() if p.name.startswith("groundtruth")}
    for single in ("groundtruth.txt", "groundtruth_rect.txt"):
        if single in names:
            return [(path.name, path, path / single)]
    numbered = sorted(n for n in names if n.startswith("groundtruth_rect.") and n.endswith(".txt"))
    return [(f"{path.name}.{name.split('.')[1]}", path, path / name) for name in numbered]


def _load(name, path, boxes_file):
    images = path / "img" if (path / "img").is_dir() else path
    return annotations.video(name, images, boxes_file, span=_OTB_SPANS.get(path.name))
