"""STARK's encoder and decoder against their definition (post-norm layers, positions on queries and keys only)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trackers.nn import stark

GRIDS = ((2, 3), (4, 4))


def norm(x, params):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * params["scale"] + params["bias"]


def attend(params, queries, keys, values):
    q, k, v = (
        np.einsum("bnd,dhe->bnhe", x, params[name]["kernel"]) + params[name]["bias"]
        for name, x in (("q", queries), ("k", keys), ("v", values))
    )
    weights = np.exp(np.einsum("bnhe,bmhe->bhnm", q, k) / np.sqrt(q.shape[-1]))
    out = np.einsum("bhnm,bmhe->bnhe", weights / weights.sum(-1, keepdims=True), v)
    return np.einsum("bnhe,hed->bnd", out, params["out"]["kernel"]) + params["out"]["bias"]


def feed_forward(params, x):
    hidden = np.maximum(x @ params["fc1"]["kernel"] + params["fc1"]["bias"], 0)
    return hidden @ params["fc2"]["kernel"] + params["fc2"]["bias"]


def expected(params, config, exemplar, search):
    positions = np.concatenate([stark.sine_positions(grid, search.shape[-1]) for grid in GRIDS])
    memory = np.concatenate([exemplar, search], 1)
    for i in range(config.encoder_layers):
        p = params[f"encoder_{i}"]
        placed = memory + positions
        memory = norm(memory + attend(p["attention"], placed, placed, memory), p["norm1"])
        memory = norm(memory + feed_forward(p, memory), p["norm2"])
    found = memory[:, -search.shape[1] :]
    if not config.decoder_layers:
        return found
    query = np.zeros((search.shape[0], 1, search.shape[-1]))
    for i in range(config.decoder_layers):
        p = params[f"decoder_{i}"]
        placed = query + params["query"]
        query = norm(query + attend(p["attention"], placed, placed, query), p["norm1"])
        cross = attend(p["cross_attention"], query + params["query"], memory + positions, memory)
        query = norm(query + cross, p["norm2"])
        query = norm(query + feed_forward(p, query), p["norm3"])
    query = norm(query, params["norm"])
    return found * (found @ query.transpose(0, 2, 1))


@pytest.mark.parametrize("encoders, decoders", [(0, 2), (2, 1), (1, 0)])
def test_encoder_and_decoder(encoders, decoders):
    """float32 against float64; the tolerance leaves room for platforms."""
    config = stark.Transformer(encoders, decoders, heads=2, hidden=12)
    model, rng = stark.EncoderDecoder(config), np.random.default_rng(0)
    exemplar, search = (rng.standard_normal((2, n, 8)) for n in (6, 16))
    given = (jnp.asarray(exemplar, jnp.float32), jnp.asarray(search, jnp.float32))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), *given, GRIDS))
    params = jax.tree.map(lambda s: 0.5 * rng.standard_normal(s.shape), shapes["params"])
    found = jax.jit(lambda p: model.apply({"params": p}, *given, GRIDS))(params)
    np.testing.assert_allclose(found, expected(params, config, exemplar, search), atol=5e-4, rtol=1e-4)
    assert config.present and not stark.Transformer().present


def test_sine_positions_count_from_one_to_two_pi():
    found = stark.sine_positions((3, 5), 8)
    for row, column in ((0, 0), (2, 4), (1, 3)):
        y, x = (row + 1) / (3 + 1e-6) * 2 * np.pi, (column + 1) / (5 + 1e-6) * 2 * np.pi
        waves = [f(a / s) for a in (y, x) for s in (1, 100) for f in (np.sin, np.cos)]
        np.testing.assert_allclose(found[row * 5 + column], waves, atol=1e-6)
    with pytest.raises(ValueError, match="divisible by 4"):
        stark.sine_positions((2, 2), 6)


def check_dropout(model, inputs):
    """In training a module of these inputs depends on its dropout key, and on nothing else that is random."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), *inputs))
    variables = jax.tree.map(lambda s: jnp.asarray(np.random.default_rng(0).random(s.shape), jnp.float32), shapes)
    run = jax.jit(lambda key: model.apply(variables, *inputs, True, rngs={"dropout": key}))
    one, same, other = (run(jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-4


def test_dropout_comes_from_its_key_alone():
    config = stark.Transformer(1, 1, heads=2, hidden=12)
    model, tokens = stark.EncoderDecoder(config), jnp.ones((1, 16, 8))
    check_dropout(model, (tokens[:, :6], tokens, GRIDS))


def test_channels_must_divide():
    with pytest.raises(ValueError, match="not divisible by its 3 heads"):
        stark.EncoderDecoder(stark.Transformer(1, heads=3)).init(
            jax.random.key(0), jnp.ones((1, 6, 8)), jnp.ones((1, 16, 8)), GRIDS
        )
