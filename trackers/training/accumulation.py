"""Gradients of a batch that is too large to be taken at once: part after part, added up before the optimizer's step."""

import jax
import jax.numpy as jnp

from trackers.nn.placement import split_batch


def parts_of(batch, parts):
    """A batch {name: (B,...)} as `parts` smaller ones, {name: (parts,B/parts,...)}; part i has the rows i, i+parts, ...

    Taken in strides, each part lies on all devices as the batch does, and no row moves from one device to another.
    """

    def split(rows):
        pieces = rows.reshape(rows.shape[0] // parts, parts, *rows.shape[1:])
        return jnp.moveaxis(pieces, 1, 0)

    return jax.tree.map(split, batch)


def gradients(loss, params, batch_stats, batch, rngs, parts=1, reduction="mean"):
    """Gradients and metrics of a batch taken in `parts` parts by a loop on the device.

    They equal those of the whole batch up to rounding where a sample's loss depends on that sample alone. Two things do
    not: noise is drawn for each part by itself, from keys of its own; and normalization layers see the statistics of a
    part, B/parts samples (over all devices), and update their running ones `parts` times a step, as `parts` smaller
    steps would.

    Args:
      loss: (params, batch_stats, batch, rngs) -> (loss, (metrics, batch_stats)), as objectives are.
      params, batch_stats: trees. batch: {name: (B,...)}. rngs: {name: key}.
      parts: number of parts, which divides B.
      reduction: whether the loss is a "mean" or a "sum" over the batch.

    Returns: (gradients, metrics, batch_stats). Metrics are means over the parts; "loss" their sum where it is a sum.
    """
    gradient = jax.grad(loss, has_aux=True)
    if parts == 1:
        grads, (scalars, batch_stats) = gradient(params, batch_stats, batch, rngs)
        return grads, scalars, batch_stats

    def add(carry, inputs):
        (total, batch_stats), (part, rows) = carry, inputs
        keys = {name: jax.random.fold_in(key, part) for name, key in rngs.items()}
        grads, (scalars, batch_stats) = gradient(params, batch_stats, jax.tree.map(split_batch, rows), keys)
        return (jax.tree.map(jnp.add, total, grads), batch_stats), scalars

    start = jax.tree.map(jnp.zeros_like, params), batch_stats
    (total, batch_stats), scalars = jax.lax.scan(add, start, (jnp.arange(parts), parts_of(batch, parts)))
    scalars = {name: jnp.mean(values, axis=0) for name, values in scalars.items()}
    if reduction == "sum":
        return total, {**scalars, "loss": scalars["loss"] * parts}, batch_stats
    return jax.tree.map(lambda leaf: leaf / parts, total), scalars, batch_stats
