"""The data kind "pairs": template and search crops of one object, each pair pure in (seed, split, step, row).

Pairs are cut from the files of data sets (`pair`), or a procedural source makes whole batches of them; a batch takes
some of its rows from either.
"""

import dataclasses
import functools
import math

import numpy as np

from data_pipelines import (
    annotations,
    augment,
    bad_samples,
    contexts,
    crops,
    raw_crops,
    sampling,
    sources,
    tf_stream,
    unlabelled,
)
from data_pipelines.unlabelled import UnlabelledConfig
from trackers import errors

# Pairs that may be drawn in vain for one sample (a crop without image in it, a target smaller than a pixel).
_MAX_DRAWS = 100
# Side in pixels of the largest window that is cut (200 MB); the programs have no limit but their memory. A target that
# fills a frame of 1920 x 1080 needs 5760 before jitter.
_MAX_SIDE = 8192
# Share of search windows that `reach` is of, and windows that are drawn to find it.
_REACH_SHARE, _REACH_DRAWS = 0.99, 100_000


@dataclasses.dataclass(frozen=True)
class PairConfig:
    """What a pair is; the fields are those of config.model, config.tracking and config.data."""

    # Sides of the crops, pixels.
    template_size: int
    search_size: int
    # Side of a token, pixels.
    patch_size: int
    # Number K of template crops.
    templates: int = 1
    # Side of each crop over sqrt(area) of the target.
    template_factor: float = 2.0
    search_factor: float = 4.0
    # Share of the first template's aspect that the crops take.
    crop_aspect: float = 0.0
    # Frames between the first template and the search frame, less than this.
    max_gap: int = 200
    # Which frames make a pair: "causal", or "trident" as MixFormer's score is trained (sampling.RULES).
    sampling: str = "causal"
    # Share of pairs whose search image shows the target; below 1 pairs say in "label" whether it does.
    positive_probability: float = 1.0
    # Range of the shift of the crop's center over sqrt(area), and deviation of the logarithm of its size.
    search_center_jitter: float = 3.0
    search_scale_jitter: float = 0.25
    template_center_jitter: float = 0.0
    template_scale_jitter: float = 0.0
    # Share of pairs in grey, and of pairs mirrored.
    grey_probability: float = 0.05
    flip_probability: float = 0.5
    # Share of crops mirrored on their own (augment.flip_crops).
    crop_flip_probability: float = 0.0
    # Crops are multiplied by 1 -/+ this at most.
    brightness: float = 0.2
    # How images are read, of contexts.DECODINGS.
    decoding: str = "part"
    # Where crops are resized and change their brightness: "host", or "device" (raw_crops.py).
    crops_on: str = "host"
    # What pairs from pictures without labels are made of.
    unlabelled: UnlabelledConfig = UnlabelledConfig()

    def __post_init__(self):
        if self.sampling not in sampling.RULES:
            raise errors.InputError(f"config.data.sampling {self.sampling!r}: use {' or '.join(sampling.RULES)}")
        if self.decoding not in contexts.DECODINGS:
            raise errors.InputError(f"config.data.decoding {self.decoding!r}: use {', '.join(contexts.DECODINGS)}")
        if self.crops_on not in ("host", "device"):
            raise errors.InputError(f"config.data.crops_on {self.crops_on!r}: use host or device")
        if not 0 <= self.positive_probability <= 1:
            raise errors.InputError(f"config.data.positive_probability {self.positive_probability}: from 0 to 1")

    @property
    def shapes(self):
        """{name: (shape, dtype)} of one pair."""
        k, z, x = self.templates, self.template_size, self.search_size
        shapes = {
            "template": ((k, z, z, 3), np.uint8),
            "template_box": ((k, 4), np.float32),
            "search": ((x, x, 3), np.uint8),
            "search_box": ((4,), np.float32),
        }
        return shapes | ({"label": ((), np.float32)} if self.positive_probability < 1 else {})

    @property
    def host_shapes(self):
        """The same of what the host makes of a pair."""
        if self.crops_on == "host":
            return self.shapes
        fields = {
            "template": raw_crops.shapes((self.templates,), self.template_size),
            "search": raw_crops.shapes((), self.search_size),
        }
        rest = {name: value for name, value in self.shapes.items() if name not in fields}
        return raw_crops.flat(fields | rest)

    @classmethod
    def from_config(cls, config):
        """From a whole config (configs/*.py); fields that its sections do not have keep their defaults."""
        names = {field.name for field in dataclasses.fields(cls)}
        values = {}
        for section in (config.data, config.tracking, config.model):
            values |= {name: section[name] for name in names if name in section}
        values["unlabelled"] = UnlabelledConfig.from_section(values.get("unlabelled", {}))
        return cls(**values)


def shapes(config):
    """{name: (shape, dtype)} of one pair of a whole config."""
    return PairConfig.from_config(config).shapes


def batches(config, start_step, rows, seed, split):
    """Batches of pairs for loader.batches, whose arguments these are.

    Returns: iterator of dicts of numpy arrays, B = len(rows): template (B, K, Hz, Wz, 3) uint8 RGB, template_box
      (B, K, 4) float32 x, y, w, h as fractions of the crop, search (B, Hx, Wx, 3) uint8, search_box (B, 4) float32, and
      with config.data.positive_probability below 1 label (B,) float32, 0 for search crops without the target.
    Raises: InputError (also later, while iterating) naming what is wrong on disk or in the config.
    """
    shares = sources.shares(config, "pairs")
    sources.say_unused(config, "pairs")
    procedural = {name: share for name, share in shares.items() if sources.find(name).FACTS.procedural}
    files = {name: share for name, share in shares.items() if name not in procedural}
    if procedural and finish(config) is not None:
        raise errors.InputError(
            f"config.data.crops_on=device is for data sets, and config.data.ratio.{next(iter(procedural))} is above 0:"
            " give --config.data.crops_on=host"
        )
    origin = functools.partial(_origin, [*procedural.values(), sum(files.values())], seed, split)
    streams = [sources.find(name).batches(config, start_step, rows, seed, split) for name in procedural]
    if files:

        def is_from_files(step, row):
            return origin(step, row) == len(procedural)

        streams.append(_from_files(config, files, is_from_files, start_step, rows, seed, split))
    return streams[0] if len(streams) == 1 else _mixed(streams, origin, start_step, rows)


def on_device(config, seed):
    """What makes batches of pairs on the device, for loader.on_device; None unless all are of one procedural source.

    seed: integer >= 0.
    """
    modules = [sources.find(name) for name in sources.shares(config, "pairs")]
    return modules[0].on_device(config, seed) if len(modules) == 1 and modules[0].FACTS.procedural else None


def finish(config):
    """What makes pairs of what `batches` gives where config.data.crops_on is "device", else None; for loader.finish."""
    return raw_crops.finish if PairConfig.from_config(config).crops_on == "device" else None


def _origin(weights, seed, split, step, row):
    """Index into `weights` of what a row is taken from."""
    # Numbers of its own: the file pair of a row is the same whatever the shares.
    return sampling.pick(weights, sampling.generator(seed, step, row, split).spawn(1)[0].random())


def _from_files(config, shares, is_from_files, start_step, rows, seed, split):
    """Batches of file pairs; rows for which is_from_files(step, row) is false are left blank."""
    pair_config = PairConfig.from_config(config)
    opened = [sources.open_from(config, name, split) for name in shares]
    for source in opened:
        _say_reach(source, pair_config)
    opened = [bad_samples.tolerant(source) for source in opened]
    weights = list(shares.values())

    def draw(step, row, attempt):
        return pair(opened, weights, pair_config, seed, step, row, split, attempt)

    replacing = bad_samples.Replacing(draw, shares, weights, config, seed, split)

    def sample(step, row):
        if not is_from_files(step, row):
            return {name: np.zeros(shape, dtype) for name, (shape, dtype) in pair_config.host_shapes.items()}
        return replacing(step, row)

    return tf_stream.stream(sample, pair_config.host_shapes, config, start_step, rows, replacing.summary)


def reach(config):
    """Side over sqrt(area) of the square around a target that 99 % of the search windows of a PairConfig lie in."""
    rng = np.random.default_rng(0)
    growth = np.exp(config.search_scale_jitter * rng.standard_normal((_REACH_DRAWS, 2)).mean(1))
    shift = config.search_center_jitter * np.abs(rng.random((_REACH_DRAWS, 2)) - 0.5).max(1)
    side = np.quantile(growth * (config.search_factor + 2 * shift), _REACH_SHARE)
    return math.ceil(10 * side) / 10


def _say_reach(source, config):
    """Says on stderr where a source was packed for smaller windows than a PairConfig's."""
    if source.context is not None and source.context < (needed := reach(config)):
        annotations.say_once(
            f"{source.name}: packed {source.context:g} sqrt(area) around each target, but 1 % of this config's search"
            f" windows reach beyond {needed:g}; the edge is repeated there: pack it with --context={needed:g}"
        )


def _mixed(streams, origin, start_step, rows):
    """Batches whose rows are taken from the batches of the streams, each row from that of its `origin`."""
    for step, parts in enumerate(zip(*streams, strict=True), start_step):
        origins = np.array([origin(step, row) for row in rows])
        yield {name: _rows_of([part[name] for part in parts], origins) for name in parts[-1]}


def _rows_of(arrays, origins):
    """(B, ...) array whose row i is that of arrays[origins[i]]."""
    return np.stack([arrays[origin][row] for row, origin in enumerate(origins)])


def usable(source, sequence):
    """Whether pairs are drawn from a sequence of a source: from every image, and from videos of frames enough."""
    return not source.is_video or sampling.usable(sequence)


def usable_noun(source):
    """What `usable` counts, in the singular."""
    return "sequence" if source.is_video else "object"


def pair(sources, ratio, config, seed, step, row, split="train", attempt=0):
    """Draws, reads, crops and changes one pair.

    Args:
      sources: list of Source.
      ratio: list of their weights.
      config: PairConfig.
      seed, step, row: integers >= 0, row in the global batch.
      split: "train" or "validation" (another stream, and no change of brightness).
      attempt: 0, or which replacement of a bad sample this is (bad_samples.py).

    Returns: dict: template (K, Hz, Wz, 3) uint8, template_box (K, 4) float32, search (Hx, Wx, 3) uint8, search_box (4,)
      float32; RGB; boxes x, y, w, h as fractions of their crop; with crops_on "device" template and search are what
      raw_crops.flat makes of them; with positive_probability below 1 also label ()
      float32, 0 where the search crop is without the target (its box then is that of something else).
    Raises: BadSample naming a missing or damaged image, InputError naming the file for anything else wrong on disk.
    """
    rng = sampling.generator(seed, step, row, split, attempt)
    for _ in range(_MAX_DRAWS):
        draw = sampling.sample(
            sources, ratio, rng, config.templates, config.max_gap, config.sampling, config.positive_probability,
            config.unlabelled.gap,
        )  # fmt: skip
        source = sources[draw.source]
        sequence, frames = source[draw.sequence], _read(source, draw, config)
        if not source.labelled:
            frames = unlabelled.with_regions(frames, draw.positive, config.unlabelled, rng)
        views = None if frames is None else _crop(frames, config, rng)
        if views is not None:
            label = {"label": np.float32(draw.positive)} if config.positive_probability < 1 else {}
            return _finish(views, config, rng, split) | label
    if not source.labelled:
        raise errors.InputError(
            f"{source.name}: {_MAX_DRAWS} pairs in a row had no region with texture, the last in {sequence.name}: are"
            " the pictures blank?"
        )
    raise errors.InputError(
        f"{', '.join(source.name for source in sources)}: {_MAX_DRAWS} pairs in a row had no image in the crop, or a"
        f" target below a pixel or huge, the last in sequence {sequence.name}; are the boxes x,y,w,h in pixels?"
    )


def _read(source, draw, config):
    sequence = source[draw.sequence]
    searched = sequence if draw.search_sequence is None else source[draw.search_sequence]
    paths = [*(sequence.frames[index] for index in draw.templates), searched.frames[draw.search]]
    load = functools.partial(contexts.read, decoding=config.decoding) if source.labelled else unlabelled.read_frame
    images = {path: bad_samples.read(load, path) for path in dict.fromkeys(paths)}
    search, search_box = images[paths[-1]], searched.boxes[draw.search]
    if not (draw.positive or searched.visible[draw.search]):
        search_box = crops.hidden_box(search.shape[1::-1])
    return {
        "template": [images[path] for path in paths[:-1]],
        "template_box": sequence.boxes[list(draw.templates)],
        "search": search,
        "search_box": search_box,
    }


def _crop(frames, config, rng):
    """The pair's crops, or None where one of them is unusable."""
    frames = augment.grey(frames, rng.random() < config.grey_probability)
    frames = augment.flip(frames, rng.random() < config.flip_probability)
    width, height = frames["template_box"][0][2:]
    # Boxes without area are refused below.
    aspect = config.crop_aspect * math.log(width / height) if width > 0 and height > 0 else 0.0
    templates = []
    for image, box in zip(frames["template"], frames["template_box"], strict=True):
        jitter = config.template_center_jitter, config.template_scale_jitter
        window = config.template_factor, config.template_size, aspect
        templates.append(_cut(image, box, jitter, window, config, rng))
    jitter = config.search_center_jitter, config.search_scale_jitter
    window = config.search_factor, config.search_size, aspect
    search = _cut(frames["search"], frames["search_box"], jitter, window, config, rng)
    if search is None or None in templates:
        return None
    return {
        "template": (np if config.crops_on == "host" else raw_crops).stack([crop for crop, _ in templates]),
        "template_box": np.stack([box for _, box in templates]),
        "search": search[0],
        "search_box": search[1],
    }


def _cut(image, box, jitter, window, config, rng):
    """(crop, box in it), or None where the window is below a pixel or huge, or no token of it sees the image.

    window: factor, size and aspect of crops.sample_target.
    """
    factor, size, aspect = window
    around = crops.jittered_box(box, rng.standard_normal(2), rng.random(2), *jitter)
    sides = crops.window(around, factor, aspect)[2:]
    if not 1 <= min(sides) <= max(sides) <= _MAX_SIDE:
        return None
    where = crops if config.crops_on == "host" else raw_crops
    cut = functools.partial(where.sample_target, box=around, factor=factor, size=size, aspect=aspect)
    crop, resize_factor, padding = bad_samples.read(cut, image)
    if crops.all_padding(padding, config.patch_size):
        return None
    return crop, crops.box_in_crop(box, around, resize_factor, size)


def _finish(views, config, rng, split):
    changes = augment if config.crops_on == "host" else raw_crops
    views = changes.flip_crops(
        views, rng.random(config.templates) < config.crop_flip_probability, rng.random() < config.crop_flip_probability
    )
    if split == "train":
        low, high = max(0.0, 1 - config.brightness), 1 + config.brightness
        views = changes.brightness(views, rng.uniform(low, high, config.templates), rng.uniform(low, high))
    return views if config.crops_on == "host" else raw_crops.flat(views)
