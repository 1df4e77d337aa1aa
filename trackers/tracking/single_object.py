"""Tracking one object through a video, as pure functions of the frame.

Crop, normalization, network, window and box are one jitted call a frame; only the frame goes to the device and only
the box comes back. Being pure, the same functions go through jax.lax.scan (`track`: many frames in one dispatch) and
jax.vmap (`jax.vmap(lambda frames, box: track(tracker, variables, frames, box))`; sequences of any lengths and sizes in
lockstep: lockstep.py).
"""

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np

import trackers
from trackers.errors import InputError
from trackers.nn import heads
from trackers.nn.tokens import as_pair
from trackers.ops import boxes, crops
from trackers.tracking import box_updates, canvases, contrast, online_filter, recovery
from trackers.tracking import online as online_templates
from trackers.tracking import settings as settings_of

# Settings that need a score, and what for.
_BY_SCORE = {"update_interval": "chooses templates by their score", "size_score_power": "weighs sizes by their score"}
# Coordinates and sides of a first box in pixels: beyond them float32 holds no crop around it.
LARGEST, SMALLEST = 1e6, 1e-2


def for_benchmark(config, name):
    """The sections `model` and `tracking` of a config as the benchmark `name` runs them.

    What config.tracking.benchmarks.NAME sets takes the place of the tracking section's own; its section `model` that of
    what it names in the model section.

    Args: config: the whole config, a mapping with "model" and "tracking".

    Returns: (model section, tracking section, {key: value that the benchmark sets}), dicts; the keys of the last are as
      "tracking.search_factor", "model.division.threshold".

    Raises: InputError naming what the benchmark sets and model or tracker do not have, or cannot take.
    """
    model, tracking = (trackers.to_plain(config[section]) for section in ("model", "tracking"))
    where = f"config.tracking.{settings_of.BY_BENCHMARK}.{name}"
    settings = tracking.pop(settings_of.BY_BENCHMARK, {}).get(name, {})
    # What is wrong without the benchmark's settings is not laid at its door.
    trackers.build(model)
    settings_of.read(tracking)
    fields = settings.get("model", {}) if isinstance(settings, dict) else None
    if not isinstance(fields, dict):
        raise InputError(f"{where} must be a section of settings, with a section `model` of fields: {settings!r}")
    settings = {key: value for key, value in settings.items() if key != "model"}
    model, tracking = trackers.merged(model, fields), {**tracking, **settings}
    try:
        trackers.build(model)
        settings_of.read(tracking)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return model, tracking, {**_flat(fields, "model"), **_flat(settings, "tracking")}


def _flat(section, prefix):
    """{"prefix.key.key": value} of nested dicts."""
    flat = {}
    for key, value in section.items():
        flat |= _flat(value, f"{prefix}.{key}") if isinstance(value, dict) else {f"{prefix}.{key}": value}
    return flat


@flax.struct.dataclass
class State:
    """box: (4,) x, y, w, h in pixels, float32. cache: what the model keeps of the templates, which are in `online`.

    sighting: whether the target is lost, None where the settings don't ask (lost_below 0).
    aspect: () logarithm of width over height, None where the settings don't ask (aspect_update 1).
    crop_aspect: () the same of the crops, None where they are square (settings crop_aspect 0).
    levels: (2,) how crops are stretched (contrast.py), None where the settings don't ask (least_contrast 0).
    filter: what the online filter has learned, None where the settings don't ask (filter_weight 0).
    """

    box: jax.Array
    cache: dict
    online: online_templates.Online
    sighting: recovery.Sighting | None = None
    aspect: jax.Array | None = None
    crop_aspect: jax.Array | None = None
    levels: jax.Array | None = None
    filter: online_filter.Filter | None = None


@flax.struct.dataclass
class Output:
    """What the tracker says of one frame.

    box: (4,) x, y, w, h in pixels, float32.
    score: () of the chosen cell before the window is applied, of the mixed map with filter_weight; NaN
      where the tracker gives no score.
    division: (L, Nx) int32 category of each search token in each layer (heads.Prediction), None where nothing divides.
    window: int32, of the search crop in the frame: (3,) x1, y1, side; (4,) x1, y1, width, height with crop_aspect.
    lost: () bool, None where the settings don't ask; the box of a lost target is the best guess.
    """

    box: jax.Array
    score: jax.Array
    division: jax.Array | None
    window: jax.Array
    lost: jax.Array | None = None


def check_box(box, height, width, name="the box of the first frame"):
    """The box as float32 (4,) where it can start a tracker.

    Args:
      box: x, y, w, h in pixels.
      height, width: the frame's in pixels.
      name: the box's, for the message.

    Raises: InputError for other than four finite numbers, no area, or a box wholly outside the frame.
    """
    try:
        values = np.asarray(box, np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (4,):
        raise InputError(f"{name} must be four numbers x,y,w,h in pixels, got {box!r}")
    shown = ",".join(f"{value:g}" for value in values)
    if not np.all(np.isfinite(values)):
        raise InputError(f"{name} is {shown}: give finite numbers x,y,w,h in pixels")
    x, y, w, h = values
    if np.abs(values).max() > LARGEST or (w > 0 and w < SMALLEST) or (h > 0 and h < SMALLEST):
        raise InputError(
            f"{name} is {shown}: give x,y from -{LARGEST:g} to {LARGEST:g} and sides from {SMALLEST:g} to {LARGEST:g}"
            " pixels"
        )
    if w <= 0 or h <= 0:
        raise InputError(f"{name} is {shown}, which has no area: give a width and height above 0 (x,y,w,h in pixels)")
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise InputError(f"{name} is {shown}, wholly outside the frame of {width:g}x{height:g} pixels: check x,y,w,h")
    return values.astype(np.float32)


class Tracker:
    """A single-object tracker around any model of trackers.models; holds no arrays, hashable where the model is.

    Args:
      model: from trackers.build.
      config: mapping or ConfigDict of settings.Settings; what is absent takes its default.

    Raises: InputError for an unknown or impossible setting.

    Frames are (H, W, 3) uint8 RGB. They are padded to one of a few canvases (canvases.py), so that videos of many sizes
    need few compilations. `frame_size` (height, width) says that a frame is padded already, to a shape of the caller's
    choice, and which top left part of it is image; it may be traced. Frames under a transformation (jit, vmap, scan)
    stay as they are; of those on a device give frame_size, too, or they come back to be padded.
    """

    def __init__(self, model, config=None):
        self.model = model
        self.settings = settings_of.read(config)
        self.template_size = _square(model.template_size, "template_size")
        self.search_size = _square(model.search_size, "search_size")
        if self.settings.update_interval and model.templates < 2:
            raise InputError(
                "tracking.update_interval replaces online templates, and this model takes one template only:"
                " set model.templates to 2 or more, or tracking.update_interval=0"
            )

    def __eq__(self, other):
        return type(self) is type(other) and (self.model, self.settings) == (other.model, other.settings)

    def __hash__(self):
        return hash((self.model, self.settings))

    def init(self, variables, frame, box, frame_size=None):
        """Starts on the target.

        Args:
          variables: the model's.
          frame: (H, W, 3) uint8 RGB.
          box: (4,) x, y, w, h in pixels.
          frame_size: see the class.

        Returns: State.

        Raises: InputError as check_box does, where box and frame size are known (not traced); for a frame of another
          shape or dtype.
        """
        _check_frame(frame)
        _check_if_known(box, frame.shape[:2] if frame_size is None else frame_size)
        frame, frame_size = canvases.pad_if_known(frame, frame_size)
        return self._init(variables, frame, box, frame_size)

    def step(self, variables, state, frame, frame_size=None):
        """Finds the target in the next frame: (State, Output). Arguments as of init."""
        _check_frame(frame)
        frame, frame_size = canvases.pad_if_known(frame, frame_size)
        return self._step(variables, state, frame, frame_size)

    @functools.partial(jax.jit, static_argnums=0)
    def _init(self, variables, frame, box, frame_size):
        box = jnp.asarray(box, jnp.float32)
        # With several templates all of them start as the first frame's.
        share = self.settings.crop_aspect
        crop_aspect = share * box_updates.log_aspect(box) if share else None
        where = box, frame_size, crop_aspect
        crop, template_box = self._cut_template(frame, *where)
        levels = None
        if least := self.settings.least_contrast:
            # Of a white frame all that lies in it is white.
            inside = self._cut_template(jnp.full_like(frame, 255), *where)[0] == 255
            levels = contrast.levels(crop, inside, least)
            crop = contrast.stretched(crop, levels)
        online = online_templates.start(crop, template_box, self.model.templates)
        seen = recovery.start(box) if self.settings.lost_below else None
        aspect = box_updates.log_aspect(box) if self.settings.aspect_update < 1 else None
        cache = self.encode(variables, online)
        state = State(box, cache, online, sighting=seen, aspect=aspect, crop_aspect=crop_aspect, levels=levels)
        if not self.settings.filter_weight:
            return state
        return state.replace(filter=self._first_filter(variables, state, frame, frame_size))

    def _first_filter(self, variables, state, frame, frame_size):
        """What the filter learns of the first frame, in search crops that show the target in the middle and beside."""

        def seen(step):
            moved = state.box.at[:2].add(step * state.box[2:])
            _, _, prediction, window = self._look(variables, state, moved, frame, frame_size)
            return self._tokens(prediction), _center_in(window, state.box, moved)

        return online_filter.start(*jax.lax.map(seen, jnp.asarray(online_filter.VIEWS)))

    def _tokens(self, prediction):
        """The search crop's tokens after the filter's layer, (rows, columns, D)."""
        layers = (prediction.features or {}).get("layers")
        if layers is None or "score_map" not in prediction.maps or layers.shape[1] < self.settings.filter_layer:
            raise InputError(
                "tracking.filter_weight needs a model with a center head that keeps all tokens, such as grm, with at"
                f" least filter_layer={self.settings.filter_layer} layers: set it to 0"
            )
        tokens, (rows, columns) = layers[0, self.settings.filter_layer - 1], self.model.search_grid
        return tokens[-self.model.lengths[1] :][: rows * columns].reshape(rows, columns, -1)

    def _cut_template(self, frame, box, frame_size, crop_aspect, levels=None):
        """(crop (S, S, 3) of whole levels around the box, the box (4,) in fractions of it)."""
        factor = self.settings.template_factor
        crop, _ = crops.sample_target(frame, box, factor, self.template_size, frame_size, crop_aspect)
        crop = crop if levels is None else contrast.stretched(crop, levels)
        template_box = crops.box_to_crop(box, box, crops.crop_window(box, factor, crop_aspect)[2])
        if self.settings.template_box_step:
            step = self.settings.template_box_step / self.template_size
            template_box = jnp.concatenate([jnp.trunc(template_box[:2] / step) * step, template_box[2:]])
        return crop, template_box

    def cut_search(self, state, box, frame, frame_size=None):
        """The search crop around a box, (S, S, 3) float32 of whole levels, of the target of a State."""
        factor, size = self.settings.search_factor, self.search_size
        crop, _ = crops.sample_target(frame, box, factor, size, frame_size, state.crop_aspect)
        return crop if state.levels is None else contrast.stretched(crop, state.levels)

    def encode(self, variables, online):
        """The model's cache of the templates in `online`."""
        templates = crops.normalize(online.templates)[None]
        return self.model.apply(variables, templates, online.boxes[None], method="encode_template")

    @functools.partial(jax.jit, static_argnums=0)
    def _step(self, variables, state, frame, frame_size):
        state, output, due = self.find(variables, state, frame, frame_size)
        if due is not None:
            # Under vmap this encodes in every frame, as lanes may differ in whether it is due; lockstep.py does not.
            cache = jax.lax.cond(due, lambda: self.encode(variables, state.online), lambda: state.cache)
            state = state.replace(cache=cache)
        if state.sighting is None:
            return state, output
        # Under vmap every frame is searched, as lanes may differ in whether the target is lost; lockstep.py does not.
        return jax.lax.cond(
            output.lost,
            lambda: self.search(variables, state, output, frame, frame_size),
            lambda: (state, output),
        )

    def is_due(self, frames):
        """Whether the templates are replaced in the step that is number `frames` after init, from 1: `due` of find."""
        interval = self.settings.update_interval
        return bool(interval) and online_templates.is_due(frames, interval)

    def find(self, variables, state, frame, frame_size=None):
        """A step that leaves the cache as it was; arguments as of init, pure.

        Returns: (State, Output, due): due is () bool, whether State.cache must be encoded anew from State.online, and
          None where templates are never replaced.
        """
        settings = self.settings
        height, width = frame.shape[:2] if frame_size is None else frame_size
        box, score, prediction, window = self._look(variables, state, state.box, frame, frame_size)
        center = _center_in(window, box, state.box)
        box, aspect = box_updates.taken(settings, state.box, state.aspect, box, score)
        seen, lost = state.sighting, None
        if seen is not None:
            limits = settings.lost_below, settings.found_above, settings.lost_after
            seen = recovery.judge(seen, boxes.clip_xywh(box, height, width, settings.clip_margin), score, *limits)
            box, lost = recovery.held(seen, box, score < settings.lost_below), seen.lost
        box = boxes.clip_xywh(box, height, width, settings.clip_margin)
        division = None if prediction.division is None else prediction.division[0]
        output = Output(box=box, score=score, division=division, window=window, lost=lost)
        state = state.replace(box=box, sighting=seen, aspect=aspect)
        if state.filter is not None:
            sure = score > online_filter.SURE if lost is None else (score > online_filter.SURE) & ~lost
            learned = online_filter.learned(state.filter, self._tokens(prediction), center, settings.filter_update)
            state = state.replace(
                filter=jax.tree.map(lambda new, old: jnp.where(sure, new, old), learned, state.filter)
            )
        if not settings.update_interval:
            return state, output, None
        # This frame is considered as an online template.
        online = online_templates.judge(
            state.online,
            score if lost is None else jnp.where(lost, jnp.nan, score),
            lambda: self._cut_template(frame, box, frame_size, state.crop_aspect, state.levels),
            settings.update_threshold,
            settings.score_decay,
        )
        online, due = online_templates.renew(online, settings.update_interval)
        return state.replace(online=online), output, due

    def search(self, variables, state, output, frame, frame_size=None):
        """Looks for a lost target elsewhere, after `find` has looked where it was: pure, for states that are lost.

        Args: state, output: of `find` in this frame; the others as of init.

        Returns: (State, Output) whose box is the best place found, if that is better than the one of `find`.
        """
        settings = self.settings
        height, width = frame.shape[:2] if frame_size is None else frame_size
        side = crops.crop_window(state.sighting.sure, settings.search_factor, state.crop_aspect)[2].astype(jnp.float32)
        places, after = recovery.places(state.sighting, side, height, width)
        # No Hann window: nothing says that the target is in the middle of one of them.
        look = functools.partial(self._look, variables, state, frame=frame, frame_size=frame_size, window=0.0)
        found, scores = jax.vmap(lambda place: look(place)[:2])(places)
        best = jnp.argmax(scores)
        better = (scores[best] >= settings.found_above) & (scores[best] > output.score)
        box = jnp.where(better, recovery.held(state.sighting, found[best]), state.box)
        box = boxes.clip_xywh(box, height, width, settings.clip_margin)
        score = jnp.where(better, scores[best], output.score)
        return state.replace(box=box, sighting=after), output.replace(box=box, score=score)

    def _look(self, variables, state, box, frame, frame_size, window=None):
        """What the search crop around a box shows: (box (4,) in pixels, score (), Prediction, window (3,) or (4,)).

        window: weight of the Hann window, the setting's when None.
        """
        x1, y1, side = crops.crop_window(box, self.settings.search_factor, state.crop_aspect)
        crop = self.cut_search(state, box, frame, frame_size)
        options = {"features": True} if self.settings.filter_weight else {}
        prediction = self.model.apply(variables, state.cache, crops.normalize(crop)[None], method="locate", **options)
        if state.filter is not None:
            share, seen = self.settings.filter_weight, online_filter.response(state.filter, self._tokens(prediction))
            mixed = (1 - share) * prediction.maps["score_map"] + share * seen[None, :, :, None]
            prediction = prediction.replace(maps={**prediction.maps, "score_map": mixed})
        box_in_crop, score = self._decide(prediction, self.settings.window if window is None else window)
        return crops.map_box_back(box_in_crop, box, side), score, prediction, jnp.hstack([x1, y1, side])

    def _decide(self, prediction, window):
        """Box (4,) cx, cy, w, h in fractions of the crop, and score (), NaN where the model gives none."""
        box, score = self.model.decode(prediction, window)
        if self.settings.average_cells:
            if "score_map" not in prediction.maps:
                raise InputError("tracking.average_cells needs a model with a center head: set it to 0")
            box = heads.averaged_box(prediction.maps, window, self.settings.average_cells)
        if score is not None:
            return box[0], score[0]
        for name, what in _BY_SCORE.items():
            if getattr(self.settings, name):
                without = f"set model.score_head=true, or tracking.{name}=0"
                raise InputError(f"tracking.{name} {what}, and this model gives none: {without}")
        return box[0], jnp.float32(jnp.nan)


def track(tracker, variables, frames, box, frame_size=None):
    """Tracks through a stack of equal-sized frames in one dispatch.

    Args:
      tracker: Tracker.
      variables: its model's.
      frames: (T, H, W, 3) uint8 RGB; the first one starts the tracker.
      box: (4,) x, y, w, h in pixels of the first frame.
      frame_size: see Tracker.

    Returns: Output of the frames after the first: every field with a leading axis T - 1.

    Raises: InputError as Tracker.init does.
    """
    _check_if_known(box, frames.shape[1:3] if frame_size is None else frame_size)
    return _track(tracker, variables, frames, box, frame_size)


@functools.partial(jax.jit, static_argnums=0)
def _track(tracker, variables, frames, box, frame_size):
    def body(state, frame):
        return tracker.step(variables, state, frame, frame_size)

    state = tracker.init(variables, frames[0], box, frame_size)
    return jax.lax.scan(body, state, frames[1:])[1]


def _center_in(window, box, around):
    """x, y of a box's center in fractions of the crop (Output.window) that was taken around another box: (2,)."""
    box = crops.box_to_crop(box, around, window[2:] if len(window) == 4 else window[2])
    return box[:2] + 0.5 * box[2:]


def _check_if_known(box, frame_size):
    if not any(isinstance(value, jax.core.Tracer) for value in jax.tree.leaves((box, frame_size))):
        check_box(box, *(int(extent) for extent in frame_size))


def _check_frame(frame):
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != jnp.uint8:
        raise InputError(f"a frame must be (height, width, 3) uint8 RGB, got {frame.shape} {frame.dtype}")


def _square(size, name):
    height, width = as_pair(size)
    if height != width:
        raise InputError(f"model.{name} is {height}x{width}: tracking takes square crops, so give one number")
    return height
