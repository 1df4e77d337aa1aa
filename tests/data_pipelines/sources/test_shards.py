import dataclasses
import tempfile

import numpy as np
import pytest

from configs import grm
from data_pipelines import loader
from data_pipelines.builders import sequences
from data_pipelines.sources import Source, coco, frames, lasot, shards
from tests.data_pipelines import layouts
from trackers.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets")


def _lasot(folder):
    root = layouts.lasot(folder / "lasot")
    source = lasot.open(root)
    sequences.write(source, folder / "shards", "train")
    return root, source, shards.open(folder / "shards")


def test_what_is_read_is_what_was_written(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    _, source, again = _lasot(tmp_path)
    assert not list((tmp_path / "temporary").iterdir())
    assert again.name == "lasot" and again.names == source.names and again.is_video
    for written, original in zip(again, source, strict=True):
        np.testing.assert_array_equal(written.boxes, original.boxes)
        np.testing.assert_array_equal(written.visible, original.visible)
        assert [frame.read_bytes() for frame in written.frames] == [path.read_bytes() for path in original.frames]


def test_batches_are_those_of_the_files(tmp_path):
    root, _, _ = _lasot(tmp_path)
    config = grm.get_config("tiny")
    config.data.ratio.synthetic = 0.0

    def first(name, path):
        with config.unlocked():
            config.data.ratio.update({"lasot": 0.0, "shards": 0.0, name: 1.0})
            config.data[name] = str(path)
        return next(loader.batches(config, 3, range(4)))

    files, sharded = first("lasot", root), first("shards", tmp_path / "shards")
    for name, values in files.items():
        np.testing.assert_array_equal(sharded[name], values)


def test_images_that_objects_share_are_written_once(tmp_path):
    objects = [*coco.open(layouts.coco(tmp_path / "coco"))]
    objects.append(dataclasses.replace(objects[0], name="another", boxes=objects[0].boxes + 1))
    source = Source("coco", [item.name for item in objects], objects.__getitem__, is_video=False)
    assert sequences.write(source, tmp_path / "shards", "train")[:2] == (3, 2)
    again = shards.open(tmp_path / "shards")
    assert not again.is_video and len(again) == 3
    assert [*again[2].frames] == [*again[0].frames] != [*again[1].frames]
    np.testing.assert_array_equal(again[2].boxes, objects[2].boxes)


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        shards.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="annotations.npz"):
        shards.open(tmp_path)
    folder = tmp_path / "videos" / "one"
    layouts.write_frames(folder, 3)
    layouts.write_boxes(folder / "groundtruth.txt", layouts.boxes(3))
    broken = folder / "00000002.jpg"
    broken.write_bytes(broken.read_bytes()[:-40])
    with pytest.raises(InputError, match="00000002.jpg"):
        sequences.write(frames.open(tmp_path / "videos"), tmp_path / "out", "train")
    with pytest.raises(InputError, match="annotations.npz"):
        shards.open(tmp_path / "out")
    (tmp_path / "bad" / "train").mkdir(parents=True)
    (tmp_path / "bad" / "train" / "annotations.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        shards.open(tmp_path / "bad")
    with pytest.raises(InputError, match="bad/train is not empty: name a new folder"):
        sequences.write(frames.open(tmp_path / "videos"), tmp_path / "bad", "train")
