"""How PyTorch's names and array layouts correspond to this package's, for rules that each model lists as data.

A rule is (pattern, name, layout): the regular expression of a module's path among the variables, its published name,
and the layout of its kernel. Rules speak of single layers (block_3), as nn.stacking.flatten gives them.
"""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from trackers.errors import InputError

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_NAMED_AT_MOST = 8


@dataclass(frozen=True)
class Layout:
    """The two directions between a published array and one of ours.

    to_flax: (published array, our shape) -> our array. to_published: our array -> published array.
    """

    to_flax: Callable
    to_published: Callable


VECTOR = Layout(lambda a, shape: a.reshape(shape), lambda a: a.reshape(-1))
# (out, in) <-> (in, *out), e.g. qkv (3D, D) <-> (D, 3, H, d).
LINEAR = Layout(lambda a, shape: a.T.reshape(shape), lambda a: a.reshape(a.shape[0], -1).T)
# (out, in) <-> (*in, out), e.g. the attention's output (D, D) <-> (H, d, D).
LINEAR_OF_HEADS = Layout(lambda a, shape: a.T.reshape(shape), lambda a: a.reshape(-1, a.shape[-1]).T)
# (out, in, kh, kw) <-> (kh, kw, in, out).
CONV = Layout(lambda a, shape: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
# The same array on both sides.
ROWS = Layout(lambda a, shape: a.reshape(shape), lambda a: a)
# (1, 1, D) <-> (D,).
TOKEN = Layout(lambda a, shape: a.reshape(shape), lambda a: a[None, None])
# (1, N, D) <-> (N, D).
TABLE = Layout(lambda a, shape: a.reshape(shape), lambda a: a[None])


def prefixed(prefix, rules):
    """Rules whose published names begin with `prefix`."""
    return tuple((pattern, prefix + name, layout) for pattern, name, layout in rules)


def published(path, rules):
    """(published key, Layout) of a leaf such as "params/encoder/block_3/norm1/scale"."""
    path = path.partition("/")[2]
    module, _, leaf = path.rpartition("/")
    for pattern, name, layout in rules:
        if match := re.fullmatch(pattern, module):
            return f"{match.expand(name)}.{_LEAVES[leaf]}", layout if leaf == "kernel" else VECTOR
        if match := re.fullmatch(pattern, path):
            return match.expand(name), layout
    raise InputError(f"no published name is known for {path}")


def known_names(paths, rules):
    """The published keys of the leaves that have one."""
    names = set()
    for path in paths:
        with contextlib.suppress(InputError):
            names.add(published(path, rules)[0])
    return names


def convert(state_dict, targets, rules, unused, model_name):
    """Arrays for every target leaf.

    Args:
      state_dict: {published key: array}.
      targets: {path: leaf with shape and dtype}, from stacking.flatten.
      rules: see above; unused: regular expression of the published keys that are dropped.
      model_name: for the message.

    Returns: {path: np.ndarray}.

    Whole numbers that stand alone are counts (of batches, steps, epochs), and dropped where the model needs none.

    Raises: InputError naming missing, unexpected and misshapen keys, and those that hold no floats, the first of each.
    """
    sources = {path: published(path, rules) for path in targets}
    needed = {key for key, _ in sources.values()}
    missing = sorted(needed - set(state_dict), key=_in_order_of_layers)
    dropped = {key for key, array in state_dict.items() if _is_count(array) or re.fullmatch(unused, key)}
    unexpected = [key for key in state_dict if key not in needed | dropped]
    # Quantized weights, or half of a complex number, would be other weights.
    kinds = {key: state_dict[key].dtype for key in sorted(needed & set(state_dict), key=_in_order_of_layers)}
    no_floats = [f"{key} is {dtype}" for key, dtype in kinds.items() if dtype.kind != "f"]
    misshapen = []
    for path, (key, layout) in sorted(sources.items(), key=lambda item: _in_order_of_layers(item[1][0])):
        shape = jax.eval_shape(layout.to_published, targets[path]).shape
        if key in state_dict and tuple(state_dict[key].shape) != shape:
            misshapen.append(f"{key} is {tuple(state_dict[key].shape)}, the model needs {shape}")
    groups = (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen), ("not of floats", no_floats))
    wrong = [f"{len(keys)} {kind}: {some(keys)}" for kind, keys in groups if keys]
    if wrong:
        raise InputError("\n".join((f"the checkpoint does not fit model {model_name} of this config;", *wrong)))
    return {
        path: np.asarray(layout.to_flax(np.asarray(state_dict[key]), targets[path].shape), targets[path].dtype)
        for path, (key, layout) in sources.items()
    }


def _is_count(array):
    return array.ndim == 0 and array.dtype.kind in "iu"


def some(names):
    """Names one after the other; where there are many, so many of them, single tensors before those of layers."""
    if len(names) <= _NAMED_AT_MOST:
        return ", ".join(names)
    first = sorted(names, key=lambda name: re.search(r"\.\d+\.", name) is not None)[:_NAMED_AT_MOST]
    return f"{', '.join(first)} and {len(names) - _NAMED_AT_MOST} more"


def _in_order_of_layers(key):
    """Sorts blocks.2 before blocks.10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", key)]
