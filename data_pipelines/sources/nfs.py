"""Need for Speed (Kiani Galoogahi et al., ICCV 2017), as published or as pytracking repacked it:

    ROOT/SEQUENCE/{30,240}/{SEQUENCE/00001.jpg, SEQUENCE.txt}
    ROOT/{sequences/SEQUENCE/00001.jpg, anno/nfs_SEQUENCE.txt}          pytracking's, at 30 frames a second

fps=240 takes the published frames at 240 a second, the default those at 30. Published boxes are VATIC's lines, "track
xmin ymin xmax ymax frame lost occluded generated label": corners, and beside 30 frames a second those of every frame of
240, of which every eighth counts. pytracking's, which papers mean by NfS30, are x,y,w,h. (LoRAT's program leaves out
what follows frame 263 of the published pingpong_2; here it counts.)
"""

import re

import numpy as np

from data_pipelines import annotations, published, trees
from data_pipelines.sources import Facts, Source
from trackers import errors
from trackers.io import numbers
from trackers.io.numbers import counted

FACTS = Facts(options={"fps": ("30", "240")}, sizes={"test": 100})
SPLITS = ("train", "test")
_LAYOUT = (
    "NfS's SEQUENCE/{30,240}/{SEQUENCE/00001.jpg,SEQUENCE.txt}, or pytracking's sequences/SEQUENCE/00001.jpg and"
    " anno/nfs_SEQUENCE.txt"
)
# Lines of an annotation file for each image at 30 frames a second, and columns of a line before the label.
_STEP, _COLUMNS = 8, 9


def open(root, split="train", fps="30"):
    """NfS at `root` -> Source. Train and test are both everything.

    Visible frames: every box with an area, neither lost nor occluded where that is published.
    """
    path = trees.root(root, "nfs", split, SPLITS, _LAYOUT)
    if (path / "anno").is_dir() and (path / "sequences").is_dir():
        if fps != "30":
            raise errors.InputError(f"nfs: {path} is pytracking's copy, which has 30 frames a second, not {fps}")
        files = trees.box_files(path / "anno")
        names = sorted((file.removeprefix("nfs_") for file in files), key=annotations.natural_key)
        load = _load_repacked
    else:
        names = [child.name for child in trees.folders(path) if (child / fps).is_dir()]
        load = _load_published
    trees.some("nfs", names, f"sequences at {fps} frames a second", path, _LAYOUT)
    return Source("nfs", names, lambda index: load(path, names[index], fps))


def _load_repacked(path, name, fps):
    frames = published.NFS.get(name)
    last = frames and frames.last
    files = [path / "anno" / f"{prefix}{name}.txt" for prefix in ("nfs_", "")]
    return annotations.video(
        name,
        path / "sequences" / name,
        next((file for file in files if file.exists()), files[0]),
        read=lambda file: annotations.read_boxes(file)[:last],
        span=last and (1, last),
    )


def _load_published(path, name, fps):
    folder = path / name / fps
    images, file = folder / name, folder / f"{name}.txt"
    boxes, hidden = read_vatic(file)
    names = annotations.frame_names(name, images)
    # Asked of what would be left, so that the last lines of a short file may be lacking.
    if fps == "30" and abs(len(boxes) - len(names)) > 1 >= abs(len(boxes[::_STEP]) - len(names)):
        boxes, hidden = boxes[::_STEP], hidden[::_STEP]
    if abs(len(boxes) - len(names)) > 1:
        raise errors.InputError(
            f"sequence {name}: {counted(len(names), 'frame')} in {images} but"
            f" {counted(len(boxes), 'box')} in {file}; expected one box for"
            f" each frame, or {_STEP} for each at 30 frames a second (unpack both again, or take the sequence out)"
        )
    # One more or less is how the set was published.
    count = min(len(boxes), len(names))
    return annotations.sequence(name, images, names[:count], boxes[:count], lambda _: hidden[:count])


def read_vatic(path):
    """(boxes (T, 4) float64 x, y, w, h, hidden (T,) bool) of a VATIC file, sorted by frame.

    Raises: InputError naming file and line.
    """
    expected = "lines track xmin ymin xmax ymax frame lost occluded generated label, separated by spaces"
    rows = []
    for number, line in enumerate(annotations.read_text(path, expected).rstrip().split("\n"), 1):
        try:
            row = [numbers.number(cell) for cell in re.split("[ \t]+", line.strip(" \t"))[:_COLUMNS]]
        except ValueError:
            row = []
        if len(row) != _COLUMNS or max(map(abs, row[1:5])) > numbers.LARGEST_PIXEL:
            raise errors.InputError(f"{path}:{number}: {line.strip()[:60]!r}: expected {expected}")
        rows.append(row)
    table = np.array(rows, np.float64)
    table = table[np.argsort(table[:, 5], kind="stable")]
    near, far = table[:, 1:3], table[:, 3:5]
    return np.concatenate([near, far - near], axis=1), (table[:, 6:8] != 0).any(axis=1)
