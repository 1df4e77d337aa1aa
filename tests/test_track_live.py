"""track.py on streams, with several targets, in a window, interrupted."""

import csv
import functools
import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from data_pipelines.procedural import video
from tests import programs, video_server
from trackers.io import image_files, mot_files, video_files

cv2 = pytest.importorskip("cv2")
BOXES = ("30,40,60,50", "150,90,70,80")
# The shipped weights on small frames: a run is mostly the start of Python and JAX.
_run = functools.partial(programs.run, "track.py", no_proxy="127.0.0.1")


@pytest.fixture(scope="module")
def frames():
    return video.sequence(5001, 9)[0]


def _rows(out):
    with open(out / "boxes.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_two_targets_of_a_file_over_http(frames, tmp_path):
    with video_files.VideoWriter(tmp_path / "v.mp4", rate=30) as writer:
        for frame in frames:
            writer.write(frame)
    (tmp_path / "targets.csv").write_text(
        "id,x,y,w,h\n" + "".join(f"{n},{b}\n" for n, b in zip((7, 3), BOXES, strict=True))
    )
    with video_server.files(tmp_path) as url:
        flags = ["--start_frame=2", "--every=2", "--jsonl", "--mot", "--record", f"--out={tmp_path / 'out'}"]
        done = _run(f"--stream={url}/v.mp4", f"--box=@{tmp_path / 'targets.csv'}", *flags)
    assert done.returncode == 0, done.stderr
    assert "wrote boxes.csv, tracked.mp4, source.mp4 and tracks.txt in" in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines] == [2, 4, 6, 8]
    assert [[target["id"] for target in line["targets"]] for line in lines] == [[7, 3]] * 4
    first = lines[0]["targets"]
    assert [target["box"] for target in first] == [[float(cell) for cell in box.split(",")] for box in BOXES]
    assert first[0]["score"] is None and first[0]["lost"] is False
    rows = _rows(tmp_path / "out")
    assert list(rows[0]) == ["frame", "id", "x", "y", "w", "h", "score", "lost"] and len(rows) == 8
    assert [float(rows[-1][key]) for key in "xywh"] == lines[-1]["targets"][-1]["box"]
    tracks = mot_files.read(tmp_path / "out" / "tracks.txt")
    assert sorted(set(tracks.frames)) == [3, 5, 7, 9] and set(tracks.ids) == {3, 7}
    for name in ("tracked.mp4", "source.mp4"):
        written = video_files.Video(tmp_path / "out" / name)
        assert len(list(written)) == 4 and written.rate == pytest.approx(15)


def test_targets_past_the_end_of_a_stream_are_named(frames, tmp_path):
    starts = [f"{frame},{name},{BOXES[0]}\n" for frame, name in ((20, 5), (6, 7), (12, 3))]
    (tmp_path / "targets.csv").write_text("".join(starts))
    (tmp_path / "late.csv").write_text(starts[0])
    with video_server.jpegs(frames, then="end") as url:
        run = [f"--stream={url}", "--no-draw", f"--out={tmp_path / 'out'}"]
        done = _run(*run, f"--box=@{tmp_path / 'targets.csv'}")
        none = _run(*run, f"--box=@{tmp_path / 'late.csv'}")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "never started" in line]
    assert said == ["frame 8 was the last, never started: target 3 (frame 12), target 5 (frame 20)"]
    assert [(row["frame"], row["id"]) for row in _rows(tmp_path / "out")] == [("6", "7"), ("7", "7"), ("8", "7")]
    assert none.returncode == 1 and none.stderr.count("\n") == 1
    assert f"{tmp_path / 'late.csv'}, line 1: frame 20: the video ends before that frame" in none.stderr


def test_a_stream_that_stalls_leaves_what_was_found(frames, tmp_path):
    with video_server.jpegs(frames, then="stall") as url:
        flags = ["--timeout=4", "--no-draw", f"--out={tmp_path}"]
        done = _run(f"--stream={url}", f"--box={BOXES[0]}", *flags)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"stalled: no frame came for 4 s; the boxes of the 9 frames before are in {tmp_path}" in last
    assert len(_rows(tmp_path)) == 9


def test_ctrl_c_keeps_what_is_done(frames, tmp_path):
    with video_server.jpegs(frames, then="repeat", pause=0.05) as url:
        arguments = [f"--stream={url}", f"--box={BOXES[0]}", f"--box={BOXES[1]}", "--record", f"--out={tmp_path}"]
        process = programs.start("track.py", *arguments, no_proxy="127.0.0.1")
        _wait_for(lambda: (tmp_path / "boxes.csv").exists() and len(_rows(tmp_path)) > 10)
        process.send_signal(signal.SIGINT)
        done = programs.finish(process)
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr
    count = len(_rows(tmp_path)) // 2
    assert f"interrupted after {count} frames" in done.stderr and "wrote boxes.csv, tracked.mp4" in done.stdout
    for name in ("tracked.mp4", "source.mp4"):
        # A frame may have reached the table and not yet the videos.
        assert count - 1 <= len(list(video_files.Video(tmp_path / name))) <= count


def _wait_for(holds, seconds=200):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def test_a_window_without_a_screen_is_one_line(frames, tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), frames[0])
    done = _run(f"--images={tmp_path}", "--box=mouse", f"--out={tmp_path / 'out'}", DISPLAY=None)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "leave the window out" in done.stderr


@pytest.fixture
def screen():
    """DISPLAY of a screen that nobody sees."""
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        pytest.skip("Xvfb and xdotool are not installed (apt-get install xvfb xdotool)")
    pytest.importorskip("tkinter")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1000x800x24", "-nolisten", "tcp"]
    process = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as numbers:
            yield f":{numbers.readline().strip()}"
    finally:
        process.terminate()
        process.wait(20)


def _mouse(display, *words):
    done = subprocess.run(["xdotool", *map(str, words)], env=os.environ | {"DISPLAY": display}, capture_output=True)
    return done.stdout.decode().split() if not done.returncode else []


def _screenshot(display, path):
    program = video_files.encoder()
    command = [program, "-loglevel", "error", "-y", "-f", "x11grab", "-i", display, "-frames:v", "1", str(path)]
    return not subprocess.run(command, stdin=subprocess.DEVNULL).returncode


def test_boxes_drawn_with_the_mouse_are_tracked_in_a_window(frames, tmp_path, screen):
    with video_server.jpegs(frames, then="repeat", pause=0.05) as url:
        arguments = [f"--stream={url}", "--box=mouse", "--window", "--no-draw", f"--out={tmp_path / 'out'}"]
        process = programs.start("track.py", *arguments, no_proxy="127.0.0.1", DISPLAY=screen)
        try:
            _wait_for(lambda: _mouse(screen, "search", "--name", "^track.py: drag"))
            (window,) = _mouse(screen, "search", "--name", "^track.py: drag")
            for x, y, w, h in (map(int, box.split(",")) for box in BOXES):
                _mouse(screen, "mousemove", "--window", window, x, y, "mousedown", 1)
                for step in (1, 2):
                    _mouse(screen, "mousemove", "--window", window, x + w * step // 2, y + h * step // 2)
                _mouse(screen, "mouseup", 1)
            _mouse(screen, "key", "--window", window, "Return")
            _wait_for(lambda: (tmp_path / "out" / "boxes.csv").exists() and len(_rows(tmp_path / "out")) > 30)
            assert _screenshot(screen, tmp_path / "screen.png")
            _mouse(screen, "key", "--window", window, "q")
            done = programs.finish(process, timeout=60)
        finally:
            process.kill()
    assert done.returncode == 0, done.stderr
    given = [[float(row[key]) for key in "xywh"] for row in _rows(tmp_path / "out")[:2]]
    np.testing.assert_allclose(given, [[float(cell) for cell in box.split(",")] for box in BOXES], atol=2)
    shown = image_files.read_image(tmp_path / "screen.png")
    assert shown.max() > 200 and (shown.std(axis=2) > 10).mean() > 0.02  # colors, not an empty screen
