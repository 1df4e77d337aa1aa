"""What libjpeg and libpng say of damage in a picture. libjpeg fills in something, writes a line to C's stderr and goes
on, and OpenCV has no other way to tell. (Damage after which it finds its way again by chance it does not notice.)
libpng ends with a line there; what it only warns of, a color profile say, is no damage and would be said of each frame.

While pictures are decoded C's variable stderr (not the file descriptor, so Python's messages and other programs are not
touched) names a file in memory. Which of several threads' pictures a line is about shows when one is decoded again
alone; that is done only where there was a line.
"""

import contextlib
import ctypes
import functools
import os
import re
import tempfile
import threading

_LINE = re.compile(
    r"^(?:Corrupt JPEG data|Premature end of JPEG|Inconsistent progression sequence|libpng (?:error|warning)).*$",
    re.MULTILINE,
)
# Cameras leave a byte before a JPEG's end marker; the picture is whole.
_HARMLESS = re.compile("Corrupt JPEG data: 1 extraneous bytes before marker 0xd9|libpng warning")
_UNBUFFERED = 2  # _IONBF of stdio.h


def watched(decode):
    """Decodes a JPEG or PNG and listens.

    Args: decode: function () -> picture, to be called once or twice, by any number of threads at a time.

    Returns: (picture, what the decoder says is damaged or "" for nothing). Always "" where C's stderr cannot be
      replaced.
    """
    stderr = _stderr()
    if stderr is None:
        return decode(), ""
    with stderr.captured() as said:
        picture = decode()
        text = said()
    if _damage(text):
        with stderr.captured(alone=True) as said:
            picture = decode()
            text = said()
    return picture, _damage(text)


def _damage(text):
    return next((line for line in _LINE.findall(text) if not _HARMLESS.match(line)), "")


@functools.cache
def _stderr():
    try:
        return _Stderr()
    except (OSError, ValueError, AttributeError):
        return None


class _Stderr:
    """C's stderr, which threads can capture together or one alone."""

    def __init__(self):
        c = ctypes.CDLL(None)
        self._variable = ctypes.c_void_p.in_dll(c, "stderr")
        self._usual = self._variable.value
        self._kept = tempfile.TemporaryFile()  # noqa: SIM115, open as long as the process
        c.fdopen.restype, c.fdopen.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_char_p)
        c.setvbuf.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
        self._fd = os.dup(self._kept.fileno())
        self._file = c.fdopen(self._fd, b"a")
        if not self._file:
            raise OSError("C's stdio cannot open a file in memory")
        c.setvbuf(self._file, None, _UNBUFFERED, 0)
        self._seek = ctypes.PyDLL(None).lseek
        self._seek.argtypes, self._seek.restype = (ctypes.c_int, ctypes.c_int64, ctypes.c_int), ctypes.c_int64
        self._changed, self._inside, self._alone = threading.Condition(), 0, 0

    @contextlib.contextmanager
    def captured(self, alone=False):
        """Gives a function () -> text written since then, by this thread and, unless alone, others."""
        with self._changed:
            # One that asks to be alone lets no others in meanwhile.
            self._changed.wait_for(lambda: not self._alone)
            self._alone += alone
            self._changed.wait_for(lambda: not (alone and self._inside))
            self._inside += 1
            self._variable.value = self._file
            start = self._size()
        try:
            yield lambda: os.pread(self._fd, self._size() - start, start).decode(errors="replace")
        finally:
            with self._changed:
                self._inside -= 1
                self._alone -= alone
                if not self._inside:
                    self._variable.value = self._usual
                    self._pass_on()
                self._changed.notify_all()

    def _size(self):
        # With Python's lock held: to let it go takes other threads longer than this.
        return self._seek(self._fd, 0, os.SEEK_END)

    def _pass_on(self):
        """Hands what is no line of a decoder's to the real stderr, and forgets all."""
        if size := self._size():
            rest = _LINE.sub("", os.pread(self._fd, size, 0).decode(errors="replace")).strip()
            os.ftruncate(self._fd, 0)
            if rest:
                os.write(2, f"{rest}\n".encode())
