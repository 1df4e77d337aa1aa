import copy
import itertools
import re

import jax
import numpy as np
import pytest

import trackers
from configs import grm
from tests import recipes
from trackers import convert
from trackers.convert import layouts
from trackers.errors import InputError
from trackers.nn import stacking


@pytest.fixture(scope="module")
def tiny():
    """(published weights, outputs) of the recorded GRM of width 96, depth 3."""
    manifest, outputs = recipes.load("grm_tiny")
    return recipes.weights(manifest), outputs


def config_model(**changes):
    config = copy.deepcopy(grm.get_config("tiny").model)
    with config.unlocked():
        for key, value in changes.items():
            config.update_from_flattened_dict({key.replace("__", "."): value})
    return config


def backbone(weights, tokens=("cls_token",), side=14):
    """A plain transformer with the blocks of the recorded GRM."""
    kept = {
        key.removeprefix("backbone."): array
        for key, array in weights.items()
        if key.startswith("backbone.") and "divide" not in key and "pos_embed_" not in key
    }
    rng = np.random.default_rng(0)
    for token in tokens:
        kept[token] = np.zeros((1, 1, 96), np.float32)
    if (len(tokens), side) != (1, 14):
        kept["pos_embed"] = rng.standard_normal((1, len(tokens) + side**2, 96)).astype(np.float32)
    return kept


def abstract_variables(config):
    model = trackers.build(config)
    return jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))


def random_variables(config):
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda s: rng.standard_normal(s.shape).astype(s.dtype), abstract_variables(config))


def assert_equal(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_published_to_variables_and_back(tiny, scan_layers):
    weights, _ = tiny
    config = config_model(scan_layers=scan_layers)
    variables = convert.to_variables(weights, config)
    assert ("blocks_1_2" in variables["params"]["encoder"]) == scan_layers
    back = convert.from_variables(variables, config)
    unused = {"backbone.cls_token", "backbone.pos_embed"} | {k for k in weights if k.endswith("num_batches_tracked")}
    assert set(back) == set(weights) - unused
    for key, array in back.items():
        np.testing.assert_array_equal(array, weights[key], strict=True)
        assert array.flags.c_contiguous


@pytest.mark.parametrize("before, after", list(itertools.product([False, True], repeat=2)))
def test_round_trip_of_variables_is_exact(before, after):
    variables = random_variables(config_model(scan_layers=before))
    there = convert.to_variables(convert.from_variables(variables, {"name": "grm"}), config_model(scan_layers=after))
    again = convert.to_variables(convert.from_variables(there, {"name": "grm"}), config_model(scan_layers=before))
    assert_equal(again, variables)


def test_layouts_against_their_definition(tiny):
    """Each kernel, applied as Flax does, gives what PyTorch's formula gives."""
    weights, _ = tiny
    params = convert.to_variables(weights, config_model())["params"]
    x = np.random.default_rng(0).standard_normal((5, 96)).astype(np.float32)
    block, name = params["encoder"]["block_1"], "backbone.blocks.1."

    want = x @ weights[name + "attn.qkv.weight"].T + weights[name + "attn.qkv.bias"]
    got = np.einsum("nd,dqhe->nqhe", x, block["attention"]["qkv"]["kernel"]) + block["attention"]["qkv"]["bias"]
    np.testing.assert_allclose(got, want.reshape(5, 3, 3, 32), atol=1e-5)

    want = x @ weights[name + "attn.proj.weight"].T
    got = np.einsum("nhe,hed->nd", x.reshape(5, 3, 32), block["attention"]["out"]["kernel"])
    np.testing.assert_allclose(got, want, atol=1e-5)

    want = np.concatenate([x, x], 1) @ weights[name + "attn.divide_predict.0.weight"].T
    np.testing.assert_allclose(np.concatenate([x, x], 1) @ block["division"]["hidden1"]["kernel"], want, atol=1e-5)

    patch = np.random.default_rng(1).standard_normal((16, 16, 3)).astype(np.float32)
    want = np.einsum("ocij,ijc->o", weights["backbone.patch_embed.proj.weight"], patch)
    got = np.einsum("ijc,ijco->o", patch, params["encoder"]["patch_embed"]["kernel"])
    np.testing.assert_allclose(got, want, atol=1e-5)

    statistics = convert.to_variables(weights, config_model())["batch_stats"]["head"]["size"]["norm3"]
    np.testing.assert_array_equal(statistics["mean"], weights["box_head.conv3_size.1.running_mean"])
    np.testing.assert_array_equal(statistics["var"], weights["box_head.conv3_size.1.running_var"])


def test_converted_weights_give_the_published_boxes(tiny):
    weights, outputs = tiny
    manifest, _ = recipes.load("grm_tiny")
    template = recipes.image(manifest, "template").transpose(0, 2, 3, 1)[:, None]
    search = recipes.image(manifest, "search").transpose(0, 2, 3, 1)
    box = np.broadcast_to(np.float32([0.25, 0.25, 0.5, 0.5]), (2, 1, 4))
    config = config_model(scan_layers=True)
    predict = jax.jit(trackers.build(config).apply)
    prediction = predict(convert.to_variables(weights, config), template, box, search)
    np.testing.assert_allclose(prediction.box, outputs["eval_t0/pred_boxes"][:, 0], atol=1e-5)


@pytest.mark.parametrize(
    "case, variant", [("grm_tiny", "tiny"), ("grm_vitb256", "b256"), ("grm_vitb256", "b256_got10k")]
)
def test_every_variable_has_the_published_name_and_shape(case, variant):
    manifest, _ = recipes.load(case)
    targets = stacking.flatten(abstract_variables(grm.get_config(variant).model))
    got = {}
    for path, leaf in targets.items():
        key, layout = layouts.published(path, convert.grm.PUBLISHED.rules)
        got[key] = list(jax.eval_shape(layout.to_published, leaf).shape)
    published = {key: spec["shape"] for key, spec in manifest["keys"].items()}
    unused = [key for key in published if key not in got]
    assert {key: published.get(key) for key in got} == got
    assert all(key.endswith(("cls_token", "pos_embed", "num_batches_tracked")) for key in unused)


def test_late_fusion_has_the_programs_names():
    config = config_model(division__fusion="late")
    variables = random_variables(config)
    state_dict = convert.from_variables(variables, config)
    assert state_dict["backbone.blocks.2.attn.divide_global_transform.0.weight"].shape == (384, 96)
    assert state_dict["backbone.blocks.2.attn.divide_local_transform.0.bias"].shape == (384,)
    assert_equal(convert.to_variables(state_dict, config), variables)


def test_pretrained_transformer_fills_the_encoder(tiny):
    weights, outputs = tiny
    config = config_model()
    got, published = (
        stacking.flatten(convert.to_variables(given, config, jax.random.key(0)))
        for given in (backbone(weights), weights)
    )
    assert set(got) == set(published)
    for path, array in got.items():
        assert array.shape == published[path].shape
        if "position_" in path:
            which = {"search": "x", "template": "z"}[path.rpartition("_")[2]]
            np.testing.assert_allclose(array, outputs[f"interp/pos_embed_{which}"][0], atol=1e-6)
        elif path.startswith("params/encoder/") and "/division/" not in path:
            np.testing.assert_array_equal(array, published[path], strict=True)
        elif path.endswith("kernel"):
            assert np.abs(array - published[path]).max() > 0.01


@pytest.mark.slow
def test_the_rest_is_drawn_as_init_does(tiny):
    config, rng = config_model(), jax.random.key(0)
    got = stacking.flatten(convert.to_variables(backbone(tiny[0]), config, rng))
    model = trackers.build(config)
    drawn = stacking.flatten(jax.jit(lambda key: trackers.init(model, key))(rng))
    rest = [path for path in got if "/head/" in path or "/division/" in path]
    assert len(rest) == 2 * 6 + 3 * (5 * 2 + 4 * 2 + 4 * 2)
    for path in rest:
        np.testing.assert_allclose(got[path], drawn[path], rtol=1e-6, atol=1e-7)


def test_backbone_without_rng_is_reproducible(tiny):
    given = backbone(tiny[0])
    config = config_model()
    first, second = (convert.to_variables(given, config, rng) for rng in (None, jax.random.key(0)))
    assert_equal(first, second)
    other = convert.to_variables(given, config, jax.random.key(1))
    kernels = [v["params"]["encoder"]["block_1"]["division"]["hidden1"]["kernel"] for v in (first, other)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0


def test_position_embedding_of_the_same_grid_is_kept(tiny):
    given = backbone(tiny[0], tokens=("cls_token", "dist_token"), side=4)
    given.update({"head.weight": np.zeros((1000, 96)), "head.bias": np.zeros(1000), "head_dist.bias": np.zeros(1000)})
    variables = convert.to_variables(given, config_model())
    np.testing.assert_array_equal(variables["params"]["encoder"]["position_search"], given["pos_embed"][0, 2:])


def test_decoder_of_a_full_mae_is_dropped(tiny):
    given = backbone(tiny[0])
    for key in ("mask_token", "decoder_pos_embed", "decoder_embed.weight", "decoder_blocks.0.attn.qkv.bias"):
        given[key] = np.zeros(3, np.float32)
    convert.to_variables(given, config_model())


@pytest.mark.parametrize("position, tables", [("sincos", 0), ("interpolated", 196)])
def test_backbone_under_other_positions_and_stacked(tiny, position, tables):
    given = backbone(tiny[0])
    config = config_model(position=position, scan_layers=True, division__layers=())
    encoder = convert.to_variables(given, config)["params"]["encoder"]
    np.testing.assert_array_equal(encoder["blocks_0_2"]["norm1"]["scale"][2], given["blocks.2.norm1.weight"])
    if tables:
        np.testing.assert_array_equal(encoder["position_search"], given["pos_embed"][0, 1:])
        np.testing.assert_array_equal(encoder["position_template"], given["pos_embed"][0, 1:])
    else:
        assert not any(name.startswith("position") for name in encoder)


def test_half_precision_weights_become_float32(tiny):
    halves = {key: array.astype(np.float16) for key, array in tiny[0].items()}
    variables = convert.to_variables(halves, config_model())
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}


def test_plain_dicts_are_configs_too(tiny):
    config = config_model()
    got = convert.to_variables(tiny[0], config.to_dict())
    assert_equal(got, convert.to_variables(tiny[0], config))


def error_of(state_dict, config):
    with pytest.raises(InputError) as error:
        convert.to_variables(state_dict, config)
    return str(error.value)


def test_every_wrong_key_is_named(tiny):
    wrong = dict(tiny[0])
    for key in ("backbone.norm.bias", "box_head.conv5_ctr.weight", "box_head.conv1_size.1.running_var"):
        del wrong[key]
    wrong.update({"backbone.blocks.0.gamma_1": np.zeros(96), "neck.weight": np.zeros(3)})
    wrong["backbone.blocks.2.mlp.fc1.weight"] = np.zeros((384, 64), np.float32)
    wrong["backbone.pos_embed_x"] = np.zeros((1, 256, 96), np.float32)
    lines = error_of(wrong, config_model()).split("\n")
    assert lines == [
        "the checkpoint does not fit model grm of this config;",
        "3 missing: backbone.norm.bias, box_head.conv1_size.1.running_var, box_head.conv5_ctr.weight",
        "2 unexpected: backbone.blocks.0.gamma_1, neck.weight",
        "2 misshapen: backbone.blocks.2.mlp.fc1.weight is (384, 64), the model needs (384, 96), "
        "backbone.pos_embed_x is (1, 256, 96), the model needs (1, 16, 96)",
    ]


@pytest.mark.parametrize("prefix", ["model.", "tracker.net.", "student.model.module."])
def test_prefix_of_a_training_program(tiny, prefix):
    want = convert.to_variables(tiny[0], config_model())
    given = {prefix + name: array for name, array in tiny[0].items()}
    assert_equal(convert.to_variables(given, config_model()), want)
    # What stands beside the model is named, and nothing else.
    wrong = error_of({**given, "criterion.weight": np.zeros(3)}, config_model()).split("\n")
    assert wrong[1:] == ["1 unexpected: criterion.weight"]
    bare = backbone(tiny[0])
    started = convert.to_variables({prefix + name: array for name, array in bare.items()}, config_model())
    assert_equal(started, convert.to_variables(bare, config_model()))


def test_counts_beside_the_weights_are_dropped(tiny):
    counts = {"epoch": np.int64(5), "model_ema.num_updates": np.array(4, np.int32)}
    given = {**tiny[0], **{name: np.asarray(count) for name, count in counts.items()}}
    assert_equal(convert.to_variables(given, config_model()), convert.to_variables(tiny[0], config_model()))
    wrong = error_of({**given, "scale": np.float32(0.5), "epochs": np.zeros(1, int)}, config_model()).split("\n")
    assert wrong[1:] == ["2 unexpected: scale, epochs"]


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "bool", "complex64"])
def test_weights_that_are_not_floats_are_refused(tiny, dtype):
    """Quantized ones were taken for weights, and the tracker tracked on with them."""
    given = {**tiny[0], "backbone.norm.bias": tiny[0]["backbone.norm.bias"].astype(dtype)}
    wrong = error_of(given, config_model()).split("\n")
    assert wrong[1:] == [f"1 not of floats: backbone.norm.bias is {dtype}"]


def test_many_names_are_cut(tiny):
    message = error_of({f"other.{name}": array for name, array in backbone(tiny[0]).items()}, config_model(depth=40))
    assert len(message) < 2000 and re.search(r"\d+ missing: .* and \d+ more", message)


def test_other_division_than_the_checkpoints(tiny):
    weights, _ = tiny
    fewer = error_of(weights, config_model(division__layers=(2,)))
    assert "6 unexpected: backbone.blocks.2.attn.divide_predict.0.weight" in fewer
    assert "missing" not in fewer
    more = error_of(weights, config_model(division__layers=(1, 2, 3)))
    assert "6 missing: backbone.blocks.0.attn.divide_predict" in more
    assert "12 unexpected" in error_of(weights, config_model(division__mode="one_stream"))
    smoothed = {**weights, "backbone.blocks.1.attn.divide_gaussian_filter.bias": np.zeros(2, np.float32)}
    assert "1 unexpected: backbone.blocks.1.attn.divide_gaussian" in error_of(smoothed, config_model())
    three = error_of(weights, config_model(division__mode="learned_three"))
    assert "backbone.blocks.1.attn.divide_predict.4.weight is (2, 192), the model needs (3, 192)" in three


@pytest.mark.parametrize("scan_layers", [False, True])
def test_division_modules_of_fixed_layers_are_left_out_by_name(tiny, scan_layers):
    weights, _ = tiny
    fixed = {"division__one_stream_layers": (3,), "scan_layers": scan_layers}
    found = stacking.flatten(convert.to_variables(weights, config_model(**fixed)))
    whole = stacking.flatten(convert.to_variables(weights, config_model()))
    left = set(whole) - set(found)
    assert left == convert.left_out(config_model(**fixed)) and convert.left_out(config_model()) == frozenset()
    module = {f"{name}/{leaf}" for name in ("hidden1", "hidden2", "logits") for leaf in ("kernel", "bias")}
    assert left == {f"params/encoder/block_2/division/{name}" for name in module}
    for path, leaf in found.items():
        np.testing.assert_array_equal(leaf, whole[path], strict=True)
    # Weights without that module fit as well; whatever else is too much does not.
    without = {key: array for key, array in weights.items() if ".2.attn.divide" not in key}
    assert_equal(stacking.flatten(convert.to_variables(without, config_model(**fixed))), found)
    other = error_of(weights, config_model(division__layers=(2,), division__two_stream_layers=(1,)))
    assert "6 unexpected: backbone.blocks.2.attn.divide_predict.0.weight" in other
    odd = {**weights, "backbone.blocks.2.attn.divide_predict.6.weight": np.zeros((2, 2), np.float32)}
    assert "1 unexpected: backbone.blocks.2.attn.divide_predict.6.weight" in error_of(odd, config_model(**fixed))


def test_backbone_of_another_size(tiny):
    given = backbone(tiny[0])
    message = error_of(given, config_model(width=48))
    assert "pos_embed[search] is (1, 16, 96), the model needs (1, 16, 48)" in message
    assert "patch_embed.proj.weight is (96, 3, 16, 16), the model needs (48, 3, 16, 16)" in message
    assert "patch_embed.proj.weight is (96, 3, 16, 16), the model needs (96, 3, 8, 8)" in error_of(
        given, config_model(patch_size=8)
    )
    assert "12 missing: blocks.3.attn.proj.bias" in error_of(given, config_model(depth=4))
    assert "12 unexpected: blocks.2.norm1.weight" in error_of(given, config_model(depth=2))
    given["blocks.0.ls1.gamma"] = np.ones(96, np.float32)
    assert "1 unexpected: blocks.0.ls1.gamma" in error_of(given, config_model())
    del given["pos_embed"]
    assert "2 missing: pos_embed[" in error_of(given, config_model())
    for shape in ((1, 196, 96), (196, 96), (1, 1, 96)):
        assert "pos_embed" in error_of({**given, "pos_embed": np.zeros(shape, np.float32)}, config_model())


def test_model_without_published_checkpoints():
    with pytest.raises(InputError, match="nothing_like_it"):
        convert.from_variables({}, {"name": "nothing_like_it"})
