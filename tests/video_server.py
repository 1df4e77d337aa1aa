"""Video over HTTP on loopback: files, and a stream of JPEGs that ends, stalls or goes on."""

import contextlib
import functools
import http.server
import threading
import time

import numpy as np

_BOUNDARY = "frame"


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class _Jpegs(http.server.BaseHTTPRequestHandler):
    """Motion JPEG as cameras serve it. frames: encoded; then: "end", "stall", or "repeat"."""

    def __init__(self, frames, then, pause, *args):
        self._frames, self._then, self._pause = frames, then, pause
        super().__init__(*args)

    def log_message(self, *_):
        pass

    def do_GET(self):  # noqa: N802, its name there
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                for data in self._frames:
                    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(head.encode() + data + b"\r\n")
                    time.sleep(self._pause)
                if self._then != "repeat":
                    break
            if self._then == "stall":
                self.server.over.wait(60)


@contextlib.contextmanager
def _serving(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.over = True, threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()


def files(folder):
    """Context of a URL under which the files of a folder are."""
    return _serving(functools.partial(_Files, directory=str(folder)))


def jpegs(frames, then="end", pause=0.01):
    """Context of the URL of a stream of frames (H, W, 3) uint8 RGB, and of what comes then: end, stall or repeat."""
    import cv2

    encoded = [cv2.imencode(".jpg", np.asarray(frame)[..., ::-1])[1].tobytes() for frame in frames]
    return _serving(functools.partial(_Jpegs, encoded, then, pause))
