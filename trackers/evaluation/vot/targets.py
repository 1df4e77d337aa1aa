"""What the VOT toolkit runs: `protocol = python`, `command = trackers.evaluation.vot.targets:Targets` in trackers.ini.

The toolkit starts a process for a tracker, makes an object of this class there with the arguments arg_NAME of
trackers.ini, and calls `init` with the first frame of a run and `update` with the others. The network steps are those
of single_object.Tracker, so boxes are eval.py's.
"""

import jax
import numpy as np

import trackers
from trackers import errors, platforms, quiet, weights
from trackers.io import image_files, plain_text
from trackers.tracking import single_object

# Channel of frames that have several, such as color and depth.
_COLOR = "color"


class Targets:
    """Any number of targets of one video, each with a tracker state of its own.

    Args:
      config: path of a JSON file with the sections `model` and `tracking`, as `workspace.add_tracker` writes it.
      checkpoint: as weights.load takes it; the shipped weights when None.

    Regions come and go as (x, y, w, h) in pixels, so trackers.ini says `convert = rectangle`: the toolkit then makes
    rectangles of polygons. Of masks it makes the corner pixels [(x, y), ...] of the box around them (0.9.0). A region
    comes with a dict of properties, where the toolkit keeps "confidence".
    """

    # The toolkit asks: may init and update be given several targets, or further ones on the way?
    multiobject = True

    def __init__(self, config, checkpoint=None):
        import ml_collections

        quiet.libraries()
        platforms.leave_out_absent()
        config = ml_collections.ConfigDict(plain_text.read_json(config, "a config"))
        self._tracker = single_object.Tracker(trackers.build(config.model), config.tracking)
        self._variables = jax.device_put(weights.load(checkpoint, config.model))
        self._states = []

    def init(self, frame, new, properties=None):
        """Forgets all targets and starts on new ones.

        Args:
          frame: path of the image, or {channel: path}.
          new: list of (region, dict), a target each.
          properties: of the run; not used.

        Returns: list of ((x, y, w, h), dict), the new ones.

        Raises: InputError for a region that is no box in the frame, and for an image that cannot be read.
        """
        del properties
        self._states = []
        return self._start(_read(frame), new)

    def update(self, frame, new=(), properties=None):
        """Finds every target in the next frame, and starts on those of `new`, as init does; the new ones come last."""
        del properties
        image, found = _read(frame), []
        for index, state in enumerate(self._states):
            self._states[index], output = self._tracker.step(self._variables, state, image)
            score = float(output.score)
            found.append((_rectangle(output.box), {} if np.isnan(score) else {"confidence": score}))
        return found + self._start(image, new)

    def _start(self, image, new):
        boxes = [single_object.check_box(_box(region), *image.shape[:2], "the region of a target") for region, _ in new]
        self._states += [self._tracker.init(self._variables, image, box) for box in boxes]
        return [(_rectangle(box), {}) for box in boxes]


def _box(region):
    """x, y, w, h of what stands for a region."""
    if isinstance(region, list):
        corners = np.array(region)
        return *corners.min(axis=0), *(np.ptp(corners, axis=0) + 1)
    if not isinstance(region, tuple) or len(region) != 4:
        raise errors.InputError(
            "a target must be given as a rectangle x,y,w,h: trackers.ini needs `convert = rectangle`, and the"
            " experiment regions with an area (no points, no phrases)"
        )
    return region


def _read(frame):
    return image_files.read_image(frame[_COLOR] if isinstance(frame, dict) else frame)


def _rectangle(box):
    return tuple(float(value) for value in np.asarray(box))
