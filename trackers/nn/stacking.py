"""Layers kept one by one (block_3) or stacked along a leading axis (blocks_1_11): from one to the other."""

import re

import jax
import numpy as np
from flax import traverse_util


def flatten(variables):
    """{path: leaf} of a tree of variables, stacked layers taken apart. Leaves may be abstract."""
    leaves = {}
    for path, leaf in traverse_util.flatten_dict(variables, sep="/").items():
        names = layer_names(path)
        if names is None:
            leaves[path] = leaf
        elif isinstance(leaf, jax.ShapeDtypeStruct):
            leaves.update((name, jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)) for name in names)
        else:
            leaves.update((name, leaf[i]) for i, name in enumerate(names))
    return leaves


def unflatten(leaves, like):
    """The inverse of `flatten`: a tree of NumPy arrays with the structure, and so the stacking, of `like`."""

    def leaf(path):
        names = layer_names(path)
        return np.asarray(leaves[path]) if names is None else np.stack([leaves[name] for name in names])

    paths = traverse_util.flatten_dict(like, sep="/")
    return traverse_util.unflatten_dict({path: leaf(path) for path in paths}, sep="/")


def layer_names(path):
    """The single layers' paths of a leaf of stacked layers first..last (inclusive), or None."""
    match = re.fullmatch(r"(.*/)blocks_(\d+)_(\d+)(/.*)", path)
    if match is None:
        return None
    return [f"{match[1]}block_{i}{match[4]}" for i in range(int(match[2]), int(match[3]) + 1)]
