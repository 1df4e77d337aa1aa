"""SimTrack against the numbers recorded from the authors' program, and each row of the paper's tables."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from configs import simtrack as configs
from tests.recipes import image, load, weights
from trackers import convert, errors, objectives
from trackers.convert import layouts
from trackers.convert.simtrack import PUBLISHED
from trackers.models import simtrack
from trackers.nn import relation, stacking
from trackers.tracking import single_object

TINY = {"name": "simtrack", "width": 128, "depth": 3, "heads": 2, "template_size": 80, "search_size": 96}
TINY |= {"foveal_size": 32, "head": {"channels": 32}}
# Half the size, for what needs no recorded numbers.
SMALL = TINY | {
    "width": 32,
    "depth": 2,
    "template_size": 48,
    "search_size": 64,
    "foveal_size": 16,
    "head": {"channels": 8},
}


@functools.partial(jax.jit, static_argnums=0, static_argnames=("method", "features"))
def predict(model, variables, *inputs, **options):
    """model.apply, compiled once for each model: op by op it takes longer."""
    return model.apply(variables, *inputs, **options)


def variables_of(config, seed=0):
    """A model with drawn weights, biases too: trackers.init would be compiled for each model."""
    model, rng = trackers.build(config), np.random.default_rng(seed)

    def drawn(path, leaf):
        name = path[-1].key
        if name in ("scale", "var"):
            return jnp.asarray(1 + 0.1 * rng.random(leaf.shape), jnp.float32)
        wide = 0.3 if name in ("bias", "mean", "class_token") else np.prod(leaf.shape[-3:-1]) ** -0.5
        return jnp.asarray(wide * rng.standard_normal(leaf.shape), jnp.float32)

    shapes = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    return model, jax.tree_util.tree_map_with_path(drawn, shapes)


def nhwc(array):
    return jnp.asarray(array.transpose(0, 2, 3, 1))


def close(found, expected, atol):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=atol, rtol=0)


def case(name, config):
    manifest, out = load(name)
    variables = convert.to_variables(weights(manifest), config)
    inputs = manifest["inputs"]
    box = inputs["template_anno"]["values_xywh_normalised_to_template"]
    template, search = nhwc(image(manifest, "template"))[:, None], nhwc(image(manifest, "search"))
    variables = jax.tree.map(jnp.asarray, variables)
    return manifest, out, variables, (template, jnp.asarray(box, jnp.float32)[:, None], search)


def check(prediction, out):
    """Float32 against float64 of the program differs by 1.4e-7 at most; the tolerance is for platforms."""
    close(prediction.box, out["pred_boxes"][:, 0], 1e-5)
    for name, recorded in (("corner_top_left", "prob_tl"), ("corner_bottom_right", "prob_br")):
        close(prediction.maps[name].reshape(out[recorded].shape), out[recorded], 1e-5)


@pytest.mark.parametrize(
    "name, changes",
    [
        ("simtrack_tiny", {}),
        ("simtrack_tiny", {"scan_layers": True}),
        ("simtrack_tiny_shift", {"template_size": 96}),
    ],
)
def test_tiny_equals_the_program(name, changes):
    config = TINY | changes
    _, out, variables, inputs = case(name, config)
    model = trackers.build(config)
    prediction = predict(model, variables, *inputs, features=True)
    check(prediction, out)
    found = prediction.features["layers"]
    for i in range(3):
        close(found[:, i], out[f"block{i}"], 1e-4)
    kept = out["backbone"].shape[1]  # the program cuts the foveal tokens off
    close(prediction.features["tokens"][:, :kept], out["backbone"], 1e-4)
    close(prediction.features["head"], out["head_in"].transpose(0, 2, 3, 1), 1e-4)
    close(simtrack.describe_cells(inputs[1][:, 0], model.template_grid), out["pos_fc_input"], 1e-6)
    positions = predict(model, variables, inputs[1], method="template_positions")
    close(positions, out["exemplar_pos_embed"], 1e-5)


def test_tokens_before_the_blocks_equal_the_program():
    _, out, variables, (template, box, search) = case("simtrack_tiny", TINY)
    model = trackers.build(TINY)
    given = predict(model, variables, template, box, method="encode_template")["tokens"]
    exemplar_and_class = model.lengths[0] - 4
    close(given[:, :exemplar_and_class], out["ln_pre_in"][:, :exemplar_and_class], 1e-5)
    close(given[:, exemplar_and_class:], out["ln_pre_in"][:, -4:], 1e-5)
    embedded = predict(model, variables, search, method=_embed)
    close(embedded, out["ln_pre_in"][:, exemplar_and_class:-4], 1e-5)


def _embed(model, search):
    return model.encoder.embed(search, "search")


@pytest.mark.slow
def test_b16_equals_the_program():
    config = {"name": "simtrack", "scan_layers": True}
    _, out, variables, inputs = case("simtrack_b16", config)
    model = trackers.build(config)
    prediction = predict(model, variables, *inputs, features=True)
    check(prediction, out)
    kept = 49 + 1 + 196
    close(prediction.features["tokens"][:, :kept][:, ::5, ::8], out["backbone_sub"], 1e-4)
    close(prediction.features["head"].transpose(0, 3, 1, 2)[:, ::8], out["head_in_sub"], 1e-4)
    for i in (0, 5, 11):
        close(prediction.features["layers"][:, i, ::16, ::16], out[f"block{i}_sub"], 1e-4)
    positions = predict(model, variables, inputs[1], method="template_positions")
    close(positions[:, :, ::8], out["exemplar_pos_embed_sub"], 1e-5)
    close(simtrack.describe_cells(inputs[1][:, 0], model.template_grid), out["pos_fc_input"], 1e-6)


def test_training_pass_and_gradients_equal_the_program():
    config = TINY | {"scan_layers": True}
    manifest, out, variables, inputs = case("simtrack_tiny_train", config)
    model = trackers.build(config)
    objective = objectives.build({"name": "corners"}, model)
    truth = jnp.asarray(manifest["inputs"]["search_anno"]["values_xywh_normalised"], jnp.float32)

    def loss(params):
        given = {"params": params, "batch_stats": variables["batch_stats"]}
        prediction, updated = model.apply(given, *inputs, train=True, mutable=["batch_stats"])
        value, metrics = objective.loss(prediction, truth)
        return value, (metrics, prediction, updated["batch_stats"])

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, (metrics, prediction, batch_stats)), gradients = run(variables["params"])
    close(value, out["loss"], 1e-5)
    close(prediction.box, out["pred_boxes"][:, 0], 1e-5)
    close(jnp.stack([metrics[name] for name in ("loss", "giou", "l1", "iou")]), out["total_giou_l1_iou"], 1e-5)

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
        # The program's own float32 and float64 gradients differ by 1.3e-5 of the largest.
        close(gradient.reshape(out[key].shape), out[key], 2e-4 * scale)
        compared += 1
    assert compared > 60


def test_published_weights_survive_the_way_there_and_back():
    manifest, _ = load("simtrack_tiny")
    given = weights(manifest)
    returned = convert.from_variables(convert.to_variables(given, TINY), TINY)
    dropped = {key for key in given if key == "backbone.visual.proj" or key.endswith("num_batches_tracked")}
    assert set(returned) == set(given) - dropped
    for key, value in returned.items():
        np.testing.assert_array_equal(value, given[key])


@pytest.mark.parametrize("changes", [{"foveal_size": 0}, {"interaction": (2,)}, {"template_looks": False}])
def test_published_weights_fit_variants_of_the_same_parameters(changes):
    """Rows of Tables 7, 8 and 10; what has parameters of its own (Tables 4 and 9) is named."""
    given = weights(load("simtrack_tiny")[0])
    plain, varied = (convert.to_variables(given, TINY | more) for more in ({}, changes))
    jax.tree.map(np.testing.assert_array_equal, varied, plain)
    for section, says in (("transformer", "encoder_layers"), ("decoder", "layers")):
        head = {"channels": 32, section: {says: 1}}
        with pytest.raises(errors.InputError, match=f"no published name is known for {section}/"):
            convert.to_variables(given, TINY | {"head": head})


def test_full_size_names_and_shapes_are_the_published_ones():
    """Without computing anything: what each leaf of Sim-B/16, stacked, is called and shaped in the program."""
    keys = {key: tuple(spec["shape"]) for key, spec in load("simtrack_b16")[0]["keys"].items()}
    model = trackers.build({"name": "simtrack", "scan_layers": True})
    targets = stacking.flatten(jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0)))
    for path, leaf in targets.items():
        key, layout = layouts.published(path, PUBLISHED.rules)
        assert jax.eval_shape(layout.to_published, leaf).shape == keys.pop(key), path
    assert all(re.fullmatch(PUBLISHED.unused, key) for key in keys)


def test_wrong_checkpoints_are_named():
    given = weights(load("simtrack_tiny")[0])
    given["backbone.pos_fc.4.weight"] = given.pop("backbone.pos_fc.2.weight")
    given["bottleneck.bias"] = given["bottleneck.bias"][:3]
    with pytest.raises(errors.InputError) as error:
        convert.to_variables(given, TINY)
    for says in (
        "missing: backbone.pos_fc.2.weight",
        "unexpected: backbone.pos_fc.4.weight",
        "bottleneck.bias is (3,)",
    ):
        assert says in str(error.value)


def inputs_of(model, batch=2, seed=0):
    keys = jax.random.split(jax.random.key(seed))
    template, _, search = trackers.example_inputs(model, batch)
    box = jnp.broadcast_to(jnp.array([0.2, 0.3, 0.5, 0.4]), (batch, 1, 4))
    return jax.random.normal(keys[0], template.shape), box, jax.random.normal(keys[1], search.shape)


@pytest.mark.parametrize("template, foveal, patch, first", [(112, 64, 16, 24), (128, 64, 32, 48), (84, 42, 14, 21)])
def test_foveal_lines_are_centered_on_the_exemplars(template, foveal, patch, first):
    """B/16, B/32 (exemplar shifted by 16, then its middle) and L/14: patches begin half a patch off the grid."""
    rows = jnp.broadcast_to(jnp.arange(template, dtype=jnp.float32)[None, :, None, None], (1, template, template, 3))
    cells = template // patch
    window = simtrack.foveal_window(rows, (cells, cells), (foveal // patch,) * 2, patch)
    assert window.shape == (1, foveal, foveal, 3)
    assert window[0, 0, 0, 0] == first and first % patch == patch / 2
    # A linear position is interpolated to the very center of each foveal patch.
    centers = (jnp.arange(cells) + 0.5) * patch
    grid = jnp.stack(jnp.meshgrid(centers, centers, indexing="ij"), axis=-1).reshape(1, -1, 2)
    positions = simtrack.foveal_positions(grid, (cells, cells), (foveal // patch,) * 2).reshape(-1, 2)
    close(positions[0], jnp.array([first + patch / 2] * 2), 1e-4)
    close(positions[-1], jnp.array([first + foveal - patch / 2] * 2), 1e-4)


@pytest.mark.parametrize(
    "template, foveal, patch, first", [(112, 64, 16, 24), (128, 64, 32, 32), (84, 42, 14, 21), (96, 32, 16, 40)]
)
def test_the_programs_cut_shifts_by_whole_windows_alone(template, foveal, patch, first):
    """B/32's window lies in the very middle, on the exemplar's own lines; 96 and 32 pixels are shifted."""
    rows = jnp.broadcast_to(jnp.arange(template)[None, :, None, None], (1, template, template, 3))
    window = simtrack.foveal_window(rows, (template // patch,) * 2, (foveal // patch,) * 2, patch, "program")
    assert window.shape == (1, foveal, foveal, 3) and window[0, 0, 0, 0] == first


def test_the_cut_is_a_setting():
    """Sizes in B/32's proportions: the two cuts are two networks; another word is refused."""
    sizes = {"template_size": 64, "foveal_size": 32}
    models = {cut: trackers.build(TINY | sizes | {"foveal_cut": cut}) for cut in ("half_patch", "program")}
    inputs = inputs_of(models["program"])
    variables = trackers.init(models["program"], jax.random.key(0))
    boxes = [model.apply(variables, *inputs).box for model in models.values()]
    assert jnp.abs(boxes[0] - boxes[1]).max() > 1e-6
    with pytest.raises(ValueError, match="model.foveal_cut must be one of"):
        trackers.init(trackers.build(TINY | sizes | {"foveal_cut": "paper"}), jax.random.key(0))


def test_box_changes_positions_only_where_it_covers():
    described = simtrack.describe_cells(jnp.array([[0.25, 0.5, 0.25, 0.375], [-1.0, -1.0, 9.0, 9.0]]), (4, 4))
    expected = np.full((4, 4), 0.5)
    expected[2, 1], expected[3, 1] = 1.0, 0.75
    close(described[0, :, 0].reshape(4, 4), expected, 1e-6)
    close(described[1, :, 0], np.ones(16), 1e-6)
    close(described[0, 4, 1:], [0.125, 0.375], 1e-6)


def test_table_8_components_can_be_left_out():
    """Interaction alone; with the position embedding; with the foveal window: each adds its parameters or tokens."""
    models = {}
    for name, changes in {
        "interaction": {"template_position": "grid", "foveal_size": 0},
        "position": {"foveal_size": 0},
        "foveal": {},
    }.items():
        model, variables = variables_of(SMALL | changes)
        models[name] = model, variables["params"]
        prediction = jax.eval_shape(functools.partial(predict, model, features=True), variables, *inputs_of(model))
        assert prediction.features["tokens"].shape[1] == 9 + 1 + 16 + (name == "foveal")
    assert "box_position" not in models["interaction"][1] and "box_position" in models["position"][1]
    assert models["interaction"][1]["encoder"]["position_template"].shape == (196, 32)
    assert jax.tree.structure(models["position"][1]) == jax.tree.structure(models["foveal"][1])


def test_box_reaches_the_prediction_through_the_positions_alone():
    for changes, moves in (({}, True), ({"template_position": "grid"}, False)):
        model, variables = variables_of(SMALL | changes)
        template, box, search = inputs_of(model)
        found = [predict(model, variables, template, b, search).maps["corner_top_left_logits"] for b in (box, box / 2)]
        assert (np.abs(found[0] - found[1]).max() > 1e-5) == moves


@pytest.mark.parametrize(
    "layers, share, scan", [((1, 2, 3, 4), 1.0, True), ((2, 4), 0.5, False), ((4,), 0.25, True), ((), 0.0, False)]
)
def test_table_10_search_meets_the_template_only_in_interacting_layers(layers, share, scan):
    config = SMALL | {"depth": 4, "interaction": layers, "scan_layers": scan}
    model, variables = variables_of(config)
    assert sum(kind == relation.ONE_STREAM for kind in model.layer_relations()) == 4 * share
    template, box, search = inputs_of(model)
    one, two = (predict(model, variables, t, box, search, features=True) for t in (template, template + 1))
    change = np.abs(one.features["layers"] - two.features["layers"])
    # Search tokens: in the middle of the program's order, or alone where the template is cached.
    change = change[:, :, 10:26] if change.shape[2] > 16 else change
    first = min(layers, default=5) - 1
    assert np.all(change[:, :first] == 0) and np.all(change[:, first:].max(axis=(2, 3)) > 1e-6)


@pytest.mark.parametrize(
    "changes, layers",
    [
        ({"interaction": ()}, 2),
        ({"template_looks": False, "scan_layers": True}, 2),
        ({"interaction": (2,)}, 1),
        ({}, 0),
    ],
)
def test_template_is_cached_as_long_as_it_does_not_look_at_the_search(changes, layers):
    model, variables = variables_of(SMALL | changes)
    template, box, search = inputs_of(model)
    cache = predict(model, variables, template, box, method="encode_template")
    assert len(cache.get("memory", ())) == layers
    found = predict(model, variables, cache, search, method="locate").box
    close(found, predict(model, variables, template, box, search, method=_uncached).box, 1e-6)


def _uncached(model, template, box, search):
    """The prediction with all tokens through all layers, whatever the relation."""
    encoder = model.encoder
    positions = model.template_positions(box)
    window = simtrack.foveal_window(template[:, 0], model.template_grid, model.foveal_grid, model.patch_size)
    spans = [
        encoder.patches(template[:, 0]) + positions,
        encoder.embed_class(search.shape[0]),
        encoder.patches(window) + simtrack.foveal_positions(positions, model.template_grid, model.foveal_grid),
    ]
    return model.locate({"tokens": jnp.concatenate(spans, axis=1)}, search)


def test_training_gradients_are_finite_and_reach_every_parameter():
    changes = {"scan_layers": True, "dtype": "bfloat16", "remat": "full", "drop_path": 0.3}
    model, variables = variables_of(SMALL | changes)
    objective = objectives.build({"name": "corners"}, model)
    template, box, search = inputs_of(model)
    batch = {"template": template * 50 + 120, "template_box": box, "search": search * 50 + 120, "search_box": box[:, 0]}
    rngs = {name: jax.random.key(i) for i, name in enumerate(("gumbel", "droppath", "dropout"))}
    gradient = jax.jit(jax.grad(lambda p: objective(p, variables["batch_stats"], batch, rngs)[0]))
    gradients = gradient(variables["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), name
        # A bias before a BatchNorm, or under a whole softmax, changes nothing.
        if not ("conv" in name and "bias" in name):
            assert np.abs(leaf).max() > 0, name


@pytest.mark.parametrize(
    "changes, grid",
    [
        ({"patch_size": 12, "template_size": (36, 48), "search_size": (60, 84), "foveal_size": (24, 12)}, (5, 7)),
        ({"patch_size": 14, "template_size": 84, "search_size": 112, "foveal_size": 42}, (8, 8)),
        ({"patch_size": 32, "template_size": 128, "search_size": 160, "foveal_size": 64}, (5, 5)),
    ],
)
def test_any_patch_and_size(changes, grid):
    """The corner map is search / patch on a side; the program knows 16 only and cannot run its /14 and /32 variants."""
    model, variables = variables_of(SMALL | changes)
    prediction = jax.eval_shape(functools.partial(predict, model), variables, *inputs_of(model))
    assert prediction.maps["corner_top_left"].shape == (2, *grid)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"foveal_size": 24}, "model.foveal_size 24 is not a multiple"),
        ({"foveal_size": 48}, "model.foveal_size 48 must be at least a patch smaller"),
        ({"template_position": "none"}, "model.template_position"),
        ({"interaction": (4,)}, "model.interaction"),
        ({"activation": "relu"}, "model.activation"),
        ({"head": {"channels": 4}}, "model.head.channels"),
        ({"foveal": 3}, "model.foveal"),
    ],
)
def test_wrong_configs_are_named(change, says):
    with pytest.raises(errors.InputError, match=says):
        trackers.init(trackers.build(SMALL | change), jax.random.key(0))


def test_variants_of_the_config_are_the_papers():
    """Widths, tokens and maps of each, without computing anything."""
    expected = {
        "b16": (12, 49 + 1 + 16, 196), "b16_star": (8, 66, 196), "b32": (12, 16 + 1 + 4, 100),
        "l14": (24, 36 + 1 + 9, 256), "b16_320": (12, 100 + 1 + 25, 400), "b16_384": (12, 144 + 1 + 49, 576),
        "b16_interaction": (12, 50, 196), "b16_position": (12, 50, 196), "b16_interaction_half": (12, 66, 196),
        "b16_interaction_quarter": (12, 66, 196), "stark_sv": (12, 50, 196), "stark_sv_b32": (12, 17, 100),
        "stark_sv_l14": (24, 37, 256), "b16_decoder6": (12, 66, 196), "tiny": (3, 30, 36), "demo": (4, 18, 64),
    }  # fmt: skip
    for variant, (depth, template, search) in expected.items():
        config = configs.get_config(variant)
        model = trackers.build(config.model)
        assert (model.depth, *model.lengths) == (depth, template, search), variant
        objectives.build(config.objective, model)
        single_object.Tracker(model, config.tracking)
    met = [trackers.build(configs.get_config(f"b16_interaction_{part}").model) for part in ("half", "quarter")]
    counts = [sum(kind == relation.ONE_STREAM for kind in model.layer_relations()) for model in met]
    assert counts == [6, 3] and all(model.layer_relations()[-1] == relation.ONE_STREAM for model in met)
    with pytest.raises(ValueError, match="no variant"):
        configs.get_config("huge")
