import functools

import numpy as np
import pytest

from data_pipelines import sources
from tests import forked
from tests.data_pipelines import benchmark_layouts, layouts
from trackers.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets")
datasets = pytest.importorskip("data_pipelines.builders.datasets")
run = functools.partial(forked.run, "data_pipelines")


def _got10k(root, length=3):
    for split in ("train", "val", "test"):
        names = [f"GOT-10k_{split}_{number}" for number in ("000002", "000010", "000001")]
        layouts.got10k(root, split, names, length)
        for name in names:  # boxes that are no float32
            boxes = layouts.boxes(1 if split == "test" else length) + 0.1
            layouts.write_boxes(root / split / name / "groundtruth.txt", boxes)
    return root


def _check(record, sequence):
    """A record has all of a sequence."""
    assert record["name"].decode() == sequence.name and record["first"] == 0
    assert [bytes(frame) for frame in record["frames"]] == [path.read_bytes() for path in sequence.frames]
    np.testing.assert_array_equal(record["boxes"], sequence.boxes)
    np.testing.assert_array_equal(record["visible"], sequence.visible)
    assert record["boxes"].dtype == np.float64 and record["visible"].dtype == bool


TREES = {"got10k": _got10k, "coco": layouts.coco, "trackingnet": layouts.trackingnet, "frames": layouts.frames}
TREES["uav20l"] = benchmark_layouts.uav123
SPLITS = {"lasot": ("test",), "coco": ("train",)}


@pytest.mark.parametrize("layout", datasets.NAMES)
def test_what_is_read_back_is_what_the_files_hold(tmp_path, layout):
    tree = TREES.get(layout) or getattr(benchmark_layouts, layout)
    root, splits = tree(tmp_path / "data"), SPLITS.get(layout, ())
    first = sorted(path for path in root.rglob("*.*") if path.suffix in (".jpg", ".png"))[0]
    first.write_bytes(first.read_bytes() + b"\0\0")  # NumPy's own text would lose these
    builder, known = datasets.write(layout, root, tmp_path / "out", splits)
    assert not known and builder.name == f"sot_{layout}"
    published = {"frames": ("train",), "vot": ("test",), **SPLITS}.get(layout, sources.find(layout).FACTS.sizes)
    assert list(builder.info.splits) == list(published)
    for split in builder.info.splits:
        source, records = sources.open_source(layout, root, split), builder.as_data_source(split)
        assert len(records) == len(source)
        for record, sequence in zip(records, source, strict=True):
            _check(record, sequence)


def test_tfds_makes_and_finds_it_by_its_name(tmp_path):
    root = _got10k(tmp_path / "data")
    settings = {"split": "val", "data_dir": tmp_path / "out"}
    config = tfds.download.DownloadConfig(manual_dir=root)
    made = tfds.data_source("sot_got10k", download_and_prepare_kwargs={"download_config": config}, **settings)
    assert [record["name"] for record in made] == [f"GOT-10k_val_{n}".encode() for n in ("000002", "000010", "000001")]
    found = tfds.data_source("sot_got10k", **settings)
    _check(found[2], sources.open_source("got10k", root, "val")[2])
    with pytest.raises(AssertionError, match="absence.label"):
        tfds.load("sot_got10k", data_dir=tmp_path / "new", download=True)


def test_tf_data_reads_it_as_tfrecord(tmp_path):
    root = _got10k(tmp_path / "data")
    config = tfds.download.DownloadConfig(manual_dir=root)
    data = tfds.load(
        "sot_got10k",
        split="val",
        data_dir=tmp_path / "out",
        builder_kwargs={"file_format": "tfrecord", "config": datasets.choice(splits=("val",))},
        download_and_prepare_kwargs={"download_config": config},
    )
    for record, sequence in zip(tfds.as_numpy(data), sources.open_source("got10k", root, "val"), strict=True):
        _check(record, sequence)


def test_there_is_a_builder_of_every_source_with_its_layout():
    assert {"lasot", "got10k", "trackingnet", "coco", "frames", "vot", "vasttrack"} < set(datasets.NAMES)
    assert not {"videos", "shards", "mot17", "dancetrack", "synthetic", "refer_kitti"} & set(datasets.NAMES)
    for name in datasets.NAMES:
        builder = tfds.builder_cls(f"sot_{name}")
        assert sources.tree(name) in builder.MANUAL_DOWNLOAD_INSTRUCTIONS


def test_a_choice_lies_in_a_folder_of_its_own(tmp_path):
    root = _got10k(tmp_path / "data")
    builder, _ = datasets.write("got10k", f"{root},exclude=vot", tmp_path, ("val",), 2)
    assert builder.data_path == tmp_path / "sot_got10k" / "exclude_vot-val-first_2" / "1.0.0"
    assert list(builder.info.splits) == ["val"] and len(builder.as_data_source("val")) == 2
    again = tfds.builder_from_directory(builder.data_dir).as_data_source("val")
    _check(again[1], sources.open_source("got10k", root, "val")[1])


@pytest.mark.parametrize("between", ["nothing", "a kill while files were moved", "another folder"])
def test_splits_that_were_written_are_kept(tmp_path, monkeypatch, between):
    root, written = _got10k(tmp_path / "data"), []
    lost = root / "val" / "GOT-10k_val_000010" / "00000002.jpg"
    image = lost.read_bytes()
    original = datasets.BUILDERS["got10k"]._generate_examples

    def counted(self, source, split):
        written.append(split)
        return original(self, source, split)

    monkeypatch.setattr(datasets.BUILDERS["got10k"], "_generate_examples", counted)
    lost.unlink()
    with pytest.raises(InputError, match="GOT-10k_val_000010"):
        datasets.write("got10k", root, tmp_path / "out")
    kept = tmp_path / "out" / "sot_got10k" / "1.0.0.splits"
    assert written == ["train", "val"] and (kept / "train" / "done.json").exists()
    assert not (kept / "val" / "done.json").exists()

    lost.write_bytes(image)
    (kept / "val" / "sot_got10k-val.array_record-00000-of-00001").write_bytes(b"a kill left this")
    if between == "a kill while files were moved":
        (kept / "train" / "sot_got10k-train.array_record-00000-of-00001").unlink()
    if between == "another folder":
        root = root.rename(tmp_path / "moved")
    builder, _ = datasets.write("got10k", root, tmp_path / "out")
    assert written[2:] == (["val", "test"] if between == "nothing" else ["train", "val", "test"])
    assert not kept.exists()
    for split in builder.info.splits:
        records, source = builder.as_data_source(split), sources.open_source("got10k", root, split)
        for record, sequence in zip(records, source, strict=True):
            _check(record, sequence)
    written.clear()
    assert datasets.write("got10k", root, tmp_path / "out")[1] and not written


def test_long_sequences_are_cut_and_large_sets_sorted_in_parts(tmp_path, monkeypatch):
    from tensorflow_datasets.core import shuffle

    root, buckets, add = layouts.frames(tmp_path / "data", ("a", "b", "c"), 5), set(), shuffle._Bucket.add
    sizes = [path.stat().st_size for path in sorted((root / "a").glob("*.jpg"))]
    monkeypatch.setattr(datasets, "RECORD_BYTES", sum(sizes[:2]))
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 0)
    monkeypatch.setattr(
        shuffle._Bucket, "add", lambda self, key, data: (buckets.add(str(self._path)), add(self, key, data))
    )
    builder, _ = datasets.write("frames", root, tmp_path / "out")
    records, source = builder.as_data_source("train"), sources.open_source("frames", root)
    assert len(buckets) == 3
    assert [record["name"] for record in records] == sorted(record["name"] for record in records)
    assert records[0]["first"] == 0 and len(records[0]["frames"]) == 2 and records[1]["first"] == 2
    for sequence in source:
        parts = [record for record in records if record["name"].decode() == sequence.name]
        assert len(parts) > 1
        images = [bytes(frame) for record in parts for frame in record["frames"]]
        assert images == [path.read_bytes() for path in sequence.frames]
        np.testing.assert_array_equal(np.concatenate([record["boxes"] for record in parts]), sequence.boxes)


def test_the_command(tmp_path):
    layouts.got10k(tmp_path / "data", "val", length=2)
    arguments = ["tfds", f"--source=got10k:{tmp_path / 'data'}", f"--out={tmp_path / 'out'}"]
    (tmp_path / "temporary").mkdir()
    done = run(*arguments, "--split=val", "--max_sequences=1", TMPDIR=tmp_path / "temporary")
    assert not list((tmp_path / "temporary").iterdir())
    folder = tmp_path / "out" / "sot_got10k" / "val-first_1" / "1.0.0"
    assert done.stdout == f"sot_got10k: 1 val records in {folder}\n", done.stderr
    done = run(*arguments)
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and lines[-1].startswith("error: got10k: ") and "has no folder train" in lines[-1]
    assert "Traceback" not in done.stderr
