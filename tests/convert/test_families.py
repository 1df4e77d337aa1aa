"""Pretrained backbones as the start of a tracker, each under the names of its own program."""

import sys
import types

import jax
import numpy as np
import pytest

import trackers
from trackers import convert
from trackers.convert import families
from trackers.errors import InputError
from trackers.nn import stacking, tokens
from trackers.nn.one_stream import CenterTracker

WIDTH, DEPTH, PATCH = 32, 2, 8
VIT = {"name": "simtrack", "width": WIDTH, "depth": DEPTH, "heads": 2, "patch_size": PATCH, "template_size": 24}
VIT |= {"search_size": 32, "foveal_size": 8, "position_grid": (4, 4), "head": {"channels": 8}}
TIMM = {"activation": "gelu", "pre_norm": False, "patch_bias": True, "norm_eps": 1e-6}
HIERARCHICAL = {"foveal_size": 0, "with_class": False, "patch_size": 8, "width": 16, "depth": 3}
SWIN = VIT | HIERARCHICAL | {"backbone": {"kind": "swin", "widths": (8, 16), "depths": (1, 2), "heads": (1, 2)}}
SWIN["backbone"] |= {"mlp_ratios": (4.0, 4.0), "window": 4, "pooled": 2}
PVT = VIT | HIERARCHICAL | {"position_grid": (8, 8), "backbone": {"kind": "pvt", "widths": (8, 16), "depths": (1, 2)}}
PVT["backbone"] |= {"heads": (1, 2), "mlp_ratios": (8.0, 4.0), "reductions": (4, 2)}


def linear(name, out, into):
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def batch_norm(name, width):
    return norm(name, width) | {f"{name}.running_mean": (width,), f"{name}.num_batches_tracked": ()}


def timm(extra=1, side=4, depth=DEPTH):
    """A plain ViT's names and shapes."""
    keys = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, extra + side * side, WIDTH)}
    keys |= {"patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH), "patch_embed.proj.bias": (WIDTH,)}
    for i in range(depth):
        block = f"blocks.{i}"
        keys |= norm(f"{block}.norm1", WIDTH) | norm(f"{block}.norm2", WIDTH)
        keys |= linear(f"{block}.attn.qkv", 3 * WIDTH, WIDTH) | linear(f"{block}.attn.proj", WIDTH, WIDTH)
        keys |= linear(f"{block}.mlp.fc1", 4 * WIDTH, WIDTH) | linear(f"{block}.mlp.fc2", WIDTH, 4 * WIDTH)
    return keys | norm("norm", WIDTH)


def prefixed(prefix, keys):
    return {prefix + key: shape for key, shape in keys.items()}


def transformer(name, width, depth):
    """A stack of CLIP's residual attention blocks."""
    keys = {}
    for i in range(depth):
        block = f"{name}.resblocks.{i}"
        keys |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        keys |= linear(f"{block}.attn.out_proj", width, width) | norm(f"{block}.ln_1", width)
        keys |= linear(f"{block}.mlp.c_fc", 4 * width, width) | linear(f"{block}.mlp.c_proj", width, 4 * width)
        keys |= norm(f"{block}.ln_2", width)
    return keys


TEXT = transformer("transformer", 8, 1) | norm("ln_final", 8)
TEXT |= {"positional_embedding": (7, 8), "token_embedding.weight": (9, 8), "text_projection": (8, 6), "logit_scale": ()}


def clip(side=4, depth=DEPTH):
    keys = transformer("visual.transformer", WIDTH, depth)
    keys |= norm("visual.ln_pre", WIDTH) | norm("visual.ln_post", WIDTH)
    keys |= {"visual.class_embedding": (WIDTH,), "visual.positional_embedding": (1 + side * side, WIDTH)}
    keys |= {"visual.proj": (WIDTH, 6), "visual.conv1.weight": (WIDTH, 3, PATCH, PATCH)}
    return keys | TEXT | {"input_resolution": (), "context_length": (), "vocab_size": ()}


def slip():
    keys = prefixed("visual.", timm()) | TEXT | linear("image_mlp.layer1", 8, WIDTH) | batch_norm("image_mlp.bn1", 8)
    return prefixed("module.", keys | {"image_projection": (WIDTH, 6)})


def moco():
    heads = {"head.0.weight": (8, WIDTH), "head.1.running_mean": (8,)}
    keys = prefixed("base_encoder.", timm() | heads) | prefixed("momentum_encoder.", timm() | heads)
    return prefixed("module.", keys | {"predictor.0.weight": (8, 8)})


def swin(stages=4):
    keys = linear("patch_embed.proj", 8, 0) | {"patch_embed.proj.weight": (8, 3, 4, 4)} | norm("patch_embed.norm", 8)
    for i, depth in enumerate((1, 2, 1, 1)[:stages]):
        width, heads = 8 * 2**i, (1, 2, 4, 8)[i]
        for j in range(depth):
            block = f"layers.{i}.blocks.{j}"
            keys |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
            keys |= {f"{block}.attn.relative_position_bias_table": (49, heads)}
            keys |= {f"{block}.attn.relative_position_index": (16, 16), f"{block}.attn_mask": (4, 16, 16)}
            keys |= linear(f"{block}.attn.qkv", 3 * width, width) | linear(f"{block}.attn.proj", width, width)
            keys |= linear(f"{block}.mlp.fc1", 4 * width, width) | linear(f"{block}.mlp.fc2", width, 4 * width)
        if i + 1 < stages:
            keys |= norm(f"layers.{i}.downsample.norm", 4 * width)
            keys |= {f"layers.{i}.downsample.reduction.weight": (2 * width, 4 * width)}
    return keys | norm("norm", width) | linear("head", 10, width)


def pvt(stages=4):
    keys = {"cls_token": (1, 1, 64)} if stages == 4 else {}
    for i, depth in enumerate((1, 2, 1, 1)[:stages]):
        width, before, n, ratio = 8 * 2**i, 8 * 2**i // 2 if i else 3, i + 1, (4, 2, 2, 1)[i]
        side, hidden = (4, 8 * width) if i == 0 else (2, 4 * width)
        keys |= {f"patch_embed{n}.proj.weight": (width, before, side, side), f"patch_embed{n}.proj.bias": (width,)}
        keys |= norm(f"patch_embed{n}.norm", width)
        keys |= {f"pos_embed{n}": (1, (8 // 2**i) ** 2 + (i == 3), width)}
        for j in range(depth):
            block = f"block{n}.{j}"
            keys |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
            keys |= linear(f"{block}.attn.q", width, width) | linear(f"{block}.attn.kv", 2 * width, width)
            keys |= linear(f"{block}.attn.proj", width, width)
            if ratio > 1:
                keys |= {f"{block}.attn.sr.weight": (width, width, ratio, ratio), f"{block}.attn.sr.bias": (width,)}
                keys |= norm(f"{block}.attn.norm", width)
            keys |= linear(f"{block}.mlp.fc1", hidden, width) | linear(f"{block}.mlp.fc2", width, hidden)
    return keys | norm("norm", width) | linear("head", 10, width)


def drawn(keys, dtype=np.float32):
    rng = np.random.default_rng(0)
    return {key: rng.standard_normal(shape).astype(dtype) for key, shape in keys.items()}


def converted(state_dict, config):
    return stacking.flatten(convert.to_variables(state_dict, config))


CASES = {
    "CLIP": (clip, VIT, "visual.transformer.resblocks.1.ln_2.bias"),
    "MAE": (timm, VIT | TIMM, "blocks.1.norm2.bias"),
    "DeiT": (lambda: timm(2) | {"dist_token": (1, 1, WIDTH)} | linear("head_dist", 5, WIDTH), VIT | TIMM, "norm.bias"),
    "MoCo v3": (moco, VIT | TIMM, "module.base_encoder.blocks.1.norm2.bias"),
    "SLIP": (slip, VIT | TIMM, "module.visual.blocks.1.norm2.bias"),
    "Swin": (swin, SWIN, "layers.1.blocks.1.norm2.bias"),
    "PVT": (pvt, PVT, "block2.1.norm2.bias"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_missing_and_an_unknown_key_are_named(name):
    keys, config, removed = CASES[name]
    state_dict = drawn(keys())
    state_dict["neck.weight"] = state_dict.pop(removed)
    with pytest.raises(InputError) as error:
        convert.to_variables(state_dict, config)
    bare = removed.removeprefix("module.").removeprefix("base_encoder.").removeprefix("visual.")
    assert f"1 missing: {bare}" in str(error.value)
    assert "1 unexpected: neck.weight" in str(error.value)


@pytest.mark.parametrize("name", ["CLIP", "MoCo v3", "SLIP"])
def test_a_vit_fills_the_encoder_and_leaves_the_rest_to_chance(name):
    keys, config, _ = CASES[name]
    state_dict = drawn(keys(), np.float16 if name == "CLIP" else np.float32)
    prefix = {"CLIP": "visual.", "MoCo v3": "module.base_encoder.", "SLIP": "module.visual."}[name]
    qkv, table, token = ("blocks.1.attn.qkv.weight", "pos_embed", "cls_token")
    if name == "CLIP":
        qkv = "transformer.resblocks.1.attn.in_proj_weight"
        table, token = "positional_embedding", "class_embedding"
    leaves = converted(state_dict, config)
    assert all(leaf.dtype == np.float32 for leaf in leaves.values())
    expected = state_dict[prefix + qkv].T.reshape(WIDTH, 3, 2, WIDTH // 2)
    np.testing.assert_array_equal(leaves["params/encoder/block_1/attention/qkv/kernel"], expected)
    np.testing.assert_array_equal(leaves["params/encoder/class_token"], state_dict[prefix + token].reshape(-1))
    # The grid is the pretraining's: the row of the class token, then the cells as they are.
    rows = state_dict[prefix + table].reshape(-1, WIDTH)
    np.testing.assert_allclose(leaves["params/encoder/position_search"], rows, atol=1e-6)
    assert np.std(leaves["params/head/top_left/conv1/kernel"]) > 0


def test_positions_are_resized_bilinearly_as_the_program_does():
    state_dict = drawn(clip(side=5))
    leaves = converted(state_dict, VIT | {"template_position": "grid", "position": "learned"})
    table = state_dict["visual.positional_embedding"]
    cells = table[1:].reshape(5, 5, WIDTH)
    search = np.concatenate([table[:1], tokens.resize_grid(cells, (4, 4), "bilinear").reshape(16, WIDTH)])
    np.testing.assert_allclose(leaves["params/encoder/position_search"], search, atol=1e-6)
    exemplar = tokens.resize_grid(cells, (3, 3), "bilinear").reshape(9, WIDTH)
    np.testing.assert_allclose(leaves["params/encoder/position_template"], exemplar, atol=1e-6)


def test_a_clip_vit_gives_its_first_layers_to_a_shallower_tracker():
    """Sim-B/16* leaves the last layers out."""
    state_dict = drawn(clip(depth=4))
    leaves = converted(state_dict, VIT)
    expected = state_dict["visual.transformer.resblocks.1.ln_2.weight"]
    np.testing.assert_array_equal(leaves["params/encoder/block_1/norm2/scale"], expected)
    assert "params/encoder/block_2/norm2/scale" not in leaves


@pytest.mark.parametrize("stages", [2, 4])
@pytest.mark.parametrize("scan_layers", [False, True])
def test_swin_fills_the_stages_that_the_tracker_has(stages, scan_layers):
    state_dict = drawn(swin(stages))
    leaves = converted(state_dict, SWIN | {"scan_layers": scan_layers})
    table = state_dict["layers.1.blocks.1.attn.relative_position_bias_table"]
    np.testing.assert_array_equal(leaves["params/encoder/stage_1/block_1/attention/position_bias"], table)
    merging = state_dict["layers.0.downsample.reduction.weight"].T
    np.testing.assert_array_equal(leaves["params/encoder/merge_0/reduction/kernel"], merging)
    # Only the whole network's last LayerNorm is the tracker's, too.
    scale = leaves["params/encoder/norm/scale"]
    np.testing.assert_array_equal(scale, state_dict["norm.weight"] if stages == 2 else np.ones(16))


@pytest.mark.parametrize("stages", [2, 4])
def test_pvt_fills_the_stages_that_the_tracker_has(stages):
    state_dict = drawn(pvt(stages))
    leaves = converted(state_dict, PVT | {"position": "learned"})
    kernel = state_dict["block1.0.attn.sr.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(leaves["params/encoder/stage_0/block_0/attention/reduction/kernel"], kernel)
    kv = state_dict["block2.1.attn.kv.weight"].T.reshape(16, 2, 2, 8)
    np.testing.assert_array_equal(leaves["params/encoder/stage_1/block_1/attention/kv/kernel"], kv)
    cells = state_dict["pos_embed2"].reshape(4, 4, 16)
    exemplar = tokens.resize_grid(cells, (3, 3), "bilinear").reshape(9, 16)
    np.testing.assert_allclose(leaves["params/encoder/embed_1/position_template"], exemplar, atol=1e-6)


def test_a_backbone_of_another_kind_is_refused():
    with pytest.raises(InputError, match="a Swin, the model's backbone a vit: set model.backbone.kind"):
        convert.to_variables(drawn(swin()), VIT)
    with pytest.raises(InputError, match="CLIP, the model's backbone a swin"):
        convert.to_variables(drawn(clip()), SWIN)


def test_a_trackers_own_weights_are_of_no_family():
    model = trackers.build(VIT)
    own = {"backbone.visual.class_embedding": np.zeros(WIDTH), "backbone.patch_embed.proj.weight": np.zeros(1)}
    assert families.start(own, model, convert.simtrack.PUBLISHED) is None


def test_layers_stacked_or_not_hold_the_same(tmp_path):
    state_dict = drawn(clip())
    plain, stacked = (converted(state_dict, VIT | {"scan_layers": scan}) for scan in (False, True))
    assert plain.keys() == stacked.keys()
    for path in plain:
        if path.startswith("params/encoder/"):
            np.testing.assert_array_equal(plain[path], stacked[path])
    assert jax.tree.structure(plain) == jax.tree.structure(stacked)


def test_a_tracker_without_a_file_here_starts_from_a_backbone_too(monkeypatch):
    plain = types.ModuleType("trackers.models.plain")
    plain.Model = type("Model", (CenterTracker,), {"__module__": "trackers.models.plain"})
    monkeypatch.setitem(sys.modules, "trackers.models.plain", plain)
    config = {
        key: VIT[key] for key in ("width", "depth", "heads", "patch_size", "template_size", "search_size", "head")
    }
    config |= {"name": "plain"}
    state_dict = drawn(timm())
    leaves = stacking.flatten(convert.to_variables(state_dict, config))
    kernel = leaves["params/encoder/block_1/mlp/fc1/kernel"]
    np.testing.assert_array_equal(kernel, state_dict["blocks.1.mlp.fc1.weight"].T)
    assert leaves["params/encoder/position_search"].shape == (16, WIDTH)
    with pytest.raises(InputError, match="known for model 'plain': trackers/convert has no plain.py"):
        convert.to_variables({"head.weight": np.zeros(3, np.float32)}, config)
