"""Parameters that training leaves as they are, chosen by patterns of their paths (config.train.frozen)."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax

from trackers import errors
from trackers.nn import stacking
from trackers.training.state import path_name


def trainable(params, patterns):
    """Which parameters are trained: a tree like `params` of bool, or where layers are stacked and only some of them
    are frozen, of bool arrays (L,1,...) that broadcast against the leaf.

    Args:
      params: tree of arrays or shapes.
      patterns: regexes (config.train.frozen); a parameter is frozen where one is found in its path. Stacked layers are
        matched one by one, by the paths they have unstacked (encoder/block_3/...).

    Raises: UsageError for a pattern that is no regex.
    """

    def free(name):
        return not any(pattern.search(name) for pattern in compiled)

    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise errors.UsageError(f"config.train.frozen {tuple(patterns)}: no regular expression ({error})") from None

    def leaf(path, value):
        name = path_name(path)
        layers = stacking.layer_names(name)
        if layers is None:
            return free(name)
        chosen = np.array([free(layer) for layer in layers])
        if chosen.all() or not chosen.any():
            return bool(chosen[0])
        return chosen.reshape(-1, *[1] * (len(value.shape) - 1))

    return jax.tree_util.tree_map_with_path(leaf, params)


def stop(params, patterns):
    """`params` through whose frozen parts no gradient flows; the numbers are the same."""

    def leaf(value, chosen):
        if isinstance(chosen, bool):
            return value if chosen else jax.lax.stop_gradient(value)
        return jnp.where(chosen, value, jax.lax.stop_gradient(value))

    return jax.tree.map(leaf, params, trainable(params, patterns)) if patterns else params


def only_trainable(optimizer, patterns):
    """`optimizer` for what is trained; frozen parameters have no moments, no decay, and keep their bits."""
    if not patterns:
        return optimizer

    def touched(params):
        return jax.tree.map(lambda chosen: bool(np.any(chosen)), trainable(params, patterns))

    def hold(updates, state, params=None):
        del params
        # Minus zero: adding it leaves every float as it is, minus zero included.
        held = jax.tree.map(
            lambda update, chosen: jnp.where(chosen, update, -0.0), updates, trainable(updates, patterns)
        )
        return held, state

    return optax.chain(
        optax.masked(optimizer, touched),
        optax.GradientTransformation(lambda params: optax.EmptyState(), hold),
    )
