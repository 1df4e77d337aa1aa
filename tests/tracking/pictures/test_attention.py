"""Attention maps against attention computed by hand from the tokens of the layer before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from trackers.nn import relation
from trackers.tracking.pictures import attention

GRM = {"name": "grm", "width": 16, "depth": 3, "heads": 2, "patch_size": 8, "template_size": 16, "search_size": 32}
GRM |= {"head": {"channels": 8}, "division": {"mode": "one_stream", "hidden": (8, 8)}}
SIMTRACK = {"name": "simtrack", "width": 16, "depth": 3, "heads": 2, "patch_size": 8, "template_size": 24}
SIMTRACK |= {"search_size": 32, "foveal_size": 8, "head": {"channels": 8}}
OSTRACK = {"name": "ostrack", "width": 16, "depth": 3, "heads": 2, "patch_size": 8, "template_size": 16}
OSTRACK |= {"search_size": 32, "head": {"channels": 8}, "elimination": {"layers": (1, 2), "keep": 0.75}}
STAGES = {"widths": (8, 16), "depths": (2, 1), "heads": (1, 2), "mlp_ratios": (1, 1), "window": 4, "reductions": (2, 1)}
HIERARCHICAL = SIMTRACK | {"foveal_size": 0, "position": "learned", "template_position": "grid"}
BOX = jnp.array([[[0.1, 0.1, 0.3, 0.3]]])


def built(config, scale=0.4, norm=1.0):
    """Model, variables, template, search. norm: mean of the LayerNorms' scales.

    By default attention is neither uniform nor one-hot.
    """
    model = trackers.build(config)
    rng, shapes = np.random.default_rng(0), jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))

    def drawn(path, leaf):
        mean = norm if path[-1].key == "scale" else 0.0
        return jnp.asarray(mean + scale * rng.standard_normal(leaf.shape), jnp.float32)

    variables = jax.tree_util.tree_map_with_path(drawn, shapes)
    template, _, search = trackers.example_inputs(model)
    return model, variables, *(jnp.asarray(rng.standard_normal(a.shape), jnp.float32) for a in (template, search))


def maps_of(model, *arrays):
    """target_attention of the model for (variables, template, search), compiled as one program."""

    @jax.jit
    def run(variables, template, search):
        cache = model.apply(variables, template, BOX, method="encode_template")
        return attention.target_attention(model, variables, cache, search)

    return jax.device_get(run(*arrays))


def attention_of(model, *arrays):
    """(token_attention of all tokens, Prediction), compiled as one program."""

    @jax.jit
    def run(variables, template, search):
        cache = model.apply(variables, template, BOX, method="encode_template")
        return attention.token_attention(model, variables, cache, search, slice(None))

    return jax.device_get(run(*arrays))


def by_hand(params, tokens, eps):
    """(B,N,N) softmax of a layer's q k^T / sqrt(d) over all tokens, mean of the heads, in float64."""
    x = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + eps)
    x = x * params["norm1"]["scale"] + params["norm1"]["bias"]
    qkv = np.einsum("bnd,dthe->btnhe", x, params["attention"]["qkv"]["kernel"])
    q, k, _ = np.moveaxis(qkv + params["attention"]["qkv"]["bias"][:, None], 1, 0)
    logits = np.einsum("bnhe,bmhe->bhnm", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).mean(1)


def layers_by_hand(model, variables, template, search):
    """(B,L-1,N,N) of the layers from the second on, tokens in the order of the features."""
    run = jax.jit(lambda v: model.apply(v, template, BOX, search, features=True).features["layers"])
    tokens = np.asarray(run(variables), np.float64)
    params = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"]["encoder"])
    eps = getattr(model, "norm_eps", 1e-6)
    return [by_hand(params[f"block_{i}"], tokens[:, i - 1], eps) for i in range(1, model.depth)]


@pytest.mark.parametrize("foveal, interaction", [(8, None), (0, ()), (8, (1, 3))], ids=["ours", "base", "half"])
def test_equation_8_from_each_layers_own_queries_and_keys(foveal, interaction):
    """SimTrack, Eq. 8; "base" keeps the exemplar apart in every layer, "half" in the second: there it is computed.

    Features are in the order exemplar (9), class, search (16), foveal (1 or none).
    """
    model, variables, template, search = built(SIMTRACK | {"foveal_size": foveal, "interaction": interaction})
    maps = maps_of(model, variables, template, search)
    assert [m.shape for m in maps] == [(1, 4, 4)] * 3 and maps[0].dtype == np.float32
    for found, weights in zip(maps[1:], layers_by_hand(model, variables, template, search), strict=True):
        expected = weights[:, 10:26, :9].mean(-1)
        assert expected.std() > 0.05 * expected.mean()
        np.testing.assert_allclose(found.reshape(1, 16), expected, rtol=2e-4)


@pytest.mark.parametrize("looks", [True, False])
def test_layers_that_are_kept_apart(looks):
    """What such a layer computes with is zero; also where the exemplar's keys come from the cache."""
    model, variables, template, search = built(SIMTRACK | {"template_looks": looks, "interaction": (2, 3)})
    weights, _ = attention_of(model, variables, template, search)
    on_exemplar = weights[0, :, :16, :11].sum(-1)
    assert on_exemplar[0].max() == 0 and on_exemplar[1:].min() > 0
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)


@pytest.mark.slow
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
    config = GRM | {"division": {"mode": mode, "hidden": (8, 8), "ratio": 0.5}}
    model, variables, template, search = built(config, scale=1.0, norm=0.0)
    weights, prediction = attention_of(model, variables, template, search)
    division = np.asarray(prediction.division)
    assert set(division[:, 1:].ravel()) == {1, 2} | ({0} if mode == "learned_three" else set())
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    on_template = weights[..., :4].sum(-1)
    np.testing.assert_array_equal(on_template[division == relation.SEARCH], 0)
    assert (on_template[division != relation.SEARCH] > 0).all()
    on_search_only = np.einsum("blnm,blm->bln", weights[..., 4:], division == relation.SEARCH)
    np.testing.assert_array_equal(on_search_only[division == relation.TEMPLATE], 0)
    shares = np.stack(maps_of(model, variables, template, search), axis=1).reshape(division.shape)
    np.testing.assert_allclose(shares, on_template / 4, rtol=1e-5)


def test_a_continuous_division_scales_the_attention():
    """A search token's weights on the template are multiplied by its probability of A (GRM, appendix C.3)."""
    config = GRM | {"division": {"mode": "continuous", "hidden": (8, 8), "layers": (2,)}}
    model, variables, template, search = built(config)
    weights, prediction = attention_of(model, variables, template, search)
    looks = np.exp(prediction.division_log_probs[0, 0, :, 1])
    assert looks.min() < 0.1 and 0.5 < looks.max() < 0.99
    run = jax.jit(lambda v: model.apply(v, template, BOX, search, mutable=["intermediates"])[1])
    caught = jax.device_get(run(variables))
    q, k = caught["intermediates"]["encoder"]["block_1"]["attention"]["queries_and_keys"][0]
    scores = np.exp(np.einsum("nhe,mhe->hnm", q[0, 4:], k[0]) / np.sqrt(q.shape[-1]))
    scores[..., :4] *= looks[:, None]
    np.testing.assert_allclose(weights[0, 1], (scores / scores.sum(-1, keepdims=True)).mean(0), rtol=1e-4)


def test_tokens_that_have_left_are_dark():
    """Against the pass of training, in which every token stays in its place and some are out of sight.

    Weights of order 1 make attention nearly one-hot, so that rounding in the logits shows: 2e-3.
    """
    model, variables, template, search = built(OSTRACK, scale=1.0, norm=0.0)
    template, search = (jnp.concatenate([a, a[..., ::-1]]) for a in (template, search))
    weights, prediction = attention_of(model, variables, template, search)
    there = np.asarray(prediction.division == relation.ALL)
    assert there.sum(axis=2).tolist() == [[16, 12, 9]] * 2 and (there[0] != there[1]).any()
    np.testing.assert_allclose(weights.sum(-1), there, atol=1e-5)
    np.testing.assert_array_equal(weights[..., 4:].max(axis=2)[~there], 0)

    @jax.jit
    def training(variables):
        return model.apply(variables, template, BOX, search, keep_rate=jnp.float32(0.75), mutable=["intermediates"])

    masked, caught = jax.device_get(training(variables))
    np.testing.assert_array_equal(masked.division, prediction.division)
    for i in range(3):
        q, k = caught["intermediates"]["encoder"][f"block_{i}"]["attention"]["queries_and_keys"][0]
        scores = np.exp(np.einsum("bnhe,bmhe->bhnm", q[:, 4:], k) / np.sqrt(q.shape[-1]))
        scores[..., 4:] *= there[:, i, None, None]
        expected = (scores / scores.sum(-1, keepdims=True)).mean(1) * there[:, i, :, None]
        np.testing.assert_allclose(weights[:, i], expected, atol=2e-3)


@pytest.mark.parametrize("kind", ["swin", "pvt"])
def test_hierarchical_backbones_have_a_map_of_each_block(kind):
    """On the grids of its stages; the numbers are those of tests/nn/backbones."""
    model, variables, template, search = built(HIERARCHICAL | {"backbone": {"kind": kind, **STAGES}})
    maps = maps_of(model, variables, template, search)
    assert [m.shape for m in maps] == [(1, 8, 8), (1, 8, 8), (1, 4, 4)]
    assert attention.layer_count(model) == 3
    assert all(0 < m.min() < m.max() < 1 for m in maps)
