"""Cameras and streams: over HTTP and RTSP on loopback, ended, stalled, absent."""

import socket
import subprocess
import threading
import time

import numpy as np
import pytest

from tests import video_server
from trackers.errors import InputError, UsageError
from trackers.io import video_files
from trackers.io.live_video import LiveVideo

pytest.importorskip("cv2")
LEVELS = range(0, 240, 24)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def _frames():
    return [np.full((96, 128, 3), level, np.uint8) for level in LEVELS]


def _write(path, frames, rate=25.0):
    with video_files.VideoWriter(path, rate) as writer:
        for frame in frames:
            writer.write(frame)


def test_every_frame_of_a_stream_over_http_is_seen(tmp_path):
    _write(tmp_path / "v.mp4", _frames(), rate=30)
    with video_server.files(tmp_path) as url:
        video = LiveVideo(f"{url}/v.mp4", timeout=20)
        means = [frame.mean() for frame in video]
    assert len(video) == len(LEVELS) and video.rate == pytest.approx(30) and not video.cut_short
    np.testing.assert_allclose(means, LEVELS, atol=5)
    with video_server.jpegs(_frames()) as url:
        seen = []
        for frame in LiveVideo(url, timeout=20):
            time.sleep(0.05)  # slower than the stream, which waits
            seen.append(frame)
    assert [frame.shape for frame in seen] == [(96, 128, 3)] * len(LEVELS)
    np.testing.assert_allclose([frame.mean() for frame in seen], LEVELS, atol=5)


def test_a_stream_that_stalls_is_named_after_its_frames():
    with video_server.jpegs(_frames(), then="stall") as url:
        video, seen = LiveVideo(url, timeout=2), []
        start = time.monotonic()
        with pytest.raises(InputError, match=f"stream {url} stalled: no frame came for 2 s"):
            for frame in video:
                seen.append(frame)
        assert len(seen) == len(LEVELS) and time.monotonic() - start < 30


def test_a_file_over_http_that_is_cut_says_so(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 96, 128, 3), dtype=np.uint8)
    _write(tmp_path / "v.mp4", noise)
    data = (tmp_path / "v.mp4").read_bytes()
    (tmp_path / "v.mp4").write_bytes(data[: len(data) // 2])
    with video_server.files(tmp_path) as url:
        video = LiveVideo(f"{url}/v.mp4", timeout=20)
        count = sum(1 for _ in video)
    assert 0 < count < len(video) == 60 and video.cut_short


def test_of_a_stream_that_goes_on_only_the_newest_frame_is_seen(tmp_path, monkeypatch):
    """RTSP: our side listens, and ffmpeg sends to it."""
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_flags;listen|listen_timeout;60")
    frames = [np.full((96, 128, 3), 4 * number, np.uint8) for number in range(50)]
    _write(tmp_path / "v.mp4", frames)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"rtsp://user:secret@127.0.0.1:{free.getsockname()[1]}/live"

    def send():
        command = [video_files.encoder(), "-loglevel", "error", "-re", "-i", str(tmp_path / "v.mp4"), "-c", "copy"]
        for _ in range(60):  # until our side listens
            address = url.replace("user:secret@", "")
            done = subprocess.run(
                [*command, "-f", "rtsp", "-rtsp_transport", "tcp", address], stderr=subprocess.DEVNULL
            )
            if not done.returncode:
                break
            time.sleep(0.5)

    threading.Thread(target=send, daemon=True).start()
    video = LiveVideo(url, timeout=40)
    assert "secret" not in video.name and len(video) == 0 and video.goes_on
    means = []
    for frame in video:
        time.sleep(0.2)  # five frames of the stream
        means.append(frame.mean())
    assert 2 <= len(means) < 40 and (np.diff(means) >= 0).all() and means[-1] > 180


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("ftp://x/y", UsageError, "stream 'ftp://x/y': give a URL such as rtsp://HOST/PATH"),
        ("v.mp4", UsageError, "stream 'v.mp4': give a URL"),
        ("http://127.0.0.1:1/none", InputError, "stream http://127.0.0.1:1/none cannot be opened"),
        ("rtsp://user:secret@127.0.0.1:1/x", InputError, "stream rtsp://127.0.0.1:1/x cannot be opened"),
        (77, InputError, "camera 77 cannot be opened: it is not there"),
    ],
)
def test_what_cannot_be_opened(source, error, message):
    with pytest.raises(error, match=message):
        LiveVideo(source, timeout=5)
