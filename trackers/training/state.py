"""What a training run carries from step to step, as one tree of arrays."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class TrainState:
    """The whole state of a run; everything random is derived from the seed and `step`, so nothing random is in it.

    step: () int32, steps taken so far.
    params: tree of float32 arrays.
    opt_state: the optimizer's tree; holds copies of the params tree (Adam's moments).
    batch_stats: tree of float32 arrays, the running statistics of normalization layers; {} where there are none.
    ema: exponential moving average of params (the same tree), or None.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    batch_stats: Any
    ema: Any = None


def create(variables, optimizer, ema_decay=0.0):
    """The state before the first step.

    Args:
      variables: {"params": tree, "batch_stats": tree (may be absent)}.
      optimizer: optax.GradientTransformation.
      ema_decay: 0 keeps no moving average.
    """
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        batch_stats=variables.get("batch_stats", {}),
        # A copy: donating a state in which two leaves are one buffer is an error.
        ema=jax.tree.map(jnp.copy, params) if ema_decay else None,
    )


def path_name(path):
    """A key path of jax.tree_util as "encoder/block_0/norm1/scale"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree):
    """[(name, leaf)] in the tree's own order; None is not a leaf."""
    return [(path_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def evaluation_variables(state):
    """The variables a tracker should use: the moving average where the run keeps one."""
    params = state.params if state.ema is None else state.ema
    return {"params": params, "batch_stats": state.batch_stats}
