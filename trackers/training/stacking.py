"""Layers kept one by one (block_3) or stacked along a leading axis (blocks_1_11): from one to the other."""

import re

import jax
import numpy as np

_RUN = re.compile(r"blocks_(\d+)_(\d+)$")


def restack(tree, target):
    """Rearranges a tree of parameters into the stacking of another tree of the same network.

    Args:
      tree: nested dict of arrays.
      target: nested dict whose keys say which layers are wanted stacked.

    Returns: nested dict with the values of `tree`; where no stacking differs, `tree` itself.

    Raises: KeyError naming a layer that `target` has and `tree` has not.
    """
    if not isinstance(tree, dict) or not isinstance(target, dict):
        return tree
    if _layer_names(tree) == _layer_names(target):
        return {key: restack(value, target.get(key)) for key, value in tree.items()}
    single = {}
    for key, value in tree.items():
        if run := _RUN.match(key):
            first, last = map(int, run.groups())
            for i in range(first, last + 1):
                single[f"block_{i}"] = jax.tree.map(lambda leaf, i=i - first: leaf[i], value)
        else:
            single[key] = value
    for key in target:
        if run := _RUN.match(key):
            first, last = map(int, run.groups())
            single[key] = jax.tree.map(
                lambda *leaves: np.stack(leaves), *(single.pop(f"block_{i}") for i in range(first, last + 1))
            )
    return single


def _layer_names(tree):
    return {key for key in tree if re.match(r"blocks?_\d+", key)}
