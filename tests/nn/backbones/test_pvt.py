"""PVT's reduced attention over two images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trackers.nn import stacking
from trackers.nn.backbones.pvt import Attention, PatchEmbed, Pvt, Reduction
from trackers.nn.backbones.stages import Stages

SIZES = Stages("pvt", (8, 16), (2, 1), (1, 2), (2.0, 2.0), reductions=(4, 2))


@pytest.mark.parametrize(
    "ratio, halved, side", [(4, False, 2), (4, True, 4), (2, True, 8), (2, False, 4), (8, True, 2)]
)
def test_the_exemplar_is_shrunk_half_as_far_by_the_same_kernel(ratio, halved, side):
    rng = np.random.default_rng(0)
    x, kernel, bias = (rng.standard_normal(shape) for shape in ((1, 8, 8, 3), (ratio, ratio, 3, 3), (3,)))
    variables = {"params": {"kernel": kernel, "bias": bias}}
    found = np.asarray(Reduction(ratio).apply(variables, jnp.asarray(x, jnp.float32), halved))
    assert found.shape == (1, side, side, 3)
    stride = ratio // 2 if halved else ratio
    before = (ratio - stride) // 2
    padded = np.pad(x, ((0, 0), (before, ratio), (before, ratio), (0, 0)))
    for i, j in ((0, 0), (side - 1, side - 1), (0, side - 1)):
        window = padded[0, i * stride : i * stride + ratio, j * stride : j * stride + ratio]
        np.testing.assert_allclose(found[0, i, j], np.einsum("ijc,ijcd->d", window, kernel) + bias, atol=1e-4)


@pytest.mark.parametrize("ratio", [1, 2])
def test_attention_is_over_the_keys_of_both_images(ratio):
    """For pictures: how much a search token looks at a token of the exemplar's shrunken grid (SimTrack, Eq. 8)."""
    rng = np.random.default_rng(1)
    grids = tuple(jnp.asarray(rng.standard_normal((2, side, side, 8)), jnp.float32) for side in (2, 4))
    attention = Attention(8, 2, ratio)
    variables = attention.init(jax.random.key(0), grids)
    params = jax.tree.map(np.asarray, variables["params"])
    tokens = np.concatenate([np.asarray(grid).reshape(2, -1, 8) for grid in grids], 1)
    q = np.einsum("bnd,dhe->bnhe", tokens, params["q"]["kernel"])
    if ratio > 1:
        shrink = Reduction(ratio)
        shrunken = [shrink.apply({"params": params["reduction"]}, grid, i == 0) for i, grid in enumerate(grids)]
        assert [grid.shape[1] for grid in shrunken] == [2, 2]
        tokens = np.concatenate([np.asarray(grid).reshape(2, -1, 8) for grid in shrunken], 1)
        tokens = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 1e-5)
    k, v = np.moveaxis(np.einsum("bnd,dthe->btnhe", tokens, params["kv"]["kernel"]), 1, 0)
    weights = np.exp(np.einsum("bnhe,bmhe->bhnm", q, k) / 2)
    weights /= weights.sum(-1, keepdims=True)
    out = np.einsum("bhnm,bmhe->bnhe", weights, v)
    expected = np.einsum("bnhe,hed->bnd", out, params["out"]["kernel"])
    found, caught = attention.apply(variables, grids, mutable=["intermediates"])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    on_exemplar = caught["intermediates"]["on_exemplar"][0].reshape(2, 16)
    np.testing.assert_allclose(on_exemplar, weights[:, :, 4:, :4].mean((1, 3)), rtol=1e-4)


def test_an_odd_grid_is_padded_and_gets_its_own_positions():
    embed = PatchEmbed(4, 2, (("search", (3, 2)),), "learned", (4, 4))
    variables = embed.init(jax.random.key(0), jnp.zeros((1, 5, 4, 2)), "search")
    assert variables["params"]["position_search"].shape == (6, 4)
    assert embed.apply(variables, jnp.ones((1, 5, 4, 2)), "search").shape == (1, 3, 2, 4)


def run(pvt, template, search, train=False):
    cache = pvt.encode_template(pvt.embed_exemplar(template), train=train)
    encoded = pvt.encode_search(cache, pvt.embed(search, "search"), train=train)
    return encoded.tokens.reshape(len(search), 4, 4, -1)


def test_stacked_equals_unstacked_and_the_exemplar_is_seen():
    rng = np.random.default_rng(0)
    template, search = (rng.standard_normal((2, side, side, 3)).astype(np.float32) for side in (16, 32))
    plain, stacked = (Pvt(SIZES, 16, 32, **fields) for fields in ({}, {"scan_layers": True, "remat": "full"}))
    shapes, like = (
        jax.eval_shape(lambda model=model: model.init(jax.random.key(0), template, search, method=run))
        for model in (plain, stacked)
    )
    assert "blocks_0_1" in like["params"]["stage_0"]
    variables = jax.tree.map(lambda s: rng.standard_normal(s.shape).astype(np.float32) / 3, shapes)
    restacked = stacking.unflatten(stacking.flatten(variables), like)

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
