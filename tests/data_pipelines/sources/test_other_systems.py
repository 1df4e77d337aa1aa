"""Every layout as other systems, editors and archives leave it: the same sequences as from the tree as published."""

import shutil

import numpy as np
import pytest

from data_pipelines import sources
from tests.data_pipelines import benchmark_layouts, layouts

_TEXT = (".txt", ".label", ".json", ".csv", ".ini", "")
TREES = benchmark_layouts.BENCHMARKS | {
    "nfs_repacked": benchmark_layouts.nfs_repacked,
    "mot17": benchmark_layouts.mot17,
    "dancetrack": benchmark_layouts.dancetrack,
    "got10k": lambda root: layouts.got10k(root, length=4),
    "trackingnet": lambda root: layouts.trackingnet(root, length=4),
    "frames": lambda root: layouts.frames(root, length=4),
    "coco": layouts.coco,
    "refer_kitti": layouts.refer_kitti,
    "refer_dance": layouts.refer_dance,
}
_TRAINED_ON = ("mot17", "dancetrack", "got10k", "coco", "refer_kitti", "refer_dance")


def _texts(root):
    return [file for file in root.rglob("*") if file.is_file() and file.suffix in _TEXT and file.read_bytes()]


def _windows(root):
    """A byte order mark, lines ended by CR LF, empty lines at the end."""
    for file in _texts(root):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")


def _spaces(root):
    """Spaces behind each line, no line end, or several."""
    for file in _texts(root):
        file.write_bytes(file.read_bytes().rstrip(b"\n").replace(b"\n", b" \n") + b" \n\n \n")


def _litter(root):
    """What file managers, Macs and notebooks leave, and notes of one's own."""
    hidden = (".DS_Store", "._groundtruth.txt", "._00000001.jpg", "._x.txt", "._x.json")
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        for name in (*hidden, "Thumbs.db", "notes.md", "a.zip"):
            (folder / name).write_bytes(b"\0\5junk")
        for name in ("__MACOSX", ".ipynb_checkpoints"):
            (folder / name).mkdir()


def _capitals(root):
    """Images called .JPG."""
    for image in [*root.rglob("*.jpg")]:
        image.rename(image.with_suffix(".JPG"))


def _facts(name, root):
    """What is known of each sequence or video: name, frames, and arrays."""
    layout = sources.LAYOUTS.get(name, name.removesuffix("_repacked"))
    found = []
    for one in sources.open_source(layout, root, "train" if name in _TRAINED_ON else "test"):
        frames = [frame.name.lower() for frame in one.frames]
        if hasattr(one, "tracks"):
            meant = {phrase.name: phrase.meant.tolist() for phrase in one.phrases}
            found.append((one.name, frames, meant, one.tracks.boxes, one.tracks.ids))
        else:
            found.append((one.name, frames, {}, one.boxes, one.visible))
    return found


@pytest.mark.parametrize("name", [name for name in TREES if name not in ("uav", "vots")])
def test_the_same_sequences(tmp_path, name):
    expected = _facts(name, TREES[name](tmp_path / "as_published"))
    assert expected
    for change in (_windows, _spaces, _litter, _capitals):
        if change is _capitals and name == "coco":  # its annotations name the files
            continue
        root = tmp_path / change.__name__
        shutil.copytree(tmp_path / "as_published", root)
        change(root)
        found = _facts(name, root)
        assert [facts[:3] for facts in found] == [facts[:3] for facts in expected], change
        for these, those in zip(found, expected, strict=True):
            for one, other in zip(these[3:], those[3:], strict=True):
                np.testing.assert_array_equal(one, other)
