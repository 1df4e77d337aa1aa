"""Cameras and streams: frames as they come, (H, W, 3) uint8 RGB, with a time limit on each.

A camera, and a stream over RTSP, RTMP, UDP or SRT, goes on whether or not its frames are taken: of those that came
meanwhile only the newest is given out. A stream over HTTP waits, and every frame of it is given out.
"""

import queue
import re
import threading
import time

from trackers.errors import InputError, UsageError
from trackers.io import limits, video_files

_WAITING, _GOING_ON = ("http", "https"), ("rtsp", "rtsps", "rtmp", "udp", "srt")
# What the reader leaves in the queue in place of a frame.
_END, _STALLED = object(), object()


class LiveVideo:
    """The frames of a camera or a stream; `len` is what a stream's header says, 0 where it says nothing.

    Args:
      source: number of a camera, or a stream's URL.
      timeout: seconds that opening, and each frame, may take.

    After iterating, `cut_short` is as of a video_files.Video. It can be iterated over once.

    Raises: UsageError for a URL of another kind; InputError where it cannot be opened, or has frames larger than
      limits.IMAGE; iterating, where no frame comes in time, or none at all.
    """

    def __init__(self, source, timeout=10.0):
        import cv2

        self._timeout = timeout
        if isinstance(source, int):
            self.name, self.goes_on = f"camera {source}", True
        else:
            kind = source.partition("://")[0].lower()
            if kind not in (*_WAITING, *_GOING_ON) or "://" not in source:
                kinds = ", ".join((*_GOING_ON, *_WAITING))
                raise UsageError(f"stream {source!r}: give a URL such as rtsp://HOST/PATH ({kinds})")
            # A password in the URL is nobody's business.
            self.name, self.goes_on = f"stream {re.sub('//[^/@]*@', '//', source)}", kind in _GOING_ON
        start = time.monotonic()
        self._capture = self._open(source)
        if not self._capture.isOpened():
            late = time.monotonic() - start > 0.9 * timeout
            what = f"nothing came in {timeout:g} s" if late else "it is not there, or no video"
            raise InputError(f"{self.name} cannot be opened: {what}; check that another program can show it")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = float(rate) if 0 < rate <= 1000 else 25.0
        self.cut_short = False
        self._length = 0 if self.goes_on else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        sides = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT
        width, height = (int(self._capture.get(side)) for side in sides)
        limits.IMAGE.check(f"{self.name} of {width}x{height}", width * height)

    def _open(self, source):
        import cv2

        with video_files.quiet_decoders():
            if isinstance(source, int):
                return cv2.VideoCapture(source)
            milliseconds = int(1000 * self._timeout)
            times = cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds
            return cv2.VideoCapture(source, cv2.CAP_FFMPEG, list(times))

    def __len__(self):
        return self._length

    def __iter__(self):
        frames, over = queue.Queue(1 if self.goes_on else 8), threading.Event()
        # A daemon, as a read that hangs must not keep the program.
        threading.Thread(target=self._read, args=(frames, over), daemon=True).start()
        count = 0
        try:
            while True:
                try:
                    frame = frames.get(timeout=2 * self._timeout)
                except queue.Empty:
                    frame = _STALLED
                if frame is _STALLED:
                    raise InputError(f"{self.name} stalled: no frame came for {self._timeout:g} s")
                if frame is _END:
                    break
                count += 1
                yield frame
        finally:
            over.set()
        if not count:
            raise InputError(f"{self.name} ended without a frame that can be decoded")

    def _read(self, frames, over):
        """The thread that reads: puts frames into the queue until the end, or until nobody wants more."""
        with video_files.quiet_decoders():
            self._read_all(frames, over)
        self._capture.release()

    def _read_all(self, frames, over):
        import cv2

        time_line = video_files.TimeLine(self.rate)
        while not over.is_set():
            start = time.monotonic()
            decoded, image = self._capture.read()
            if not decoded:
                late = time.monotonic() - start > 0.9 * self._timeout
                self.cut_short = time_line.cut_short(self._length)
                self._put(frames, _STALLED if late else _END, over)
                break
            time_line.add(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            self._put(frames, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), over)

    def _put(self, frames, frame, over):
        while not over.is_set():
            try:
                return frames.put(frame, timeout=0.1)
            except queue.Full:
                if self.goes_on and frame is not _END and frame is not _STALLED:
                    # The consumer may have taken it just now.
                    try:
                        frames.get_nowait()
                    except queue.Empty:
                        continue
