"""Weights that a run starts from: a checkpoint's, fitted to a model of fewer layers or narrower MLPs."""

import re

import jax
import numpy as np

import trackers
from trackers import weights
from trackers.errors import InputError
from trackers.nn import stacking

_BLOCK = re.compile(r"/block_(\d+)/")


def variables(config_model, init, rng):
    """Variables of a model from a checkpoint, on the default device.

    Args:
      config_model: the config's model section (or its teacher's).
      init: mapping of
        checkpoint: a workdir or a published file.
        source (optional): the fields in which the checkpoint's model differs from config_model, e.g. {"depth": 12}.
        layers (optional): 0-based layers of the checkpoint that become the model's, in order; () = as they are.
        fresh (optional): regexes of the parameters that are drawn anew, be they in the checkpoint or not.
      rng: jax key, for what is drawn.

    Raises: InputError as weights.load; for parameters that neither the checkpoint has nor `fresh` names.
    """
    differs, layers, fresh = (init.get(name) or () for name in ("source", "layers", "fresh"))
    if not (differs or layers or fresh):
        return weights.load(init["checkpoint"], config_model, rng=rng)
    source_model = _merged(trackers.to_plain(config_model), trackers.to_plain(differs) if differs else {})
    source = weights.load(init["checkpoint"], source_model, rng=rng)
    drawn = jax.device_get(trackers.init(trackers.build(config_model), rng))
    return fit(source, drawn, layers, fresh, init["checkpoint"])


def fit(source, like, layers=(), fresh=(), name="the checkpoint"):
    """The variables of one model made from another's.

    Layers are chosen by `layers`. Where an MLP of `like` is narrower, the hidden units with the largest product of the
    norms of their weights in and out are kept, in their order: those through which most can pass. (Neither paper nor
    program says how the MLPs of MixFormerV2-S start.)

    Args:
      source, like: trees of variables; `like` has the structure that is wanted, and the values of what is fresh.
      layers, fresh: as in `variables`.
      name: of the source, for messages.

    Returns: a tree of numpy arrays as `like`.

    Raises: InputError naming layers that do not exist, and parameters that are missing or of another shape.
    """
    given, wanted = stacking.flatten(source), stacking.flatten(like)
    given = _chosen_layers(given, layers, name) if layers else given
    _narrow_mlps(given, wanted)
    made, problems = {}, []
    for path, drawn in wanted.items():
        if any(re.search(pattern, path) for pattern in fresh):
            made[path] = drawn
        elif path in given and given[path].shape == drawn.shape:
            made[path] = given[path]
        else:
            there = tuple(given[path].shape) if path in given else "nothing"
            problems.append(f"{path} ({there} there, {tuple(drawn.shape)} here)")
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise InputError(
            f"{name} does not fit the model: {', '.join(problems[:8])}{more}; describe its model in config.init.source,"
            " or name in config.init.fresh what shall be drawn anew"
        )
    return stacking.unflatten(made, like)


def _merged(base, changes):
    """`base` with the values of `changes`: nested mappings merged, or taken whole where it is another model's name."""
    if "name" in changes:
        return {**base, **changes}
    nested = {key: _merged(base.get(key, {}), value) for key, value in changes.items() if isinstance(value, dict)}
    return {**base, **changes, **nested}


def _chosen_layers(leaves, layers, name):
    """{path: leaf} with block_{layers[i]} as block_i, and without the other blocks."""
    present = {int(match[1]) for path in leaves if (match := _BLOCK.search(path))}
    if missing := sorted(set(layers) - present):
        raise InputError(f"config.init.layers {tuple(layers)}: {name} has layers 0 to {max(present)}, not {missing[0]}")
    chosen = {}
    for path, leaf in leaves.items():
        match = _BLOCK.search(path)
        if match is None:
            chosen[path] = leaf
            continue
        for place, layer in enumerate(layers):
            if layer == int(match[1]):
                chosen[_BLOCK.sub(f"/block_{place}/", path)] = leaf
    return chosen


def _narrow_mlps(given, wanted):
    """Cuts the hidden units of `given`'s MLPs, in place, to as many as `wanted` has."""
    for path, drawn in wanted.items():
        if not path.endswith("mlp/fc1/kernel") or path not in given:
            continue
        stem, count = path.removesuffix("fc1/kernel"), drawn.shape[1]
        into, out = np.asarray(given[path]), np.asarray(given[stem + "fc2/kernel"])
        if into.shape[1] <= count:
            continue
        strength = np.linalg.norm(into, axis=0) * np.linalg.norm(out, axis=1)
        kept = np.sort(np.argsort(-strength, kind="stable")[:count])
        given[path], given[stem + "fc2/kernel"] = into[:, kept], out[kept]
        given[stem + "fc1/bias"] = np.asarray(given[stem + "fc1/bias"])[kept]
