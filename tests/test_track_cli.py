"""track.py as users call it."""

import csv
import functools
import json

import jax
import numpy as np
import pytest

import trackers
from configs import grm
from tests import forked
from trackers import weights
from trackers.io import video_files

cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    config = grm.get_config("tiny")
    model = trackers.build(config.model)
    folder = tmp_path_factory.mktemp("checkpoint")
    variables = jax.jit(lambda key: trackers.init(model, key))(jax.random.key(0))
    weights.save(folder, variables, config.model)
    return folder


def _pictures(count=4):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (60, 80, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i, picture in enumerate(_pictures()):
        cv2.imwrite(str(folder / f"{i + 1}.jpg"), picture)
    return folder


_run = functools.partial(forked.run, "track.py", "--config=configs/grm.py:tiny")


def _rows(out):
    with open(out / "boxes.csv", newline="") as file:
        return list(csv.DictReader(file))


def _error(result, code):
    """The error line, the only one on stderr beside progress bars."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if "error: " in line]
    assert len(lines) == 1 and lines[0] == result.stderr.splitlines()[-1]
    return lines[0]


def test_images_with_shaded_layer(checkpoint, images, tmp_path):
    run = [f"--checkpoint={checkpoint}", f"--images={images}", "--box=20,15,24,20", f"--out={tmp_path}"]
    base = ["--base_config=configs/grm.py:tiny", f"--base_checkpoint={checkpoint}"]
    result = _run(*run, *base, "--layer=2", "--attention=2,9", "--division=3,1", "--picture_layers=3,1")
    assert result.returncode == 0, result.stderr
    assert "--attention: the video has no frame 9" in result.stderr
    assert "wrote boxes.csv, tracked.mp4, attention.png and division.png in" in result.stdout
    # One frame of two trackers, and two frames; exemplar and search crop, or the crop alone, and two layers.
    attention, division = (cv2.imread(str(tmp_path / name)) for name in ("attention.png", "division.png"))
    assert attention.shape[1] / attention.shape[0] > division.shape[1] / division.shape[0] > 0.7
    assert "4/4" in result.stderr and "frame/s" in result.stderr  # progress with a rate
    assert "Warning" not in result.stderr
    rows = _rows(tmp_path)
    assert [int(row["frame"]) for row in rows] == [0, 1, 2, 3]
    assert [float(rows[0][key]) for key in "xywh"] == [20, 15, 24, 20] and rows[0]["score"] == ""
    for row in rows[1:]:
        assert all(np.isfinite(float(row[key])) for key in "xywh") and 0 < float(row["score"]) < 1
    video = video_files.Video(tmp_path / "tracked.mp4")
    assert [image.shape for image in video] == [(480, 640, 3)] * 4


def test_video_without_drawing(checkpoint, tmp_path):
    with video_files.VideoWriter(tmp_path / "v.mp4") as video:
        for picture in _pictures():
            video.write(picture)
    (tmp_path / "boxes.csv").write_text("old")
    run = [f"--checkpoint={checkpoint}", f"--video={tmp_path / 'v.mp4'}", "--box=20,15,24,20", f"--out={tmp_path}"]
    result = _run(*run, "--no-draw")
    assert result.returncode == 0, result.stderr
    assert "replacing" in result.stderr and "boxes.csv" in result.stderr
    assert len(_rows(tmp_path)) == 4 and not (tmp_path / "tracked.mp4").exists()
    assert "wrote boxes.csv in" in result.stdout


def test_targets_that_start_in_frames_of_their_own(checkpoint, images, tmp_path):
    (tmp_path / "targets.csv").write_text("frame,id,x,y,w,h\n3,4,50,20,20,24\n1,9,20,15,24,20\n")
    run = [f"--checkpoint={checkpoint}", f"--images={images}", "--every=2"]
    two, one = tmp_path / "two", tmp_path / "one"
    done = _run(*run, f"--box=@{tmp_path / 'targets.csv'}", "--mot", "--jsonl", f"--out={two}")
    assert done.returncode == 0, done.stderr
    assert "2/2" in done.stderr and "never started" not in done.stderr
    rows = _rows(two)
    assert [(row["frame"], row["id"]) for row in rows] == [("1", "9"), ("3", "9"), ("3", "4")]
    assert [float(rows[2][key]) for key in "xywh"] == [50, 20, 20, 24] and rows[2]["score"] == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["frame"], [target["id"] for target in line["targets"]]) for line in lines] == [(1, [9]), (3, [9, 4])]
    tracks = [line.split(",")[:2] for line in (two / "tracks.txt").read_text().splitlines()]
    assert tracks == [["2", "9"], ["4", "9"], ["4", "4"]]
    alone = _run(*run, "--box=20,15,24,20", "--start_frame=1", f"--out={one}")
    assert alone.returncode == 0, alone.stderr
    for row, expected in zip([row for row in rows if row["id"] == "9"], _rows(one), strict=True):
        np.testing.assert_allclose(*([float(each[key]) for key in "xywh"] for each in (row, expected)), atol=2e-3)
    # Around the second target, of frames enlarged eight times, nothing is drawn before it starts.
    videos = [list(video_files.Video(out / "tracked.mp4")) for out in (two, one)]
    around = np.s_[150:360, 390:570]
    changed = [np.abs(a[around].astype(int) - b[around]).max() for a, b in zip(*videos, strict=True)]
    assert changed[0] < 60 < changed[1]


def test_cut_jpeg_is_named_and_nothing_is_lost(checkpoint, images, tmp_path):
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for path in images.iterdir():
        data = path.read_bytes()
        (folder / path.name).write_bytes(data[: len(data) // 2] if path.name == "3.jpg" else data)
    result = _run(f"--checkpoint={checkpoint}", f"--images={folder}", "--box=20,15,24,20", f"--out={out}")
    assert "3.jpg is cut short" in _error(result, 1)
    assert len(_rows(out)) == 2
    assert len(list(video_files.Video(out / "tracked.mp4"))) == 2


@pytest.mark.parametrize("box,message", [("20,15,0,20", "no area"), ("200,15,20,20", "outside the frame of 80x60")])
def test_box_that_cannot_be_tracked(checkpoint, images, tmp_path, box, message):
    result = _run(f"--checkpoint={checkpoint}", f"--images={images}", f"--box={box}", f"--out={tmp_path}", "--no-draw")
    assert message in _error(result, 1)


def test_no_codec(checkpoint, images, tmp_path):
    run = [f"--checkpoint={checkpoint}", f"--images={images}", "--box=20,15,24,20", f"--out={tmp_path}"]
    result = _run(*run, IMAGEIO_FFMPEG_EXE=tmp_path / "absent")
    assert "no ffmpeg" in _error(result, 1)


@pytest.mark.parametrize(
    "arguments,code,message",
    [
        (["--video=absent.mp4", "--box=1,1,5,5"], 1, "absent.mp4 does not exist"),
        (["--video=track.py", "--box=1,1,5,5"], 1, "track.py cannot be decoded"),
        (["--images=trackers", "--box=1,1,5,5"], 1, "trackers: no such folder, or no images"),
        (["--video=absent.mp4", "--box=1,1,5"], 2, "--box '1,1,5'"),
        (["--video=absent.mp4", "--box=a,1,5,5"], 2, "--box 'a,1,5,5'"),
        (["--box=1,1,5,5"], 2, "either --video FILE or --images FOLDER"),
        (["--video=a", "--images=b", "--box=1,1,5,5"], 2, "either --video FILE or --images FOLDER"),
        (["--video=a"], 2, "--box"),
        (["--video=a", "--box=1,1,5,5", "--config.tracking.windw=1"], 2, "windw"),
    ],
)
def test_wrong_call(tmp_path, arguments, code, message):
    result = _run("--checkpoint=none", f"--out={tmp_path}", *arguments)
    assert message in _error(result, code)
    assert result.stderr.count("\n") == 1


SIMTRACK = "--config=configs/simtrack.py:tiny"
BASE = "--base_config=configs/grm.py:tiny"
# Arguments beside those of a GRM tiny and four images: how main ends.
NO_PICTURE = {
    ("--layer=9",): "UsageError: --layer 9: the model has layers 1 to 3; 0 shades none",
    (SIMTRACK, "--layer=1"): "UsageError: --layer: model simtrack does not divide its tokens",
    (SIMTRACK, "--division=1"): "UsageError: --division: model simtrack does not divide its tokens",
    ("--division=7",): "UsageError: --division 7: the video has frames 1 to 3 after the first one",
    ("--attention=4,9",): "UsageError: --attention 4,9: the video has frames 1 to 3 after the first one",
    ("--attention=0",): "UsageError: --attention 0: write numbers of frames from 1, such as --attention=2,4",
    ("--attention=1", "--picture_layers=2,4"): "UsageError: --picture_layers 2,4: there are layers 1 to 3",
    ("--attention=1", "--picture_layers=x"): "UsageError: --picture_layers x: write numbers of layers from 1",
    ("--picture_layers=2",): "UsageError: --picture_layers chooses what --attention and --division show",
    ("--attention=1", BASE): "UsageError: --base_config, --base_checkpoint and --attention go together",
    (BASE, "--base_checkpoint=none"): "UsageError: --base_config, --base_checkpoint and --attention go together",
    ("--attention=1", f"{BASE}y", "--base_checkpoint=none"): "UsageError: --base_config: configs/grm.py has no variant",
    ("--attention=1", BASE, "--base_checkpoint=none"): "InputError: checkpoint none does not exist",
    ("--attention=1", "--base_config=configs/mixformer_v2.py:tiny", "--base_checkpoint=none"): (
        "UsageError: --base_config: drawn together are two trackers of one object without prediction tokens"
    ),
    ("--attention=1", "--box="): "UsageError: --box is needed",
    (): "InputError: checkpoint none does not exist",
}


def test_what_cannot_be_drawn_is_refused_before_tracking(images, tmp_path):
    """All of it in one process: the errors that main raises, which errors.run turns into lines and exit codes."""
    shared = ["--config=configs/grm.py:tiny", "--checkpoint=none", f"--images={images}", "--box=20,15,24,20"]
    calls = [[*shared, f"--out={tmp_path / 'out'}", *arguments] for arguments in NO_PICTURE]
    result = forked.run("tests.track_calls", json.dumps(calls))
    assert result.returncode == 0, result.stderr
    said = result.stdout.splitlines()
    for line, expected in zip(said, NO_PICTURE.values(), strict=True):
        assert line[: len(expected)] == expected
    assert not (tmp_path / "out" / "boxes.csv").exists()
