"""Small parameters that are updated alike, as one long vector: a GPU has few arrays to update, sum and copy.

For the inside of a loop of steps (dispatch.py); checkpoints and all other programs know only trees. A TPU gains nothing
(benchmarks/RESULTS.md): it starts a program, not kernels, and lays matrices out in other ways than vectors.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from trackers.training import schedules
from trackers.training.state import named_leaves

# Elements. Larger ones keep a card busy by themselves, and need no second copy.
MAX_SMALL = 2**18
PLATFORMS = ("gpu",)


class Packing:
    """Trees of the parameters' structure as {path: array}, and back; no value changes.

    A vector goes by the path of its first parameter, so rules that go by path treat it as they treat all that is in it.
    What is large or split over devices stays an array of its own.

    Args:
      params: tree of shapes with placements.
      factors: tree of floats, what must be equal of parameters that share a vector.
    """

    def __init__(self, params, factors):
        self._structure = jax.tree.structure(params)
        self._shapes = [leaf.shape for leaf in jax.tree.leaves(params)]
        names, groups = [name for name, _ in named_leaves(params)], {}
        for i, (leaf, factor) in enumerate(zip(jax.tree.leaves(params), jax.tree.leaves(factors), strict=True)):
            small = leaf.size <= MAX_SMALL and leaf.sharding.is_fully_replicated
            groups.setdefault((leaf.dtype, factor) if small else i, []).append(i)
        self._members = {names[members[0]]: members for members in groups.values()}

    def pack(self, tree):
        """{path: (n,) vector, or an array as it is} of a tree of arrays."""
        return self._grouped(tree, lambda leaves: jnp.concatenate([leaf.ravel() for leaf in leaves]))

    def unpack(self, packed):
        """The tree that `pack` was given."""
        leaves = {}
        for name, members in self._members.items():
            parts = jnp.split(packed[name], self._ends(members)[:-1]) if len(members) > 1 else [packed[name]]
            leaves |= {i: part.reshape(self._shapes[i]) for i, part in zip(members, parts, strict=True)}
        return jax.tree.unflatten(self._structure, [leaves[i] for i in range(len(leaves))])

    def pack_state(self, train_state):
        """A TrainState with parameters, moments and average packed."""
        return self._each_tree(train_state, self.pack)

    def packed_places(self, places):
        """The placements of a packed TrainState, of those of the TrainState."""
        return self._each_tree(places, lambda tree: self._grouped(tree, lambda leaves: leaves[0]))

    def unpack_state(self, train_state):
        """The TrainState that `pack_state` was given."""

        def is_packed(part):
            return isinstance(part, dict) and part.keys() == self._members.keys()

        return jax.tree.map(lambda part: self.unpack(part) if is_packed(part) else part, train_state, is_leaf=is_packed)

    def _ends(self, members):
        """Where each of a vector's parameters ends in it."""
        return np.cumsum([math.prod(self._shapes[i]) for i in members])

    def _grouped(self, tree, join):
        leaves = jax.tree.leaves(tree)
        groups = {name: [leaves[i] for i in members] for name, members in self._members.items()}
        return {name: join(group) if len(group) > 1 else group[0] for name, group in groups.items()}

    def _each_tree(self, train_state, change):
        def is_tree(part):
            return jax.tree.structure(part) == self._structure

        return jax.tree.map(lambda part: change(part) if is_tree(part) else part, train_state, is_leaf=is_tree)

    def first_not_finite(self, packed):
        """() int32: the first parameter, in the tree's order, with a value that is not finite; -1 for none."""
        none = len(self._shapes)
        found = [none]
        for name, members in self._members.items():
            values = packed[name].ravel()
            place = jnp.where(jnp.isfinite(values), values.size, jnp.arange(values.size)).min()
            found.append(jnp.asarray([*members, none])[(self._ends(members) <= place).sum()])
        first = jnp.min(jnp.array(found))
        return jnp.where(first == none, -1, first)


def of_run(params, train, mesh):
    """The Packing for a run's steps in a loop; None where it does not pay, or some parameters are not trained.

    Args: params: tree of shapes with placements. train: config.train. mesh: the run's.
    """
    if train.frozen or mesh.devices.flat[0].platform not in PLATFORMS:
        return None
    return Packing(params, schedules.multipliers(params, schedules.multiplier_rules(train.encoder_multiplier)))
