"""track.py as users call it."""

import csv
import functools

import jax
import numpy as np
import pytest

import trackers
from configs import grm
from tests import programs
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


_run = functools.partial(programs.run, "track.py", "--config=configs/grm.py:tiny")


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
    result = _run(*run, "--layer=2", "--attention=2,9")
    assert result.returncode == 0, result.stderr
    assert cv2.imread(str(tmp_path / "attention.png")) is not None
    assert "--attention: the video has no frame 9" in result.stderr
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


def test_what_cannot_be_drawn_is_refused_before_tracking(images, tmp_path):
    run = ["--checkpoint=none", f"--images={images}", "--box=20,15,24,20", f"--out={tmp_path / 'out'}"]
    swin = _error(_run("--config=configs/simtrack.py:tiny_swin", *run, "--attention=1"), 1)
    assert "attention maps need a plain ViT" in swin
    assert "does not divide its tokens" in _error(_run("--config=configs/ostrack.py:tiny", *run, "--layer=1"), 2)
    assert not (tmp_path / "out").exists()


def test_wrong_layer_and_checkpoint(images, tmp_path):
    run = [f"--images={images}", "--box=20,15,24,20", f"--out={tmp_path}"]
    assert "--layer 9: the model has layers 1 to" in _error(_run(*run, "--checkpoint=none", "--layer=9"), 2)
    assert "checkpoint none does not exist" in _error(_run(*run, "--checkpoint=none"), 1)
