"""MixFormerV2 against the numbers recorded from the authors' program, its cache, and each row of Table 2a.

Tolerances are those of the recordings (boxes and distributions 5e-6, scores 2e-5, features 1e-4): a tanh GELU, the
other LayerNorm epsilon or a symmetric attention already break them at the size of the tiny case.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from tests.recipes import image, load, weights
from trackers import convert, errors

TINY = {
    "name": "mixformer_v2", "width": 96, "depth": 3, "heads": 3, "template_size": 32, "search_size": 64,
    "head": {"bins": 16},
}  # fmt: skip
SMALL = TINY | {"width": 32, "depth": 2, "heads": 2, "search_size": 48}
FULL = {
    "mixformerv2_b": {"depth": 8},
    "mixformerv2_b_student": {"depth": 8, "head": {"bins": 72}, "score_head": False},
    "mixformerv2_s": {"depth": 4, "mlp_ratio": 1, "template_size": 112, "search_size": 224},
}
EDGES = ("left", "top", "right", "bottom")


def close(found, expected, atol):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=atol, rtol=0)


@functools.cache
def case(name):
    """(recorded outputs, published weights, templates (B,2,H,W,3), search (B,H,W,3)) of a recorded case."""
    manifest, out = load(name)
    images = {key: jnp.asarray(image(manifest, key).transpose(0, 2, 3, 1)) for key in manifest["inputs"]}
    templates = jnp.stack([images["template"], images["online_template"]], axis=1)
    return manifest, out, weights(manifest), templates, images["search"]


def converted(state_dict, config):
    return jax.tree.map(jnp.asarray, convert.to_variables(state_dict, config))


@functools.cache
def apply(model, method=None, **kwargs):
    """The model as one compiled function of (variables, templates, search) or of a method's own arguments."""
    if method:
        return jax.jit(lambda variables, *inputs: model.apply(variables, *inputs, method=method, **kwargs))
    return jax.jit(lambda variables, template, search: model.apply(variables, template, None, search, **kwargs))


def check(prediction, out, prefix=""):
    close(prediction.box, out[f"{prefix}pred_boxes"][:, 0], 5e-6)
    for edge in EDGES:
        if f"{prefix}prob_{edge[0]}" in out:
            close(prediction.maps[edge], out[f"{prefix}prob_{edge[0]}"], 5e-6)
        if f"{prefix}logit_{edge[0]}" in out:
            close(prediction.maps[f"{edge}_logits"], out[f"{prefix}logit_{edge[0]}"], 1e-4)
    if f"{prefix}pred_scores" in out:
        close(prediction.maps["score_logits"], out[f"{prefix}pred_scores"], 2e-5)
        close(prediction.score, 1 / (1 + np.exp(-out[f"{prefix}pred_scores"].astype(np.float64))), 5e-6)
    if prediction.features is not None:
        close(prediction.features["tokens"][:, -4:], out[f"{prefix}reg_tokens"], 1e-4)


def check_layers(prediction, manifest, out, prefix=""):
    for i in range(prediction.features["layers"].shape[1]):
        key = f"{prefix}block{i}"
        steps = [int(part.strip(" []:") or 1) for part in manifest["outputs"][key]["slice"].split(",")[1:]]
        close(prediction.features["layers"][:, i, :: steps[0], :: steps[1]], out[key], 1e-4)


def check_case(name, config):
    manifest, out, state_dict, templates, search = case(name)
    model, variables = trackers.build(config), converted(state_dict, config)
    prediction = apply(model, features=True)(variables, templates, search)
    check(prediction, out)
    check_layers(prediction, manifest, out)


def check_cached(name, config):
    """Keys and values of the templates, then one frame: the recorded cached path, with one and two online templates."""
    _, out, state_dict, templates, search = case(name)
    model, variables = trackers.build(config), converted(state_dict, config)
    encode, locate = apply(model, method="encode_template"), apply(model, method="locate", features=True)
    cache = encode(variables, templates[:1], None)
    assert set(cache) == {"memory"}
    check(locate(variables, cache, search[:1]), out, "cached/")
    two_online = jnp.concatenate([templates[:1, 0], templates[:2, 1]])[None]
    check(locate(variables, encode(variables, two_online, None), search[:1]), out, "cached2/")


@pytest.mark.parametrize("scan", [False, True])
def test_tiny_equals_the_program(scan):
    check_case("mixformerv2_tiny", TINY | {"scan_layers": scan})


def test_tiny_cached_path_equals_the_program():
    check_cached("mixformerv2_tiny", TINY | {"scan_layers": True})


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_full_size_equals_the_program(name):
    config = {"name": "mixformer_v2", "scan_layers": True, **FULL[name]}
    check_case(name, config)
    check_cached(name, config)
    _, out, state_dict, templates, search = case(name)
    if "sincos/pred_boxes" in out:
        # The same weights with the tables that the program starts from; here those tables are no variables.
        plain = {key: value for key, value in state_dict.items() if not key.endswith(("pos_embed_s", "pos_embed_t"))}
        config |= {"position": "sincos"}
        found = apply(trackers.build(config), features=True)(converted(plain, config), templates, search)
        check(found, out, "sincos/")


def test_elimination_rates_equal_the_program():
    manifest, out, state_dict, templates, search = case("mixformerv2_tiny_stu")
    config = TINY | {"score_head": False, "scan_layers": True}
    model, variables = trackers.build(config), converted(state_dict, config)
    run = jax.jit(lambda rates: model.apply(variables, templates, None, search, features=True, branch_scale=rates))
    for rate in (1.0, 0.5, 0.25, 0.0):
        prediction = run(jnp.array([rate, 1.0, rate]))
        assert prediction.score is None
        check(prediction, out, f"rate{rate}/")
        check_layers(prediction, manifest, out, f"rate{rate}/")
    assert run._cache_size() == 1


@functools.cache
def network(**changes):
    """(model, variables) of a small random network."""
    model = trackers.build(SMALL | changes)
    return model, trackers.init(model, jax.random.key(0))


def inputs(batch=2, count=2):
    keys = jax.random.split(jax.random.key(1))
    return jax.random.normal(keys[0], (batch, count, 32, 32, 3)), jax.random.normal(keys[1], (batch, 48, 48, 3))


def test_rate_zero_is_the_network_without_those_layers_exactly():
    """Op by op to the last bit; compiled whole, the compiler may order the sums of the two networks differently."""
    model, variables = network()
    encoder = variables["params"]["encoder"]
    kept = {name: leaf for name, leaf in encoder.items() if not name.startswith("block_")}
    shorter = {**variables, "params": {**variables["params"], "encoder": {**kept, "block_0": encoder["block_1"]}}}
    templates, search = inputs()
    faded = model.apply(variables, templates, None, search, branch_scale=jnp.array([0.0, 1.0]))
    removed = trackers.build(SMALL | {"depth": 1}).apply(shorter, templates, None, search)
    np.testing.assert_array_equal(faded.box, removed.box)
    np.testing.assert_array_equal(faded.score, removed.score)


def test_gradients_in_half_precision_are_finite_and_rate_zero_stops_them():
    model, variables = network(dtype="bfloat16", drop_path=0.1)
    templates, search = inputs()

    def loss(params, rates):
        prediction, kept = model.apply(
            {**variables, "params": params}, templates, None, search, train=True, branch_scale=rates,
            rngs={"droppath": jax.random.key(0)}, mutable=["batch_stats"],
        )  # fmt: skip
        return jnp.sum(prediction.box) + jnp.sum(prediction.score), kept["batch_stats"]

    gradients, kept = jax.jit(jax.grad(loss, has_aux=True))(variables["params"], jnp.array([0.0, 0.5]))
    jax.tree.map(np.testing.assert_array_equal, kept, variables["batch_stats"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    largest = [max(np.abs(g).max() for g in jax.tree.leaves(gradients["encoder"][f"block_{i}"])) for i in range(2)]
    assert largest[0] == 0 and largest[1] > 0
    for name in ("prediction_tokens", "prediction_positions"):
        assert np.abs(gradients[name]).max() > 0


def test_templates_never_look_at_the_search_crop_and_their_order_does_not_matter():
    model, variables = network()
    templates, search = inputs()
    run = apply(model, features=True)
    one, other = run(variables, templates, search), run(variables, templates, search + 1)
    np.testing.assert_array_equal(one.features["layers"][:, :, :8], other.features["layers"][:, :, :8])
    assert np.abs(one.box - other.box).max() > 1e-4
    swapped = run(variables, templates[:, ::-1], search)
    close(swapped.box, one.box, 1e-6)
    close(swapped.features["layers"][:, :, :4], one.features["layers"][:, :, 4:8], 1e-5)


def test_four_templates_cached_equal_the_full_forward():
    model, variables = network()
    templates, search = inputs(count=4)
    cache = apply(model, method="encode_template")(variables, templates, None)
    assert cache["memory"][0][0].shape == (2, 4 * 4, 2, 16)
    cached = apply(model, method="locate")(variables, cache, search)
    close(cached.box, apply(model, features=True)(variables, templates, search).box, 1e-6)


def test_drop_path_draws_once_for_templates_and_search_and_alike_where_layers_are_recomputed():
    model, variables = network(drop_path=0.5)
    other = trackers.build(SMALL | {"drop_path": 0.5, "remat": "full"})
    templates, search = inputs(batch=8)
    options = {"train": True, "features": True, "rngs": {"droppath": jax.random.key(3)}}

    def run(m):
        return jax.jit(lambda t, s: m.apply(variables, t, None, s, **options))(templates, search)

    one, two = run(model), run(other)
    close(one.box, two.box, 1e-6)
    # Samples for which both branches of the last layer were dropped: all tokens pass it unchanged.
    first, last = one.features["layers"][:, 0], one.features["layers"][:, 1]
    unchanged = np.all(first == last, axis=-1)
    assert np.all(unchanged == unchanged[:, :1]) and 0 < unchanged[:, 0].sum() < 8


@pytest.mark.parametrize("tokens, mlps, matrices", [(1, 4, 4), (4, 4, 4), (4, 1, 1)])
def test_table_2a_prediction_designs(tokens, mlps, matrices):
    """What each design computes from its tokens: test_distribution.py."""
    model = trackers.build(SMALL | {"head": {"bins": 16, "tokens": tokens, "mlps": mlps}})
    arguments = trackers.example_inputs(model, 2)
    prediction, variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), *arguments))
    params = variables["params"]
    assert params["prediction_tokens"].shape == (tokens, 32)
    assert len(params["head"]) == matrices
    assert prediction.box.shape == (2, 4) and prediction.score.shape == (2,)
    assert all(prediction.maps[edge].shape == (2, 16) for edge in EDGES)


def test_the_order_of_the_score_head_changes_the_score_alone():
    """Same weights, same box; without a score head the order says nothing."""
    model, variables = network()
    other = trackers.build(SMALL | {"score_order": "mean_then_mlp"})
    jax.tree.map(np.testing.assert_array_equal, trackers.init(other, jax.random.key(0)), variables)
    templates, search = inputs()
    one, two = (apply(m, features=True)(variables, templates, search) for m in (model, other))
    np.testing.assert_array_equal(one.box, two.box)
    assert np.abs(one.maps["score_logits"] - two.maps["score_logits"]).min() > 1e-6
    unscored = trackers.build(SMALL | {"score_order": "mean_then_mlp", "score_head": False})
    shapes = jax.eval_shape(lambda: trackers.init(unscored, jax.random.key(0)))
    assert "score" not in shapes["params"]


def test_position_tables_are_kept_but_not_trained():
    _, variables = network()
    assert set(variables["batch_stats"]["encoder"]) == {"position_template", "position_search"}
    assert not any(name.startswith("position") for name in variables["params"]["encoder"])
    model = trackers.build(SMALL | {"position": "learned"})
    trained = jax.eval_shape(lambda: trackers.init(model, jax.random.key(0)))
    assert trained["params"]["encoder"]["position_search"].shape == (9, 32)
    assert "batch_stats" not in trained


def test_any_patch_and_rectangular_sizes():
    config = SMALL | {"patch_size": 12, "template_size": (24, 36), "search_size": (60, 84), "head": {"bins": 10}}
    model = trackers.build(config)
    arguments = trackers.example_inputs(model, 2)
    prediction, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), *arguments, features=True))
    assert prediction.features["layers"].shape == (2, 2, 2 * 6 + 35 + 4, 32)
    assert prediction.maps["left"].shape == (2, 10)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"head": {"tokens": 1}}, "model.head.tokens"),
        ({"head": {"bins": 1}}, "model.head.bins"),
        ({"score_order": "mean"}, "model.score_order"),
        ({"templates": 0}, "model.templates"),
        ({"position": "none"}, "model.position"),
        ({"heads": 7}, "model.heads"),
        ({"search_size": 8}, "smaller than one patch"),
    ],
)
def test_wrong_configs_are_named(change, says):
    with pytest.raises(errors.InputError, match=says):
        trackers.init(trackers.build(SMALL | change), jax.random.key(0))


def test_wrong_rates_are_named():
    model, variables = network()
    with pytest.raises(ValueError, match="branch_scale"):
        model.apply(variables, *trackers.example_inputs(model), branch_scale=jnp.ones(3))
