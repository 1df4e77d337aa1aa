"""Results that grow with every frame: tables that are whole up to the last frame at any time, and JSON lines."""

import contextlib
import json
import math

from trackers.errors import InputError, os_reason


class Table:
    """A text file of lines, complete up to the last line at any time.

    Args: path: the file, replaced where it exists. header: the first line, or None.

    Raises: InputError where it cannot be written. A context manager.
    """

    def __init__(self, path, header=None):
        self._path = path
        # Without a buffer, so that what the disk does not take is known at once, and not tried again on closing.
        self._file = path.open("wb", buffering=0)
        if header is not None:
            self.write(header)

    def write(self, cells):
        """A line of texts, separated by commas."""
        line = (",".join(cells) + "\n").encode()
        try:
            while line:  # a disk that is nearly full takes a part
                line = line[self._file.write(line) :]
        except OSError as error:
            raise InputError(f"{self._path} cannot be written: {os_reason(error)}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._file.close()


def json_line(frame, ids, boxes, scores, lost):
    """A frame's targets as a line of JSON.

    {"frame": 7, "targets": [{"id": 1, "box": [x, y, w, h], "score": 0.91, "lost": false}]}: boxes in pixels with three
    decimals, score null where there is none, as in the first frame.
    """
    targets = [
        {
            "id": int(number),
            "box": [round(float(value), 3) for value in box],
            "score": round(float(score), 5) if math.isfinite(score) else None,
            "lost": bool(away),
        }
        for number, box, score, away in zip(ids, boxes, scores, lost, strict=True)
    ]
    return json.dumps({"frame": int(frame), "targets": targets})
