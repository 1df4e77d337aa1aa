"""Many sequences in lockstep: one dispatch steps all slots, each through a sequence of its own, on all devices given.

A slot holds the State of one sequence. When that ends, `refill` starts the next one there; nothing is compiled anew.
The slots are split evenly over the devices of a mesh, and no device waits for another.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

# Slots whose templates are due are encoded in so many groups at most: all at once where sequences began together, and
# few superfluous ones where each is due at a time of its own.
_GROUPS = 4
_AXIS = "slots"


class Lockstep:
    """A tracker's step over slots.

    Args:
      tracker: single_object.Tracker.
      variables: its model's.
      slots: sequences at a time, at least 1; rounded up to a multiple of the devices (attribute `slots`).
      devices: list of jax devices, this process's when None.

    Frames are (slots, H, W, 3) uint8 RGB, of which the first `sizes` (slots, 2) int32, height and width, are image.
    `put` brings them to the devices. A program is compiled for each (H, W): `programs`.
    """

    def __init__(self, tracker, variables, slots, devices=None):
        devices = jax.local_devices() if devices is None else devices
        self._tracker = tracker
        self._mesh = jax.sharding.Mesh(np.array(devices), (_AXIS,))
        self._here = -(-slots // len(devices))
        self.slots = self._here * len(devices)
        self._split = NamedSharding(self._mesh, PartitionSpec(_AXIS))
        self._variables = jax.device_put(variables, NamedSharding(self._mesh, PartitionSpec()))
        self._programs = {}
        frame, box = jax.ShapeDtypeStruct((8, 8, 3), np.uint8), jax.ShapeDtypeStruct((4,), np.float32)
        one = jax.eval_shape(tracker.init, self._variables, frame, box)
        self._states = jax.tree.map(lambda leaf: self._shaped((self.slots, *leaf.shape), leaf.dtype), one)

    def put(self, tree):
        """Arrays with a leading axis of slots, on the devices; those on the host must stay unchanged until used."""
        return jax.device_put(tree, self._split)

    def empty(self):
        """States (slots, ...) of no sequences."""
        return self.put(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self._states))

    def programs(self, canvas):
        """(refill, step), compiled once for frames of `canvas` (height, width); both take the states for themselves.

        refill(states, frames, sizes, slot () int32, box (4,) float32) -> states: starts on the slot's frame there.
        step(states, frames, sizes, live (slots,) bool) -> (states, found): found (slots, 5) float32 is x, y, w, h in
        pixels and the score. Slots that are not live keep their state, and what is found there means nothing.
        """
        if canvas not in self._programs:
            frames = self._shaped((self.slots, *canvas, 3), np.uint8)
            sizes = self._shaped((self.slots, 2), np.int32)
            every, one = PartitionSpec(), PartitionSpec(_AXIS)
            started = self._states, frames, sizes, np.int32(0), np.zeros(4, np.float32)
            stepped = self._states, frames, sizes, self._shaped((self.slots,), bool)
            self._programs[canvas] = (
                self._compiled(self._refill, (every, one, one, one, every, every), one, started),
                self._compiled(self._step, (every, one, one, one, one), (one, one), stepped),
            )
        return self._programs[canvas]

    def _shaped(self, shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=self._split)

    def _compiled(self, function, inputs, outputs, examples):
        # Each device runs the program of its own slots; nothing in it asks another device.
        local = jax.shard_map(function, mesh=self._mesh, in_specs=inputs, out_specs=outputs, check_vma=False)
        program = jax.jit(local, donate_argnums=1).lower(self._variables, *examples).compile()
        return functools.partial(program, self._variables)

    def _refill(self, variables, states, frames, sizes, slot, box):
        slot = slot - jax.lax.axis_index(_AXIS) * self._here

        def start():
            fresh = self._tracker.init(variables, frames[slot], box, sizes[slot])
            return jax.tree.map(lambda old, new: old.at[slot].set(new), states, fresh)

        return jax.lax.cond((slot >= 0) & (slot < self._here), start, lambda: states)

    def _step(self, variables, states, frames, sizes, live):
        found, output, due = jax.vmap(functools.partial(self._tracker.find, variables))(states, frames, sizes)

        def kept(new, old):
            return jnp.where(live.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        box, online, cache = kept(found.box, states.box), states.online, states.cache
        if due is not None:
            online = jax.tree.map(kept, found.online, online)
            cache = self._renewed(variables, cache, online, due & live)
        states = states.replace(box=box, online=online, cache=cache)
        return states, jnp.concatenate([output.box, output.score[:, None]], axis=1)

    def _renewed(self, variables, cache, online, due):
        """The cache with the templates of the slots encoded that are due (slots of this device,) bool."""
        here = self._here
        group = -(-here // _GROUPS)

        def encode_some(carry):
            cache, due = carry
            # Places beyond the slots that are due name a slot that is not there; what is set there is dropped.
            slots = jnp.nonzero(due, size=group, fill_value=here)[0]
            chosen = jax.tree.map(lambda leaf: leaf[slots], online)
            fresh = jax.vmap(functools.partial(self._tracker.encode, variables))(chosen)
            cache = jax.tree.map(lambda old, new: old.at[slots].set(new, mode="drop"), cache, fresh)
            return cache, due.at[slots].set(False, mode="drop")

        return jax.lax.while_loop(lambda carry: jnp.any(carry[1]), encode_some, (cache, due))[0]
