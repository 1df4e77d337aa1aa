import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from trackers.nn import relation
from trackers.nn.activations import ACTIVATIONS
from trackers.nn.blocks import Block
from trackers.nn.division import Division
from trackers.nn.encoder import Encoder

GRIDS = (("template", (2, 2)), ("search", (3, 4)))
LENGTHS = (4, 12)


def make(relations, **fields):
    depth = len(relations)
    encoder = Encoder(32, depth, 2, 8, GRIDS, tuple(relations), division=Division(hidden=(16, 8)), **fields)
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 3)), jax.random.normal(jax.random.key(1), (2, 24, 32, 3))

    def run(encoder, template, search, **kwargs):
        tokens = jnp.concatenate([encoder.embed(template, "template"), encoder.embed(search, "search")], axis=1)
        return encoder(tokens, LENGTHS, **kwargs)

    variables = encoder.init(jax.random.key(2), *images, method=run)
    return encoder, variables, images, run


def outputs(relations, variables=None, **fields):
    encoder, own, images, run = make(relations, **fields)
    return encoder.apply(variables or own, *images, method=run).tokens


@pytest.mark.slow
def test_all_search_only_is_the_two_stream_encoder_and_all_interacting_the_one_stream_encoder():
    """GRM degenerates into its two special cases: the division is forced through the bias of its last layer."""
    encoder, variables, images, run = make(["learned"] * 3)
    for choice, fixed in ((0, relation.TWO_STREAM), (1, relation.ONE_STREAM)):
        forced = jax.tree.map(lambda x: x, variables)
        for block in ("block_0", "block_1", "block_2"):
            forced["params"][block]["division"]["logits"]["bias"] = jnp.zeros(2).at[choice].set(1e3)
        found = encoder.apply(forced, *images, method=run).tokens
        plain, _, _, _ = make([fixed] * 3)
        expected = plain.apply(variables, *images, method=run).tokens
        # The masked softmax leaves forbidden keys a weight of about 1e-6/N.
        np.testing.assert_allclose(found, expected, atol=5e-5)


def test_two_stream_streams_do_not_know_of_each_other():
    encoder, variables, (template, search), run = make([relation.TWO_STREAM] * 2)
    one = encoder.apply(variables, template, search, method=run).tokens
    other = encoder.apply(variables, template + 1, search, method=run).tokens
    np.testing.assert_array_equal(one[:, 4:], other[:, 4:])
    assert np.abs(one[:, :4] - other[:, :4]).max() > 1e-3


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(
    "relations, covered",
    [
        ([relation.ASYMMETRIC] * 3, 3),
        ([relation.TWO_STREAM] * 2, 2),
        ([relation.ASYMMETRIC, relation.TWO_STREAM], 2),
        ([relation.TWO_STREAM, relation.TWO_STREAM, "learned", relation.TWO_STREAM], 2),
        ([relation.TWO_STREAM, relation.ONE_STREAM, relation.ONE_STREAM], 1),
    ],
)
def test_cached_layers_equal_the_full_forward(relations, covered, scan):
    encoder, variables, (template, search), run = make(relations, scan_layers=scan)

    def cached(encoder, template, search):
        cache = encoder.encode_template(encoder.embed(template, "template"))
        return cache, encoder.encode_search(cache, encoder.embed(search, "search"), features=True)

    cache, found = encoder.apply(variables, template, search, method=cached)
    assert len(cache["memory"]) == covered and ("tokens" in cache) == (covered < len(relations))
    expected = encoder.apply(variables, template, search, method=run, features=True)
    np.testing.assert_allclose(found.tokens[:, -12:], expected.tokens[:, 4:], atol=1e-5)
    assert found.tokens.shape[1] == (12 if covered == len(relations) else 16)
    for one, other in zip(found.layers, expected.layers, strict=True):
        np.testing.assert_allclose(one.features, other.features[:, 4:], atol=1e-5)


def test_layers_are_cached_up_to_the_first_that_looks_at_the_rest():
    apart = (relation.ASYMMETRIC, relation.TWO_STREAM)
    joint = (relation.ONE_STREAM, "learned", relation.MASKED_TWO_STREAM, relation.CAUSAL)
    assert relation.independent_layers(()) == 0 and relation.independent_layers(apart) == 2
    assert [relation.independent_layers((*apart, rows, *apart)) for rows in joint] == [2, 2, 2, 2]
    assert [relation.independent_layers((rows, *apart)) for rows in joint] == [0, 0, 0, 0]


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(
    ("relations", "without"),
    [
        ([relation.ONE_STREAM, relation.TWO_STREAM, relation.TWO_STREAM], 2),
        (["learned", relation.TWO_STREAM], 1),
        ([relation.TWO_STREAM, relation.ONE_STREAM, relation.TWO_STREAM], 1),
        ([relation.ONE_STREAM, relation.MASKED_TWO_STREAM], 0),
        ([((1, 1), (0, 1)), relation.TWO_STREAM], 2),
    ],
)
def test_last_layers_that_do_not_look_at_the_template_are_run_without_it(relations, without, scan):
    encoder, variables, (template, search), _ = make(relations, scan_layers=scan)
    assert relation.layers_without_first(relations) == without

    def found(keep, **context):
        def of_search(encoder):
            cache = encoder.encode_template(encoder.embed(template, "template"))
            return encoder.encode_search(cache, encoder.embed(search, "search"), keep_tokens=keep, **context)

        return encoder.apply(variables, method=of_search)

    alone, kept = found(False), found(True)
    assert alone.tokens.shape[1] == (12 if without else 16) and kept.tokens.shape[1] == 16
    np.testing.assert_allclose(alone.tokens[:, -12:], kept.tokens[:, 4:], atol=1e-5)
    assert len(alone.layers) == len(relations)
    assert found(False, features=True).tokens.shape[1] == 16


def test_stacked_layers_equal_unstacked_ones():
    relations = [relation.ONE_STREAM, "learned", "learned", "learned"]
    encoder, variables, images, run = make(relations)
    stacked, shapes, _, _ = make(relations, scan_layers=True, remat="dots")
    blocks = [variables["params"][f"block_{i}"] for i in (1, 2, 3)]
    params = {k: v for k, v in variables["params"].items() if not k.startswith("block_")}
    params |= {"block_0": variables["params"]["block_0"], "blocks_1_3": jax.tree.map(lambda *x: jnp.stack(x), *blocks)}
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes["params"])
    kwargs = {"features": True}
    one = encoder.apply(variables, *images, method=run, **kwargs)
    two = stacked.apply({"params": params}, *images, method=run, **kwargs)
    np.testing.assert_allclose(one.tokens, two.tokens, atol=1e-5)
    for a, b in zip(one.layers, two.layers, strict=True):
        np.testing.assert_allclose(a.features, b.features, atol=1e-5)
        if a.divided is not None:
            np.testing.assert_array_equal(a.divided.category, b.divided.category)


def test_batch_permutation_permutes_the_result():
    encoder, variables, images, run = make([relation.ONE_STREAM, "learned"])
    flipped = encoder.apply(variables, *(x[::-1] for x in images), method=run).tokens
    np.testing.assert_allclose(encoder.apply(variables, *images, method=run).tokens[::-1], flipped, atol=1e-6)


@pytest.mark.slow
def test_jit_equals_eager_and_bfloat16_is_close():
    encoder, variables, images, run = make([relation.ONE_STREAM, "learned"])
    eager = encoder.apply(variables, *images, method=run).tokens
    jitted = jax.jit(lambda v, *i: encoder.apply(v, *i, method=run).tokens)(variables, *images)
    np.testing.assert_allclose(eager, jitted, atol=1e-5)
    half = outputs([relation.ONE_STREAM] * 2, dtype=jnp.bfloat16)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, outputs([relation.ONE_STREAM] * 2), atol=0.1)


def test_drop_path_rises_linearly_and_keeps_the_mean():
    encoder, variables, images, run = make([relation.ONE_STREAM] * 3, drop_path=0.5)
    kwargs = {"method": run, "train": True, "features": True}
    dropped = jax.jit(lambda key: encoder.apply(variables, *images, rngs={"droppath": key}, **kwargs).layers)
    runs = [dropped(jax.random.key(i)) for i in range(60)]
    changes = [np.mean([np.abs(r[i].features - runs[0][i].features).max() > 0 for r in runs]) for i in range(3)]
    assert changes[0] == 0 and 0 < changes[1] <= changes[2]
    again = dropped(jax.random.key(7))[2].features
    np.testing.assert_array_equal(again, runs[7][2].features)
    quiet = encoder.apply(variables, *images, method=run, features=True).layers[1].features
    mean = np.mean([r[1].features for r in runs], axis=0)
    assert np.abs(mean - quiet).mean() < 0.5 * np.abs(runs[0][1].features - quiet).mean() + 0.05


@pytest.mark.parametrize("position", ["learned", "sincos", "interpolated"])
def test_position_embeddings(position):
    encoder, variables, images, run = make([relation.ONE_STREAM], position=position, position_grid=(5, 5))
    tables = {k: v.shape for k, v in variables["params"].items() if k.startswith("position")}
    expected = {
        "learned": {"position_template": (4, 32), "position_search": (12, 32)},
        "sincos": {},
        "interpolated": {"position_template": (25, 32), "position_search": (25, 32)},
    }
    assert tables == expected[position]
    assert encoder.apply(variables, *images, method=run).tokens.shape == (2, 16, 32)


def test_clip_options_are_in_the_parameters_and_the_numbers():
    """LayerNorm before the blocks, no bias in the patch embedding, class token, QuickGELU."""
    options = {"pre_norm": True, "patch_bias": False, "with_class": True, "activation": "quick_gelu"}
    encoder, variables, images, run = make([], **options)
    params = variables["params"]
    assert "bias" not in params["patch_embed"] and "norm_pre" in params
    assert params["position_template"].shape == (4, 32) and params["position_search"].shape == (13, 32)
    token = encoder.apply(variables, 2, method="embed_class")
    expected = params["class_token"] + params["position_search"][0]
    np.testing.assert_allclose(token, np.broadcast_to(expected, (2, 1, 32)), atol=1e-6)
    # Without blocks the two LayerNorms follow one another.
    scaled = jax.tree.map(lambda x: x, variables)
    scaled["params"]["norm_pre"]["bias"] = 5 * jnp.arange(32.0)
    found = encoder.apply(scaled, *images, method=run).tokens
    np.testing.assert_allclose(found[0, 0], (np.arange(32) - 15.5) / np.std(np.arange(32)), atol=0.1)


def test_quick_gelu_is_clips():
    x = jnp.linspace(-4, 4, 9)
    quick, exact = ACTIVATIONS["quick_gelu"](x), ACTIVATIONS["gelu"](x)
    np.testing.assert_allclose(quick, x / (1 + np.exp(-1.702 * x)), atol=1e-6)
    assert 1e-3 < np.abs(quick - exact).max() < 0.03


def test_sizes_have_the_published_parameter_counts():
    # Published totals (86.6, 22.05, 5.72, 304.3 M) less classifier, class token and positions.
    sizes = {"B": (768, 12, 12), "S": (384, 12, 6), "Ti": (192, 12, 3), "L": (1024, 24, 16)}
    for name, millions in (("B", 85.65), ("S", 21.59), ("Ti", 5.49), ("L", 303.1)):
        width, depth, heads = sizes[name]
        encoder = Encoder(
            width, depth, heads, 16, (("search", (1, 1)),), (relation.ONE_STREAM,) * depth, scan_layers=True
        )
        tokens = jax.ShapeDtypeStruct((1, 8, width), jnp.float32)
        shapes = jax.eval_shape(lambda k, x, e=encoder: e.init(k, x, (8,)), jax.random.key(0), tokens)
        count = sum(x.size for x in jax.tree.leaves(shapes)) + 16 * 16 * 3 * width
        assert abs(count / 1e6 - millions) < 0.02, (name, count)


def part(encoder, variables, x, lengths, **context):
    return encoder.apply(variables, x, lengths, **context)


def embedded(encoder, variables, images):
    return encoder.apply(
        variables,
        *images,
        method=lambda m, t, s: jnp.concatenate([m.embed(t, "template"), m.embed(s, "search")], axis=1),
    )


@pytest.mark.parametrize("scan", [False, True])
def test_parts_of_the_layers_one_after_another_equal_all_at_once(scan):
    relations = [relation.ONE_STREAM, "learned", "learned", relation.ONE_STREAM]
    encoder, variables, images, run = make(relations, scan_layers=scan, stops=(1, 3), pre_norm=True, drop_path=0.5)
    scale = jnp.array([1.0, 0.5, 2.0, 0.0])
    whole = encoder.apply(variables, *images, method=run, branch_scale=scale, features=True)
    x, layers = embedded(encoder, variables, images), []
    for ends in ((0, 1), (1, 3), (3, 4)):
        encoded = part(encoder, variables, x, LENGTHS, layers=ends, branch_scale=scale, features=True)
        x, layers = encoded.tokens, layers + encoded.layers
    np.testing.assert_allclose(x, whole.tokens, atol=1e-5)
    assert len(layers) == 4
    for a, b in zip(layers, whole.layers, strict=True):
        np.testing.assert_allclose(a.features, b.features, atol=1e-5)


def test_a_part_that_no_stop_ends_is_refused():
    encoder, variables, images, _ = make([relation.ONE_STREAM] * 4, scan_layers=True, stops=(2,))
    x = embedded(encoder, variables, images)
    with pytest.raises(ValueError, match=r"layers \(0, 3\): name where a part ends in the encoder's stops, \(2,\)"):
        part(encoder, variables, x, LENGTHS, layers=(0, 3))
    with pytest.raises(ValueError, match=r"layers \(3, 3\) of an encoder of depth 4"):
        part(encoder, variables, x, LENGTHS, layers=(3, 3))
    with pytest.raises(ValueError, match="reduce acts in layer 4"):
        part(encoder, variables, x, LENGTHS, reduce=lambda x, weights: (x, None))


@pytest.mark.parametrize("rows", [relation.ONE_STREAM, relation.ASYMMETRIC, "learned"])
def test_tokens_of_mask_zero_are_as_if_they_were_not_there(rows):
    """A search token goes: the others come out as from an encoder that never had it."""
    encoder, variables, images, _ = make([rows] * 2)
    x = embedded(encoder, variables, images)
    gone = 9
    rest = np.delete(np.arange(16), gone)
    masked = part(encoder, variables, x, LENGTHS, key_mask=jnp.ones((2, 16)).at[:, gone].set(0.0)).tokens[:, rest]
    without = part(encoder, variables, x[:, rest], (4, 11)).tokens
    # The masked softmax of layers that divide leaves forbidden keys a weight of about 1e-6/N.
    np.testing.assert_allclose(masked, without, atol=5e-5 if rows == "learned" else 1e-5)


def test_a_mask_learns_also_where_it_is_zero():
    """What a predictor of DynamicViT's kind needs: a token that is gone says what it would have brought."""
    encoder, variables, images, _ = make([relation.ONE_STREAM] * 2)
    x = embedded(encoder, variables, images)
    mask = jnp.ones((2, 16)).at[:, 5].set(0.0).at[:, 6].set(0.5)

    @jax.jit
    def loss(mask):
        return jnp.sum(part(encoder, variables, x, LENGTHS, key_mask=mask).tokens[:, :4] ** 3)

    gradient = jax.jit(jax.grad(loss))(mask)
    assert np.all(np.isfinite(gradient)) and np.abs(gradient[:, 5:7]).min() > 1e-5
    step = 1e-2 * jnp.zeros((2, 16)).at[:, 5:7].set(1.0)
    slope = (loss(mask + step) - loss(mask)) / 1e-2
    np.testing.assert_allclose(slope, gradient[:, 5:7].sum(), rtol=0.05)


def test_reduce_is_shown_the_attention_of_the_watched_tokens():
    encoder, variables, images, _ = make([relation.ASYMMETRIC] * 2)
    x, mask = embedded(encoder, variables, images), jnp.ones((2, 16)).at[:, 7].set(0.0)
    shown = part(
        encoder, variables, x, LENGTHS, key_mask=mask, watch=(1, 10), reduce=lambda x, weights: (x, weights)
    ).layers
    assert shown[0].facts is None and shown[1].facts.shape == (2, 2, 2, 16)
    weights = np.asarray(shown[1].facts)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert np.all(weights[:, :, 0, 4:] == 0) and np.all(weights[..., 7] == 0)
    assert np.all(weights[:, :, 1, np.delete(np.arange(16), 7)] > 0)
    _, caught = encoder.apply(variables, x, LENGTHS, key_mask=mask, mutable=["intermediates"])
    q, k = caught["intermediates"]["block_1"]["attention"]["queries_and_keys"][0]
    logits = jnp.where(mask[:, None] > 0, jnp.einsum("bhd,bmhd->bhm", q[:, 10], k) * 16**-0.5, -jnp.inf)
    np.testing.assert_allclose(weights[:, :, 1], jax.nn.softmax(logits), atol=1e-5)


class Adapted(Block):
    """A block with an adapter beside its layers, which leaves the tokens as they are until it has learned."""

    @nn.compact
    def __call__(self, x, inputs, context):
        adapter = nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros_init(), name="adapter")(x)
        x, outputs = super().__call__(x, inputs, context)
        return x + adapter, outputs


@pytest.mark.parametrize("scan", [False, True])
def test_a_block_of_a_trackers_own_takes_the_place_of_the_layers(scan):
    encoder, variables, images, run = make([relation.ONE_STREAM] * 2, scan_layers=scan, block_class=Adapted)
    plain, _, _, _ = make([relation.ONE_STREAM] * 2, scan_layers=scan)
    blocks = [block for name, block in variables["params"].items() if name.startswith("block")]
    assert all("adapter" in block for block in blocks)
    tokens = encoder.apply(variables, *images, method=run).tokens
    for block in blocks:
        del block["adapter"]
    np.testing.assert_allclose(tokens, plain.apply(variables, *images, method=run).tokens, atol=1e-6)


@pytest.mark.parametrize("scan, remat", [(False, "none"), (True, "full")])
def test_tokens_are_fused_into_one_without_an_edit_of_the_encoder(scan, remat):
    """EViT's dropping: the search tokens that the template looks at least become their weighted mean."""
    encoder, variables, images, _ = make([relation.ONE_STREAM] * 3, scan_layers=scan, remat=remat, stops=(2,))
    x = embedded(encoder, variables, images)

    def fuse(x, weights):
        watched = weights[..., 4:].mean(axis=(1, 2))
        order = jnp.argsort(-watched, axis=1)
        kept = jnp.take_along_axis(x[:, 4:], order[:, :8, None], axis=1)
        rest = jnp.take_along_axis(x[:, 4:] * watched[..., None], order[:, 8:, None], axis=1).sum(axis=1, keepdims=True)
        return jnp.concatenate([x[:, :4], kept, rest], axis=1), order

    @jax.jit
    def run(x):
        first = part(encoder, variables, x, LENGTHS, layers=(0, 2), watch=(0, 1, 2, 3), reduce=fuse)
        return first, part(encoder, variables, first.tokens, (4, 9), layers=(2, 3), features=True)

    first, last = run(x)
    assert first.tokens.shape == last.tokens.shape == (2, 13, 32)
    np.testing.assert_array_equal(np.sort(first.layers[1].facts, axis=1), np.tile(np.arange(12), (2, 1)))
    assert np.all(np.isfinite(last.tokens))
