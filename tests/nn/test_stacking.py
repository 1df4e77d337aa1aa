import jax
import numpy as np
import pytest

from trackers.nn import stacking

LAYERS = {"encoder": {f"block_{i}": {"bias": np.full(2, i)} for i in range(5)} | {"norm": np.ones(3)}}


def like(*names):
    return {"encoder": {name: {"bias": None} for name in names} | {"norm": None}}


def test_any_stacking_goes_to_any_other_and_back():
    halves = stacking.unflatten(stacking.flatten(LAYERS), like("blocks_0_1", "blocks_2_4"))
    assert halves["encoder"].keys() == {"blocks_0_1", "blocks_2_4", "norm"}
    shifted = stacking.unflatten(stacking.flatten(halves), like("block_0", "blocks_1_4"))
    np.testing.assert_array_equal(shifted["encoder"]["blocks_1_4"]["bias"][:, 0], [1, 2, 3, 4])
    jax.tree.map(np.testing.assert_array_equal, stacking.unflatten(stacking.flatten(shifted), LAYERS), LAYERS)


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="block_5"):
        stacking.unflatten(stacking.flatten(LAYERS), like("blocks_0_5"))


def test_abstract_leaves_are_taken_apart():
    stacked = {"a": {"blocks_1_2": {"kernel": jax.ShapeDtypeStruct((2, 3, 4), np.float32)}}}
    found = {name: leaf.shape for name, leaf in stacking.flatten(stacked).items()}
    assert found == {"a/block_1/kernel": (3, 4), "a/block_2/kernel": (3, 4)}
