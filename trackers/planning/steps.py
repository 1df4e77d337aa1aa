"""A training step as a plan sees it: what it takes, what it costs by its formulas, and the time it takes where it runs.

The step itself comes from train.assemble; nothing here builds another.
"""

import time

import jax
import numpy as np

from trackers.objectives import RNG_NAMES
from trackers.training import sharding, state


def bytes_on_each(tree):
    """Bytes of a tree of shapes with placements on each device."""
    pieces = ((leaf.sharding.shard_shape(leaf.shape), leaf.dtype) for leaf in jax.tree.leaves(tree))
    return sum(float(np.prod(shape)) * dtype.itemsize for shape, dtype in pieces)


def saved_for_backward(program, shapes, rows, mesh):
    """Bytes of intermediate values that `rows` rows keep for the backward pass, before the compiler's own savings.

    With the kernels of the mesh's devices.

    The residuals of jax.vjp at one and two rows: their difference leaves out what does not grow with the batch.
    """

    variables = program.target.params, program.target.batch_stats, program.teacher_variables
    unplaced = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), variables)

    def residuals(count):
        batch = {name: jax.ShapeDtypeStruct((count, *shape), dtype) for name, (shape, dtype) in shapes.items()}

        def backward(params, statistics, teacher_variables, batch):
            context = {"rngs": {name: jax.random.key(0) for name in RNG_NAMES}, "teacher_variables": teacher_variables}

            def loss(params):
                return program.objective(params, statistics, batch, train=True, **context)

            return jax.vjp(loss, params, has_aux=True)[1]

        alone = sharding.under(sharding.first_of(mesh), backward)
        kept = jax.tree.leaves(jax.eval_shape(alone, *unplaced, batch))
        return sum(float(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in kept)

    return rows * (residuals(2) - residuals(1))


def synthetic_batch(shapes, batch_size, seed=0):
    """Random arrays in place of a batch: images and token ids of any value, numbers in [0.25, 0.5).

    Args: shapes: {name: (shape, dtype)} of one row. batch_size: rows.
    """
    numbers = np.random.default_rng(seed)

    def make(shape, dtype):
        dtype = np.dtype(dtype)
        if dtype == np.uint8:
            return numbers.integers(0, 256, shape, dtype)
        if dtype.kind in "biu":
            return numbers.integers(0, 2, shape).astype(dtype)
        return numbers.uniform(0.25, 0.5, shape).astype(dtype)

    return {name: make((batch_size, *shape), dtype) for name, (shape, dtype) in shapes.items()}


def measure(program, compiled, batch, mesh, repeats=10):
    """Seconds of each of `repeats` steps after one to warm up, on devices that are here.

    Args: program: train.Program. compiled: its step. batch: {name: numpy array} of all rows. mesh: that of program.
    """
    train_state, teacher_variables = _placed(program.target), _placed(program.teacher_variables)
    rows = sharding.put_batch(batch, mesh)
    key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        train_state, _ = compiled(train_state, rows, key, teacher_variables)
        jax.block_until_ready(train_state)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def parameters(program):
    """Number of parameters of the model."""
    return sum(int(np.prod(leaf.shape)) for _, leaf in state.named_leaves(program.target.params))


def _placed(tree):
    """Arrays of the shapes and placements of `tree`."""
    return jax.jit(lambda: jax.tree.map(_start, tree), out_shardings=sharding.places(tree))()


def _start(leaf):
    """Small numbers: no step's time depends on them."""
    return jax.numpy.full(leaf.shape, 0.01 if np.issubdtype(leaf.dtype, np.floating) else 0, leaf.dtype)
