import itertools
import json

import cv2
import numpy as np
import pytest

import trackers
import train
from configs import grm
from data_pipelines import bad_samples, loader, pairs, sources
from data_pipelines.builders import sequences as builders
from data_pipelines.procedural import video
from data_pipelines.sources import footage, photos
from tests.data_pipelines.unlabelled import pictures
from tests.training import support
from trackers import weights
from trackers.errors import InputError, UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "trackers" / "footage"


@pytest.fixture
def root(tmp_path):
    pictures.write_frames(tmp_path / "own" / "walk" / "img", 45)
    pictures.write_video(tmp_path / "own" / "night" / "a.avi", 65)
    return tmp_path / "own"


def make_config(**data):
    config = grm.get_config("tiny")
    config.data.threads = data.pop("threads", 2)
    for name in config.data.ratio:
        config.data.ratio[name] = float(name in data)
    for name, folder in data.items():
        if folder is not None:
            config.data[name] = str(folder)
    return config


def taken(config, steps=1, rows=range(6), **more):
    return list(itertools.islice(loader.batches(config, 0, rows, **more), steps))


def assert_equal(one, other):
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_runs_of_files_and_folders_and_the_tail_held_out(root, capsys):
    source, held_out = footage.open(root), footage.open(root, "validation")
    assert [name.removeprefix(f"{root}/") for name in source.names] == [
        "night/a.avi 0", "night/a.avi 21", "night/a.avi 43", "walk/img 0",
    ]  # fmt: skip
    assert [name.removeprefix(f"{root}/") for name in held_out.names] == ["walk/img 22"]
    assert source.is_video and not source.labelled and all(len(sequence) == 20 for sequence in source)
    assert source[3].frames[5].name == "0005.png"
    frame = cv2.imread(str(source[1].frames[7]))
    assert abs(frame[:60].mean() - 2 * (21 + 7)) < 2
    assert capsys.readouterr().err == ""


def test_frames_of_a_long_video_are_spread_over_it(root):
    assert footage.open(root, frames="20").names == [f"{root / 'night' / 'a.avi'} 0"]
    source = sources.open_source("footage", f"{root},frames=40")
    assert [name.rpartition(" ")[2] for name in source.names] == ["0", "32", "0"]
    with pytest.raises(UsageError, match="frames=9: a run takes 20"):
        footage.open(root, frames="9")
    with pytest.raises(UsageError, match="footage: frames=many is no option of it; it has frames=N"):
        sources.open_source("footage", f"{root},frames=many")


def test_a_video_is_decoded_once_and_anew_when_it_changes(root, cache):
    first = footage.open(root)[0].frames[0]
    (folder,) = cache.iterdir()
    written = first.stat().st_mtime_ns
    assert footage.open(root)[0].frames[0].stat().st_mtime_ns == written and first.parent == folder
    pictures.write_video(root / "night" / "a.avi", 40)
    assert len(footage.open(root)) == 3 and len(list(cache.iterdir())) == 2


def test_large_frames_are_kept_small(tmp_path):
    pictures.write_video(tmp_path / "own" / "a.avi", 40, shape=(600, 1200))
    assert cv2.imread(str(footage.open(tmp_path / "own")[0].frames[0])).shape == (480, 960, 3)


def test_a_header_that_promises_more_frames_leaves_whole_runs(root, monkeypatch):
    monkeypatch.setattr(footage.video_files.Video, "__len__", lambda video: 90)
    # Runs at 0, 22, 45 and 67, of which the last would end at 87.
    names = [*footage.open(root).names, *footage.open(root, "validation").names]
    assert [name.rpartition(" ")[2] for name in names if "a.avi" in name] == ["0", "22", "45"]


def test_what_cannot_be_used_is_named_and_left_out(root, capsys):
    (root / "broken.mp4").write_bytes(b"no video")
    pictures.write_video(root / "short.avi", 12)
    pictures.write_video(root / "small.avi", 40, shape=(16, 16))
    pictures.write_frames(root / "few", 3)
    assert len(footage.open(root)) == 4
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4 and all(line.startswith("footage: ") and line.endswith("it is left out") for line in said)
    for text in ("broken.mp4 cannot be decoded", "short.avi has 12 frames of 20", "small.avi of 16x16 pixels is too"):
        assert any(text in line for line in said), text
    assert any("few has 3 frames of 20 that a run takes (as photographs" in line for line in said)


@pytest.mark.parametrize("name", ["footage", "photos"])
def test_empty_and_missing_folders_are_named(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=f"{name}: 0 .* in .*empty, at least 2 are needed to hold one out"):
        sources.open_source(name, tmp_path / "empty")
    with pytest.raises(InputError, match=f"{name}: .*nowhere is not a folder; expected"):
        sources.open_source(name, tmp_path / "nowhere")
    with pytest.raises(InputError, match=f"{name} has no split 'test'"):
        sources.open_source(name, tmp_path / "empty", "test")
    with pytest.raises(InputError, match=f"give --config.data.{name}=FOLDER"):
        taken(make_config(**{name: None}))


def test_a_cache_that_cannot_be_written_is_named(root, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(footage.open(root)) == 1
    assert "a.avi: its frames cannot be kept in" in (said := capsys.readouterr().err) and "XDG_CACHE_HOME" in said


def test_no_shards_of_what_has_no_boxes(root, tmp_path):
    with pytest.raises(InputError, match="footage has no boxes to write"):
        builders.write(footage.open(root), tmp_path / "out", "train")


def test_blank_and_small_pictures_are_named(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((64, 64, 3), np.uint8))
    config = pairs.PairConfig.from_config(make_config(photos=tmp_path))
    with pytest.raises(InputError, match="photos: 100 pairs in a row had no region with texture, the last in [01].png"):
        pairs.pair([photos.open(tmp_path)], [1], config, 0, 0, 0)
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((16, 64, 3), np.uint8))
    with pytest.raises(bad_samples.BadSample, match=r"[01]\.png of 64x16 pixels is too small"):
        pairs.pair([photos.open(tmp_path)], [1], config, 0, 0, 0)


def test_the_search_box_is_around_the_square(tmp_path):
    # One candidate a pair lies anywhere; those that happen to be the square are checked where it is seen.
    pictures.write_frames(tmp_path / "v", 45)
    config = make_config(footage=tmp_path)
    config.data.unlabelled.update({"change": 0.0, "occlusion_probability": 0.0, "candidates": 300, "aspect": 0.05})
    config.data.unlabelled.update({"smallest": 0.25, "largest": 0.32, "gap": 3})
    config.data.update({"grey_probability": 0.0, "search_center_jitter": 1.0, "search_scale_jitter": 0.0})
    config = pairs.PairConfig.from_config(config)
    source, checked = footage.open(tmp_path), 0
    for row in range(30):
        made = pairs.pair([source], [1], config, 0, 0, row)
        overlaps = []
        for image, box in ((made["template"][0], made["template_box"][0]), (made["search"], made["search_box"])):
            bright = image.mean(axis=2) > 110 * (1 - 0.1)
            rows, columns = (np.flatnonzero(bright.mean(axis=axis) > 0.12) for axis in (1, 0))
            seen = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / len(image)
            near = np.concatenate([box[:2], box[:2] + box[2:]])
            low, high = np.maximum(seen[:2], near[:2]), np.minimum(seen[2:], near[2:])
            inside = np.prod(np.maximum(high - low, 0))
            overlaps.append(inside / (np.prod(seen[2:] - seen[:2]) + np.prod(box[2:]) - inside))
        # As well as the region fits the square in the template, it does in the search frame.
        if overlaps[0] > 0.7:
            checked += 1
            assert overlaps[1] > overlaps[0] - 0.15
    assert checked > 10


def test_pure_in_seed_split_step_and_row_on_any_number_of_processes_and_threads(root, tmp_path):
    pictures.write_frames(tmp_path / "photos", 6)
    config = make_config(footage=f"{root},frames=40", photos=tmp_path / "photos")
    first, second = taken(config, 2)
    again = make_config(footage=f"{root},frames=40", photos=tmp_path / "photos", threads=5)
    assert_equal(first, taken(again)[0])
    parts = [taken(again, 1, rows)[0] for rows in (range(2), range(2, 6))]
    assert_equal(first, {name: np.concatenate([part[name] for part in parts]) for name in first})
    assert_equal(second, next(loader.batches(config, 1, range(6))))
    for other in (second, taken(config, split="validation")[0], taken(config, seed=5)[0]):
        assert not np.array_equal(first["search"], other["search"])
    assert np.isfinite(first["search_box"]).all() and (first["template_box"][..., 2:] > 0).all()


@pytest.mark.slow
def test_a_run_trains_on_videos_and_photographs(root, tmp_path, capsys):
    pictures.write_frames(tmp_path / "photos", 6)
    # As in test_train.py: its program is compiled already.
    config = support.small_config(ema_decay=0.9, debug_batch_hash=True, learning_rate=1e-2, warmup_epochs=0.5)
    config.data.ratio.update({"synthetic": 0.0, "footage": 1.0, "photos": 1.0})
    config.data.update({"footage": str(root), "photos": str(tmp_path / "photos")})
    config.init.checkpoint = str(tmp_path / "weights")
    weights.save(config.init.checkpoint, support.filled(trackers.build(config.model)), config.model)
    assert train.train(config, str(tmp_path / "run"), max_steps=1) == 0
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any(np.isfinite(line.get("loss", np.nan)) for line in steps), steps
    capsys.readouterr()


def test_they_mix_with_procedural_pairs(root, monkeypatch):
    def procedural(config, start_step, rows, seed, split):
        shapes = pairs.shapes(config)
        return itertools.repeat({name: np.zeros((len(rows), *shape), kind) for name, (shape, kind) in shapes.items()})

    monkeypatch.setattr(video, "batches", procedural)
    alone = taken(make_config(footage=root), rows=range(12))[0]
    mixed = taken(make_config(footage=root, synthetic=None), rows=range(12))[0]
    made = mixed["search_box"].any(axis=1)
    assert 1 < made.sum() < 11
    np.testing.assert_array_equal(mixed["search"][made], alone["search"][made])


def test_photos_give_one_picture_twice(tmp_path):
    pictures.write_frames(tmp_path / "deep" / "er", 12)
    assert photos.open(tmp_path).names == [f"deep/er/{number:04d}.png" for number in range(11)]
    assert photos.open(tmp_path, "validation").names == ["deep/er/0011.png"]
    config = make_config(photos=tmp_path)
    config.data.unlabelled.update({"change": 0.0, "occlusion_probability": 0.0})
    config.data.update({"search_center_jitter": 0.0, "search_scale_jitter": 0.0, "brightness": 0.0})
    config.model.search_size, config.tracking.search_factor = 32, 2.0
    made = pairs.pair([photos.open(tmp_path)], [1], pairs.PairConfig.from_config(config), 0, 0, 0)
    np.testing.assert_array_equal(made["template"][0], made["search"])
    np.testing.assert_allclose(made["template_box"][0], made["search_box"])


def test_pairs_without_the_target_and_several_templates(root):
    config = make_config(footage=root)
    with config.unlocked():
        config.model.templates, config.data.positive_probability = 2, 0.5
    batch = taken(config, rows=range(12))[0]
    assert set(batch["label"]) == {0.0, 1.0} and batch["template"].shape[:2] == (12, 2)
