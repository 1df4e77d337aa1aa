"""A tracker that was exported: its programs are read from files (trackers.export), and no model is built.

The folder holds export.json, which says what is there and how to call it; the weights; and the programs, StableHLO as
jax.export serializes it. All are jax.jit's again here, compiled for the frames' canvas and the number of targets.
"""

import functools

import jax
import numpy as np
from etils import epath
from jax import export

from trackers import convert, weights
from trackers.errors import InputError, UsageError
from trackers.io import digests, outputs, plain_text
from trackers.tracking import canvases
from trackers.tracking.single_object import Output

MANIFEST = "export.json"
FORMAT, VERSION = "one-stream-trackers export", 1


def file_of(program):
    """The name of a program's file."""
    return f"{program}.stablehlo"


def is_exported(path):
    """Whether a path is a folder that trackers.export wrote."""
    return (epath.Path(path) / MANIFEST).exists()


def manifest(folder):
    """What export.json of a folder says, the files being whole.

    Raises: InputError where it is damaged, or of another format or a later version.
    """
    folder = epath.Path(folder)
    outputs.check_finished(folder)
    said = plain_text.read_json(folder / MANIFEST, "the manifest of an export")
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise InputError(f"{folder / MANIFEST} is not of trackers.export: its format is not {FORMAT!r}")
    if said.get("version") != VERSION:
        raise InputError(
            f"{folder} has version {said.get('version')} of the format, read here is {VERSION}: export it again"
        )
    try:
        digests.verify(folder, {MANIFEST, weights.FILE, file_of("init"), file_of("step")})
    except digests.Damaged as error:
        raise InputError(f"{folder} is damaged ({error}): copy or export it again") from None
    return said


def load(folder, recover=False):
    """(Tracker, weights) of a folder of trackers.export.

    Args: recover: whether the tracker must be one that looks for lost targets, which is settled when it is exported.

    Raises: InputError where the folder is damaged, holds no tracker's programs, or programs of another JAX;
      UsageError where it cannot recover.
    """
    folder = epath.Path(folder)
    said = manifest(folder)
    with plain_text.naming(folder / MANIFEST, "export it again"):
        parts, platforms = said["programs"], said["platforms"]
        written_by, recovers = said["written_by"]["jax"], said["tracking"]["lost_below"] > 0
        # The manifest is checked as a whole before anything of it is used.
        stored = {name: (folder / part["file"], int(part["calling_convention"])) for name, part in parts.items()}
    if not {"init", "step"} <= stored.keys():
        raise InputError(f"{folder} holds no tracker in StableHLO: export one with --formats=stablehlo")
    if recover and not recovers:
        raise UsageError(
            f"{folder} was exported without looking for lost targets: export it with --config.tracking.lost_below=0.35"
        )
    here = platform()
    if here not in platforms:
        raise InputError(f"{folder} was exported for {', '.join(platforms)}: export it with --platforms={here}")
    read = {name: program(*stored[name], written_by) for name in ("init", "step")}
    return Tracker(**read), convert.read_checkpoint(folder / weights.FILE)


def platform():
    """What jax.export calls the default device."""
    return {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())


def program(file, convention, written_by):
    """The function that a file holds, jitted.

    Args: file: path. convention: calling convention of jax.export. written_by: version of the JAX that wrote it.

    Raises: InputError for one that this JAX cannot run, also when it is called.
    """
    remedy = f"{file} was written by jax {written_by}, and jax {jax.__version__} cannot run it: export it again"
    low, high = export.minimum_supported_calling_convention_version, export.maximum_supported_calling_convention_version
    if not low <= convention <= high:
        raise InputError(remedy)
    try:
        read = export.deserialize(bytearray(file.read_bytes()))
    except OSError:
        raise InputError(f"{file} is missing: copy the whole folder") from None
    except Exception:  # whatever a foreign file makes the reader raise
        raise InputError(remedy) from None
    compiled = jax.jit(read.call)

    def call(*arguments):
        try:
            return compiled(*arguments)
        except Exception as error:  # StableHLO of another version, or other weights
            raise InputError(f"{remedy} ({weights.in_one_line(error)})") from error

    return call


class Tracker:
    """What VideoTracker calls of a single_object.Tracker, for one target.

    Args: init, step: the programs.
    """

    def __init__(self, init, step):
        self._init, self._step = init, step

    def start(self, variables, frame, boxes):
        """States of targets: frame (H,W,3) uint8 RGB, boxes (N,4) float32 x, y, w, h in pixels."""
        return self._init(variables, *canvases.pad(frame), np.asarray(boxes, np.float32))

    def advance(self, variables, states, frame):
        """(states, {"box": (N,4), "score": (N,), "lost": (N,)}) of the next frame."""
        return self._step(variables, states, *canvases.pad(frame))

    def init(self, variables, frame, box):
        """The state of one target, as single_object.Tracker.init."""
        return self.start(variables, frame, np.asarray(box)[None])

    def step(self, variables, state, frame):
        """(state, Output) of one target, as single_object.Tracker.step."""
        state, found = self.advance(variables, state, frame)
        one = {name: array[0] for name, array in jax.device_get(found).items()}
        return state, Output(division=None, window=None, **one)


class Group:
    """Several targets of one video: what video_tracker's own group does.

    Args: tracker: Tracker. variables: the weights. slots: targets that a program takes.

    count: of the targets.
    """

    def __init__(self, tracker, variables, slots):
        self._slots, self._start = slots, functools.partial(tracker.start, variables)
        self._advance = functools.partial(tracker.advance, variables)

    @staticmethod
    def states_of_one(state):
        """A state of Tracker.init as `states` gives it."""
        return jax.device_get(state)

    def start(self, frame, boxes):
        """boxes: list of (4,), at most as many as there are slots; the last one fills the others."""
        self.count = len(boxes)
        self._states = self._started(frame, boxes)

    def states(self):
        """The targets' states, arrays (count, ...), NumPy."""
        return {name: np.asarray(leaf)[: self.count] for name, leaf in self._states.items()}

    def take_over(self, states):
        """Goes on with the targets of `states`, at most as many as there are slots."""
        self.count, self._states = len(next(iter(states.values()))), states

    def add(self, frame, boxes):
        """Starts further targets, boxes as of start, in the frame that the others were sought in last."""
        held, fresh = self.states(), self._started(frame, [boxes[0]] * self.count + boxes)
        self._states = {
            name: np.concatenate([leaf, np.asarray(fresh[name])[self.count :]]) for name, leaf in held.items()
        }
        self.count += len(boxes)

    def update(self, frame):
        """(box (N,4), score (N,), lost (N,)) in the next frame, NumPy."""
        self._states, found = self._advance(self._states, frame)
        found = jax.device_get(found)
        return tuple(found[name][: self.count] for name in ("box", "score", "lost"))

    def _started(self, frame, boxes):
        """States of all slots."""
        return self._start(frame, np.stack([*boxes, *[boxes[-1]] * (self._slots - len(boxes))]))
