"""Trackers to compare with, behind the interface of `tracking.single_object.Tracker`; they have no variables.

`static` is the floor: a number on a benchmark means something only beside it. The others are OpenCV's (opencv-contrib):
kcf, csrt and mil as they are, and the trained ones by the files of their networks, nano:BACKBONE.onnx,HEAD.onnx.
"""

import contextlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trackers.errors import InputError, UsageError, os_reason
from trackers.evaluation import records
from trackers.io.numbers import counted

_OPENCV = {"kcf": "TrackerKCF", "csrt": "TrackerCSRT", "mil": "TrackerMIL"}
# {name: (OpenCV's class, {field of its parameters: what the file is})}, the fields in the order of the command line.
_TRAINED = {
    "nano": ("TrackerNano", {"backbone": "BACKBONE.onnx", "neckhead": "HEAD.onnx"}),
    "vit": ("TrackerVit", {"net": "MODEL.onnx"}),
    "dasiamrpn": (
        "TrackerDaSiamRPN",
        {"model": "MODEL.onnx", "kernel_cls1": "KERNEL_CLS1.onnx", "kernel_r1": "KERNEL_R1.onnx"},
    ),
}
NAMES = ("static", *_OPENCV)


def _pattern(name):
    """How a trained one is written."""
    return f"{name}:{','.join(_TRAINED[name][1].values())}"


CHOICE = ", ".join((*NAMES, *map(_pattern, _TRAINED)))
# Letters of a file's name in the name of its tracker, which names a folder.
_LONGEST_STEM = 60
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
      name: "kcf", "csrt", "mil", "nano", "vit" or "dasiamrpn".
      files: paths of a trained one's networks, in the order of the command line.

    Raises: InputError where this OpenCV lacks the tracker, or a file is missing or not its network.

    MIL's random numbers cannot be seeded from outside: its boxes depend on what the process tracked before.
    """

    def __init__(self, name, files=()):
        try:
            import cv2
        except ImportError as error:
            raise InputError(f"baseline {name} needs OpenCV: pip install opencv-contrib-python-headless") from error
        kind, parameters = _TRAINED.get(name, (_OPENCV.get(name), {}))
        if not hasattr(cv2, f"{kind}_create"):
            raise InputError(
                f"baseline {name}: OpenCV {cv2.__version__} has no {kind}_create: "
                "pip install opencv-contrib-python-headless, without another opencv package beside it"
            )
        self._cv2, self._name, self._kind = cv2, name, kind
        self._files = dict(zip(parameters, map(str, files), strict=True))
        if files:
            self._try()

    def _try(self):
        """Raises: InputError naming the file that is not a network, or all where they are not this tracker's."""
        for file in self._files.values():
            try:
                Path(file).open("rb").close()
            except OSError as error:
                raise InputError(f"baseline {self._name}: {file}: {os_reason(error)}") from None
            try:
                with _quiet(self._cv2):
                    self._cv2.dnn.readNet(file)
            except self._cv2.error as error:
                raise InputError(
                    f"baseline {self._name}: {file} is damaged or no network that OpenCV {self._cv2.__version__} reads"
                    f" ({_reason(error)}): fetch it again"
                ) from None
        # A network of another tracker is read, too; it fails when it is asked for a box.
        image = np.zeros((128, 128, 3), np.uint8)
        try:
            tracker = self._create()
            tracker.init(image, (48, 48, 32, 32))
            tracker.update(image)
        except self._cv2.error as error:
            raise InputError(
                f"baseline {self._name}: {', '.join(self._files.values())}: not its networks, or not in this order"
                f" ({_reason(error)}): write {_pattern(self._name)}"
            ) from None

    def _create(self):
        create = getattr(self._cv2, f"{self._kind}_create")
        if not self._files:
            return create()
        parameters = getattr(self._cv2, f"{self._kind}_Params")()
        for field, file in self._files.items():
            setattr(parameters, field, file)
        with _quiet(self._cv2):
            return create(parameters)

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


class Entry(NamedTuple):
    """A baseline as it is asked for. label: names it in tables and folders. run: what its boxes depend on."""

    label: str
    name: str
    files: tuple = ()

    @property
    def run(self):
        """A text that changes with the tracker and the bytes of its files."""
        digests = [records.digest(np.fromfile(file, np.uint8)) for file in self.files]
        return " ".join(["baseline", self.name, *digests])

    def build(self):
        """The tracker. Raises: InputError as OpenCV does."""
        return Static() if self.name == "static" else OpenCV(self.name, self.files)


def parse(pieces, others=()):
    """[Entry] of what stands between the commas of --baselines, in its order.

    A piece that is not NAME or NAME:FILE is one more file of the entry before it, as in static,nano:b.onnx,h.onnx,csrt.
    A trained tracker is labeled by its first file, nano(b); where two would be labeled alike, by its folder, too.

    Args:
      pieces: list of str. others: further names that stand for themselves.

    Raises: UsageError for an unknown name, too few or too many files, or a tracker that is given twice.
    """
    asked = []
    for piece in pieces:
        name, colon, file = piece.partition(":")
        if piece in (*NAMES, *others) or name in _TRAINED:
            asked.append((name, [file] if colon else []))
        elif name in NAMES:
            raise UsageError(f"--baselines: {name} takes no file: write {name} instead of {piece}")
        elif asked and asked[-1][1]:
            asked[-1][1].append(piece)
        else:
            raise UsageError(f"--baselines: no baseline called {piece!r}: choose from {CHOICE}")
    for name, files in asked:
        expected = _TRAINED[name][1] if name in _TRAINED else ()
        if len(files) != len(expected) or not all(files):
            raise UsageError(f"--baselines: {name} was given {counted(len(files), 'file')}: write {_pattern(name)}")
    labels = [_label(name, files, 1) for name, files in asked]
    labels = [
        label if labels.count(label) == 1 else _label(name, files, 2)
        for label, (name, files) in zip(labels, asked, strict=True)
    ]
    for number, label in enumerate(labels):
        if label in labels[:number]:
            raise UsageError(f"--baselines: two are called {label}: leave one out, or rename its first file")
    return [Entry(label, name, tuple(files)) for label, (name, files) in zip(labels, asked, strict=True)]


def _label(name, files, parts):
    """nano(b) of nano, [a/b.onnx, ...] and one part of the path, nano(a-b) of two."""
    if not files:
        return name
    path = Path(files[0]).absolute().with_suffix("")
    stem = re.sub(r"[^\w.-]+", "-", "-".join(path.parts[-parts:]))
    return f"{name}({stem[-_LONGEST_STEM:]})"


@contextlib.contextmanager
def _quiet(cv2):
    """Keeps what OpenCV logs of networks off standard error; what fails is raised all the same."""
    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def _reason(error):
    """What OpenCV found wrong, without the place in its source."""
    text = " ".join(str(error).split())
    return text.rpartition("error: ")[2].partition(" in function")[0]
