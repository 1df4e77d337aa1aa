"""What a run starts from: random weights, or a checkpoint's, fitted to a model of fewer layers or narrower MLPs."""

import dataclasses
import re
from collections.abc import Mapping

import jax
import numpy as np

import trackers
from trackers import weights
from trackers.errors import InputError
from trackers.nn import stacking
from trackers.training import sharding

_BLOCK = re.compile(r"/block_(\d+)/")


@dataclasses.dataclass(frozen=True)
class Start:
    """Where the variables of a model come from: Start(config.model, **config.init), or Start(**config.teacher).

    model: the model section that is wanted.
    checkpoint: a workdir or a published file; "" = random variables.
    source: the fields in which the checkpoint's model differs from `model`, e.g. {"depth": 12}.
    layers: 0-based layers of the checkpoint that become the model's, in order; () = as they are.
    fresh: regexes of the parameters that are drawn at random, whether the checkpoint has them or not.
    variants: the configs of whose runs the checkpoint may be, as --config names them; () = of any. What does not say
      its config (published files, the output of weights.save, runs of former versions) passes.
    """

    model: Mapping
    checkpoint: str
    source: Mapping | None = None
    layers: tuple = ()
    fresh: tuple = ()
    variants: tuple = ()

    def variables(self, key):
        """The variables of the checkpoint, fitted to the model, on the default device. key: jax key, for what is drawn.

        Raises: InputError as weights.load; for parameters that neither the checkpoint has nor `fresh` names.
        """
        if not (self.source or self.layers or self.fresh):
            return weights.load(self.checkpoint, self.model, rng=key)
        changes = trackers.to_plain(self.source) if self.source else {}
        source = weights.load(self.checkpoint, trackers.merged(trackers.to_plain(self.model), changes), rng=key)
        drawn = jax.device_get(trackers.init(trackers.build(self.model), key))
        return fit(source, drawn, self.layers, self.fresh, self.checkpoint)


def starts(config):
    """What a run starts from, and what teaches it: {"init": Start, "teacher": Start (where there is one)}.

    Args: config: the whole config.

    Raises: InputError for a teacher that is not given, and for a checkpoint of another variant than is expected, naming
      both; nothing has been written.
    """
    found = {"init": Start(config.model, **config.init)}
    if "teacher" in config:
        found["teacher"] = Start(**config.teacher)
        if not found["teacher"].checkpoint:
            raise InputError("config.teacher.checkpoint is not set: give the teacher's workdir or published file")
    for name, start in found.items():
        given = weights.variant(start.checkpoint) if start.variants else None
        if given and given not in start.variants:
            expected = " or ".join(start.variants)
            raise InputError(
                f"config.{name}.checkpoint is expected to be of {expected}, but {start.checkpoint} is of {given}: give"
                f" the former's workdir (--config.{name}.variants='()' takes any)"
            )
    return found


def train_state(program, start, key):
    """The state of a new run, placed as program.target is.

    Args: program: train.Program. start: Start of its model. key: jax key, for what is drawn.

    Raises: InputError as Start.variables.
    """
    places = sharding.places(program.target)
    if not start.checkpoint:
        return jax.jit(lambda key: program.create(trackers.init(program.model, key)), out_shardings=places)(key)
    variables = jax.device_get(start.variables(key))
    sources = {name: getattr(places, name) for name in variables}
    return jax.jit(program.create, in_shardings=(sources,), out_shardings=places)(variables)


def teacher_variables(program, start, key):
    """The variables of a run's teacher, placed as program.teacher_variables is; {} where there is none.

    Args: program: train.Program. start: Start of the teacher's model, or None. key: jax key, for what is drawn.

    Raises: InputError for a checkpoint that is missing or of another model.
    """
    if start is None:
        return {}
    variables = jax.device_get(start.variables(key))
    places = sharding.places(program.teacher_variables)
    return jax.jit(lambda tree: tree, in_shardings=(places,), out_shardings=places)(variables)


def fit(source, like, layers=(), fresh=(), name="the checkpoint"):
    """The variables of one model from those of another.

    Layers are chosen by `layers`. Where an MLP of `like` is narrower, the hidden units with the largest product of the
    norms of their weights in and out are kept, in their order: those through which most can pass. (Neither paper nor
    program says how the MLPs of MixFormerV2-S start.)

    Args:
      source, like: trees of variables; `like` has the structure that is wanted, and the values of what is fresh.
      layers, fresh: as in Start.
      name: what messages call the source.

    Returns: a tree of numpy arrays as `like`.

    Raises: InputError naming layers that do not exist, and parameters that are missing or of another shape.
    """
    leaves, wanted = stacking.flatten(source), stacking.flatten(like)
    leaves = _chosen_layers(leaves, layers, name) if layers else leaves
    _narrow_mlps(leaves, wanted)
    fitted, problems = {}, []
    for path, drawn in wanted.items():
        if any(re.search(pattern, path) for pattern in fresh):
            fitted[path] = drawn
        elif path in leaves and leaves[path].shape == drawn.shape:
            fitted[path] = leaves[path]
        else:
            there = tuple(leaves[path].shape) if path in leaves else "nothing"
            problems.append(f"{path} ({there} there, {tuple(drawn.shape)} here)")
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise InputError(
            f"{name} does not fit the model: {', '.join(problems[:8])}{more}; describe its model in config.init.source,"
            " or name in config.init.fresh what shall be drawn anew"
        )
    return stacking.unflatten(fitted, like)


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


def _narrow_mlps(leaves, wanted):
    """Cuts the hidden units of the MLPs in `leaves`, in place, to as many as `wanted` has."""
    for path, drawn in wanted.items():
        if not path.endswith("mlp/fc1/kernel") or path not in leaves:
            continue
        stem, count = path.removesuffix("fc1/kernel"), drawn.shape[1]
        into, out = np.asarray(leaves[path]), np.asarray(leaves[stem + "fc2/kernel"])
        if into.shape[1] <= count:
            continue
        strength = np.linalg.norm(into, axis=0) * np.linalg.norm(out, axis=1)
        kept = np.sort(np.argsort(-strength, kind="stable")[:count])
        leaves[path], leaves[stem + "fc2/kernel"] = into[:, kept], out[kept]
        leaves[stem + "fc1/bias"] = np.asarray(leaves[stem + "fc1/bias"])[kept]
