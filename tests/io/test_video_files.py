import struct
import subprocess

import numpy as np
import pytest

from trackers.errors import InputError
from trackers.io import video_files

cv2 = pytest.importorskip("cv2")


def test_video_goes_out_and_comes_back(tmp_path):
    path = tmp_path / "v.mp4"
    with video_files.VideoWriter(path, rate=30) as video:
        for i in range(5):
            video.write(np.full((49, 63, 3), 40 * i, np.uint8))
    read = video_files.Video(path)
    assert len(read) == 5 and read.rate == pytest.approx(30)
    images = list(read)
    assert [image.shape for image in images] == [(50, 64, 3)] * 5  # H.264 needs even sides
    assert np.allclose([image.mean() for image in images], [0, 40, 80, 120, 160], atol=4)


@pytest.mark.parametrize("content,message", [(None, "does not exist"), (b"", "decoded"), (b"no video" * 99, "decoded")])
def test_wrong_video(tmp_path, content, message):
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(video_files.Video(path))


@pytest.mark.parametrize("length", [10**9, 2**32 - 1])
def test_a_header_is_not_taken_at_its_word(tmp_path, length):
    """More frames than the file has bytes; each would ask for a box."""
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (32, 24))
    for level in (0, 100, 200):
        writer.write(np.full((24, 32, 3), level, np.uint8))
    writer.release()
    data = bytearray((tmp_path / "v.avi").read_bytes())
    for chunk, offset in ((b"avih", 24), (b"strh", 40)):
        struct.pack_into("<I", data, data.find(chunk) + offset, length)
    (tmp_path / "v.avi").write_bytes(data)
    video = video_files.Video(tmp_path / "v.avi")
    assert len(video) == 0 and len(list(video)) == 3 and not video.cut_short


def test_video_has_one_size(tmp_path):
    with video_files.VideoWriter(tmp_path / "v.mp4") as video:
        video.write(np.zeros((48, 64, 3), np.uint8))
        with pytest.raises(InputError, match="64x50 pixels follows frames of 64x48"):
            video.write(np.zeros((50, 64, 3), np.uint8))


def test_no_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "absent"))
    with pytest.raises(InputError, match="no ffmpeg"):
        video_files.VideoWriter(tmp_path / "v.mp4")


def test_no_codec(tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho ' V..... mpeg4'\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    with pytest.raises(InputError, match="no H.264 encoder"):
        video_files.VideoWriter(tmp_path / "v.mp4")


def test_ctrl_c_and_errors_leave_a_whole_file(tmp_path):
    with pytest.raises(KeyboardInterrupt), video_files.VideoWriter(tmp_path / "v.mp4") as video:
        for _ in range(3):
            video.write(np.zeros((48, 64, 3), np.uint8))
        raise KeyboardInterrupt
    assert len(list(video_files.Video(tmp_path / "v.mp4"))) == 3


def test_unwritable_video(tmp_path):
    path = tmp_path / "absent" / "v.mp4"
    with pytest.raises(InputError, match="cannot write .*No such file"), video_files.VideoWriter(path) as video:
        for _ in range(200):
            video.write(np.zeros((480, 640, 3), np.uint8))


def _cut_short(path):
    video = video_files.Video(path)
    count = sum(1 for _ in video)
    return len(video), count, video.cut_short


def _written(path, *options):
    """30 noisy frames, a second and more, through ffmpeg with `options`."""
    frames = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x64", "-r", "25", "-i", "-"]
    command = [video_files.encoder(), "-loglevel", "error", "-y", *source, "-c:v", "libx264", "-g", "5", *options]
    subprocess.run([*command, str(path)], input=frames.tobytes(), check=True, timeout=60)


def test_unequally_long_frames_are_no_truncation_and_a_truncation_is(tmp_path):
    uneven, whole = tmp_path / "uneven.mkv", tmp_path / "whole.mkv"
    # After half of the frames each lasts three times as long.
    _written(uneven, "-vf", "setpts='if(lt(N,15),N,15+(N-15)*3)/25/TB'", "-fps_mode", "vfr")
    length, count, cut_short = _cut_short(uneven)
    assert length != count == 30 and not cut_short
    _written(whole)
    assert _cut_short(whole) == (30, 30, False)
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    length, count, cut_short = _cut_short(whole)
    assert count < length == 30 and cut_short


def test_upright_grey_and_deep_videos_become_upright_rgb(tmp_path):
    half = np.zeros((48, 64, 3), np.uint8)
    half[:, 32:] = 200  # bright on the right
    with video_files.VideoWriter(tmp_path / "v.mp4") as video:
        for _ in range(3):
            video.write(half)
    program = video_files.encoder()

    def convert(name, *options, before=()):
        command = [program, "-loglevel", "error", "-y", *before, "-i", str(tmp_path / "v.mp4"), *options]
        subprocess.run([*command, str(tmp_path / name)], check=True, timeout=60)
        return list(video_files.Video(tmp_path / name))

    # A telephone held upright writes frames that lie on their side, and a flag that says so.
    upright = convert("upright.mp4", "-c", "copy", before=("-display_rotation", "90"))
    assert upright[0].shape == (64, 48, 3)
    top, bottom = upright[0][:16].mean(), upright[0][-16:].mean()
    assert abs(top - bottom) > 150
    for name, pixels in (("grey.mkv", "gray"), ("deep.mkv", "gray16le"), ("ten.mkv", "yuv420p10le")):
        frames = convert(name, "-c:v", "ffv1", "-pix_fmt", pixels)
        assert len(frames) == 3 and frames[0].shape == (48, 64, 3) and frames[0].dtype == np.uint8
        assert frames[0][:, 40:].mean() > 170 and frames[0][:, :24].mean() < 20
