"""Video files: the frames of one, one at a time, and a writer of MP4s; frames are (H, W, 3) uint8 RGB."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import numpy as np

from trackers.errors import InputError
from trackers.io import limits


@contextlib.contextmanager
def quiet_decoders():
    """While this context lasts FFmpeg and OpenCV print nothing: the line that is raised afterwards says it all."""
    import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg reads it once, at its first use
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


class TimeLine:
    """The times of a video's frames, to tell whether it ends early. rate: frames per second that its header gives."""

    def __init__(self, rate):
        self._rate, self._count, self._last, self._longest = rate, 0, 0.0, 1000 / rate

    def add(self, time):
        """The next frame's time in milliseconds."""
        self._count, self._longest, self._last = self._count + 1, max(self._longest, time - self._last), time

    def cut_short(self, length):
        """Whether the frames end well before the time that a header of `length` frames gives.

        Fewer frames alone say nothing: where frames last unequally long the header's number is an estimate.
        """
        return self._count < length and self._last + 2 * self._longest < 1000 * length / self._rate


class Video:
    """The frames of a video file; `len` is what its header says, 0 where it says nothing or more than a file can hold.

    After all frames were read `cut_short` says whether they end well before the time that the header gives (TimeLine).

    Args:
      path: the file.

    Raises: InputError where it is missing, cannot be decoded, or has frames larger than limits.IMAGE; iterating, where
      it has no frame.
    """

    def __init__(self, path):
        import cv2

        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"video {path} does not exist")
        capture = self._open()
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate = float(rate) if 0 < rate <= 1000 else 25.0
        self.cut_short = False
        length = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        # A frame has a byte at least, so that no number is taken for one that memory can be asked for.
        self._length = length if 0 < length <= self.path.stat().st_size else 0
        width, height = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        capture.release()
        limits.IMAGE.check(f"video {path} of {width}x{height}", width * height)

    def _open(self):
        import cv2

        with quiet_decoders():
            # FFmpeg alone: other readers would take digits in the name for a numbered series of images.
            capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise InputError(f"video {self.path} cannot be decoded: is it a whole video file (MP4, AVI, MKV, WebM)?")
        return capture

    def __len__(self):
        return self._length

    def __iter__(self):
        import cv2

        capture, count, time_line = self._open(), 0, TimeLine(self.rate)
        try:
            while True:
                decoded, image = capture.read()
                if not decoded:
                    break
                count += 1
                time_line.add(capture.get(cv2.CAP_PROP_POS_MSEC))
                yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()
        if not count:
            raise InputError(f"video {self.path} has no frame that can be decoded")
        self.cut_short = time_line.cut_short(self._length)


class VideoWriter:
    """Writes RGB frames of one size as an MP4 (H.264, yuv420p, which every player and browser shows).

    Args:
      path: the file; replaced where it exists.
      rate: frames per second.

    Raises: InputError where ffmpeg or its H.264 encoder is missing (at once), or where ffmpeg gives up.

    Frames with an odd side get one more row or column, a copy of the last. A context manager; the file is complete
    after leaving, also where an error ended the loop.
    """

    def __init__(self, path, rate=25.0):
        self._program = encoder()
        self._path, self._rate = Path(path), rate
        self._process, self._shape = None, None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.close()
        except InputError:
            if kind is None:  # else the error on its way is the one to report
                raise

    def write(self, frame):
        """Appends a frame (H, W, 3) uint8 RGB."""
        if self._process is None:
            self._shape = frame.shape
            self._process = self._start(frame.shape[0] + frame.shape[0] % 2, frame.shape[1] + frame.shape[1] % 2)
        if frame.shape != self._shape:
            height, width = self._shape[:2]
            raise InputError(
                f"{self._path}: a frame of {frame.shape[1]}x{frame.shape[0]} pixels follows frames of {width}x{height}:"
                " a video has one size"
            )
        odd = ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0))
        try:
            self._process.stdin.write(np.ascontiguousarray(np.pad(frame, odd, mode="edge")).data)
        except OSError:
            self.close()
            raise InputError(f"ffmpeg cannot write {self._path}: it ended early") from None

    def _start(self, height, width):
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{self._rate:g}", "-i", "-"]
        # faststart: a browser can play the file before it has all of it.
        video = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-movflags", "+faststart"]
        command = [self._program, "-hide_banner", "-loglevel", "error", "-y", *source, *video, "-f", "mp4"]
        # Errors alone are a few lines, less than a pipe holds. A session of its own: Ctrl-C is not for ffmpeg.
        return subprocess.Popen(
            [*command, str(self._path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def close(self):
        """Finishes the file. Raises: InputError with ffmpeg's words where it failed; no half of a file is left then."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(OSError):
            process.stdin.close()
        with process.stderr as log:
            words = log.read().decode(errors="replace").splitlines()
        code = process.wait()
        if code:
            self._path.unlink(missing_ok=True)
            reason = next((line for line in words if line.strip()), f"exit code {code}")
            raise InputError(f"ffmpeg cannot write {self._path}: {reason}")


class PacedWriter(VideoWriter):
    """Writes frames that come as time goes by: repeated or left out, so that the video lasts as long as they took."""

    def write(self, frame):
        """Appends a frame (H, W, 3) uint8 RGB, as often as the clock asks for."""
        if self._process is None:
            self._begun, self._written = time.monotonic(), 0
        due = int((time.monotonic() - self._begun) * self._rate) + 1
        for _ in range(due - self._written):
            super().write(frame)
        self._written = max(due, self._written)


def encoder():
    """Path of an ffmpeg program that encodes H.264: imageio-ffmpeg's choice, else the system's.

    Raises: InputError where there is none; to be called before long work whose results are drawn.
    """
    remedy = "install imageio-ffmpeg or ffmpeg with libx264, or leave the drawing out"
    try:
        import imageio_ffmpeg

        program = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        program = "ffmpeg"
    try:
        listed = subprocess.run([program, "-hide_banner", "-encoders"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        raise InputError(f"no ffmpeg to write video with: {remedy}") from None
    if listed.returncode or "libx264" not in listed.stdout:
        raise InputError(f"{program} has no H.264 encoder (libx264): {remedy}")
    return program
