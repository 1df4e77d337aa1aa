"""Small parameters as vectors: exact there and back, and a step with them is the step without."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from trackers.training import packing, state, updates

SIZES = {"encoder": {"a": (3, 2), "b": ()}, "head": {"c": (4,), "d": (2, 1, 2), "large": (600, 600), "split": (8,)}}
FACTORS = {"encoder": {"a": 0.1, "b": 0.1}, "head": {"c": 1.0, "d": 1.0, "large": 1.0, "split": 1.0}}


def map_sizes(make):
    return jax.tree_util.tree_map_with_path(make, SIZES, is_leaf=lambda value: isinstance(value, tuple))


@pytest.fixture(scope="module")
def packed_by():
    """A Packing of two groups of factors, a large leaf, and one that is split over devices."""

    def shape(path, size):
        place = SimpleNamespace(is_fully_replicated="split" not in state.path_name(path))
        return SimpleNamespace(shape=size, size=math.prod(size), dtype=jnp.dtype("float32"), sharding=place)

    return packing.Packing(map_sizes(shape), FACTORS)


def drawn(seed):
    rng = np.random.default_rng(seed)
    return map_sizes(lambda path, size: jnp.asarray(rng.standard_normal(size), jnp.float32))


def test_what_shares_a_vector(packed_by):
    tree = drawn(0)
    vectors = packed_by.pack(tree)
    shapes = {"encoder/a": (7,), "head/c": (8,), "head/large": (600, 600), "head/split": (8,)}
    assert {name: vector.shape for name, vector in vectors.items()} == shapes
    expected = np.concatenate([np.ravel(tree["encoder"]["a"]), [tree["encoder"]["b"]]])
    np.testing.assert_array_equal(vectors["encoder/a"], expected)
    jax.tree.map(np.testing.assert_array_equal, packed_by.unpack(vectors), tree)
    places = packed_by.packed_places({"state": FACTORS, "step": "anywhere"})
    assert places == {
        "state": {"encoder/a": 0.1, "head/c": 1.0, "head/large": 1.0, "head/split": 1.0}, "step": "anywhere"
    }  # fmt: skip


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_step_is_the_same(packed_by, ema_decay):
    """Up to the order in which norms are summed."""
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(1e-2))
    settings = {"optimizer": optimizer, "ema_decay": ema_decay}
    plain = state.create({"params": drawn(0), "batch_stats": {"mean": jnp.ones(3)}}, optimizer, ema_decay)
    packed = packed_by.pack_state(plain)
    assert jax.tree.structure(packed_by.unpack_state(packed)) == jax.tree.structure(plain)
    for seed in (1, 2):
        grads, stats = drawn(seed), {"mean": jnp.full(3, float(seed))}
        plain, norms = updates.apply(plain, grads, stats, **settings)
        packed, packed_norms = updates.apply(packed, grads, stats, packing=packed_by, **settings)
        assert norms["bad_leaf"] == packed_norms["bad_leaf"] == -1
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), norms, packed_norms)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), plain, packed_by.unpack_state(packed)
    )


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_the_first_bad_leaf_is_named(packed_by, value):
    leaves, structure = jax.tree.flatten(drawn(0))
    for number in range(len(leaves)):
        for last in (False, True):  # its first or last element, and the first one of a later leaf
            changed = list(leaves)
            changed[number] = changed[number].ravel().at[-last].set(value).reshape(changed[number].shape)
            changed[-1] = changed[-1].at[0].set(value)
            assert packed_by.first_not_finite(packed_by.pack(jax.tree.unflatten(structure, changed))) == number


@pytest.mark.parametrize(
    ("platform", "frozen", "packs"),
    [("gpu", (), True), ("gpu", ("encoder",), False), ("tpu", (), False), ("cpu", (), False)],
)
def test_which_runs_are_packed(platform, frozen, packs):
    mesh = SimpleNamespace(devices=np.array([SimpleNamespace(platform=platform)], object))
    train = SimpleNamespace(frozen=frozen, encoder_multiplier=0.1)
    assert (packing.of_run({}, train, mesh) is not None) == packs
