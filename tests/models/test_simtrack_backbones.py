"""SimTrack on other backbones, under STARK's head and with a decoder: the tracker as a whole (Tables 4, 7 and 9)."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from configs import simtrack as configs
from trackers import errors
from trackers.nn.cross_decoder import Sizes
from trackers.training import flops, sharding

# Two stages, for what has to be compiled: half of what is tiny.
SMALL = {"width": 16, "patch_size": 8, "template_size": 32, "search_size": 64, "head__channels": 8}
STAGES = {"widths": (8, 16), "depths": (1, 2), "heads": (1, 2), "mlp_ratios": (2.0, 2.0)}
SMALL_STAGES = SMALL | {f"backbone__{key}": value for key, value in STAGES.items()}
SMALL_OF = {
    "tiny_swin": SMALL_STAGES,
    "tiny_pvt": SMALL_STAGES | {"backbone__reductions": (4, 2)},
    "tiny_stark": SMALL | {"width": 16, "depth": 2},
    "tiny_decoder": SMALL | {"width": 16, "depth": 2, "foveal_size": 16},
}

# The head, which the features do not depend on; a decoder's one query, whose attention to itself is 1 whatever query
# and key are; and the value of the first decoder's query, which starts as zeros.
UNMOVED = r"head/|transformer/decoder_\d+/attention/[qk]/|transformer/decoder_0/attention/v/kernel"


def model_of(variant, **changes):
    config = configs.get_config(variant).model
    with config.unlocked():
        config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return trackers.build(config)


def inputs_of(model, batch=2):
    shapes = jax.eval_shape(lambda: trackers.example_inputs(model, batch))
    template, _, search = (jax.random.normal(jax.random.key(i), s.shape) for i, s in enumerate(shapes))
    return template, jnp.asarray([[[0.25, 0.25, 0.5, 0.5]], [[0.3, 0.1, 0.35, 0.75]]])[:batch], search


@functools.cache
def drawn(model):
    """Weights by NumPy: trackers.init would be compiled for each model."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))

    def leaf(path, shape):
        if path[-1].key in ("scale", "var"):
            return jnp.ones(shape.shape)
        return jnp.asarray(0.1 * rng.standard_normal(shape.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


@pytest.mark.slow
@pytest.mark.parametrize("variant", SMALL_OF)
def test_gradients_reach_every_parameter_before_the_head(variant):
    """The head itself is compiled elsewhere, at some cost: here its inputs are asked for."""
    model = model_of(variant, **SMALL_OF[variant], drop_path=0.1)
    variables, inputs = drawn(model), inputs_of(model)

    @jax.jit
    def gradients_and_features(params):
        def loss(params):
            prediction, _ = model.apply(
                {**variables, "params": params},
                *inputs,
                train=True,
                features=True,
                rngs={"droppath": jax.random.key(1), "dropout": jax.random.key(2)},
                mutable=["batch_stats"],
            )
            return jnp.sum(prediction.features["head"] ** 2), prediction.features["head"]

        return jax.grad(loss, has_aux=True)(params)

    gradients, features = gradients_and_features(variables["params"])
    assert features.shape == (2, *model.search_grid, 8) and np.abs(features[0] - features[1]).max() > 1e-3
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        assert np.all(np.isfinite(gradient)), name
        if not re.match(UNMOVED, name):
            assert np.any(gradient != 0), name


@pytest.mark.parametrize("variant, template_part", [("tiny_swin", 0.1), ("tiny_stark", 0.1), ("tiny_pvt", 0.0)])
def test_the_exemplar_is_encoded_once_where_it_never_looks_at_the_search_image(variant, template_part):
    count = flops.of_tracker(model_of(variant))
    # Each half resizes the table that holds both the class token's and the search tokens' positions.
    assert count["whole"] <= count["template"] + count["search"] <= 1.01 * count["whole"]
    assert count["template"] > template_part * count["whole"]


@pytest.mark.parametrize("layers", [0, 1, 3, 6])
def test_table_9_decoder_layers(layers):
    """Without one the parameters are b16's; with some they come to these, and nothing of STARK's transformer."""

    def params_of(variant):
        model = model_of(variant)
        return jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))["params"]

    params, b16 = params_of(f"b16_decoder{layers}" if layers else "b16"), params_of("b16")
    added = params.keys() - b16.keys()
    assert added == ({"decoder"} if layers else set())
    assert {name: leaf for name, leaf in params.items() if name not in added} == b16
    assert len(params.get("decoder", {})) == layers


def test_a_decoder_of_no_layers_is_b16():
    config = configs.get_config("b16_decoder3").model
    with config.unlocked():
        config.head.decoder.layers = 0
    assert config == configs.get_config("b16").model


def test_the_decoder_sees_exemplar_and_search_features_and_nothing_else():
    """What the corner head gets, from features before it: the exemplar's own tokens and the search tokens count, those
    of the class and of the foveal window do not; and without a decoder the exemplar's do not either."""
    model = model_of("tiny_decoder", **SMALL_OF["tiny_decoder"])
    variables, bare = drawn(model), model.clone(head=dataclasses.replace(model.head, decoder=Sizes()))
    (exemplar, _), (rows, columns) = model.lengths, model.search_grid
    own = model.template_grid[0] * model.template_grid[1]
    assert exemplar == own + 1 + 4
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.standard_normal((1, exemplar, 16)), jnp.float32)
    search_map = jnp.asarray(rng.standard_normal((1, rows, columns, 8)), jnp.float32)

    def before_the_head(model, search_map, tokens):
        return model.apply(variables, search_map, tokens, False, method="with_exemplar")

    @jax.jit
    def gradients(search_map, tokens):
        loss = lambda *inputs: jnp.sum(before_the_head(model, *inputs) ** 3)  # noqa: E731
        return jax.grad(loss, argnums=(0, 1))(search_map, tokens)

    by_search, by_tokens = gradients(search_map, tokens)
    assert np.all(np.abs(by_search).max(axis=-1) > 0)
    assert np.all(np.abs(by_tokens[:, :own]).max(axis=-1) > 0) and np.all(by_tokens[:, own:] == 0)
    np.testing.assert_array_equal(before_the_head(bare, search_map, tokens), search_map)


@pytest.mark.parametrize("variant", ["swin_b", "pvt_m", "stark_sv", "stark_sv_b32", "b16_decoder6", "b16_mae"])
def test_full_sizes_build_and_are_sharded(variant):
    model = model_of(variant)
    params = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))["params"]
    mesh = jax.sharding.AbstractMesh((1, 8, 1), sharding.AXES)
    sharding.check_sharded(params, mesh, 0.02)


@pytest.mark.parametrize("variant", SMALL_OF)
@pytest.mark.slow
def test_bfloat16_computes_what_float32_does(variant):
    """bfloat16 keeps 8 bits: an error of 0.4 % in each of some ten operations one after another."""
    exact = model_of(variant, **SMALL_OF[variant])
    variables, inputs = drawn(exact), inputs_of(exact)
    models = (exact, exact.clone(dtype="bfloat16"))
    run = jax.jit(lambda v: [m.apply(v, *inputs, features=True).features["head"] for m in models])
    found, rough = run(variables)
    assert rough.dtype == jnp.bfloat16
    np.testing.assert_allclose(rough.astype(jnp.float32), found, atol=0.05 * np.abs(found).max())


@pytest.mark.parametrize(
    "variant, changes, words",
    [
        ("tiny_swin", {"width": 32}, "must be the width and stride of the last stage"),
        ("tiny_swin", {"foveal_size": 16}, "need model.foveal_size 0"),
        ("tiny_pvt", {"head__transformer__decoder_layers": 1}, "no model.head.transformer"),
        ("tiny_swin", {"head__decoder__layers": 1}, "no model.head.transformer or decoder"),
        ("tiny_pvt", {"search_size": 100}, "multiple of model.patch_size"),
        ("tiny_pvt", {"remat": "some"}, "model.remat must be one of"),
        ("tiny_pvt", {"backbone__kind": "resnet"}, "must be vit, swin or pvt"),
        ("tiny_pvt", {"backbone__depths": (1, 1)}, "one number for each of model.backbone.widths"),
        ("tiny_swin", {"backbone__heads": (1, 3, 4)}, "32 is not divisible by its 3 heads"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(variant, changes, words):
    with pytest.raises(errors.InputError, match=words):
        trackers.init(model_of(variant, **changes), jax.random.key(0))
