"""MOT17 (Milan et al., MOT16, 2016) as a source of tracks: each pedestrian is a sequence of one target.

    ROOT/train/MOT17-02-FRCNN/{img1/000001.jpg, gt/gt.txt, seqinfo.ini}

The three copies of a video (DPM, FRCNN, SDP: the detectors) have one truth: one of them is read. The test split's truth
is not published. Rows of other classes, and those with confidence 0, do not count.
"""

from data_pipelines import mot_tracks, trees
from data_pipelines.sources import Facts

FACTS = Facts()
SPLITS = ("train",)
_LAYOUT = "MOT17's train/MOT17-02-FRCNN/{img1/000001.jpg,gt/gt.txt}"


def open(root, split="train"):
    """MOT17 at `root` (the folder of train) -> Source. Visible frames: as mot_tracks.open says."""
    path = trees.root(root, "mot17", split, SPLITS, _LAYOUT)
    path = path / split if (path / split).is_dir() else path
    folders = trees.folders_with(path, ("gt/gt.txt",))
    trees.some("mot17", folders, "training videos", path, _LAYOUT)
    # The last of a video's copies in order of names.
    copies = {name.rpartition("-")[0] if name.count("-") > 1 else name: name for name in folders}
    return mot_tracks.open("mot17", {video: folders[name] for video, name in copies.items()}, _LAYOUT)
