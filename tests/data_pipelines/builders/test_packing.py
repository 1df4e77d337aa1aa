import dataclasses
import re

import cv2
import numpy as np
import pytest

from configs import grm
from data_pipelines import jpeg_tiles, loader, pairs
from data_pipelines.builders import packing, sequences
from data_pipelines.sources import Source, coco, frames, got10k, shards
from tests import forked
from tests.data_pipelines import layouts
from trackers.errors import InputError

pytest.importorskip("tensorflow_datasets")
WINDOWS = packing.Packing().windows
SIZE = 640, 360


def texture(seed):
    """(H, W, 3) uint8 with detail of many sizes."""
    rng = np.random.default_rng(seed)
    octaves = [cv2.resize(rng.uniform(-1, 1, (2**k, 2**k, 3)), SIZE) * 0.6**k for k in range(2, 8)]
    return np.clip(128 + 160 * sum(octaves), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two videos of targets of 20 to 150 pixels, some frames without."""
    root = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for name in "ab":
        boxes = np.zeros((20, 4))
        for t in range(20):
            sides = np.exp(rng.uniform(np.log(20), np.log(150))) * np.array([1.2, 0.8])
            boxes[t] = [*(rng.uniform(0.1, 0.9, 2) * SIZE - sides / 2), *sides]
            path = root / name / f"{t + 1:08d}.jpg"
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), texture(t), [cv2.IMWRITE_JPEG_QUALITY, 90])
        boxes[[4, 9]] = np.nan
        layouts.write_boxes(root / name / "groundtruth.txt", boxes)
    return frames.open(root)


@pytest.fixture(scope="module")
def written(videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed")
    return sequences.write(videos, out, "train", packing.Packing()), shards.open(out)


@pytest.mark.parametrize("positive", [1.0, 0.5])
def test_pairs_are_those_of_whole_frames(videos, written, positive):
    config = dataclasses.replace(WINDOWS, positive_probability=positive, crop_flip_probability=0.3)
    likeness = []
    for row in range(16):
        whole, part = (pairs.pair([source], [1], config, 5, 2, row) for source in (videos, written[1]))
        assert whole.keys() == part.keys()
        for name in ("search_box", "template_box", "label"):
            np.testing.assert_array_equal(part.get(name), whole.get(name))
        for name, side in (("search", 256), ("template", 128)):
            assert part[name].shape[-2] == side and part[name].dtype == np.uint8
            error = part[name].astype(float) - whole[name]
            likeness.append(10 * np.log10(255**2 / np.mean(error**2)))
    assert np.mean(likeness) > 36 and np.min(likeness) > 25


def test_pictures_are_in_tiles_and_those_of_before_are_still_read(videos, written, tmp_path, monkeypatch):
    frame = written[1][0].frames[0]
    assert jpeg_tiles.part(frame.read_bytes(), 0, 0, 40, 40) is not None

    def untiled(pixels, quality):
        return cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()

    monkeypatch.setattr(packing, "_encoded", untiled)
    sequences.write(videos, tmp_path, "train", packing.Packing())
    before = shards.open(tmp_path)
    assert jpeg_tiles.part(before[0].frames[0].read_bytes(), 0, 0, 40, 40) is None
    for row in range(6):
        old, new = (pairs.pair([source], [1], WINDOWS, 5, 2, row) for source in (before, written[1]))
        for name, values in old.items():
            np.testing.assert_array_equal(new[name], values)


def test_what_was_written(videos, written):
    done, source = written
    assert done[:2] == (2, 40) and source.names == list(videos.names)
    assert 0 < done.beyond < 0.06 and done.area_beyond < done.beyond
    raw = np.mean([len(path.read_bytes()) for sequence in videos for path in sequence.frames])
    assert done.bytes / done.records < raw
    hidden = source[0].frames[4].place
    x, y, w, h = hidden.region
    assert abs(x + w / 2 - SIZE[0] / 2) <= 8 and abs(y + h / 2 - SIZE[1] / 2) <= 8
    assert [frame.index for frame in source[1].frames[3:5]] == [23, 24]


def test_a_narrow_context_is_told(videos, tmp_path, capfd):
    done = sequences.write(videos, tmp_path, "train", packing.Packing(context=2.0), max_sequences=1)
    assert done[:2] == (1, 20) and done.beyond > 0.9 and 0.2 < done.area_beyond < done.beyond
    config = grm.get_config("tiny")
    config.data.ratio.update({"shards": 1.0, "synthetic": 0.0})
    config.data.shards = str(tmp_path)
    next(loader.batches(config, 0, range(1)))
    assert "frames: packed 2 sqrt(area) around each target, but 1 % of" in capfd.readouterr().err


def test_each_object_of_an_image_has_a_record(tmp_path):
    objects = [*coco.open(layouts.coco(tmp_path / "coco"))]
    objects.append(dataclasses.replace(objects[0], name="another", boxes=objects[0].boxes + 20))
    source = Source("coco", [item.name for item in objects], objects.__getitem__, is_video=False)
    assert sequences.write(source, tmp_path / "out", "train", packing.Packing(context=3))[:2] == (3, 3)
    again = shards.open(tmp_path / "out")
    first, _, last = (item.frames[0].place.region for item in again)
    assert first != last and len({item.frames[0].index for item in again}) == 3
    for item, original in zip(again, objects, strict=True):
        np.testing.assert_array_equal(item.boxes, original.boxes)


def test_sets_without_boxes_are_refused(tmp_path):
    source = got10k.open(layouts.got10k(tmp_path / "got", "test", names=("GOT-10k_Test_000001",)), "test")
    with pytest.raises(InputError, match="GOT-10k_Test_000001 has a box in its first frame only"):
        sequences.write(source, tmp_path / "out", "test", packing.Packing())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"regions": np.zeros((20, 4), np.float32)},
        {"regions": np.zeros((19, 4), np.int32)},
        {"regions": np.full((20, 4), 2**62)},
        {"sizes": np.ones((20, 2), np.int32)},
        {"largest": np.array([1, 2])},
        {"context": np.array("wide")},
        {"context": np.array(np.nan)},
        {"largest": np.array(0)},
        {"sizes": None},
    ],
)
def test_damaged_places_are_one_line(videos, tmp_path, wrong):
    sequences.write(videos, tmp_path, "train", packing.Packing(context=3), max_sequences=1)
    file = tmp_path / "train" / sequences.ANNOTATIONS
    with np.load(file) as opened:
        arrays = {**opened} | wrong
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(InputError, match=r"annotations.npz is damaged \(.*\): write the data set again"):
        shards.open(tmp_path)


def test_command(videos, tmp_path):
    root = videos[0].frames[0].parent.parent
    call = ["shards", f"--source=frames:{root}", f"--out={tmp_path}", "--max_sequences=1"]
    done = forked.run("data_pipelines", *call, "--packed", "--context=9", "--quality=90")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^1 sequence, 20 images of \d+ bytes each in ", done.stdout)
    assert "packed: 9 sqrt(area) around the target; " in done.stdout and "its edge is repeated" in done.stdout
    done = forked.run("data_pipelines", *call, "--split=val", "--context=9")
    assert done.returncode == 2 and "--context is of --packed shards" in done.stderr
