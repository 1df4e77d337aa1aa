"""The decoder of SimTrack's Table 9 against its definition, and what its output depends on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn.test_stark import GRIDS, attend, check_dropout, feed_forward, norm
from trackers.nn import stark
from trackers.nn.cross_decoder import CrossDecoder, Sizes

SIZES, WIDTH = Sizes(layers=2, heads=2, hidden=12), 8


def expected(params, exemplar, search):
    """Search tokens after the layers, and what the exemplar added to them in each (B,Nx,C), in float64."""
    exemplar_positions, positions = (stark.sine_positions(grid, WIDTH) for grid in GRIDS)
    added = []
    for i in range(SIZES.layers):
        p = params[f"layer_{i}"]
        search = norm(search + attend(p["attention"], search + positions, search + positions, search), p["norm1"])
        added.append(attend(p["cross_attention"], search + positions, exemplar + exemplar_positions, exemplar))
        search = norm(search + added[-1], p["norm2"])
        search = norm(search + feed_forward(p, search), p["norm3"])
    return search, added


@pytest.fixture(scope="module")
def case():
    """(function of exemplar and search tokens, parameters, exemplar (2,6,8), search (2,16,8))."""
    model, rng = CrossDecoder(SIZES), np.random.default_rng(0)
    exemplar, search = (rng.standard_normal((2, n, WIDTH)).astype(np.float32) for n in (6, 16))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), exemplar, search, GRIDS))
    params = jax.tree.map(lambda s: 0.5 * rng.standard_normal(s.shape), shapes["params"])
    return jax.jit(lambda e, s: model.apply({"params": params}, e, s, GRIDS)), params, exemplar, search


def test_queries_are_search_tokens_and_keys_and_values_the_exemplars(case):
    """float32 against float64; the tolerance leaves room for platforms."""
    run, params, exemplar, search = case
    np.testing.assert_allclose(run(exemplar, search), expected(params, exemplar, search)[0], atol=5e-4, rtol=1e-4)
    names = {"attention", "cross_attention", "norm1", "norm2", "norm3", "fc1", "fc2"}
    assert set(params) == {"layer_0", "layer_1"}, "no learned query"
    assert all(set(layer) == names for layer in params.values())


def test_gradients_reach_both_inputs_and_all_of_their_tokens(case):
    run, _, exemplar, search = case
    gradients = jax.grad(lambda e, s: jnp.sum(run(e, s) ** 3), argnums=(0, 1))(exemplar, search)
    assert all(np.all(np.abs(gradient).max(axis=-1) > 1e-6) for gradient in gradients)


def test_an_exemplar_that_is_the_same_everywhere_adds_the_same_to_every_search_token(case):
    """Values have no positions, so then no search token learns anything of its own from the exemplar."""
    run, params, exemplar, search = case
    constant = np.repeat(exemplar[:, :1], 6, axis=1)
    found, added = expected(params, constant, search)
    for each in added:
        np.testing.assert_allclose(each, np.broadcast_to(each[:, :1], each.shape), atol=1e-12)
    np.testing.assert_allclose(run(constant, search), found, atol=5e-4, rtol=1e-4)
    assert np.ptp(expected(params, exemplar, search)[1][0], axis=1).max() > 0.1, "with other tokens it does"


def test_a_permuted_exemplar_is_another_one_only_through_its_positions(case):
    run, _, exemplar, search = case
    assert np.abs(run(exemplar[:, ::-1], search) - run(exemplar, search)).max() > 1e-3


def test_dropout_comes_from_its_key_alone():
    model, tokens = CrossDecoder(Sizes(1, 2, 12)), jnp.ones((1, 16, WIDTH))
    check_dropout(model, (tokens[:, :6], tokens, GRIDS))


@pytest.mark.parametrize("heads", [0, 3])
def test_channels_must_divide(heads):
    with pytest.raises(ValueError, match=f"not divisible by its {heads} heads"):
        CrossDecoder(Sizes(1, heads)).init(jax.random.key(0), jnp.ones((1, 6, 8)), jnp.ones((1, 16, 8)), GRIDS)
    with pytest.raises(ValueError, match="model.head.decoder.layers must be at least 0, got -1"):
        Sizes(-1)
