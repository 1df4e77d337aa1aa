"""Many sequences in lockstep: one dispatch steps all slots, each through a sequence of its own, on all devices given.

A slot holds the State of one sequence. When that ends, `refill` starts the next one there; nothing is compiled anew.
A dispatch may take several frames of each sequence, one after another inside the program (jax.lax.scan). The slots are
split evenly over the devices of a mesh, and no device waits for another.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

# A device's slots whose templates are due are encoded in so many calls at most: few where sequences began together, and
# with few superfluous slots where each is due at a time of its own.
_CALLS = 4
_AXIS = "slots"
# What of a State finding the target changes.
_FOLLOWED = ("box", "online", "sighting", "aspect", "filter")


class Batch(NamedTuple):
    """What the slots show in one step, on the devices but for `starts` and `due`.

    frames: (slots, K, H, W, 3) uint8 RGB, K frames of each slot. sizes: (slots, K, 2) int32, height and width: the top
      left part that is image. Where all slots look at the same frames: (K, H, W, 3) and (K, 2).
    live: (slots, K) bool, frames in which a target is sought: not the first of a sequence, nor what follows its last.
    starts: {slot: box (4,) float32} of the sequences that begin with the first frame here.
    due: (slots,) bool on the host, slots whose templates are replaced after their last live frame (Tracker.is_due).
    """

    frames: jax.Array
    sizes: jax.Array
    live: jax.Array
    starts: dict
    due: np.ndarray


class Lockstep:
    """A tracker's step over slots.

    Args:
      tracker: single_object.Tracker.
      variables: its model's.
      slots: sequences at a time, at least 1; rounded up to a multiple of the devices (attribute `slots`).
      devices: list of jax devices, this process's when None.
      frames: of each slot in a step (K).
      one_frame: whether all slots look at the same frames, as several targets of one video do.
    """

    def __init__(self, tracker, variables, slots, devices=None, frames=1, one_frame=False):
        devices = jax.local_devices() if devices is None else devices
        self._one_frame = one_frame
        self._tracker = tracker
        self._mesh = jax.sharding.Mesh(np.array(devices), (_AXIS,))
        self._here = -(-slots // len(devices))
        self._group = -(-self._here // _CALLS)
        self.slots, self.frames = self._here * len(devices), frames
        self._split = NamedSharding(self._mesh, PartitionSpec(_AXIS))
        self._whole = NamedSharding(self._mesh, PartitionSpec())
        self._seen = self._whole if one_frame else self._split  # frames and their sizes
        self._variables = jax.device_put(variables, self._whole)
        frame, box = jax.ShapeDtypeStruct((8, 8, 3), np.uint8), jax.ShapeDtypeStruct((4,), np.float32)
        one = jax.eval_shape(tracker.init, self._variables, frame, box)
        self._states = jax.tree.map(lambda leaf: self._shaped((self.slots, *leaf.shape), leaf.dtype), one)
        self._programs = {}

    def put(self, frames, sizes, live, starts, due):
        """A Batch of arrays on the host, which must stay unchanged until the boxes of its step are there."""
        return Batch(*jax.device_put((frames, sizes, live), (self._seen, self._seen, self._split)), starts, due)

    def empty(self):
        """States (slots, ...) of no sequences."""
        return jax.device_put(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self._states), self._split)

    def taken_over(self, states):
        """States (slots, ...) whose first n slots go on with `states` (n, ...), NumPy, of another Lockstep."""

        def padded(leaf, held):
            whole = np.zeros(leaf.shape, leaf.dtype)
            whole[: len(held)] = held
            return whole

        return jax.device_put(jax.tree.map(padded, self._states, states), self._split)

    def start(self, states, batch):
        """The states after the `starts` of a batch alone; those given are used up, the other slots stay as they are."""
        refill, _, _ = self.programs(batch.frames.shape[-3:-1])
        for slot, box in batch.starts.items():
            states = refill(states, batch.frames, batch.sizes, np.int32(slot), box)
        return states

    def step(self, states, batch):
        """The next frames of every slot; the states given are used up.

        Args:
          states: of the step before, or `empty`.
          batch: Batch.

        Returns: (states, found): found is (slots, K, 6) float32, x, y, w, h in pixels, the score, and 1 where the
          target is lost, on the devices; what it says of frames that are not live means nothing.
        """
        _, advance, renew = self.programs(batch.frames.shape[-3:-1])
        states = self.start(states, batch)
        states, found = advance(states, batch.frames, batch.sizes, batch.live)
        for some in self._calls(batch.due):
            states = renew(states, some)
        return states, found

    def programs(self, canvas):
        """(refill, advance, renew) for frames of `canvas` (height, width), compiled when they are first asked for."""
        every, one, seen = PartitionSpec(), PartitionSpec(_AXIS), self._seen.spec
        if not self._programs and self._tracker.settings.update_interval:
            slots = self._shaped((self.slots,), bool)
            self._programs["renew"] = self._compiled(self._renew, (every, one, one), one, (self._states, slots))
        if canvas not in self._programs:
            rows = (self.frames,) if self._one_frame else (self.slots, self.frames)
            frames, sizes = ((*rows, *canvas, 3), np.uint8), ((*rows, 2), np.int32)
            shown = self._states, *(jax.ShapeDtypeStruct(*what, sharding=self._seen) for what in (frames, sizes))
            live = self._shaped((self.slots, self.frames), bool)
            started = *shown, np.int32(0), np.zeros(4, np.float32)
            self._programs[canvas] = (
                self._compiled(self._refill, (every, one, seen, seen, every, every), one, started),
                self._compiled(self._advance, (every, one, seen, seen, one), (one, one), (*shown, live)),
            )
        return *self._programs[canvas], self._programs.get("renew")

    def _shaped(self, shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=self._split)

    def _compiled(self, function, inputs, outputs, examples):
        # Each device runs the program of its own slots; nothing in it asks another device, and nothing the host.
        local = jax.shard_map(function, mesh=self._mesh, in_specs=inputs, out_specs=outputs, check_vma=False)
        program = jax.jit(local, donate_argnums=1).lower(self._variables, *examples).compile()
        return functools.partial(program, self._variables)

    def _refill(self, variables, states, frames, sizes, slot, box):
        slot = slot - jax.lax.axis_index(_AXIS) * self._here
        # The devices that don't have the slot set one that is not there, which does nothing.
        slot = jnp.where((slot >= 0) & (slot < self._here), slot, self._here)
        frame, size = (frames[0], sizes[0]) if self._one_frame else (frames[slot, 0], sizes[slot, 0])
        fresh = self._tracker.init(variables, frame, box, size)
        return jax.tree.map(lambda old, new: old.at[slot].set(new, mode="drop"), states, fresh)

    def _advance(self, variables, states, frames, sizes, live):
        find = functools.partial(self._tracker.find, variables)
        find = jax.vmap(find, in_axes=(0, None, None) if self._one_frame else 0)

        def follow(followed, number):
            """One frame of every slot. followed: _FOLLOWED of the states; finding leaves the cache alone."""
            frame, size = (given[number] if self._one_frame else given[:, number] for given in (frames, sizes))
            sought = live[:, number]
            found, output, _ = find(states.replace(**followed), frame, size)
            if found.sighting is not None:
                found, output = self._searched(variables, found, output, frame, size, sought)

            def kept(new, old):
                return jnp.where(sought.reshape(-1, *[1] * (new.ndim - 1)), new, old)

            followed = jax.tree.map(kept, _followed(found), followed)
            lost = jnp.zeros_like(output.score) if output.lost is None else output.lost.astype(jnp.float32)
            return followed, jnp.concatenate([output.box, output.score[:, None], lost[:, None]], axis=1)

        followed, found = jax.lax.scan(follow, _followed(states), jnp.arange(self.frames))
        return states.replace(**followed), jnp.moveaxis(found, 0, 1)

    def _searched(self, variables, states, output, frames, sizes, live):
        """Looks for lost targets elsewhere, one slot after the other, so that the others cost nothing."""

        def one(slot):
            state, told, frame, size, lost = slot
            if self._one_frame:
                frame, size = frames, sizes
            search = functools.partial(self._tracker.search, variables)
            return jax.lax.cond(lost, search, lambda state, told, *_: (state, told), state, told, frame, size)

        seen = (None, None) if self._one_frame else (frames, sizes)
        return jax.lax.map(one, (states, output, *seen, output.lost & live))

    def _calls(self, due):
        """Masks (slots,) of due slots, each with at most a group of every device's."""
        due = due.reshape(-1, self._here)
        call = (np.cumsum(due, axis=1) - 1) // self._group
        return [(due & (call == number)).reshape(-1) for number in range(call.max() + 1)]

    def _renew(self, variables, states, due):
        """The templates of at most a group of slots are encoded anew: those that are due."""
        slots = jnp.nonzero(due, size=self._group, fill_value=self._here)[0]
        chosen = jax.tree.map(lambda leaf: leaf[slots], states.online)
        fresh = jax.vmap(functools.partial(self._tracker.encode, variables))(chosen)
        # Places beyond the slots that are due name a slot that is not there; what is set there is dropped.
        cache = jax.tree.map(lambda old, new: old.at[slots].set(new, mode="drop"), states.cache, fresh)
        return states.replace(cache=cache)


def _followed(states):
    """{field: value} of _FOLLOWED."""
    return {name: getattr(states, name) for name in _FOLLOWED}
