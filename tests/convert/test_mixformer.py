"""MixFormerV2's and MixViT's checkpoints: there and back, and what is wrong with the wrong ones."""

import jax
import numpy as np
import pytest

import trackers
from tests.recipes import load, weights
from trackers import convert, errors
from trackers.nn import stacking
from trackers.nn.tokens import sincos_positions

V2 = {
    "name": "mixformer_v2", "width": 96, "depth": 3, "heads": 3, "template_size": 32, "search_size": 64,
    "head": {"bins": 16},
}  # fmt: skip
VIT = {**V2, "name": "mixvit", "head": {"channels": 32}}


def published(name):
    if name == "mixvit":
        manifest = load("distill_stage1")[0]
        return {k.removeprefix("teacher."): v for k, v in weights(manifest).items() if k.startswith("teacher.")}
    return weights(load(name)[0])


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(
    "name, config",
    [("mixformerv2_tiny", V2), ("mixformerv2_tiny_stu", V2 | {"score_head": False}), ("mixvit", VIT)],
)
def test_there_and_back(name, config, scan):
    state_dict, config = published(name), config | {"scan_layers": scan}
    again = convert.from_variables(convert.to_variables(state_dict, config), config)
    unused = set(state_dict) - set(again)
    dropped = ("cls_token", "pos_embed", "num_batches_tracked", "norm.weight", "norm.bias", "head.weight", "head.bias")
    assert all(key.endswith(dropped) for key in unused) and (name == "mixvit") == bool(unused)
    for key, array in again.items():
        np.testing.assert_array_equal(array, state_dict[key])


@pytest.mark.parametrize(
    "name, config, says",
    [
        ("mixformerv2_tiny", V2 | {"score_head": False}, "4 unexpected: score_head.layers.0.0.weight"),
        ("mixformerv2_tiny_stu", V2, "4 missing: score_head.layers.0.0.bias"),
        (
            "mixformerv2_tiny",
            V2 | {"head": {"bins": 12}},
            "box_head.layers.1.0.weight is .16, 96., the model needs .12",
        ),
        ("mixformerv2_tiny", V2 | {"search_size": 96}, "backbone.pos_embed_s is .1, 16, 96., the model needs .1, 36"),
        ("mixformerv2_tiny", V2 | {"depth": 2}, "12 unexpected: backbone.blocks.2.norm1.weight"),
        (
            "mixformerv2_tiny",
            V2 | {"mlp_ratio": 1},
            "backbone.blocks.0.mlp.fc1.weight is .384, 96., the model needs .96",
        ),
        ("mixvit", VIT | {"head": {"kind": "corner", "channels": 32}}, "unexpected: box_head.adjust1_tl.0.weight"),
        ("mixvit", VIT | {"score_head": True}, "missing: score_branch.norm1.bias"),
    ],
)
def test_what_does_not_fit_is_named(name, config, says):
    with pytest.raises(errors.InputError, match=says):
        convert.to_variables(published(name), config)


def plain_vit():
    """A plain ViT of the sizes above, with a class token, a 4x4 grid of positions and a last LayerNorm."""
    state_dict = published("mixformerv2_tiny")
    backbone = {k.removeprefix("backbone."): v for k, v in state_dict.items() if k.startswith("backbone.")}
    own = {"pos_embed_s", "pos_embed_t", "reg_tokens", "pos_embed_reg"}
    rng = np.random.default_rng(0)
    extra = {"cls_token": (1, 1, 96), "pos_embed": (1, 17, 96), "norm.weight": (96,), "norm.bias": (96,)}
    return {k: v for k, v in backbone.items() if k not in own} | {
        key: rng.standard_normal(shape).astype(np.float32) for key, shape in extra.items()
    }


@pytest.mark.parametrize("config", [V2, VIT])
def test_a_plain_transformer_fills_the_layers_and_the_tables_stay_sine_cosine(config):
    state_dict = plain_vit()
    variables = convert.to_variables(state_dict, config, jax.random.key(1))
    encoder = variables["params"]["encoder"]
    np.testing.assert_array_equal(encoder["block_1"]["mlp"]["fc1"]["bias"], state_dict["blocks.1.mlp.fc1.bias"])
    tables = variables["batch_stats"]["encoder"]
    np.testing.assert_allclose(tables["position_search"], sincos_positions((4, 4), 96), atol=1e-6)
    np.testing.assert_allclose(tables["position_template"], sincos_positions((2, 2), 96), atol=1e-6)
    like = jax.eval_shape(lambda: trackers.init(trackers.build(config), jax.random.key(0)))
    assert jax.tree.map(np.shape, variables) == jax.tree.map(lambda leaf: leaf.shape, like)


def test_learned_tables_are_resized_from_a_plain_transformer():
    variables = convert.to_variables(plain_vit(), V2 | {"position": "learned"})
    assert variables["params"]["encoder"]["position_template"].shape == (4, 96)


@pytest.mark.parametrize("config", [V2 | {"score_head": False}, VIT | {"scan_layers": True}])
def test_mae_weights_start_the_encoder_and_nothing_else(config):
    """As in the program, which leaves out their positions: the tables of the tracker's own crops are computed."""
    mae = {
        key.removeprefix("backbone."): array
        for key, array in published("mixformerv2_tiny").items()
        if "patch_embed" in key or "blocks" in key
    }
    mae |= {"cls_token": np.ones((1, 1, 96), np.float32), "pos_embed": np.ones((1, 197, 96), np.float32)}
    mae |= {"norm.weight": np.ones(96, np.float32), "norm.bias": np.zeros(96, np.float32)}
    mae["mask_token"] = np.ones((1, 1, 96), np.float32)
    key = jax.random.key(3)
    started = stacking.flatten(convert.to_variables(mae, config, key))
    drawn = stacking.flatten(trackers.init(trackers.build(config), key))
    assert started.keys() == drawn.keys()
    np.testing.assert_array_equal(started["params/encoder/block_2/mlp/fc1/bias"], mae["blocks.2.mlp.fc1.bias"])
    for name, leaf in started.items():
        if "/encoder/" not in name or "position" in name:
            np.testing.assert_allclose(leaf, drawn[name], atol=1e-6, err_msg=name)
