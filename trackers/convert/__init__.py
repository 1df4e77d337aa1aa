"""Published PyTorch checkpoints <-> Flax variables.

A model's file in this folder (grm.py, ...) lists the names as data: PUBLISHED, a contract.Published. A one-stream
tracker without such a file can still start from a pretrained backbone.
"""

import functools
import importlib
import re

import jax
import numpy as np

import trackers
from trackers.convert import families, layouts, wrappers
from trackers.convert.contract import Published
from trackers.convert.reader import read_checkpoint
from trackers.errors import InputError
from trackers.nn import stacking
from trackers.nn.one_stream import OneStreamTracker

__all__ = ["from_variables", "left_out", "read_checkpoint", "to_variables"]


def to_variables(state_dict, config_model, rng=None):
    """Variables of a model from published weights.

    Args:
      state_dict: {published key: array}, the tracker's own weights or those of a pretrained backbone (families.py: MAE,
        DeiT, MoCo v3, SLIP, CLIP, Swin, PVT), which fill the encoder while all else is drawn at random. A prefix of all
        names, such as Lightning's "model.", is taken off where the names fit without it. Modules that the config
        leaves out (`left_out`) may be among them.
      config_model: mapping, the `model` section of a config; says among others whether layers are stacked.
      rng: jax key of what is drawn; jax.random.key(0) when None.

    Returns: {"params": ..., "batch_stats": ...} of NumPy float32 arrays.

    Raises: InputError naming missing, unexpected and misshapen keys.
    """
    model = trackers.build(config_model)
    name = config_model["name"]
    published = _published(name, model)
    like = _abstract(model)
    targets = stacking.flatten(like)
    own = layouts.known_names(targets, published.rules)
    state_dict = wrappers.without_prefix(state_dict, published.start or families.known, own)
    published.check(state_dict, model)
    start = published.start(state_dict) if published.start else families.start(state_dict, model, published)
    if start is None:
        if not published.rules:
            raise _unknown(name)
        idle = [layouts.published(path, published.rules)[0] for path in sorted(left_out(config_model))]
        unused = "|".join((published.unused, *map(re.escape, idle)))
        leaves = layouts.convert(state_dict, targets, published.rules, unused, name)
        return stacking.unflatten(leaves, like)

    covered = {path: leaf for path, leaf in targets.items() if start.covers(path)}
    leaves = layouts.convert(start.weights, covered, start.rules, start.unused, name)
    leaves.update(_draw_uncovered(model, start.covers, jax.random.key(0) if rng is None else rng))
    return stacking.unflatten(leaves, like)


def left_out(config_model):
    """Paths of the parameters, layer by layer, that the model's weights may hold although its config does without them.

    Args: config_model: the model section; which fields leave modules out is the model's `leaving_out`.

    Returns: frozenset of paths such as "params/encoder/block_6/division/logits/bias".
    """
    model = trackers.build(config_model)
    whole = trackers.build(trackers.without(config_model, getattr(model, "leaving_out", ())))
    if whole == model:
        return frozenset()
    return frozenset(stacking.flatten(_abstract(whole)).keys() - stacking.flatten(_abstract(model)).keys())


def _abstract(model):
    """The variables of a model, abstract."""
    return jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _draw_uncovered(model, covers, rng):
    """{path: array} of what the weights do not cover; under jit the rest is never computed."""
    drawn = stacking.flatten(trackers.init(model, rng))
    return {path: leaf for path, leaf in drawn.items() if not covers(path)}


def from_variables(variables, config_model):
    """The inverse of `to_variables`: {published key: np.ndarray} in PyTorch's layouts.

    What a model does not use (class token, batch counters) is not in it: load it with strict=False in PyTorch.

    Args:
      variables: {"params": ..., "batch_stats": ...}, layers stacked or not.
      config_model: mapping with "name".
    """
    rules = _published(config_model["name"]).rules
    state_dict = {}
    for path, leaf in stacking.flatten(variables).items():
        key, layout = layouts.published(path, rules)
        state_dict[key] = np.asarray(layout.to_published(np.asarray(leaf)), order="C")
    return state_dict


def _published(name, model=None):
    try:
        return importlib.import_module(f"trackers.convert.{name}").PUBLISHED
    except ModuleNotFoundError as error:
        if error.name != f"trackers.convert.{name}":
            raise
        if isinstance(model, OneStreamTracker):
            return Published(())
        raise _unknown(name) from None


def _unknown(name):
    return InputError(f"no published checkpoints are known for model {name!r}: trackers/convert has no {name}.py")
