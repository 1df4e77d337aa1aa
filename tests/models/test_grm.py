"""GRM against the numbers recorded from the authors' program, and each row of the paper's tables."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from tests.recipes import gen, image, load, weights
from trackers import convert, errors, objectives
from trackers.nn import relation
from trackers.objectives.center import entropy_regularization
from trackers.training import flops

TINY = {
    "name": "grm", "width": 96, "depth": 3, "heads": 3, "template_size": 32, "search_size": 64, "head": {"channels": 32}
}  # fmt: skip


def nhwc(array):
    return jnp.asarray(array.transpose(0, 2, 3, 1))


def close(found, expected, atol):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=atol, rtol=0)


def case(name, config):
    manifest, out = load(name)
    variables = convert.to_variables(weights(manifest), config)
    template, search = nhwc(image(manifest, "template"))[:, None], nhwc(image(manifest, "search"))
    return manifest, out, jax.tree.map(jnp.asarray, variables), template, search


def check(prediction, out, prefix=""):
    close(prediction.box, out[f"{prefix}pred_boxes"][:, 0], 1e-5)
    close(prediction.maps["score_map"], out[f"{prefix}score_map"].transpose(0, 2, 3, 1), 1e-5)
    for name in ("size_map", "offset_map"):
        if f"{prefix}{name}" in out:
            close(prediction.maps[name], out[f"{prefix}{name}"].transpose(0, 2, 3, 1), 1e-5)
    close(jnp.swapaxes(prediction.division_log_probs, 0, 1), out[f"{prefix}divide_logp"], 1e-4)
    shared = jnp.swapaxes(prediction.division[:, 1:] == relation.ALL, 0, 1)
    np.testing.assert_array_equal(shared, out[f"{prefix}decision_shared"])
    assert np.all(np.asarray(prediction.division[:, 0]) == relation.ALL)


@pytest.mark.parametrize("scan", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name, division",
    [
        ("eval_t0", {}),
        ("eval_t0.4", {"threshold": 0.4}),
        ("eval_allavg", {"pool": "average"}),
        ("eval_roimax", {"pool": "box_max"}),
        ("eval_roiavg", {"pool": "box_average"}),
    ],
)
def test_tiny_equals_the_program(name, division, scan):
    config = TINY | {"division": division, "scan_layers": scan}
    _, out, variables, template, search = case("grm_tiny", config)
    model = trackers.build(config)
    cache = model.apply(variables, template, jnp.full((2, 1, 4), 0.25), method="encode_template")
    # The recorded mask covers scattered tokens, which no box does.
    cache["template_mask"] = jnp.asarray(out["template_mask"])
    prediction = model.apply(variables, cache, search, features=True, method="locate")
    check(prediction, out, f"{name}/")
    if f"{name}/backbone" in out:
        close(prediction.features["tokens"], out[f"{name}/backbone"], 1e-4)
        for i in range(3):
            close(prediction.features["layers"][:, i], out[f"{name}/block{i}"], 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name, threshold", [("grm_vitb256", 0.0), ("grm_vitb256_threshold", 0.4)])
def test_vitb256_equals_the_program(name, threshold):
    config = {"name": "grm", "scan_layers": True, "division": {"threshold": threshold}}
    _, out, variables, template, search = case(name, config)
    model = trackers.build(config)
    boxes = jnp.full((2, 1, 4), 0.25)
    prediction = jax.jit(lambda v, *x: model.apply(v, *x, features=True))(variables, template, boxes, search)
    check(prediction, out)
    close(prediction.features["tokens"][:, ::5, ::8], out["backbone_sub"], 1e-4)
    for i in (0, 1, 6, 11):
        close(prediction.features["layers"][:, i, ::16, ::16], out[f"block{i}_sub"], 1e-4)


@pytest.mark.parametrize("scan", [False, True])
def test_training_pass_and_gradients_equal_the_program(scan):
    config = TINY | {"scan_layers": scan}
    manifest, out, variables, template, search = case("grm_tiny", config)
    model = trackers.build(config)
    objective = objectives.build({"name": "center"}, model)
    boxes = {
        name: jnp.asarray(manifest["inputs"][name]["values_xywh_normalised"], jnp.float32)[0]
        for name in ("template_anno", "search_anno")
    }
    uniform = [gen(manifest["salt"], f"input/gumbel/{i}").random((2, 16, 2)) for i in (1, 2)]
    noise = jnp.asarray(-np.log(-np.log(np.stack(uniform, axis=1))), jnp.float32)

    def loss(params):
        prediction, updated = model.apply(
            {"params": params, "batch_stats": variables["batch_stats"]},
            template,
            boxes["template_anno"][:, None],
            search,
            train=True,
            gumbel_noise=noise,
            mutable=["batch_stats"],
        )
        value, metrics = objective.loss(prediction, boxes["search_anno"])
        return value, (metrics, prediction, updated["batch_stats"])

    (value, (metrics, prediction, batch_stats)), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        variables["params"]
    )
    close(value, out["train/loss"], 1e-5)
    found = [metrics[name] for name in ("loss", "giou", "l1", "focal", "iou")]
    close(jnp.stack(found), out["train/status_total_giou_l1_loc_iou"], 1e-5)
    close(prediction.division_share, out["train/decisions"], 1e-6)
    close(entropy_regularization(prediction.division_share), out["train/status_entropy_total_entropy"][1], 1e-6)

    # Gradients and statistics go back to the published names and layouts, so that the recorded slices apply.
    published = convert.from_variables({"params": gradients, "batch_stats": batch_stats}, config)
    compared = 0
    for key, spec in manifest["outputs"].items():
        if key.startswith("bn_after/"):
            close(published[key.removeprefix("bn_after/")], out[key], 1e-6)
        name = key.removeprefix("grad/")
        if name == key or name in manifest["grad_zero_in_exact_arithmetic"]:
            continue
        gradient, scale = published[name], np.abs(out[key]).max()
        if "slice" in spec:
            step = int(spec["slice"].split("[::")[1].split("]")[0])
            gradient, scale = gradient.reshape(-1)[::step], spec["full_stats"]["absmax"]
        expected = out[key]
        close(gradient.reshape(expected.shape), expected, 2e-4 * scale)
        compared += 1
    assert compared > 80


def variables_of(config, seed=0):
    model = trackers.build(config)
    return model, trackers.init(model, jax.random.key(seed))


def inputs(batch=2, size=(32, 64), seed=0):
    keys = jax.random.split(jax.random.key(seed))
    template, search = (jax.random.normal(k, (batch, n, n, 3)) for k, n in zip(keys, size, strict=True))
    return template[:, None], jnp.full((batch, 1, 4), 0.25), search


def division_of(fields, **kwargs):
    model, variables = variables_of(TINY | {"division": fields})
    return model.apply(variables, *inputs(), **kwargs)


def test_table_4_row_1_is_two_stream_but_for_the_last_layer():
    prediction = division_of({"mode": "two_stream"})
    found = np.asarray(prediction.division)
    assert np.all(found[:, :2] == relation.SEARCH) and np.all(found[:, 2] == relation.ALL)
    assert prediction.division_log_probs is None
    model, variables = variables_of(TINY | {"division": {"mode": "two_stream"}})
    template, box, search = inputs()
    apply = jax.jit(lambda template: model.apply(variables, template, box, search, features=True))
    one, two = apply(template), apply(template + 1)
    np.testing.assert_array_equal(one.features["layers"][:, 1, 4:], two.features["layers"][:, 1, 4:])
    assert np.abs(one.features["layers"][:, 2, 4:] - two.features["layers"][:, 2, 4:]).max() > 1e-4


def test_table_4_row_2_is_one_stream_and_equals_table_5_row_a():
    model, variables = variables_of(TINY | {"division": {"mode": "one_stream"}})
    other, same = variables_of(TINY | {"division": {"layers": ()}})
    assert jax.tree.structure(variables) == jax.tree.structure(same)
    one, two = model.apply(variables, *inputs()), other.apply(variables, *inputs())
    np.testing.assert_array_equal(one.box, two.box)
    assert np.all(np.asarray(one.division) == relation.ALL)


def test_asymmetric_templates_never_see_the_search_crop_and_are_kept():
    model, variables = variables_of(TINY | {"division": {"mode": "asymmetric"}})
    template, box, search = inputs()
    one, two = (model.apply(variables, template, box, each, features=True) for each in (search, search + 1))
    np.testing.assert_array_equal(one.features["layers"][:, :, :4], two.features["layers"][:, :, :4])
    assert np.all(np.asarray(one.division) == relation.ALL)
    cache = model.apply(variables, template, box, method="encode_template")
    assert len(cache["memory"]) == 3 and "tokens" not in cache
    np.testing.assert_allclose(model.apply(variables, cache, search, method="locate").box, one.box, atol=1e-5)


def test_weights_fit_any_number_of_templates():
    model, variables = variables_of(TINY | {"division": {"mode": "one_stream"}})
    template, box, search = inputs()
    twice = model.clone(templates=2)
    assert jax.tree.structure(trackers.init(twice, jax.random.key(0))) == jax.tree.structure(variables)
    pair = jnp.concatenate([template, template[::-1]], axis=1), jnp.concatenate([box, box], axis=1)
    both, other = (twice.apply(variables, *each, search) for each in (pair, (pair[0][:, ::-1], pair[1])))
    # Templates have the same positions, so that their order says nothing.
    np.testing.assert_allclose(both.box, other.box, atol=1e-5)
    assert np.abs(both.maps["score_map"] - model.apply(variables, template, box, search).maps["score_map"]).max() > 1e-5


@pytest.mark.parametrize(
    "mode, columns", [("learned_template_search", 2), ("learned_three", 3), ("learned", 2), ("continuous", 2)]
)
def test_table_4_rows_3_to_5_and_c3_divide_from_the_second_layer(mode, columns):
    prediction = division_of({"mode": mode})
    assert prediction.division_log_probs.shape == (2, 2, 16, columns)
    assert np.all(np.asarray(prediction.division[:, 0]) == relation.ALL)


@pytest.mark.parametrize("layers", [(1, 2, 3), (3,), (2, 3)])
def test_table_5_layers_have_modules_where_they_divide(layers):
    model, variables = variables_of(TINY | {"division": {"layers": layers}})
    encoder = variables["params"]["encoder"]
    assert [i + 1 for i in range(3) if "division" in encoder[f"block_{i}"]] == list(layers)
    assert model.apply(variables, *inputs()).division_log_probs.shape[1] == len(layers)


def rigged(variables, choices):
    """The variables with modules that always choose: {block: number of the output}."""
    encoder = dict(variables["params"]["encoder"])
    for block, choice in choices.items():
        logits = {"kernel": jnp.zeros((192, 2)), "bias": jnp.zeros(2).at[choice].set(9.0)}
        encoder[block] = {**encoder[block], "division": {**encoder[block]["division"], "logits": logits}}
    return {**variables, "params": {**variables["params"], "encoder": encoder}}


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.slow
def test_c2_layers_whose_division_is_constant_need_no_module(scan):
    """As the published forms (layer 7 two-stream, the last layers one-stream), in small."""
    trained = TINY | {"depth": 5, "division": {"layers": (1, 2, 3, 4, 5)}}
    model, variables = variables_of(trained)
    variables = rigged(variables, {"block_0": 0, "block_1": 0, "block_3": 1, "block_4": 1})
    fixed = {**trained["division"], "two_stream_layers": (1, 2), "one_stream_layers": (4, 5)}
    config = trained | {"division": fixed, "scan_layers": scan}
    skipping = trackers.build(config)
    fewer = convert.to_variables(convert.from_variables(variables, config), config)
    blocks = fewer["params"]["encoder"].items()
    assert [name for name, block in blocks if "division" in block] == ["block_2"]
    assert ("blocks_0_1" in dict(blocks)) == scan
    template, box, search = inputs()
    whole = jax.jit(model.apply)(variables, template, box, search)
    cache = skipping.apply(fewer, template, box, method="encode_template")
    assert len(cache["memory"]) == 2 and cache["tokens"].shape == (2, 4, 96)
    found = jax.jit(lambda *x: skipping.apply(*x, method="locate"))(fewer, cache, search)
    # What the masked softmax leaves to forbidden keys, about 1e-6/N.
    close(found.box, whole.box, 1e-5)
    close(found.maps["score_map"], whole.maps["score_map"], 1e-5)
    np.testing.assert_array_equal(found.division, whole.division)
    assert found.division_log_probs.shape == (2, 1, 16, 2)
    close(found.division_log_probs[:, 0], whole.division_log_probs[:, 2], 1e-4)


@pytest.mark.parametrize("mode", ["learned", "prototype"])
def test_c2_only_the_masked_form_is_the_learned_layer_where_forbidden_logits_are_the_largest(mode):
    """There the eps of the masked softmax counts; a split softmax has none."""
    trained = TINY | {"division": {"layers": (1, 3)}}
    model, variables = variables_of(trained)
    variables = rigged(variables, {"block_0": 0, "block_2": 0})
    sharp = jax.tree_util.tree_map_with_path(
        lambda path, x: 6 * x if "qkv" in jax.tree_util.keystr(path) else x, variables
    )
    template, box, search = inputs()
    whole, caught = jax.jit(lambda v: model.apply(v, template, box, search, mutable=["intermediates"]))(sharp)
    q, k = caught["intermediates"]["encoder"]["block_2"]["attention"]["queries_and_keys"][0]
    logits = np.asarray(relation.attention_logits(q, k))[:, :, :4]
    assert np.any(logits[..., 4:].max(axis=-1) > logits[..., :4].max(axis=-1) + np.log(1e6))

    apart = {}
    for form in ("split", "masked"):
        division = {"layers": (1, 3), "mode": mode, "two_stream_layers": (1, 3), "two_stream_form": form}
        config = trained | {"division": division}
        skipping = trackers.build(config)
        fewer = convert.to_variables(convert.from_variables(sharp, config), config)
        assert not any("division" in block for block in fewer["params"]["encoder"].values())
        cache = skipping.apply(fewer, template, box, method="encode_template")
        assert ("memory" in cache) == (form == "split")
        found = jax.jit(lambda *x, model=skipping: model.apply(*x, method="locate"))(fewer, cache, search)
        np.testing.assert_array_equal(found.division, whole.division)
        apart[form] = np.abs(found.maps["score_map"] - whole.maps["score_map"]).max()
    assert apart["masked"] < 1e-6 and apart["split"] > 1e-3


def test_c2_what_a_fixed_layer_saves():
    trained = TINY | {"division": {"layers": (1, 2, 3)}}
    fixed = TINY | {"division": {"layers": (1, 2, 3), "one_stream_layers": (3,), "two_stream_layers": (1, 2)}}
    before, after = (flops.of_tracker(trackers.build(config)) for config in (trained, fixed))
    # The module: 16 search tokens and the one target token through 2D-384-192-2.
    module = 16 * (96 * 384 + 384 * 192 + 192 * 2) + 96 * 384
    # The mask: the choice as categories, and D R D^T of 20 tokens.
    mask = 16 * 2 * 3 + 20 * 3 * 3 + 20 * 20 * 3
    # Two layers without the 2 * 4 * 16 pairs, whose products with keys and values are of width 96.
    pairs = 2 * (2 * 4 * 16) * 2 * 96
    assert before["whole"] - after["whole"] == 3 * (module + mask) + pairs
    # The 4 template tokens go through two layers once a target: 12 D^2 a token, and their pairs.
    once = 2 * (4 * 12 * 96 * 96 + 2 * 4 * 4 * 96)
    assert after["template"] == before["template"] + once
    assert before["parameters"] - after["parameters"] == 3 * (193 * 384 + 385 * 192 + 193 * 2)
    # Masked, the mask and all pairs stay, and nothing of the template is kept but its tokens.
    masked = trackers.merged(fixed, {"division": {"two_stream_form": "masked"}})
    masked = flops.of_tracker(trackers.build(masked))
    assert masked["whole"] - after["whole"] == pairs + 2 * (mask - 16 * 2 * 3)
    assert masked["template"] == before["template"] and masked["parameters"] == after["parameters"]


@pytest.mark.parametrize("pool", ["max", "average", "box_max", "box_average"])
def test_box_pools_see_only_the_template_box(pool):
    model, variables = variables_of(TINY | {"template_size": 64, "division": {"pool": pool}})
    template, _, search = inputs(size=(64, 64))
    small, large = jnp.full((2, 1, 4), 0.05), jnp.array([[[0.0, 0.0, 1.0, 1.0]]] * 2)
    found = [model.apply(variables, template, box, search).division_log_probs for box in (small, large)]
    differs = np.abs(np.asarray(found[0]) - np.asarray(found[1])).max() > 1e-5
    assert differs == pool.startswith("box")


@pytest.mark.parametrize("mode", ["learned", "continuous", "learned_three"])
@pytest.mark.slow
def test_division_learns_from_the_boxes(mode):
    """The loss on the box reaches the division module: straight through the hard choice, or through probabilities."""
    model, variables = variables_of(TINY | {"division": {"mode": mode}})
    objective = objectives.build({"name": "center"}, model)
    template, box, search = inputs()
    batch = {"template": template * 50 + 120, "template_box": box, "search": search * 50 + 120, "search_box": box[:, 0]}
    rngs = {name: jax.random.key(i) for i, name in enumerate(("gumbel", "droppath", "dropout"))}

    def loss(params):
        return objective(params, variables["batch_stats"], batch, rngs)[0]

    gradients = jax.jit(jax.grad(loss))(variables["params"])["encoder"]["block_1"]["division"]
    assert all(np.abs(g).max() > 0 and np.isfinite(g).all() for g in jax.tree.leaves(gradients))


def test_same_keys_same_numbers():
    model, variables = variables_of(TINY | {"drop_path": 0.3})
    apply = lambda seed: model.apply(  # noqa: E731
        variables, *inputs(), train=True, mutable=["batch_stats"],
        rngs={"gumbel": jax.random.key(seed), "droppath": jax.random.key(seed + 1)},
    )[0]  # fmt: skip
    np.testing.assert_array_equal(apply(0).maps["score_map"], apply(0).maps["score_map"])
    assert np.abs(apply(0).maps["score_map"] - apply(5).maps["score_map"]).max() > 1e-4


def test_any_patch_and_rectangular_sizes():
    config = TINY | {"patch_size": 12, "template_size": (24, 36), "search_size": (60, 84)}
    model, variables = variables_of(config)
    template, box, search = trackers.example_inputs(model, 2)
    prediction = jax.jit(model.apply)(variables, template, box, search)
    assert prediction.maps["size_map"].shape == (2, 5, 7, 2)
    assert prediction.division.shape == (2, 3, 35)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"name": "grmm"}, "model.name"),
        ({"widht": 3}, "model.widht"),
        ({"division": {"layer": (1,)}}, "model.division.layer"),
        ({"division": {"mode": "none"}}, "model.division.mode"),
        ({"division": {"layers": (9,)}}, "model.division.layers"),
        ({"heads": 7}, "model.heads"),
        ({"remat": "some"}, "model.remat"),
        ({"head": {"channels": 4}}, "model.head.channels"),
        ({"template_size": 8}, "smaller than one patch"),
        ({"depth": 10**12}, "model.depth must be from 1 to 1024"),
        ({"search_size": 65536}, "model.search_size must be from 1 to 2048"),
        ({"mlp_ratio": 0.0}, "model.mlp_ratio must be from 0.01 to 100"),
        ({"drop_path": 1.0}, "model.drop_path must be from 0 to below 1"),
        ({"position_grid": (14,)}, "model.position_grid must be two whole numbers"),
        ({"division": {"hidden": ()}}, "model.division.hidden must be two whole numbers"),
        ({"division": {"hidden": (0, 0)}}, "model.division.hidden must be from 1"),
        ({"division": {"temperature": 0.0}}, "model.division.temperature must be from"),
        ({"division": {"smoothing": 1e12}}, "model.division.smoothing must be from 0 to 100"),
        # What a config file of one's own can say: other types than the fields'.
        ({"width": None}, "model.width must be a whole number, got None"),
        ({"depth": 2.5}, "model.depth must be a whole number, got 2.5"),
        ({"heads": True}, "model.heads must be a whole number, got True"),
        ({"drop_path": "x"}, "model.drop_path must be a number, got 'x'"),
        ({"mlp_ratio": math.nan}, "model.mlp_ratio must be a number, got nan"),
        ({"dtype": 3}, "model.dtype must be text, got 3"),
        ({"scan_layers": 1}, "model.scan_layers must be True or False or None, got 1"),
        ({"division": {"layers": (1.5,)}}, "model.division.layers must be whole numbers or None, got"),
        ({"division": None}, "model.division is a section, not one value: None"),
    ],
)
def test_wrong_configs_are_named(change, says):
    with pytest.raises(errors.InputError, match=says):
        trackers.init(trackers.build(TINY | change), jax.random.key(0))
