"""Swin's window attention against its definition over pairs of cells, and the exemplar that its windows look at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trackers.nn import stacking
from trackers.nn.backbones.stages import Stages
from trackers.nn.backbones.swin import Merge, Swin, WindowAttention, pool_grid

WINDOW, HEADS, WIDTH = 4, 2, 8
SIZES = Stages("swin", (8, 16), (2, 1), (2, 2), (2.0, 2.0), window=4, pooled=2)


def allowed_pairs(grid, shift):
    """(N,N): cells of one shifted window that did not come together around the edge, N over (rows, columns)."""
    same = []
    for n in grid:
        full, index = -(-n // WINDOW) * WINDOW, np.arange(n)
        window = ((index - shift) % full) // WINDOW
        near = np.abs(index[:, None] - index[None]) < WINDOW
        same.append(near & (window[:, None] == window[None]))
    return np.einsum("ij,kl->ikjl", *same).reshape(grid[0] * grid[1], -1)


def expected_attention(params, x, shift, memory):
    """(output, mean weight of each cell, over the heads, on a token of the memory or None)."""
    batch, rows, columns, width = x.shape
    qkv = np.einsum("bnd,dthe->btnhe", x.reshape(batch, -1, width), params["qkv"]["kernel"])
    q, k, v = np.moveaxis(qkv + params["qkv"]["bias"][:, None], 1, 0)
    logits = np.einsum("bnhe,bmhe->bhnm", q, k) / np.sqrt(width / HEADS)
    cells = np.stack(np.unravel_index(np.arange(rows * columns), (rows, columns)), -1)
    offset = np.clip(cells[:, None] - cells[None] + WINDOW - 1, 0, 2 * WINDOW - 2)
    logits += np.moveaxis(params["position_bias"][offset[..., 0] * (2 * WINDOW - 1) + offset[..., 1]], -1, 0)
    logits = np.where(allowed_pairs((rows, columns), shift), logits, -np.inf)
    if memory is not None:
        keys, values = (m.reshape(batch, -1, *m.shape[3:]) for m in memory)
        logits = np.concatenate([logits, np.einsum("bnhe,bmhe->bhnm", q, keys) / np.sqrt(width / HEADS)], -1)
        v = np.concatenate([v, values], 1)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    on_memory = None if memory is None else weights[..., rows * columns :].mean((1, 3)).reshape(batch, rows, columns)
    out = np.einsum("bhnm,bmhe->bnhe", weights, v)
    out = np.einsum("bnhe,hed->bnd", out, params["out"]["kernel"]) + params["out"]["bias"]
    return out.reshape(x.shape), on_memory


@pytest.mark.parametrize(
    "grid, shift", [((8, 8), 0), ((8, 8), 1), ((12, 8), 1), ((9, 8), 1), ((9, 10), 0), ((4, 4), 1)]
)
@pytest.mark.parametrize("seen", [False, True])
def test_window_attention_is_attention_over_the_allowed_pairs(grid, shift, seen):
    """(9, ...) does not divide into windows: what fills it up is never seen. float32 against float64: 2e-6 relative.

    For pictures: how much a cell looks at the exemplar (SimTrack, Eq. 8).
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *grid, WIDTH))
    memory = rng.standard_normal((2, 2, 2, 2, HEADS, WIDTH // HEADS)) if seen else None
    attention = WindowAttention(WIDTH, HEADS, WINDOW, 2)
    shapes = jax.eval_shape(lambda: attention.init(jax.random.key(0), jnp.zeros(x.shape), 0, None, False))
    params = jax.tree.map(lambda s: rng.standard_normal(s.shape), shapes["params"])
    given = None if memory is None else tuple(jnp.asarray(memory, jnp.float32))
    (found, kept), caught = attention.apply(
        {"params": params}, jnp.asarray(x, jnp.float32), shift, given, False, mutable=["intermediates"]
    )
    # A grid of one window is not shifted.
    moved = shift * (WINDOW // 2) if min(grid) > WINDOW else 0
    expected, on_memory = expected_attention(params, x, moved, memory)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert kept is None
    if seen:
        np.testing.assert_allclose(caught["intermediates"]["on_exemplar"][0], on_memory, rtol=1e-4, atol=1e-6)
    else:
        assert "intermediates" not in caught


def test_pooling_is_the_adaptive_average():
    x = np.arange(2 * 7 * 5, dtype=np.float32).reshape(1, 7, 10, 1)
    found = np.asarray(pool_grid(jnp.asarray(x), 3))
    rows, columns = ((0, 3), (2, 5), (4, 7)), ((0, 4), (3, 7), (6, 10))
    expected = [[x[0, a:b, c:d, 0].mean() for c, d in columns] for a, b in rows]
    np.testing.assert_allclose(found[0, :, :, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(pool_grid(jnp.asarray(x), 10), x, rtol=1e-6)


def test_merging_takes_the_four_neighbors_in_the_programs_order():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    merge = Merge(2)
    params = {"norm": {"scale": jnp.ones(4), "bias": jnp.zeros(4)}, "reduction": {"kernel": jnp.eye(4)[:, 1:3]}}
    found = merge.apply({"params": params}, x)
    # Upper left, lower left, upper right, lower right: 0, 2, 1, 3.
    np.testing.assert_allclose(found[0, 0, 0], (np.array([2, 1]) - 1.5) / np.sqrt(1.25), atol=1e-4)
    assert merge.apply({"params": params}, jnp.zeros((1, 3, 5, 1))).shape == (1, 2, 3, 2)


def run(swin, template, search, train=False):
    cache = swin.encode_template(swin.embed_exemplar(template), train=train)
    encoded = swin.encode_search(cache, swin.embed(search, "search"), train=train)
    return encoded.tokens.reshape(len(search), 4, 4, -1)


def test_stacked_equals_unstacked_and_the_exemplar_is_seen():
    rng = np.random.default_rng(0)
    template, search = (rng.standard_normal((2, side, side, 3)).astype(np.float32) for side in (16, 32))
    plain, stacked = (Swin(SIZES, 16, 32, **fields) for fields in ({}, {"scan_layers": True, "remat": "full"}))
    shapes, like = (
        jax.eval_shape(lambda model=model: model.init(jax.random.key(0), template, search, method=run))
        for model in (plain, stacked)
    )
    assert "blocks_0_1" in like["params"]["stage_0"]
    variables = jax.tree.map(lambda s: rng.standard_normal(s.shape).astype(np.float32) / 3, shapes)
    restacked = stacking.unflatten(stacking.flatten(variables), like)

    # All in one compilation: two pairs, and the two search images with the exemplars exchanged.
    @jax.jit
    def all_of_them(variables, restacked):
        exemplars = jnp.concatenate([template, template[::-1]])
        images = jnp.concatenate([search, search])
        return (
            plain.apply(variables, exemplars, images, method=run),
            stacked.apply(restacked, exemplars[:2], images[:2], method=run),
        )

    found, scanned = map(np.asarray, all_of_them(variables, restacked))
    assert found.shape == (4, 4, 4, 16) and found.dtype == np.float32
    np.testing.assert_allclose(scanned, found[:2], atol=1e-4)
    assert np.abs(found[2:] - found[:2]).max() > 1e-3, "the exemplar is seen"
