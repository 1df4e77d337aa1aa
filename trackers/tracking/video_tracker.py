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
    """What the tracker says of one frame, NumPy; N is there where `start` was given N boxes or targets were added.

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
            checked = _checked(boxes, frame)
            self._group = self._groups_of(len(checked))
            self._group.start(frame, checked)
        self._shape = frame.shape

    def add(self, frame, box):
        """Starts on further targets, in the frame that `start` or `update` was given last, beside those tracked.

        Args: frame, box: as of start. From the next `update` on their rows of Found follow those of the others.

        Raises: UsageError before `start`; InputError as start does, and for a frame of another size than the first.
        """
        frame, boxes = self._following(frame, "add(frame, box)"), _array(box)
        if boxes.ndim < 2:
            checked = [single_object.check_box(box, *frame.shape[:2], "the box of the added target")]
        else:
            checked = _checked(boxes, frame)
        before = self._group
        group = self._groups_of((1 if before is None else before.count) + len(checked))
        if before is None:
            group.take_over(group.states_of_one(self.state))
        elif group is not before:
            group.take_over(before.states())
        group.add(frame, checked)
        self.state, self.output, self._group = None, None, group

    def update(self, frame):
        """Finds the targets in the next frame: Found.

        Raises: UsageError before `start`; InputError for a frame of another form or size than the first.
        """
        frame = self._following(frame, "update(frame)")
        if self._group is not None:
            return Found(*self._group.update(frame))
        self.state, self.output = self.tracker.step(self.variables, self.state, frame)
        box, score, lost = jax.device_get((self.output.box, self.output.score, self.output.lost))
        return Found(box, score, np.bool_(False) if lost is None else lost)

    def _following(self, frame, call):
        """A frame of the video that was started on, RGB. call: what it was given to, for the message."""
        if self._shape is None:
            raise UsageError(f"start(frame, box) comes before {call}")
        frame = self._rgb(frame)
        if frame.shape != self._shape:
            now, before = (f"{shape[1]}x{shape[0]}" for shape in (frame.shape, self._shape))
            raise InputError(f"a frame of {now} pixels follows frames of {before}: start again on it")
        return frame

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
    """Several targets of one video, as slots of a Lockstep.

    count: of the targets.
    """

    def __init__(self, tracker, variables, slots):
        self._tracker = tracker
        self._device = lockstep.Lockstep(tracker, variables, slots, jax.local_devices()[:1], one_frame=True)

    @staticmethod
    def states_of_one(state):
        """A single_object.State as `states` gives it."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[None], state)

    @property
    def count(self):
        return len(self._ages)

    def start(self, frame, boxes):
        """boxes: list of (4,)."""
        self._states, self._ages = self._device.empty(), np.zeros(0, int)
        self.add(frame, boxes)

    def states(self):
        """The targets' states (count, ...), NumPy."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: self.count], self._states)

    def take_over(self, states):
        """Goes on with the targets of `states`, at most as many as there are slots."""
        # Where templates are never replaced nobody asks how long a target has been tracked.
        self._states, self._ages = self._device.taken_over(states), np.array(states.online.frames, int)

    def add(self, frame, boxes):
        """Starts further targets, boxes as of start, in the frame that the others were sought in last."""
        starts = dict(enumerate(boxes, start=self.count))
        nobody = np.zeros(self._device.slots, bool)
        self._states = self._device.start(self._states, self._batch(frame, nobody, starts, nobody))
        self._ages = np.concatenate([self._ages, np.zeros(len(boxes), int)])
        jax.block_until_ready(self._states)  # the frame may change now

    def update(self, frame):
        """(box (N,4), score (N,), lost (N,)) in the next frame, NumPy."""
        self._ages = self._ages + 1
        live = np.arange(self._device.slots) < self.count
        due = np.zeros(self._device.slots, bool)
        due[: self.count] = self._tracker.is_due(self._ages)
        self._states, found = self._device.step(self._states, self._batch(frame, live, {}, due))
        found = np.asarray(found)[: self.count, 0]
        return found[:, :4], found[:, 4], found[:, 5] > 0

    def _batch(self, frame, live, starts, due):
        frame, size = canvases.pad(frame)
        return self._device.put(frame[None], size[None], live[:, None], starts, due)


def _checked(boxes, frame):
    """The rows of (N, 4) boxes as single_object.check_box gives them, a list."""
    names = [f"box {number + 1} of {len(boxes)}" for number in range(len(boxes))]
    return [single_object.check_box(box, *frame.shape[:2], name) for box, name in zip(boxes, names, strict=True)]


def _array(box):
    """The box or boxes as an array, float64; of other shapes than (4,) and (N, 4) one that check_box refuses."""
    try:
        boxes = np.asarray(box, np.float64)
    except (TypeError, ValueError):
        return np.zeros(0)
    if boxes.ndim > 1 and (boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes)):
        raise InputError(f"boxes are (4,) of one target or (N, 4) of several, x,y,w,h in pixels, got {boxes.shape}")
    return boxes
