"""How steps reach the device: one by one with batches that the host made, or several at once that make their own.

Both kinds of work have `size`, the steps of a dispatch at most, `ends`, numbers at whose multiples a dispatch ends, and
`take` and `inputs` for `train_state, metrics = take(train_state, inputs(steps), key, teacher_variables)`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from trackers.errors import UsageError
from trackers.nn.placement import BATCH_AXES
from trackers.training import sharding


def source(config, mesh, on_device):
    """What makes a run's batches on its devices; None where the host makes them.

    A CPU gains nothing from steps that make their batches, unless it is told to take several at once. Only the host
    hashes batches (config.train.debug_batch_hash).

    Args: config: whole config. mesh: the run's. on_device: what loader.on_device gives for the config.

    Raises: UsageError where config.train.steps_per_dispatch cannot be had.
    """
    size = config.train.steps_per_dispatch
    if size > 1 and on_device is None:
        raise UsageError(
            f"config.train.steps_per_dispatch is {size}, but only procedural pairs alone are made on the device: set"
            " --config.train.steps_per_dispatch=1, or config.data.ratio.synthetic alone above 0"
        )
    accelerated = mesh.devices.flat[0].platform != "cpu"
    return on_device if (size > 1 or accelerated) and not config.train.debug_batch_hash else None


def spans(start, last, size, ends):
    """The dispatches of a run that has taken `start` steps, as ranges of step numbers up to `last`, the first step 1.

    Args:
      size: steps in a dispatch at most. ends: numbers n (0 = none) of which no dispatch goes beyond a multiple.
    """
    while start < last:
        stop = min(start + size, last, *(start - start % n + n for n in ends if n))
        yield range(start + 1, stop + 1)
        start = stop


class FromHost:
    """Single steps on batches that the host has made.

    Args: program: the run's (train.Program). batches: iterator of {name: numpy array}, this process's rows. finish: of
      loader.finish, what is done with each batch on the devices first; None = nothing.
    """

    size, ends = 1, ()

    def __init__(self, program, batches, mesh, finish=None):
        self.take, self._batches, self._mesh = program.take_step, batches, mesh
        # A program of its own: the step stays the same to the last bit.
        self._finish = finish and jax.jit(
            jax.shard_map(finish, mesh=mesh, in_specs=P(BATCH_AXES), out_specs=P(BATCH_AXES), check_vma=False)
        )

    def inputs(self, steps):
        """The next batch on the devices."""
        del steps
        batch = sharding.put_batch(next(self._batches), self._mesh)
        return self._finish(batch) if self._finish else batch


class OnDevice:
    """Several steps in one dispatch, which make their batches where the rows live.

    A run cut elsewhere takes the same steps to the last bit on a CPU: there is one loop, compiled twice, for exactly
    `size` steps and for any number. The second a GPU takes with its host waiting at every turn to hear whether to go
    on; of the first the host runs ahead.

    Args: program: the run's (train.Program). source: loader.on_device's. size: steps in a dispatch at most.
    """

    def __init__(self, program, source, batch_size, size, mesh):
        self.size, self.ends = size, (source.renew_every_steps,)
        self._source, self._whole, self._period, self._facts = source, sharding.replicated(mesh), None, None
        places, teacher_places = sharding.places(program.target), sharding.places(program.teacher_variables)
        packing = program.packing
        pack, unpack = (packing.pack_state, packing.unpack_state) if packing else (lambda state: state,) * 2
        loop_places = packing.packed_places(places) if packing else places
        make = jax.shard_map(
            source.make, mesh=mesh, in_specs=(P(), P(), P(BATCH_AXES)), out_specs=P(BATCH_AXES), check_vma=False
        )

        def step(train_state, facts, key, teacher_variables):
            batch = make(facts, train_state.step, jnp.arange(batch_size, dtype=jnp.int32))
            # Not to be computed together with the step: a batch is the one that `make` gives by itself.
            inputs = jax.lax.optimization_barrier(batch), key, teacher_variables
            return program.step(train_state, *inputs, packing=packing)

        def take(train_state, inputs, key, teacher_variables):
            facts, count = inputs

            def body(i, carry):
                train_state, kept = carry
                train_state, scalars = step(train_state, facts, key, teacher_variables)
                kept = {name: values.at[i].set(scalars[name]) for name, values in kept.items()}
                return jax.lax.with_sharding_constraint(train_state, loop_places), kept

            train_state = pack(train_state)
            _, shapes = jax.eval_shape(step, train_state, facts, key, teacher_variables)
            kept = {name: jnp.zeros((size, *shape.shape), shape.dtype) for name, shape in shapes.items()}
            train_state, kept = jax.lax.fori_loop(0, size if count is None else count, body, (train_state, kept))
            return unpack(train_state), kept

        self.take = jax.jit(
            sharding.under(mesh, take),
            in_shardings=(places, self._whole, self._whole, teacher_places),
            out_shardings=(places, self._whole),
            donate_argnums=0,
        )

    def inputs(self, steps):
        """What the steps' batches are made of, on the devices, and their number; nothing is waited for."""
        taken = steps[0] - 1
        if taken // self._source.renew_every_steps != self._period:
            self._period = taken // self._source.renew_every_steps
            self._facts = self._source.facts(taken, self._whole)
        if len(steps) == self.size > 1:  # a loop of one turn would be no loop, and its step another program
            return self._facts, None
        return self._facts, jax.make_array_from_callback((), self._whole, lambda _: np.int32(len(steps)))
