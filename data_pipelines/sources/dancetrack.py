"""DanceTrack (Sun et al., CVPR 2022) as a source of tracks: each dancer is a sequence of one target.

    ROOT/{train,val}/dancetrack0001/{img1/00000001.jpg, gt/gt.txt, seqinfo.ini}

40 videos train, 25 validate; the test split's truth is not published. With phrases: refer_dance.
"""

from data_pipelines import mot_tracks, trees
from data_pipelines.sources import Facts

FACTS = Facts(validation="val")
SPLITS = ("train", "val")
_LAYOUT = "DanceTrack's {train,val}/dancetrack0001/{img1/00000001.jpg,gt/gt.txt}"


def open(root, split="train"):
    """DanceTrack at `root` (the folder of train and val) -> Source. Visible frames: as mot_tracks.open says."""
    path = trees.root(root, "dancetrack", split, SPLITS, _LAYOUT)
    folders = trees.folders_with(path / split, ("gt/gt.txt",)) if (path / split).is_dir() else {}
    trees.some("dancetrack", folders, f"{split} videos", path, _LAYOUT)
    return mot_tracks.open("dancetrack", folders, _LAYOUT)
