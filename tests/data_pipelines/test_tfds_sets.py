import subprocess
import sys

import numpy as np
import pytest

from data_pipelines import loader, sources, tfds_sets
from data_pipelines.builders import datasets
from tests import programs
from tests.data_pipelines import benchmark_layouts, layouts, test_loader
from trackers.errors import InputError, UsageError


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder of the published tree, folder of the data set): GOT-10k, 3 + 1 sequences, two records each to train."""
    folder = tmp_path_factory.mktemp("tfds")
    root = layouts.got10k(folder / "got10k", names=[f"GOT-10k_Train_{n:06d}" for n in (3, 1, 2)])
    layouts.got10k(root, "val", ("GOT-10k_Val_000001",))
    patch = pytest.MonkeyPatch()
    sizes = [file.stat().st_size for file in sorted((root / "train" / "GOT-10k_Train_000001").glob("*.jpg"))]
    patch.setattr(datasets, "RECORD_BYTES", sum(sizes[:18]))
    builder, _ = datasets.write("got10k", root, folder / "out", ("train", "val"))
    patch.undo()
    assert builder.info.splits["train"].num_examples == 6
    return root, builder.data_path.parent


def _same(stored, plain):
    assert len(stored) == len(plain) and stored.name == plain.name and stored.is_video == plain.is_video
    for one, other in zip(stored, plain, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.visible, other.visible)
        assert [frame.read_bytes() for frame in one.frames] == [path.read_bytes() for path in other.frames]


def test_the_data_set_stands_in_for_its_folder(written):
    root, place = written
    for split in ("train", "val"):
        _same(sources.open_source("got10k", place, split), sources.open_source("got10k", root, split))
    frames = sources.open_source("got10k", place / tfds_sets.VERSION)[1].frames
    assert [frame.image for frame in frames[16:19]] == [16, 17, 0] and frames[-1].index == 3
    assert str(frames[0]).endswith("train record 2 image 0") and len({*frames}) == layouts.LENGTH


@pytest.mark.parametrize("layout", ["coco", "trackingnet", "frames", "vot", "avist"])
def test_sets_of_other_kinds(tmp_path, layout):
    tree = getattr(layouts, layout, None) or getattr(benchmark_layouts, layout)
    root, kept = tree(tmp_path / "data"), ("train",) if layout == "coco" else ()
    datasets.write(layout, root, tmp_path / "out", kept)
    out = tmp_path / "out" / "sot_coco" / "train" if kept else tmp_path / "out"
    _same(sources.open_source(layout, out), sources.open_source(layout, root))
    if layout in sources.LAYOUTS:  # where train and test are one it was written once
        _, sequences = sources.open_sequences(f"{layout}:{out}")
        assert [s.name for s in sequences] == sources.open_source(layout, root, "test").names


def test_parts_are_found_by_their_options_and_named_otherwise(tmp_path):
    root = layouts.got10k(tmp_path / "data", names=[f"GOT-10k_Train_{n:06d}" for n in (3, 4, 5)], length=2)
    out = tmp_path / "out"
    datasets.write("got10k", f"{root},exclude=vot", out, ("train",), 1)
    first = out / "sot_got10k" / "exclude_vot-train-first_1"
    with pytest.raises(InputError, match=rf"no data set in .*/1\.0\.0: name the part that is meant: {first}$"):
        sources.open_source("got10k", out)
    assert sources.open_source("got10k", first).names == ["GOT-10k_Train_000003"]
    with pytest.raises(UsageError, match="was written as it is: exclude=vot is for the folder that it was made of"):
        sources.open_source("got10k", f"{first},exclude=vot")
    (out / "sot_got10k" / "exclude_vot").mkdir()
    (first / tfds_sets.VERSION).rename(out / "sot_got10k" / "exclude_vot" / tfds_sets.VERSION)
    assert len(sources.open_source("got10k", f"{out},exclude=vot")) == 1
    assert datasets.choice(record_mib=16, splits=("val",)).name == "val-mib_16"


def test_what_is_wrong_is_one_line(written, tmp_path):
    root, place = written
    with pytest.raises(InputError, match="lasot: .* holds sot_got10k, not sot_lasot$"):
        sources.open_source("lasot", place)
    with pytest.raises(InputError, match="got10k: .* has no split test; it has train, val: write that, too$"):
        sources.open_source("got10k", place, "test")
    alone = tmp_path / "1.0.0"
    alone.mkdir()
    for file in (place / tfds_sets.VERSION).iterdir():
        (alone / file.name).write_bytes(file.read_bytes())
    (alone / "annotations-val.npz").unlink()
    with pytest.raises(InputError, match=r"got10k: no .*annotations-val\.npz: write the data set again$"):
        sources.open_source("got10k", tmp_path, "val")
    (alone / "annotations-train.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"annotations-train\.npz is damaged .*: write the data set again$"):
        sources.open_source("got10k", tmp_path)
    (alone / "annotations-train.npz").write_bytes((place / "1.0.0" / "annotations-train.npz").read_bytes())
    (records,) = alone.glob("*train.array_record*")
    records.write_bytes(records.read_bytes()[:1000])
    with pytest.raises(InputError, match="is damaged .*: write the data set again$") as caught:
        sources.open_source("got10k", tmp_path)[0].frames[0].read_bytes()
    assert "\n" not in str(caught.value)
    (alone / tfds_sets.INFO).write_text("{")
    with pytest.raises(InputError, match=r"dataset_info\.json:1: not JSON"):
        sources.open_source("got10k", tmp_path)


def test_both_kinds_of_files_beside_each_other(tmp_path):
    """TFRecord alone is for tfds.load; with both it, tfds.data_source and training read the same, TFDS by itself."""
    root, out = layouts.frames(tmp_path / "data", length=3), tmp_path / "out"
    assert not datasets.write("frames", root, out)[1] and not datasets.write("frames", root, out, file_format="both")[1]
    for file_format in datasets.FORMATS:
        assert datasets.write("frames", root, out, file_format=file_format)[1]
    datasets.write("frames", root, tmp_path / "tf", file_format="tfrecord")
    with pytest.raises(InputError, match="is there as tfrecord: remove it, or name another --out"):
        datasets.write("frames", root, tmp_path / "tf")
    with pytest.raises(InputError, match="is written as tfrecord, which is read in order only: write it with"):
        sources.open_source("frames", tmp_path / "tf")
    _same(sources.open_source("frames", out), sources.open_source("frames", root))
    program = """
import sys, tensorflow_datasets as tfds
for folder in sys.argv[1:]:
    for record in tfds.as_numpy(tfds.load("sot_frames", split="train", data_dir=folder)):
        print(record["name"].decode(), hash(b"".join(list(record["frames"]))), record["boxes"].sum())
for record in tfds.data_source("sot_frames", split="train", data_dir=sys.argv[1]):
    print(record["name"].decode(), hash(b"".join(list(record["frames"]))), record["boxes"].sum())
"""
    command = [sys.executable, "-c", program, str(out), str(tmp_path / "tf")]
    environ = programs.environ(PYTHONHASHSEED=0, PYTHONPATH=None)
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 6, done.stderr[-2000:]
    assert lines[:2] == lines[2:4] == lines[4:] and lines[0].split()[0] == "first"


def test_training_takes_it_by_the_name_of_its_folder(written):
    root, place = written
    config = test_loader.make_config(got10k=1)
    batches = {}
    for folder in (root, place):
        config.data.got10k = str(folder)
        batches[folder] = [next(loader.batches(config, 3, range(6), split=split)) for split in ("train", "validation")]
    for these, those in zip(batches[root], batches[place], strict=True):
        for name, values in these.items():
            np.testing.assert_array_equal(values, those[name])
