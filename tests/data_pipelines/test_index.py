"""What is kept of a large data set from run to run."""

import json

import numpy as np
import pytest

from data_pipelines import annotations, index, sources
from tests.data_pipelines import benchmark_layouts, layouts

COUNT, LENGTH = 12, 3


@pytest.fixture
def root(tmp_path, monkeypatch):
    """GOT-10k's training split; images are empty files, as nothing is decoded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "LEAST", COUNT)
    return _write(tmp_path / "got10k", COUNT, LENGTH)


def _write(root, count, length):
    names = [f"GOT-10k_Train_{number:06d}" for number in range(1, count + 1)]
    for number, name in enumerate(names):
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for t in range(1, length + 1):
            (folder / f"{t:08d}.jpg").touch()
        layouts.write_boxes(folder / "groundtruth.txt", layouts.boxes(length) + number)
        layouts.write_flags(folder / "absence.label", [t == 1 for t in range(length)])
    (root / "train" / "list.txt").write_text("\n".join(names) + "\n")
    return root


def _contents(source):
    return [(s.name, list(map(str, s.frames)), s.boxes.tolist(), s.visible.tolist()) for s in source]


def _open(root):
    return sources.open_source("got10k", root, indexed=True)


def _forbid(monkeypatch, allowed=()):
    """Lets only the folders of some sequences be looked into from now on."""
    image_names = annotations.image_names

    def checked(path):
        assert path.name in allowed, f"{path} is read anew"
        return image_names(path)

    monkeypatch.setattr(annotations, "image_names", checked)


def test_the_second_run_reads_nothing_anew(root, monkeypatch):
    expected = _contents(sources.open_source("got10k", root))
    assert _contents(_open(root)) == expected
    _forbid(monkeypatch)
    monkeypatch.setattr(annotations, "read_boxes", None)
    monkeypatch.setattr(annotations, "read_flags", None)
    again = sources.open_source("got10k", root, indexed=True)
    assert _contents(again) == expected
    assert again[3].boxes.dtype == np.float64 and again[3].visible.dtype == bool


def test_what_changed_is_read_anew(root, monkeypatch):
    _open(root)
    train = root / "train"
    changed, grown, flagged = (f"GOT-10k_Train_{number:06d}" for number in (2, 5, 7))
    layouts.write_boxes(train / changed / "groundtruth.txt", layouts.boxes(LENGTH) + 50.5)
    (train / grown / "00000004.jpg").touch()
    layouts.write_boxes(train / grown / "groundtruth.txt", layouts.boxes(LENGTH + 1))
    layouts.write_flags(train / grown / "absence.label", [0] * (LENGTH + 1))
    layouts.write_flags(train / flagged / "cover.label", [0, 8, 8])  # was not there
    expected = _contents(sources.open_source("got10k", root))
    _forbid(monkeypatch, {changed, grown, flagged})
    assert _contents(_open(root)) == expected
    assert [s.visible.tolist() for s in _open(root)][6] == [False, False, True]


def test_another_split_list_option_or_a_damaged_index_is_another_index(root, tmp_path):
    folder = tmp_path / "cache" / "trackers" / "index"
    whole = _contents(_open(root))
    (first,) = folder.glob("*.json")
    assert first.name.startswith("got10k-")
    _open(f"{root},exclude=vot")  # fewer than are kept
    assert len(list(folder.glob("*.json"))) == 1
    names = (root / "train" / "list.txt").read_text().split()
    (root / "train" / "list.txt").write_text("\n".join(names[::-1]))
    assert _contents(_open(root)) == whole[::-1]
    assert len(list(folder.glob("*.json"))) == 2
    for damage in ("", "{", json.dumps({"names": names[::-1], "sequences": [], "frames": 0})):
        for file in folder.glob("*.json"):
            file.write_text(damage)
        assert _contents(_open(root)) == whole[::-1]


def test_damage_and_warnings_come_back_in_every_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "LEAST", 2)
    root = benchmark_layouts.lasot(tmp_path / "lasot")
    for _ in range(2):
        monkeypatch.setattr(annotations, "_told", set())
        found = sources.open_source("lasot", root, "test", indexed=True)
        assert len(found[0]) == benchmark_layouts.T
        assert "2 of 6 images" in capsys.readouterr().err
    (root / "tiger" / "tiger-6" / "groundtruth.txt").write_text("1,2,3\n")
    for _ in range(2):
        with pytest.raises(sources.errors.InputError, match=r"tiger-6/groundtruth\.txt:1"):
            sources.open_source("lasot", root, "test", indexed=True)[1]


def test_where_no_index_can_be_kept_the_data_are_read_all_the_same(root, monkeypatch, capsys):
    blocked = root.parent / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert len(_contents(_open(root))) == COUNT
    assert "no index is kept in" in capsys.readouterr().err
