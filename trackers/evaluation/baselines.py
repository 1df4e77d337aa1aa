"""Trackers to compare with, behind the interface of `tracking.single_object.Tracker`; they have no variables.

`static` is the floor: a number on a benchmark means something only beside it. The others are OpenCV's (opencv-contrib).
"""

from typing import Any, NamedTuple

import numpy as np

from trackers.errors import InputError, UsageError

_OPENCV = {"kcf": "TrackerKCF_create", "csrt": "TrackerCSRT_create", "mil": "TrackerMIL_create"}
NAMES = ("static", *_OPENCV)
# OpenCV's MIL ends the whole process (segmentation fault) on targets of a few pixels.
_MIL_SMALLEST_AREA, _MIL_SMALLEST_SIDE = 36, 3


class Output(NamedTuple):
    """box (4,) x, y, w, h pixels; score: 1.0 found, 0.0 lost (the box is then the one before)."""

    box: np.ndarray
    score: float


class State(NamedTuple):
    """box: the last one; tracker: OpenCV's object (changed by every step), or None where it refused the first box."""

    box: np.ndarray
    tracker: Any = None


class Static:
    """The first box, for ever."""

    def init(self, variables, frame, box, frame_size=None):
        del variables, frame, frame_size
        return State(np.asarray(box, np.float64))

    def step(self, variables, state, frame, frame_size=None):
        del variables, frame, frame_size
        return state, Output(state.box, 1.0)


class OpenCV:
    """One of OpenCV's trackers; a frame in which it reports a loss repeats the last box.

    Args:
      name: "kcf", "csrt" or "mil". InputError where this OpenCV lacks it.

    MIL's random numbers cannot be seeded from outside: its boxes depend on what the process tracked before.
    """

    def __init__(self, name):
        try:
            import cv2
        except ImportError as error:
            raise InputError(f"baseline {name} needs OpenCV: pip install opencv-contrib-python-headless") from error
        if not hasattr(cv2, _OPENCV[name]):
            raise InputError(
                f"baseline {name}: OpenCV {cv2.__version__} has no {_OPENCV[name]}: "
                "pip install opencv-contrib-python-headless, without another opencv package beside it"
            )
        self._cv2, self._name, self._create = cv2, name, getattr(cv2, _OPENCV[name])

    def init(self, variables, frame, box, frame_size=None):
        del variables
        image, box = self._image(frame, frame_size), np.asarray(box, np.float64)
        height, width = image.shape[:2]
        near = np.clip(np.round(box[:2]), 0, [width - 1, height - 1])
        far = np.clip(np.round(box[:2] + box[2:]), near + 1, [width, height])
        return State(box, self._begin(image, near, far - near))

    def _begin(self, image, corner, size):
        """OpenCV's tracker, or None where the target is too small for it: lost from the first frame on."""
        if self._name == "mil" and (size.prod() < _MIL_SMALLEST_AREA or size.min() < _MIL_SMALLEST_SIDE):
            return None
        tracker = self._create()
        try:
            tracker.init(image, tuple(int(value) for value in (*corner, *size)))
        except self._cv2.error:
            return None
        return tracker

    def step(self, variables, state, frame, frame_size=None):
        del variables
        found, box = False, None
        if state.tracker is not None:
            try:
                found, box = state.tracker.update(self._image(frame, frame_size))
            except self._cv2.error:
                found = False
        box = np.asarray(box, np.float64) if found else state.box
        return State(box, state.tracker), Output(box, float(found))

    @staticmethod
    def _image(frame, frame_size):
        if frame_size is not None:
            height, width = (int(side) for side in frame_size)
            frame = frame[:height, :width]
        return np.ascontiguousarray(np.asarray(frame)[..., ::-1])


def build(name):
    """The baseline called `name` (one of NAMES). Another name: UsageError."""
    if name == "static":
        return Static()
    if name not in _OPENCV:
        raise UsageError(f"no baseline called {name!r}: choose from {', '.join(NAMES)}")
    return OpenCV(name)
