"""Attention maps against attention computed by hand from the tokens of the layer before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from trackers.errors import InputError
from trackers.nn import relation
from trackers.tracking import single_object
from trackers.tracking.pictures import attention

GRM = {"name": "grm", "width": 16, "depth": 3, "heads": 2, "patch_size": 8, "template_size": 16, "search_size": 32}
GRM |= {"head": {"channels": 8}, "division": {"mode": "one_stream", "hidden": (8, 8)}}
SIMTRACK = {"name": "simtrack", "width": 16, "depth": 3, "heads": 2, "patch_size": 8, "template_size": 24}
SIMTRACK |= {"search_size": 32, "foveal_size": 8, "head": {"channels": 8}, "interaction": (2, 3)}
OSTRACK = {"name": "ostrack", "width": 16, "depth": 3, "heads": 2, "patch_size": 8, "template_size": 16}
OSTRACK |= {"search_size": 32, "head": {"channels": 8}, "elimination": {"layers": (1, 2), "keep": 0.75}}
BOX = jnp.array([[[0.1, 0.1, 0.3, 0.3]]])


def built(config):
    model = trackers.build(config)
    rng, shapes = np.random.default_rng(0), jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    variables = jax.tree.map(lambda s: jnp.asarray(rng.standard_normal(s.shape), jnp.float32), shapes)
    template, _, search = trackers.example_inputs(model)
    return model, variables, *(jnp.asarray(rng.standard_normal(a.shape), jnp.float32) for a in (template, search))


def maps_of(model, variables, template, search):
    cache = model.apply(variables, template, BOX, method="encode_template")
    return np.asarray(attention.target_attention(model, variables, cache, BOX, search))


def by_hand(params, tokens, target, n_search):
    """(B,Nx) share of a layer's attention on the first tokens that `target` marks."""
    x = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 1e-6)
    x = x * params["norm1"]["scale"] + params["norm1"]["bias"]
    qkv = np.einsum("bnd,dthe->btnhe", x, params["attention"]["qkv"]["kernel"])
    q, k, _ = np.moveaxis(qkv + params["attention"]["qkv"]["bias"][:, None], 1, 0)
    logits = np.einsum("bnhe,bmhe->bhnm", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights = (weights / weights.sum(-1, keepdims=True)).mean(1)
    return np.einsum("bnm,bm->bn", weights[:, -n_search:, : target.shape[1]], target)


@pytest.mark.parametrize("apart", [(), (1,)])
def test_maps_are_the_attention_on_the_target(apart):
    """Also after layers that the template's cache covers.

    Weights of order 1 make attention nearly one-hot, so that rounding in the logits shows: 2e-4.
    """
    division = GRM["division"] | {"two_stream_layers": apart}
    model, variables, template, search = built(GRM | {"division": division})
    maps = maps_of(model, variables, template, search)
    assert (maps[:, 0].max() == 0) == bool(apart)
    assert maps.shape == (1, 3, 4, 4) and maps.dtype == np.float32
    tokens = np.asarray(model.apply(variables, template, BOX, search, features=True).features["layers"], np.float64)
    target = np.asarray(relation.box_token_mask(BOX, (2, 2)))
    assert 0 < target.sum() < 4
    for layer in (1, 2):
        params = jax.tree.map(np.asarray, variables["params"]["encoder"][f"block_{layer}"])
        expected = by_hand(params, tokens[:, layer - 1], target, 16)
        np.testing.assert_allclose(maps[:, layer].reshape(1, -1), expected, atol=2e-3)


@pytest.mark.parametrize("looks", [True, False])
def test_layers_without_interaction_are_dark(looks):
    """Also where the exemplar's keys come from the cache."""
    maps = maps_of(*built(SIMTRACK | {"template_looks": looks}))
    assert maps[0, 0].max() == 0
    assert maps[0, 1:].max() > 0 and maps.max() <= 1


def test_a_tracked_frame_with_stacked_layers_and_its_picture(tmp_path):
    pytest.importorskip("matplotlib")
    model, variables, _, _ = built(SIMTRACK | {"interaction": None, "scan_layers": True})
    assert "blocks_0_2" in variables["params"]["encoder"]
    frames = np.random.default_rng(1).integers(0, 256, (2, 40, 50, 3), np.uint8)
    tracker = single_object.Tracker(model)
    box = np.array([10.0, 12.0, 14.0, 9.0])
    state = tracker.init(variables, frames[0], box)
    crop, maps = attention.Maps(tracker, variables, box)(state, frames[1])
    assert crop.shape == (32, 32, 3) and crop.dtype == np.uint8
    assert maps.shares.shape == (3, 4, 4) and 0 < maps.shares.max() <= 1
    attention.draw(tmp_path / "picture.png", [(1, crop, maps), (7, crop, maps)], (1, 3))
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_the_prototypes_groups_look_at_their_own():
    """Search-only tokens do not look at the template; neither do they and those joined with it look at each other."""
    fields = {"mode": "prototype", "hidden": (8, 8), "portions": (0.25, 0.5), "shared_boundary": 2}
    model, variables, template, search = built(GRM | {"division": fields})
    cache = model.apply(variables, template, BOX, method="encode_template")
    weights, prediction = attention.token_attention(model, variables, cache, search, slice(None))
    division = np.asarray(prediction.division)
    assert set(division[:, 1:].ravel()) == {1, 2, 3}
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    is_dark = weights[..., :4].sum(-1) == 0
    np.testing.assert_array_equal(is_dark, division == relation.SEARCH)
    for group, other in ((relation.SEARCH, relation.ALL), (relation.ALL, relation.SEARCH)):
        on_other = jnp.einsum("blnm,blm->bln", weights[:, 1:, :, 4:], division[:, 1:] == other)
        np.testing.assert_array_equal(np.asarray(on_other)[division[:, 1:] == group], 0)
        assert (np.asarray(on_other)[division[:, 1:] == relation.BOUNDARY] > 0).all()


@pytest.mark.parametrize("mode", ["learned", "learned_three"])
def test_a_layer_that_divides_shows_who_looks_at_the_target(mode):
    """Search-only tokens are dark; those of the template's kind and of both kinds are not."""
    model, variables, template, search = built(GRM | {"division": {"mode": mode, "hidden": (8, 8), "ratio": 0.5}})
    cache = model.apply(variables, template, BOX, method="encode_template")
    weights, prediction = attention.token_attention(model, variables, cache, search, slice(None))
    division = np.asarray(prediction.division)
    assert set(division[:, 1:].ravel()) == {1, 2} | ({0} if mode == "learned_three" else set())
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    on_template = np.asarray(weights[..., :4].sum(-1))
    np.testing.assert_array_equal(on_template[division == relation.SEARCH], 0)
    assert (on_template[division != relation.SEARCH] > 0).all()
    on_search_only = np.asarray(jnp.einsum("blnm,blm->bln", weights[..., 4:], division == relation.SEARCH))
    np.testing.assert_array_equal(on_search_only[division == relation.TEMPLATE], 0)
    shares = maps_of(model, variables, template, search).reshape(division.shape)
    np.testing.assert_array_equal(shares[division == relation.SEARCH], 0)


def test_tokens_that_have_left_are_dark():
    """Against the pass of training, in which every token stays in its place and some are out of sight."""
    model, variables, template, search = built(OSTRACK)
    template, search = (jnp.concatenate([a, a[..., ::-1]]) for a in (template, search))
    cache = model.apply(variables, template, BOX, method="encode_template")
    weights, prediction = attention.token_attention(model, variables, cache, search, slice(None))
    there = np.asarray(prediction.division == relation.ALL)
    assert there.sum(axis=2).tolist() == [[16, 12, 9]] * 2 and (there[0] != there[1]).any()
    np.testing.assert_allclose(weights.sum(-1), there, atol=1e-5)
    np.testing.assert_array_equal(weights[..., 4:].max(axis=2)[~there], 0)

    masked, caught = model.apply(
        variables, cache, search, keep_rate=jnp.float32(0.75), method="locate", mutable=["intermediates"]
    )
    np.testing.assert_array_equal(masked.division, prediction.division)
    for i in range(3):
        q, k = caught["intermediates"]["encoder"][f"block_{i}"]["attention"]["queries_and_keys"][0]
        scores = np.exp(np.einsum("bnhe,bmhe->bhnm", q[:, 4:], k) / np.sqrt(q.shape[-1]))
        scores[..., 4:] *= there[:, i, None, None]
        expected = (scores / scores.sum(-1, keepdims=True)).mean(1) * there[:, i, :, None]
        np.testing.assert_allclose(weights[:, i], expected, atol=2e-3)


def test_every_second_layer_is_shown_up_to_the_last():
    assert attention.shown_layers(12) == (2, 4, 6, 8, 10, 12)
    assert attention.shown_layers(24) == (4, 8, 12, 16, 20, 24)
    assert attention.shown_layers(3) == (1, 2, 3)


def test_a_backbone_without_such_layers_is_refused():
    stages = {"kind": "pvt", "widths": (8, 16), "depths": (1, 1), "heads": (1, 2), "mlp_ratios": (1, 1)}
    changes = {
        "foveal_size": 0,
        "interaction": None,
        "position": "learned",
        "backbone": stages | {"reductions": (2, 1)},
    }
    with pytest.raises(InputError, match="need a plain ViT"):
        maps_of(*built(SIMTRACK | changes))
