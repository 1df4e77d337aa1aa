"""What the gradients of a step do to the state of a run."""

import jax
import jax.numpy as jnp
import optax


def apply(train_state, grads, batch_stats, *, optimizer, ema_decay, packing=None):
    """The state one step on, pure.

    Args:
      train_state: TrainState; packed where packing (packing.Packing) is given.
      grads: tree of the parameters' gradients. batch_stats: the running statistics after the step.
      optimizer: optax.GradientTransformation. ema_decay: read only where the state keeps a moving average.

    Returns: (TrainState, metrics): the norms "grad_norm" (before clipping), "update_norm" and "param_norm" (after the
      step), and "bad_leaf" () int32, the first leaf (in tree order) with a non-finite gradient, -1 for none.
    """
    if packing is not None:
        grads = packing.pack(grads)
    squares = jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(grads)])
    if packing is None:
        bad = ~jnp.isfinite(squares)
        bad_leaf = jnp.where(bad.any(), jnp.argmax(bad), -1)
    else:
        bad_leaf = packing.first_not_finite(grads)
    updates, opt_state = optimizer.update(grads, train_state.opt_state, train_state.params)
    params = optax.apply_updates(train_state.params, updates)
    ema = train_state.ema
    if ema is not None:
        ema = jax.tree.map(lambda old, new: ema_decay * old + (1 - ema_decay) * new, ema, params)
    norms = {"update_norm": optax.global_norm(updates), "param_norm": optax.global_norm(params)}
    train_state = train_state.replace(
        step=train_state.step + 1, params=params, opt_state=opt_state, batch_stats=batch_stats, ema=ema
    )
    return train_state, {**norms, "grad_norm": jnp.sqrt(squares.sum()), "bad_leaf": bad_leaf}
