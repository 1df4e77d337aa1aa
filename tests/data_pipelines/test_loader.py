import collections
import hashlib
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from configs import grm, ikun, neural_kalman
from data_pipelines import loader, pairs, sources
from data_pipelines.procedural import video
from tests.data_pipelines import layouts
from trackers.errors import InputError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    layouts.frames(root / "frames", ("a", "b", "c"))
    layouts.got10k(root / "got10k")
    layouts.got10k(root / "got10k", "val", ("GOT-10k_Val_000001",))
    layouts.lasot(root / "lasot")
    layouts.trackingnet(root / "trackingnet")
    layouts.coco(root / "coco")
    layouts.coco(root / "coco", "val2017", "val2017")
    return root


def make_config(root=None, **ratio):
    config = grm.get_config("tiny")
    with config.unlocked():
        for name in config.data.ratio:
            config.data.ratio[name] = float(ratio.get(name, 0))
        for name in sources.on_disk("pairs") if root else ():
            config.data[name] = str(root / name)
    return config


def take(iterator, count):
    return list(itertools.islice(iterator, count))


def digest(batch):
    parts = (name.encode() + np.ascontiguousarray(value).tobytes() for name, value in sorted(batch.items()))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def fake_synthetic(config, start_step, rows, seed, split):
    size = config.model.template_size, config.model.search_size
    for step in itertools.count(start_step):
        mark = np.array([(seed, step, row) for row in rows], np.uint8)
        yield {
            "template": np.broadcast_to(mark[:, None, None, None], (len(rows), 1, size[0], size[0], 3)),
            "template_box": np.full((len(rows), 1, 4), 0.25, np.float32),
            "search": np.broadcast_to(mark[:, None, None], (len(rows), size[1], size[1], 3)),
            "search_box": np.full((len(rows), 4), 0.5, np.float32),
        }


@pytest.mark.parametrize("config", [grm.get_config("tiny"), ikun.get_config("tiny"), neural_kalman.get_config("tiny")])
@pytest.mark.slow
def test_shapes_are_those_of_a_row_of_the_batches(config):
    batch = next(loader.batches(config, 0, range(2)))
    rows = {name: (value.shape[1:], value.dtype) for name, value in batch.items()}
    assert rows == {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in loader.shapes(config).items()}


def test_batches_are_the_pairs_of_their_rows(root):
    config = make_config(root, frames=1)
    (batch,) = take(loader.batches(config, 5, range(3, 7)), 1)
    assert {name: (value.shape, value.dtype.name) for name, value in batch.items()} == {
        "template": ((4, 1, 32, 32, 3), "uint8"),
        "template_box": ((4, 1, 4), "float32"),
        "search": ((4, 64, 64, 3), "uint8"),
        "search_box": ((4, 4), "float32"),
    }
    opened = [sources.open_from(config, "frames")]
    for place, row in enumerate(range(3, 7)):
        expected = pairs.pair(opened, [1], pairs.PairConfig.from_config(config), config.seed, 5, row)
        for name, value in expected.items():
            np.testing.assert_array_equal(batch[name][place], value)


def test_start_at_a_step_equals_the_uninterrupted_run(root):
    config = make_config(root, frames=1, got10k=1, lasot=2, trackingnet=1, coco=1)
    whole = [digest(b) for b in take(loader.batches(config, 0, range(4)), 6)]
    assert len(set(whole)) == 6
    assert [digest(b) for b in take(loader.batches(config, 3, range(4)), 3)] == whole[3:]
    assert [digest(b) for b in take(loader.batches(config, 0, range(4), seed=1), 1)] != whole[:1]


def test_rows_of_processes_make_up_the_global_batch(root, monkeypatch):
    config = make_config(root, frames=1, coco=1)
    counts, pair = collections.Counter(), pairs.pair

    def counted(opened, ratio, pair_config, seed, step, row, split, attempt):
        counts[step, row] += 1
        return pair(opened, ratio, pair_config, seed, step, row, split, attempt)

    monkeypatch.setattr(pairs, "pair", counted)
    whole = take(loader.batches(config, 0, range(8)), 2)
    counts.clear()
    parts = [take(loader.batches(config, 0, rows), 2) for rows in (range(0, 3), range(3, 6))]
    assert {row for _, row in counts} == set(range(6))  # a process reads its rows only ...
    assert all(count == 1 for count in counts.values())  # ... and each once
    parts.append(take(loader.batches(config, 0, range(6, 8)), 2))
    for step in range(2):
        for name in whole[step]:
            joined = np.concatenate([part[step][name] for part in parts])
            np.testing.assert_array_equal(joined, whole[step][name])


def test_threads_do_not_change_the_batches(root, monkeypatch):
    one, many = make_config(root, frames=1), make_config(root, frames=1)
    one.data.threads, many.data.threads = 1, 6
    pair = pairs.pair

    def uneven(opened, ratio, pair_config, seed, step, row, split, attempt):
        time.sleep(0.05 * (row == 0))  # its neighbors are ready before it
        return pair(opened, ratio, pair_config, seed, step, row, split, attempt)

    monkeypatch.setattr(pairs, "pair", uneven)
    digests = [[digest(b) for b in take(loader.batches(c, 0, range(5)), 3)] for c in (one, many)]
    assert digests[0] == digests[1]


def test_no_temporary_files_are_made(root, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stream = loader.batches(make_config(root, frames=1), 0, range(2))
    next(stream)
    assert not list(tmp_path.iterdir())
    stream.close()


def test_synthetic_alone_is_handed_through(monkeypatch):
    calls = []
    monkeypatch.setattr(video, "batches", lambda *args: calls.append(args) or iter(()))
    config = make_config(synthetic=1)
    assert take(loader.batches(config, 2, range(4), seed=9, split="validation"), 1) == []
    assert calls == [(config, 2, range(4), 9, "validation")]


def test_mixed_rows_are_chosen_by_share_and_files_stay_the_same(root, monkeypatch):
    monkeypatch.setattr(video, "batches", fake_synthetic)
    (plain,) = take(loader.batches(make_config(root, frames=1), 2, range(64)), 1)
    (mixed,) = take(loader.batches(make_config(root, frames=3, synthetic=1), 2, range(64)), 1)
    synthetic = mixed["search_box"][:, 0] == 0.5
    assert 6 <= synthetic.sum() <= 28
    for name in plain:
        np.testing.assert_array_equal(mixed[name][~synthetic], plain[name][~synthetic])
    np.testing.assert_array_equal(mixed["search"][synthetic, 0, 0, 2], np.flatnonzero(synthetic))
    (part,) = take(loader.batches(make_config(root, frames=3, synthetic=1), 2, range(10, 20)), 1)
    for name in mixed:
        np.testing.assert_array_equal(part[name], mixed[name][10:20])


def test_validation_takes_the_published_validation_splits(root, capsys):
    config = make_config(root, got10k=1, coco=1, frames=1)
    opened = [sources.open_from(config, name, "validation") for name in ("got10k", "coco", "frames")]
    assert opened[0].names == ["GOT-10k_Val_000001"] and len(opened) == 3
    assert capsys.readouterr().err == "frames: no validation split, so its validation pairs come from training videos\n"
    train, validation = (take(loader.batches(config, 0, range(2), split=s), 1)[0] for s in ("train", "validation"))
    assert digest(train) != digest(validation)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratio": {"lasot": 1}}, "ratio.lasot is 1.0 but its folder is not set: give --config.data.lasot=FOLDER"),
        ({"ratio": {}}, "give at least one source a share above 0"),
        ({"ratio": {"frames": -1, "coco": 2}}, "none one below"),
        ({"split": "test"}, "no split 'test': train or validation"),
        ({"seed": -1}, "seed -1: must be 0 or larger"),
    ],
)
def test_wrong_settings(change, message):
    config = make_config(**change.get("ratio", {"synthetic": 1}))
    with pytest.raises(InputError, match=message):
        loader.batches(config, 0, range(2), change.get("seed"), change.get("split", "train"))


def test_an_unknown_data_kind_is_one_line():
    config = make_config(synthetic=1)
    config.data.name = "pears"
    for ask in (loader.shapes, lambda c: loader.batches(c, 0, range(2))):
        with pytest.raises(InputError, match="^config.data.name 'pears': use pairs, clips, trajectories$"):
            ask(config)


def test_a_source_of_another_kind_is_named(root):
    config = make_config(root, frames=1)
    with config.unlocked():
        config.data.ratio.refer_kitti = 1.0
    with pytest.raises(InputError, match="config.data.ratio.refer_kitti: no source of pairs; lasot, .*, synthetic mix"):
        loader.batches(config, 0, range(2))


def test_unknown_source(root):
    config = make_config(root, frames=1)
    with config.unlocked():
        config.data.ratio.vid = 1.0
    with pytest.raises(InputError, match="config.data.ratio.vid: no such source"):
        loader.batches(config, 0, range(2))


def test_broken_file_while_iterating_is_the_plain_error(tmp_path):
    layouts.frames(tmp_path / "frames", ("v",))
    for path in (tmp_path / "frames" / "v").glob("*.jpg"):
        path.write_bytes(path.read_bytes()[:-100])
    iterator = loader.batches(make_config(tmp_path, frames=1), 0, range(2))
    with pytest.raises(InputError, match=r"v/000000\d\d\.jpg") as caught:
        next(iterator)
    assert "\n" not in str(caught.value)


def test_without_tensorflow_files_say_what_is_missing(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(InputError, match="pip install tensorflow-cpu"):
        loader.batches(make_config(root, frames=1), 0, range(2))


def test_synthetic_alone_needs_neither_tensorflow_nor_opencv():
    program = """
import sys
sys.modules["tensorflow"] = sys.modules["cv2"] = None
from configs import grm, ikun, neural_kalman
from data_pipelines import loader
batch = next(loader.batches(grm.get_config("tiny"), 0, range(2)))
assert batch["search"].shape == (2, 64, 64, 3), batch["search"].shape
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
