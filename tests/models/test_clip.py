"""CLIP's encoders: the text transformer and the ResNet, against recorded numbers and a plain NumPy transformer.

Tolerance of features, of magnitudes to 3, against the recorded case: 3e-5 (float32 against float64 is 2e-6 there).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from tests.recipes import given, load, random_variables, stored, weights
from trackers import convert, errors
from trackers.convert import clip, layouts
from trackers.nn.backbones import resnet

TEXT = {
    "name": "text",
    "features": 12,
    "truncation": 3,
    "transformer": {"vocabulary": 40, "length": 7, "width": 16, "depth": 2, "heads": 2},
}
TOKENS = np.array([[38, 4, 5, 39, 0, 0, 0], [38, 9, 8, 7, 6, 39, 0]], np.int32)


@pytest.fixture(scope="module")
def small():
    model = trackers.build(TEXT)
    return model, random_variables(model)


def layer_norm(x, scale, bias):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + bias


def transformer(state, tokens, heads=2, depth=2):
    """CLIP's text transformer in float64, from published keys: (B,N,E)."""
    x = state["token_embedding.weight"][tokens] + state["positional_embedding"]
    batch, length, width = x.shape
    for i in range(depth):
        p = {k.removeprefix(f"transformer.resblocks.{i}."): v for k, v in state.items()}
        y = layer_norm(x, p["ln_1.weight"], p["ln_1.bias"]) @ p["attn.in_proj_weight"].T + p["attn.in_proj_bias"]
        q, k, v = y.reshape(batch, length, 3, heads, -1).transpose(2, 0, 3, 1, 4)
        logits = q @ k.swapaxes(-1, -2) / np.sqrt(width // heads)
        logits[..., np.triu(np.ones((length, length), bool), 1)] = -np.inf
        attention = np.exp(logits - logits.max(-1, keepdims=True))
        attention /= attention.sum(-1, keepdims=True)
        y = (attention @ v).swapaxes(1, 2).reshape(batch, length, width)
        x = x + y @ p["attn.out_proj.weight"].T + p["attn.out_proj.bias"]
        y = layer_norm(x, p["ln_2.weight"], p["ln_2.bias"]) @ p["mlp.c_fc.weight"].T + p["mlp.c_fc.bias"]
        y = y / (1 + np.exp(-1.702 * y))
        x = x + y @ p["mlp.c_proj.weight"].T + p["mlp.c_proj.bias"]
    return layer_norm(x, state["ln_final.weight"], state["ln_final.bias"]) @ state["text_projection"]


def test_text_equals_a_plain_transformer(small):
    model, variables = small
    state = {k: np.asarray(v, np.float64) for k, v in convert.from_variables(variables, TEXT).items()}
    expected = transformer(state, TOKENS)
    found = jax.jit(model.apply)(variables, TOKENS)
    # Features reach 10 here; float32 sums of 16 terms.
    np.testing.assert_allclose(found.tokens, expected[:, :3], atol=3e-5)
    np.testing.assert_allclose(found.sentence, expected[[0, 1], [3, 5]], atol=3e-5)


def test_text_looks_back_only_and_stacks(small):
    model, variables = small
    apply = jax.jit(model.apply)
    one = apply(variables, TOKENS)
    later = TOKENS.copy()
    later[:, 3:] = (12, 13, 39, 0)
    np.testing.assert_array_equal(apply(variables, later).tokens, one.tokens)
    stacked = trackers.build(TEXT | {"scan_layers": True})
    state = convert.from_variables(variables, TEXT)
    again = jax.jit(stacked.apply)(convert.to_variables(state, TEXT | {"scan_layers": True}), TOKENS)
    np.testing.assert_allclose(again.sentence, one.sentence, atol=1e-6)


def test_text_is_read_from_a_whole_clip_strictly(small):
    _, variables = small
    state = convert.from_variables(variables, TEXT)
    whole = {**state, "visual.class_embedding": np.zeros(4), "logit_scale": np.zeros(()), "vocab_size": np.array(40)}
    again = convert.to_variables(whole, TEXT)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, jax.device_get(variables)))
    with pytest.raises(errors.InputError, match=r"1 missing: ln_final.bias\s+1 unexpected: more"):
        convert.to_variables({k: v for k, v in whole.items() if k != "ln_final.bias"} | {"more": np.ones(1)}, TEXT)


@pytest.mark.parametrize("size", [(32, 32), (48, 64), (50, 37)])
def test_resnet_maps(size):
    model = resnet.ResNet(64, (1, 2, 1))
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    stages, _ = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x, stages=True), images)
    strides = (4, 4, 8, 16)
    assert [s.shape[1:3] for s in stages] == [tuple((n + 1) // 2 // (s // 2) for n in size) for s in strides]
    assert [s.shape[3] for s in stages] == [4, 16, 32, 64]


def test_resnet_statistics_and_recomputation():
    """Every running statistic follows the batch; recomputed activations give the same gradients."""
    model, recomputing = resnet.ResNet(16, (1,)), resnet.ResNet(16, (1,), remat="full")
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    variables = jax.jit(model.init)(jax.random.key(1), images)

    def loss(params, model):
        maps, updated = model.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
        return jnp.sum(maps**2), updated["batch_stats"]

    run = jax.jit(lambda p: [jax.value_and_grad(loss, has_aux=True)(p, m) for m in (model, recomputing)])
    ((value, statistics), one), ((same, _), two) = run(variables["params"])
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 0, variables["batch_stats"], statistics)
    assert jax.tree.all(moved) and value == pytest.approx(float(same))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(a).max() + 1e-7)


@pytest.mark.slow
def test_text_of_rn50_equals_the_program():
    manifest, out = load("clip_text_rn50")
    state = {key.removeprefix("clip."): array for key, array in weights(manifest).items()}
    config = {"name": "text", "scan_layers": True}
    variables = convert.to_variables(state, config)
    found = jax.jit(trackers.build(config).apply)(variables, given(manifest, "text"))
    np.testing.assert_allclose(found.sentence, out["encode_text"], atol=3e-5)
    np.testing.assert_allclose(found.tokens, out["hidden10"], atol=3e-5)


@pytest.mark.slow
def test_resnet_50_equals_the_program():
    manifest, out = load("clip_rn50_visual")
    state = {key.removeprefix("clip."): array for key, array in weights(manifest).items()}
    model = resnet.ResNet()
    images = jnp.asarray(given(manifest, "image").transpose(0, 2, 3, 1))
    like = jax.eval_shape(model.init, jax.random.key(0), images)
    flat, tree = jax.tree_util.tree_flatten_with_path(like)
    paths = ["/".join(key.key for key in path) for path, _ in flat]
    targets = dict(zip(paths, (leaf for _, leaf in flat), strict=True))
    leaves = layouts.convert(state, targets, clip.resnet(), clip.UNUSED, "resnet")
    variables = jax.tree.unflatten(tree, [leaves[path] for path in paths])
    stages = jax.jit(lambda v, x: model.apply(v, x, stages=True))(variables, images)
    for name, found in zip(("avgpool", "layer1", "layer2", "layer3", "layer4"), stages, strict=True):
        found = np.moveaxis(np.asarray(found), -1, 1)
        found = found[stored(manifest, name)]
        np.testing.assert_allclose(found, out[name], atol=3e-5, err_msg=name)
