"""Missing and damaged images of a training set: replaced, counted, named once, too many end the run."""

import itertools

import numpy as np
import pytest

from data_pipelines import annotations, bad_samples, loader, sampling
from data_pipelines.procedural import people
from tests.data_pipelines import benchmark_layouts, layouts
from tests.data_pipelines.test_loader import make_config
from tests.data_pipelines.test_loader_clips import make_config as make_clips_config
from trackers.errors import InputError, UsageError


def _take(config, start, rows, count=1):
    return list(itertools.islice(loader.batches(config, start, rows), count))


def _spoil(folder):
    """A missing, a cut, an empty and a foreign image among those of a sequence."""
    frames = sorted(folder.glob("*.jpg"))
    frames[5].unlink()
    frames[9].write_bytes(frames[9].read_bytes()[:-100])
    frames[11].write_bytes(b"")
    frames[13].write_text("<html>404</html>")
    return [frames[i] for i in (5, 9, 11, 13)]


def _equal(one, other):
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_bad_images_are_replaced_alike_everywhere_and_named_once(tmp_path, capfd):
    layouts.frames(tmp_path / "frames", ("a", "b"))
    config = make_config(tmp_path, frames=1)
    (clean,) = _take(config, 0, range(48))
    spoiled = _spoil(tmp_path / "frames" / "a")
    capfd.readouterr()
    whole = _take(config, 0, range(48), 2)
    said = capfd.readouterr().err
    lines = said.splitlines()
    for path in spoiled:
        assert sum(str(path) in line for line in lines) == 1, said
    # Frame 6 is missing by its number, so the others keep their boxes; samples without a bad image stay as they were.
    same = [np.array_equal(a, b) for a, b in zip(clean["search"], whole[0]["search"], strict=True)]
    assert 4 < sum(same) < 48
    assert any("samples were replaced" in line for line in lines)
    # Any number of hosts, and a run that is resumed, take the same replacements; what was named is not named again.
    parts = [_take(config, 0, rows)[0] for rows in (range(0, 5), range(5, 48))]
    _equal(whole[0], {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    _equal(whole[1], _take(config, 1, range(48))[0])
    assert "take its place" not in capfd.readouterr().err


def test_too_many_bad_images_end_the_run_in_one_line(tmp_path, monkeypatch):
    layouts.frames(tmp_path / "frames", ("a", "b"))
    bad = _spoil(tmp_path / "frames" / "a")
    config = make_config(tmp_path, frames=1)
    config.data.max_bad_fraction = 0.0
    said = r"frames: 1 of \d+ train samples had bad images, .*max_bad_fraction=0.0"
    with pytest.raises(InputError, match=said) as one:
        _take(config, 0, range(48))
    assert any(str(path) in str(one.value) for path in bad) and "\n" not in str(one.value)
    config.data.max_bad_fraction = 0.05
    monkeypatch.setattr(bad_samples, "MIN_SAMPLES", 40)
    with pytest.raises(InputError, match=r"frames: 3 of \d+ train samples had bad images"):
        _take(config, 0, range(48), 4)
    config.data.max_bad_fraction = 1.0
    for path in (tmp_path / "frames").rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="100 samples in a row had bad images, the last: image .* is cut short"):
        _take(config, 0, range(2))
    for share in (-0.1, 1.5, float("nan")):
        config.data.max_bad_fraction = share
        with pytest.raises(UsageError, match="config.data.max_bad_fraction .*: give a share from 0 to 1"):
            _take(config, 0, range(2))


@pytest.mark.parametrize("kept", [0, 900])
def test_a_video_file_that_is_no_whole_one_is_replaced(tmp_path, capfd, kept):
    for name in ("run", "walk"):
        root = benchmark_layouts.videos(tmp_path, 24, name)
    video = next(root.glob("walk.*i"))
    video.write_bytes(video.read_bytes()[:kept])
    config = make_config()
    with config.unlocked():
        config.data.ratio.videos, config.data.videos = 1.0, str(root)
    _take(config, 0, range(8))
    said = [line for line in capfd.readouterr().err.splitlines() if "walk" in line]
    assert len(said) == 1 and "cannot be decoded" in said[0] and "other samples take its place" in said[0]


def test_bad_images_of_clips_are_replaced(tmp_path, capfd):
    layouts.refer_dance(tmp_path / "refer_dance")
    config = make_clips_config(tmp_path, refer_dance=1.0)
    config.data.vocabulary = str(people.VOCABULARY)
    folder = next((tmp_path / "refer_dance" / "train").rglob("*.jpg")).parent
    bad = sorted(folder.glob("*.jpg"))[7]
    bad.write_bytes(bad.read_bytes()[:-100])
    (whole,) = _take(config, 0, range(16))
    assert sum(str(bad) in line for line in capfd.readouterr().err.splitlines()) == 1
    parts = [_take(config, 0, rows)[0] for rows in (range(0, 7), range(7, 16))]
    _equal(whole, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


@pytest.mark.parametrize(
    ("numbers", "count", "first"),
    [((1, 2, 4), 4, 1), ((0, 2, 3), 4, 0), ((2, 3, 4), 4, 1), ((300, 303), 4, 300), ((1, 2, 3), 4, None)],
)
def test_which_frames_are_missing(tmp_path, numbers, count, first):
    layouts.write_boxes(tmp_path / "groundtruth.txt", layouts.boxes(count))
    for number in numbers:
        (tmp_path / f"{number:08d}.jpg").write_bytes(b"")
    with pytest.raises(bad_samples.MissingFrames, match=f"{len(numbers)} frames in .* but {count} boxes") as caught:
        annotations.video("s", tmp_path, tmp_path / "groundtruth.txt")
    sequence = caught.value.sequence
    if first is None:  # the last of frames from 1, or the first of frames from 0
        assert sequence is None
    else:
        assert [path.name for path in sequence.frames] == [f"{first + i:08d}.jpg" for i in range(count)]


def test_attempts_have_random_numbers_of_their_own():
    numbers = [sampling.generator(1, 2, 3, "train", attempt).random() for attempt in range(4)]
    numbers.append(sampling.generator(1, 2, 3).spawn(1)[0].random())
    assert len(set(numbers)) == 5 and numbers[0] == sampling.generator(1, 2, 3).random()
