"""One-stream transformer trackers in JAX/Flax.

load("grm_t128") makes a tracker with its weights, for programs of others (docs/api.md). build(config.model) makes a
module, init(model, rng) its variables; trackers.convert reads published weights, trackers.tracking runs on video.
"""

import dataclasses
import importlib
import math
import numbers
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path

import jax

from trackers import errors

__version__ = "0.1.0"
# The name to install by. PyPI has an unrelated package of this one's import name, whose files pip mixes with these.
DISTRIBUTION = "one-stream-trackers"
if any(Path(__file__).resolve().parents[1].glob("trackers-*.dist-info")):
    print(
        f"warning: {DISTRIBUTION} lies in one folder with PyPI's package `trackers`, which breaks both: uninstall both,"
        " and install them in environments of their own",
        file=sys.stderr,
    )

# Fields of models, at any depth of a config, and the least and most of their numbers. Those of pixels and of layers
# are lower, since what they cost grows faster or is compiled one by one.
_BELOW_1 = math.nextafter(1, 0)
_WIDTHS = (
    *("width", "widths", "text_width", "visual_width", "features", "hidden", "channels", "bottleneck", "vocabulary"),
    *("heads", "patch_size", "templates", "position_grid", "local_grid", "global_grid", "length", "truncation", "bins"),
    *("kernel_size", "window", "pooled"),
)
_LIMITS = dict.fromkeys(_WIDTHS, (1, 65536))
_LIMITS |= dict.fromkeys(("template_size", "search_size", "local_size", "global_size"), (1, 2048))
_LIMITS |= dict.fromkeys(("depth", "depths", "visual_depths"), (1, 1024))
_LIMITS |= dict.fromkeys(("layers", "encoder_layers", "decoder_layers"), (0, 1024))
_LIMITS |= {
    "foveal_size": (0, 2048),
    "drop_path": (0, _BELOW_1),
    "dropout": (0, _BELOW_1),
    "mlp_ratio": (0.01, 100),
    "mlp_ratios": (0.01, 100),
    "reductions": (1, 2048),
    "norm_eps": (0, 1),
    "smoothing": (0, 100),
    "threshold": (0, 1),
    "ratio": (0, 1),
    "temperature": (0.001, 1000),
    "largest_factor": (1, 1e6),
}
_KINDS = {bool: (bool, "True or False"), str: (str, "text"), type(None): (type(None), "None")}
_KINDS |= {int: (numbers.Integral, "a whole number"), float: (numbers.Real, "a number")}


def load(source, config=None, colors="rgb", recover=False):
    """A tracker with its weights, by name or by path; trackers.tracking.video_tracker.load says what it takes."""
    # By name, as build finds a model: what a program of others calls first stands on a floor above this one.
    return importlib.import_module("trackers.tracking.video_tracker").load(source, config, colors, recover)


def build(config):
    """The flax module that a config's `model` section describes.

    Args:
      config: a mapping (dict or ConfigDict) with "name" = a module of trackers.models, and fields of its Model.

    Raises: InputError for an unknown name, field or value.
    """
    fields = to_plain(config)
    return _make(_model(fields.pop("name", None)), fields, "model")


def _model(name):
    """The class that a model's name means."""
    try:
        module = importlib.import_module(f"trackers.models.{name}")
    except ModuleNotFoundError as error:
        # Of a name that is a path, what is not found is called otherwise.
        if str(name).isidentifier() and error.name != f"trackers.models.{name}":
            raise
        raise errors.InputError(f"model.name {name!r} is not a tracker of trackers.models") from None
    if not hasattr(module, "Model"):
        raise errors.InputError(f"model.name {name!r} is not a tracker of trackers.models")
    return module.Model


def _fields(cls):
    """{name: field} of what a config may give a module."""
    return {f.name: f for f in dataclasses.fields(cls) if f.name not in ("parent", "name")}


def to_plain(config):
    """Nested mappings (ConfigDict, FrozenDict, ...) as plain dicts."""
    return {k: to_plain(v) if isinstance(v, Mapping) or hasattr(v, "items") else v for k, v in config.items()}


def merged(base, changes):
    """A plain dict with the values of another one: nested dicts are merged key by key, all else is replaced.

    Where `changes` has a "name" it is another model's: its nested dicts are taken whole, and of `base` only what that
    model has.
    """
    if "name" in changes:
        known = _fields(_model(changes["name"]))
        return {**{key: value for key, value in base.items() if key in known}, **changes}
    nested = {
        key: merged(base[key], value)
        for key, value in changes.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return {**base, **changes, **nested}


def without(config, keys):
    """Nested mappings as plain dicts, without some values. keys: "section.field", there or not."""
    kept = to_plain(config)
    for key in keys:
        *sections, field = key.split(".")
        inner = kept
        for section in sections:
            inner = inner.get(section, {})
        inner.pop(field, None)
    return kept


def _make(cls, fields, path):
    known = _fields(cls)
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise errors.InputError(f"{path}.{unknown[0]} is not a field of {path}: it has {', '.join(sorted(known))}")
    values = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            if not dataclasses.is_dataclass(known[key].default):
                raise errors.InputError(f"{path}.{key} is one value, not a section: {value}")
            value = _make(type(known[key].default), value, f"{path}.{key}")
        elif dataclasses.is_dataclass(known[key].default) and not dataclasses.is_dataclass(value):
            raise errors.InputError(f"{path}.{key} is a section, not one value: {value}")
        elif isinstance(value, list):
            value = tuple(value)
        _check(f"{path}.{key}", known[key], value)
        values[key] = value
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise errors.InputError(str(error)) from None


def _check(name, field, value):
    """Refuses what is not of a field's type, and what no size, share or factor of a network can be.

    name: how the message calls it.
    """
    if not _is_of(field.type, value):
        raise errors.InputError(f"{name} must be {_words(field.type)}, got {value!r}")
    if field.name in _LIMITS:
        least, most = _LIMITS[field.name]
        every = value if isinstance(value, tuple) else (value,)
        if not all(least <= number <= most for number in every if isinstance(number, numbers.Real)):
            end = "below 1" if most == _BELOW_1 else most
            raise errors.InputError(f"{name} must be from {least} to {end}, got {value}")


def _is_of(kind, value):
    """Whether a value is of a field's type: bool, str, finite numbers, tuples of one of these, or a choice of them."""
    if isinstance(kind, types.UnionType):
        return any(_is_of(choice, value) for choice in kind.__args__)
    if typing.get_origin(kind) is tuple:
        parts = kind.__args__
        if not isinstance(value, tuple) or parts[-1] is not ... and len(parts) != len(value):
            return False
        return all(_is_of(parts[0], part) for part in value)
    if kind not in _KINDS:
        # A tracker of one's own may leave a type open, or write it in quotes: then it looks at its values itself.
        return kind is typing.Any or not isinstance(kind, type) or isinstance(value, kind)
    # A bool is a whole number in Python.
    right = isinstance(value, _KINDS[kind][0]) and (kind is bool or not isinstance(value, bool))
    return right and (not isinstance(value, float) or math.isfinite(value))


def _words(kind):
    if isinstance(kind, types.UnionType):
        return " or ".join(map(_words, kind.__args__))
    if typing.get_origin(kind) is tuple:
        first, *others = kind.__args__
        return f"{'' if ... in others else 'two '}{_words(first).removeprefix('a ')}s"
    return _KINDS[kind][1] if kind in _KINDS else f"a {kind.__name__}"


def example_inputs(model, batch=1):
    """Zero inputs of the model's own shapes, as its __call__ takes them."""
    return model.example_inputs(batch)


def init(model, rng):
    """Random variables {"params": ..., "batch_stats": ...} for a model, float32.

    Args:
      model: from build.
      rng: a jax key.
    """
    try:
        # Compiled: op by op, drawing the weights of a small model takes longer than compiling.
        return jax.jit(lambda key: model.init({"params": key}, *example_inputs(model)))(rng)
    except ValueError as error:
        raise errors.InputError(str(error)) from None
