"""iKUN's and CLIP's published names to variables and back."""

import types

import jax
import numpy as np
import pytest

import trackers
from configs import ikun
from trackers import convert, weights
from trackers.convert import clip
from trackers.errors import InputError
from trackers.nn import stacking
from trackers.training import freezing, sharding

TINY = {
    "name": "ikun",
    "visual_width": 32,
    "visual_depths": (1, 2),
    "text_width": 16,
    "width": 12,
    "local_size": 16,
    "global_size": 32,
    "truncation": 4,
    "transformer": {"vocabulary": 50, "length": 8, "width": 16, "depth": 2, "heads": 2},
}


def published(config, seed=0):
    """Random weights under the published names, with what the program keeps besides."""
    rng = np.random.default_rng(seed)
    like = jax.eval_shape(lambda key: trackers.init(trackers.build(config), key), jax.random.key(0))
    variables = jax.tree.map(lambda s: rng.standard_normal(s.shape).astype(s.dtype), like)
    state = convert.from_variables(variables, config)
    extra = {"clip.logit_scale": np.zeros(()), "clip.visual.attnpool.k_proj.weight": np.zeros((4, 4))}
    extra |= {"clip.visual.bn1.num_batches_tracked": np.zeros((), np.int64)}
    return variables, {**state, **extra}


def assert_equal(variables, expected):
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    for one, two in zip(jax.tree.leaves(variables), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, two, strict=True)


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("mode", ["none", "cascade_attention", "cross_correlation", "text_first_modulation"])
def test_published_to_variables_and_back(mode, scan_layers):
    config = TINY | {"fusion": mode, "scan_layers": scan_layers}
    variables, state = published(config)
    unused = {"cascade_attention": "fusion_ffn.norm.weight", "text_first_modulation": "fusion_conv2.0.weight"}
    if mode in unused:
        state[unused[mode]] = np.zeros(3)
    assert_equal(convert.to_variables(state, config), variables)


def test_what_does_not_fit_is_named():
    config = TINY | {"fusion": "cascade_attention"}
    _, state = published(config)
    state["clip.visual.layer2.1.conv1.weight"] = np.zeros((1, 2), np.float32)
    state["fusion_conv1.0.weight"] = state.pop("fusion_fc.bias")
    del state["clip.transformer.resblocks.1.ln_2.bias"]
    with pytest.raises(InputError) as caught:
        convert.to_variables(state, config)
    assert "2 missing: clip.transformer.resblocks.1.ln_2.bias, fusion_fc.bias" in str(caught.value)
    assert "1 unexpected: fusion_conv1.0.weight" in str(caught.value)
    assert "1 misshapen: clip.visual.layer2.1.conv1.weight is (1, 2), the model needs (8, 32, 1, 1)" in str(
        caught.value
    )


def test_another_design_does_not_load():
    _, state = published(TINY | {"fusion": "cross_correlation"})
    for other in ("none", "cascade_attention"):
        with pytest.raises(InputError, match="unexpected: .*fusion_conv1"):
            convert.to_variables(state, TINY | {"fusion": other})


def test_two_designs_with_the_same_keys_are_told_apart_by_what_was_trained():
    """Published files of both have all keys of cross correlation; text-first modulation never runs its second half."""
    config = TINY | {"fusion": "cross_correlation"}
    _, state = published(config)
    first, second = (f"fusion_conv{i}.1.num_batches_tracked" for i in (1, 2))
    other = TINY | {"fusion": "text_first_modulation"}
    for counts, refused, trained in (((7, 7), other, "cross_correlation"), ((7, 0), config, "text_first_modulation")):
        state |= {name: np.array(count) for name, count in zip((first, second), counts, strict=True)}
        with pytest.raises(InputError, match=f"was trained as {trained} .*configs/ikun.py:{trained}"):
            convert.to_variables(state, refused)
        convert.to_variables(state, TINY | {"fusion": trained})
    # Nothing was trained: nothing to tell by.
    convert.to_variables(state | {first: np.array(0)}, config)


def test_our_checkpoint_of_another_design_names_what_differs(tmp_path):
    variables, _ = published(TINY | {"fusion": "cross_correlation"})
    weights.save(tmp_path, variables, TINY)
    with pytest.raises(InputError, match="of another model or size; unexpected: .*knowledge/mix/kernel"):
        weights.load(tmp_path, TINY | {"fusion": "text_first_modulation"})


def test_clip_alone_fills_the_encoders():
    """RN50.pt: CLIP's own names, half precision; heads and knowledge unification are drawn."""
    variables, state = published(TINY)
    own = {k.removeprefix("clip."): v for k, v in state.items() if k.startswith("clip.")}
    own = {k: v.astype(np.float16) if v.dtype == np.float32 and v.ndim > 1 else v for k, v in own.items()}
    own |= {name: np.array(1) for name in ("input_resolution", "context_length", "vocab_size")}
    converted = convert.to_variables(own, TINY, jax.random.key(3))
    leaves, given = (stacking.flatten(tree) for tree in (converted, variables))
    for path, leaf in leaves.items():
        assert leaf.dtype == np.float32
        if path.split("/")[1] in ("text", "visual"):
            # Half precision keeps 11 bits.
            np.testing.assert_allclose(leaf, given[path], rtol=1e-3, atol=1e-6, err_msg=path)
        elif path.endswith("kernel"):
            # Drawn: kernels have the variance of their fan-in, not that of the weights given.
            assert 0 < np.std(leaf) < 0.6, path
    with pytest.raises(InputError, match="unexpected: visual.more"):
        convert.to_variables({**own, "visual.more": np.zeros(1)}, TINY)


def test_published_names_are_those_of_clip():
    rules = dict((ours, name) for ours, name, _ in clip.resnet("visual/"))
    assert rules[r"visual/stage(\d+)_block(\d+)/shortcut_norm"] == r"visual.layer\1.\2.downsample.1"
    _, state = published(TINY)
    assert state["clip.visual.layer1.0.downsample.0.weight"].shape == (16, 4, 1, 1)
    assert state["clip.transformer.resblocks.0.attn.in_proj_weight"].shape == (48, 16)
    assert state["clip.text_projection"].shape == (16, 16)
    assert state["fusion_visual_textual.in_proj_weight"].shape == (96, 32)


@pytest.mark.parametrize("variant", ikun.get_config.variants)
def test_configs_freeze_and_shard_what_they_say(variant):
    """The text transformer stays, its tables learn; on 8 fsdp devices next to nothing stays whole."""
    config = ikun.get_config(variant)
    fields = trackers.to_plain(config.model)
    if variant != "tiny":
        fields |= {"visual_depths": (1, 1, 1, 1), "scan_layers": True}
    model = trackers.build(fields)
    shapes = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))["params"]
    kept = freezing.trainable(shapes, config.train.frozen)
    assert kept["text"]["token_embedding"] and kept["text"]["encoder"]["position_text"]
    assert jax.tree.all(kept["visual"]) and jax.tree.all(kept["knowledge"])
    if variant == "tiny":
        assert jax.tree.all(kept)
        return
    assert not any(jax.tree.leaves(kept["text"]["encoder"]["blocks_0_11"])) and not kept["text"]["projection"]
    assert not any(jax.tree.leaves(kept["text"]["encoder"]["norm"]))
    mesh = types.SimpleNamespace(shape={"data": 1, "fsdp": 8, "tensor": 1})
    sharding.check_sharded(shapes, mesh, config.mesh.max_unsharded)
