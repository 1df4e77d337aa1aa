"""A tracker for programs of others: NumPy frames in, NumPy boxes out, one target or many, and nothing to carry along.

`trackers.load` makes it (docs/api.md). One target goes through single_object.Tracker, several through
lockstep.Lockstep, whose slots all look at the same frame; both take the same step.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

import trackers
from configs import variants
from trackers import weights
from trackers.errors import InputError, UsageError
from trackers.tracking import canvases, exported, lockstep, recovery, single_object

COLORS = ("rgb", "bgr")


class Found(NamedTuple):
    """What the tracker says of one frame, NumPy; N is there where `start` was given N boxes.

    box: (4,) or (N, 4) float32 x, y, w, h in pixels, x and y of the top left corner.
    score: () or (N,) float32, 0..1; NaN where the model gives none.
    lost: () or (N,) bool, whether the target is lost and looked for, its box a guess; False where nobody asked for it.
    """

    box: np.ndarray
    score: np.ndarray
    lost: np.ndarray


def load(source, config=None, colors="rgb", recover=False):
    """A tracker with its weights, by name or by path.

    Args:
      source: name of shipped weights ("grm_t128"), a folder of train.py, trackers.convert or trackers.specialise, a
        published file (.pth, ...), or a folder of trackers.export, whose programs run as they are.
      config: a file and variant as --config takes it ("configs/grm.py:b256"), or a mapping with the sections `model`
        and `tracking`. None: the one that lies beside the weights.
      colors: order of the frames' channels, "rgb" or "bgr" (OpenCV's).
      recover: whether it says when a target is lost, and looks for it then (recovery.py), also where the config does
        not ask for it.

    Returns: VideoTracker.

    Raises: InputError for weights that are not there or cannot be read, or are not of this config;
      UsageError where a config is needed, or has no use, or for other colors.
    """
    path = weights.named(source)
    if exported.is_exported(path):
        if config is not None:
            raise UsageError(f"{path} was exported with its config: leave config out")
        return VideoTracker(*exported.load(path, recover), colors, exported.Group)
    if isinstance(config, str):
        config = variants.load(config)
    elif config is None:
        config = weights.beside(path)
    if not isinstance(config, Mapping) and not hasattr(config, "items"):
        raise UsageError(f"config {config!r}: give FILE.py:VARIANT, or a mapping with `model` and `tracking`")
    if missing := [section for section in ("model", "tracking") if section not in config]:
        raise UsageError(f"{path} has no config beside it with a section `{missing[0]}`: give config='FILE.py:VARIANT'")
    model = trackers.build(config["model"])
    if model.task != "track":
        raise InputError(f"{source}: model {config['model']['name']} does not track one object")
    settings = recovery.switched_on(config["tracking"]) if recover else config["tracking"]
    return VideoTracker(single_object.Tracker(model, settings), weights.load(path, config["model"]), colors)


class VideoTracker:
    """Tracks one target or several through the frames of a video, given one by one.

    Args:
      tracker: single_object.Tracker, or exported.Tracker. variables: its model's.
      colors: order of the frames' channels, "rgb" or "bgr".
      group: class of several targets of one video, (tracker, variables, slots).

    A frame is (H, W, 3) uint8, or (H, W) grey. Frames are padded to one of a few canvases (canvases.py) and the number
    of targets to a power of two, so that few programs are compiled, whatever the sizes.
    """

    def __init__(self, tracker, variables, colors="rgb", group=None):
        if colors not in COLORS:
            raise UsageError(f"colors {colors!r}: the channels of a frame are {' or '.join(map(repr, COLORS))}")
        self.tracker, self.colors = tracker, colors
        self.variables = jax.device_put(variables)
        # state: of the only target, a single_object.State, None otherwise; output: what its last step said.
        self.state = self.output = None
        self._shape, self._group, self._groups = None, None, {}
        self._group_class = _Group if group is None else group

    def start(self, frame, box):
        """Starts on the targets in a frame, and forgets those before.

        Args:
          frame: see the class.
          box: (4,) x, y, w, h in pixels of one target, or (N, 4) of several.

        Raises: InputError for a frame of another form, and as single_object.check_box does.
        """
        frame = self._rgb(frame)
        boxes = _array(box)
        self.state = self.output = self._group = None
        if boxes.ndim < 2:
            self.state = self.tracker.init(self.variables, frame, single_object.check_box(box, *frame.shape[:2]))
        else:
            names = [f"box {number + 1} of {len(boxes)}" for number in range(len(boxes))]
            checked = [
                single_object.check_box(*pair, *frame.shape[:2], name) for *pair, name in zip(boxes, names, strict=True)
            ]
            self._group = self._groups_of(len(checked))
            self._group.start(frame, checked)
        self._shape = frame.shape

    def update(self, frame):
        """Finds the targets in the next frame: Found.

        Raises: UsageError before `start`; InputError for a frame of another form or size than the first.
        """
        if self._shape is None:
            raise UsageError("start(frame, box) comes before update(frame)")
        frame = self._rgb(frame)
        if frame.shape != self._shape:
            now, before = (f"{shape[1]}x{shape[0]}" for shape in (frame.shape, self._shape))
            raise InputError(f"a frame of {now} pixels follows frames of {before}: start again on it")
        if self._group is not None:
            return Found(*self._group.update(frame))
        self.state, self.output = self.tracker.step(self.variables, self.state, frame)
        box, score, lost = jax.device_get((self.output.box, self.output.score, self.output.lost))
        return Found(box, score, np.bool_(False) if lost is None else lost)

    def _groups_of(self, count):
        slots = 1 << (count - 1).bit_length()
        if slots not in self._groups:
            self._groups[slots] = self._group_class(self.tracker, self.variables, slots)
        return self._groups[slots]

    def _rgb(self, frame):
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or not (frame.ndim == 2 or frame.ndim == 3 and frame.shape[2] in (1, 3)):
            raise InputError(f"a frame is (height, width, 3) or (height, width) uint8, got {frame.shape} {frame.dtype}")
        if frame.ndim == 2 or frame.shape[2] == 1:
            return np.repeat(frame.reshape(*frame.shape[:2], 1), 3, axis=2)
        return frame if self.colors == "rgb" else frame[..., ::-1]


class _Group:
    """Several targets of one video, as slots of a Lockstep."""

    def __init__(self, tracker, variables, slots):
        self._tracker = tracker
        self._device = lockstep.Lockstep(tracker, variables, slots, jax.local_devices()[:1], one_frame=True)

    def start(self, frame, boxes):
        self._count, self._frames, self._states = len(boxes), 0, self._device.empty()
        self._step(frame, dict(enumerate(boxes)))

    def update(self, frame):
        self._frames += 1
        found = self._step(frame, {})[: self._count]
        return found[:, :4], found[:, 4], found[:, 5] > 0

    def _step(self, frame, starts):
        live = (np.arange(self._device.slots) < self._count) & (self._frames > 0)
        due = live & self._tracker.is_due(self._frames)
        frame, size = canvases.pad(frame)
        batch = self._device.put(frame[None], size[None], live[:, None], starts, due)
        self._states, found = self._device.step(self._states, batch)
        return np.asarray(found)[:, 0]


def _array(box):
    """The box or boxes as an array, float64; of other shapes than (4,) and (N, 4) one that check_box refuses."""
    try:
        boxes = np.asarray(box, np.float64)
    except (TypeError, ValueError):
        return np.zeros(0)
    if boxes.ndim > 1 and (boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes)):
        raise InputError(f"boxes are (4,) of one target or (N, 4) of several, x,y,w,h in pixels, got {boxes.shape}")
    return boxes
