"""UAV123 (Mueller et al., ECCV 2016):

    ROOT/data_seq/UAV123/FOLDER/000001.jpg
    ROOT/anno/UAV123/SEQUENCE.txt                       x,y,w,h a line, NaN where the target is absent

Several sequences share a folder, each its own range of the frames (bird1_2 is bird1 from 775 to 1477); the annotation
file has the range alone. UAV20L, in the same download, is the source uav20l.
"""

from data_pipelines import annotations, published, trees
from data_pipelines.sources import Facts, Source
from trackers.io.numbers import counted

FACTS = Facts(sizes={"test": 123})
SPLITS = ("train", "test")


def open(root, split="train"):
    """UAV123 at `root` (the folder of anno and data_seq) -> Source. Train and test are both everything.

    Visible frames: every box with an area; NaN marks an absent target.
    """
    return open_part(root, split, "uav123", "UAV123", published.UAV123)


def open_part(root, split, name, part, ranges):
    """Source `name` of the sequences annotated in ROOT/anno/PART. ranges: {sequence: published.Range}."""
    layout = f"{part}'s data_seq/UAV123/FOLDER/000001.jpg and anno/{part}/SEQUENCE.txt"
    path = trees.root(root, name, split, SPLITS, layout)
    annotated = annotations.folder(path / "anno" / part, name, layout)
    names = trees.some(name, trees.box_files(annotated), "annotations SEQUENCE.txt", annotated, layout)
    images = annotations.folder(path / "data_seq" / "UAV123", name, layout)
    return Source(name, names, lambda index: _load(names[index], images, annotated, ranges.get(names[index])))


def _load(name, images, annotated, frames):
    file = annotated / f"{name}.txt"
    if frames is None:
        return annotations.video(name, images / name, file)
    count, whole = len(annotations.read_boxes(file)), frames.last - frames.first + 1
    if count != whole:
        annotations.say_once(
            f"sequence {name}: {counted(count, 'box')} in {file}, {whole} were published: unpack it again"
        )
    # The images that follow are of the folder's next sequence.
    last = min(frames.last, frames.first + count - 1)
    return annotations.video(name, images / frames.folder, file, span=(frames.first, last))
