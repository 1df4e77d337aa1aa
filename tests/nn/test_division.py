import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.recipes import gen, load, weights
from trackers.nn import relation
from trackers.nn.blocks import Attention, Context
from trackers.nn.division import Division, DivisionModule, _by_region, _grouped, _smooth
from trackers.nn.relation import ALL, BOUNDARY, SEARCH, TEMPLATE


def one_hot(categories):
    return jax.nn.one_hot(jnp.asarray(categories), 3)[None]


def published_attention():
    """The recorded divide attention: its tokens, parameters for our modules, and what it gave."""
    manifest, out = load("softmax_with_policy")
    w = weights(manifest)
    dense = lambda key: {"kernel": w[f"{key}.weight"].T, "bias": w[f"{key}.bias"]}  # noqa: E731
    attention = {
        "qkv": {"kernel": w["qkv.weight"].T.reshape(96, 3, 3, 32), "bias": w["qkv.bias"].reshape(3, 3, 32)},
        "out": {"kernel": w["proj.weight"].T.reshape(3, 32, 96), "bias": w["proj.bias"]},
    }
    division = {name: dense(f"divide_predict.{i}") for name, i in (("hidden1", 0), ("hidden2", 2), ("logits", 4))}
    tokens = gen(manifest["salt"], "input/tokens").standard_normal((1, 20, 96)).astype(np.float32)
    return jnp.asarray(tokens), {"params": attention}, {"params": division}, out


@pytest.mark.parametrize("ratio, name", [(0.0, ""), (0.25, "ratio0.25_"), (0.75, "ratio0.75_")])
def test_division_and_attention_equal_the_program(ratio, name):
    tokens, attention, division, out = published_attention()
    divided = DivisionModule(Division(ratio=ratio), (4, 4)).apply(division, tokens[:, :4], tokens[:, 4:], None)
    np.testing.assert_allclose(divided.log_probs, out["B/divide_logp"], atol=1e-5)
    np.testing.assert_array_equal(divided.category == ALL, out[f"B/{name}decision_shared"])
    template = jnp.broadcast_to(one_hot([TEMPLATE]), (1, 4, 3))
    division_of_all = jnp.concatenate([template, divided.one_hot], axis=1)
    context = Context(lengths=(4, 16), present=(0, 2), relation="learned")
    found = Attention(96, 3).apply(attention, tokens, division_of_all, None, context).tokens
    np.testing.assert_allclose(found, out["B/tokens_out_masked" if not name else f"B/{name}out"], atol=1e-5)


def divide(config, train=False, rngs=None, seed=0, noise=None):
    template, search = (
        jax.random.normal(k, (2, n, 16)) for k, n in zip(jax.random.split(jax.random.key(seed)), (4, 9), strict=True)
    )
    module = DivisionModule(config, (3, 3))
    params = module.init(jax.random.key(1), template, search, jnp.ones((2, 4)))
    return module.apply(params, template, search, jnp.ones((2, 4)), noise, train, rngs=rngs)


def test_gumbel_softmax_is_hard_forwards_and_soft_backwards():
    rngs = {"gumbel": jax.random.key(3)}
    divided = divide(Division(), True, rngs)
    values = np.asarray(divided.one_hot)
    np.testing.assert_allclose(values, np.round(values), atol=1e-6)
    np.testing.assert_array_equal(values[..., TEMPLATE], 0)
    np.testing.assert_array_equal(divide(Division(), True, rngs).category, divided.category)
    other = divide(Division(), True, {"gumbel": jax.random.key(4)})
    assert np.any(np.asarray(other.category) != np.asarray(divided.category))

    def share(log_odds):
        noise = jnp.zeros((2, 9, 2)).at[..., 1].set(log_odds)
        return jnp.sum(divide(Division(), True, noise=noise).share)

    assert jax.grad(share)(0.3) > 0


def test_share_of_draws_approaches_the_probability():
    quiet = divide(Division())
    expected = np.exp(np.asarray(quiet.log_probs))[..., 1].mean()
    shares = [float(divide(Division(), True, {"gumbel": jax.random.key(i)}).share.mean()) for i in range(80)]
    assert abs(np.mean(shares) - expected) < 0.05


def test_threshold_is_a_cut_on_the_probability_of_search_only():
    p_search = np.exp(np.asarray(divide(Division()).log_probs))[..., 0]
    cut = float(np.median(p_search))
    found = np.asarray(divide(Division(threshold=cut)).category)
    np.testing.assert_array_equal(found == ALL, p_search < np.float32(cut))


def test_ratio_is_a_floor_on_interaction():
    for ratio in (0.4, 0.8, 1.0):
        categories = np.asarray(divide(Division(ratio=ratio)).category)
        assert np.all((categories == ALL).sum(axis=1) >= int(9 * ratio))
    assert np.all(np.asarray(divide(Division(ratio=1.0)).category) == ALL)


@pytest.mark.parametrize(
    "mode, allowed",
    [
        ("learned", {SEARCH, ALL}),
        ("learned_template_search", {SEARCH, TEMPLATE}),
        ("learned_three", {SEARCH, TEMPLATE, ALL}),
    ],
)
def test_table_4_modes_choose_among_their_categories(mode, allowed):
    seen = set()
    for i in range(6):
        seen |= set(np.asarray(divide(Division(mode=mode), True, {"gumbel": jax.random.key(i)}).category).ravel())
    assert seen == allowed


def test_continuous_division_scales_with_probabilities():
    divided = divide(Division(mode="continuous"))
    probabilities = np.exp(np.asarray(divided.log_probs))
    np.testing.assert_allclose(divided.one_hot[..., SEARCH], probabilities[..., 0], atol=1e-6)
    np.testing.assert_allclose(divided.one_hot[..., ALL], probabilities[..., 1], atol=1e-6)
    assert np.any((np.asarray(divided.one_hot) > 0.05) & (np.asarray(divided.one_hot) < 0.95))


def test_regions_share_the_mean_of_their_logits():
    """Appendix C.3 on a map of 4 x 6 tokens, in 2 x 2 regions of 2 x 3, against a loop over the regions."""
    logits = np.random.default_rng(0).standard_normal((2, 24, 2)).astype(np.float32)
    expected = logits.reshape(2, 4, 6, 2).copy()
    for row in (0, 2):
        for column in (0, 3):
            region = expected[:, row : row + 2, column : column + 3]
            region[:] = region.sum(axis=(1, 2), keepdims=True) / 6
    np.testing.assert_allclose(_by_region(jnp.asarray(logits), (4, 6), 2), expected.reshape(2, 24, 2), atol=1e-6)
    with pytest.raises(ValueError, match="model.division.regions 4 does not divide the search map of 4 x 6 tokens"):
        _by_region(jnp.asarray(logits), (4, 6), 4)


def test_a_division_by_region_scales_with_the_regions_probabilities():
    by_token, by_region = (divide(Division(mode="continuous", regions=regions)) for regions in (0, 1))
    odds = np.asarray(by_token.log_probs)[..., 1] - np.asarray(by_token.log_probs)[..., 0]
    expected = 1 / (1 + np.exp(-odds.mean(axis=1, keepdims=True)))
    np.testing.assert_allclose(by_region.one_hot[..., ALL], np.broadcast_to(expected, (2, 9)), atol=1e-5)
    np.testing.assert_allclose(by_region.share, expected[:, 0], atol=1e-5)
    each = divide(Division(mode="continuous", regions=3))
    np.testing.assert_allclose(each.one_hot, by_token.one_hot, atol=1e-6)


def grouped_by_hand(scores, joined, shared):
    """Categories (B,N) of the prototype, token by token."""
    found = np.zeros(scores.shape, int)
    for categories, values in zip(found, scores, strict=True):
        order = sorted(range(len(values)), key=lambda i: (-values[i], i))
        for rank, token in enumerate(order):
            categories[token] = ALL if rank < joined else SEARCH
        if joined < len(values):
            for token in order[max(0, joined - shared // 2) : joined + (shared + 1) // 2]:
                categories[token] = BOUNDARY
    return found


@pytest.mark.parametrize("joined, shared", [(1, 0), (5, 0), (5, 1), (5, 4), (11, 3), (12, 0), (12, 4), (1, 6), (6, 40)])
def test_the_prototype_groups_tokens_by_their_rank(joined, shared):
    """Scores with ties, and some so sure that their probabilities are equal."""
    scores = np.random.default_rng(joined).integers(-3, 4, (3, 12)).astype(np.float32) * 12
    log_probs = jax.nn.log_softmax(jnp.stack([jnp.zeros_like(scores), scores], axis=-1))
    expected = grouped_by_hand(scores, joined, shared)
    divided = jax.jit(_grouped, static_argnums=2)(log_probs, jnp.int32(joined), shared)
    np.testing.assert_array_equal(divided.category, expected)
    np.testing.assert_array_equal(divided.one_hot, np.eye(4)[expected])
    np.testing.assert_allclose(divided.share, (expected != SEARCH).mean(axis=1), atol=1e-6)
    if not shared:
        assert BOUNDARY not in expected and ((expected == ALL).sum(axis=1) == joined).all()


def test_portions_are_one_for_each_dividing_layer_or_one_for_all():
    each = Division(mode="prototype", layers=(2, 4), portions=(0.25, 1.0))
    np.testing.assert_array_equal(each.joined(4, 10), [2, 10])
    np.testing.assert_array_equal(Division(mode="prototype", portions=0.3).joined(4, 10), [3, 3, 3])
    np.testing.assert_array_equal(Division(mode="prototype", portions=(1e-6,)).joined(2, 10), [1])
    assert Division(portions=(0.1, 0.2)).joined(4, 10) is None
    with pytest.raises(ValueError, match="model.division.portions are 2, the layers that divide 3: give one for each"):
        Division(mode="prototype", portions=(0.25, 0.5)).joined(4, 10)


def test_gaussian_smoothing_blurs_each_channel_by_the_programs_kernel():
    rough = jnp.zeros((1, 49, 2)).at[0, 24, 1].set(1.0)
    smooth = np.asarray(_smooth(rough, (7, 7), 1.0)).reshape(7, 7, 2)
    assert not smooth[..., 0].any()
    y, x = np.mgrid[-2:3, -2:3]
    expected = np.exp(-(x**2 + y**2) / 2) / (2 * np.pi)
    np.testing.assert_allclose(smooth[1:6, 1:6, 1], expected, atol=1e-6)
    assert not smooth[0].any()


def test_late_fusion_without_a_target_ignores_the_template():
    module = DivisionModule(Division(fusion="late", pool="none"), (3, 3))
    search = jax.random.normal(jax.random.key(0), (1, 9, 16))
    params = module.init(jax.random.key(1), jnp.zeros((1, 4, 16)), search, None)
    found = [module.apply(params, jnp.full((1, 4, 16), value), search, None).log_probs for value in (0.0, 9.0)]
    np.testing.assert_array_equal(*found)
    with_target = DivisionModule(Division(fusion="late"), (3, 3))
    params = with_target.init(jax.random.key(1), jnp.zeros((1, 4, 16)), search, None)
    assert {"local", "target", "hidden2", "logits"} == set(params["params"])
    found = [with_target.apply(params, jnp.full((1, 4, 16), value), search, None).log_probs for value in (0.0, 9.0)]
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_late_fusion_equals_its_formula():
    module = DivisionModule(Division(fusion="late", pool="average"), (3, 3))
    template, search = (jax.random.normal(jax.random.key(n), (1, n, 16)) for n in (4, 9))
    params = module.init(jax.random.key(1), template, search, None)
    p = params["params"]
    lin = lambda name, x: x @ p[name]["kernel"] + p[name]["bias"]  # noqa: E731
    gelu = lambda x: jax.nn.gelu(x, approximate=False)  # noqa: E731
    x = lin("local", search) + lin("target", template.mean(axis=1, keepdims=True))
    expected = jax.nn.log_softmax(lin("logits", gelu(lin("hidden2", gelu(x)))))
    np.testing.assert_allclose(module.apply(params, template, search, None).log_probs, expected, atol=1e-5)


@pytest.mark.parametrize(
    "layers, dividing",
    [
        (None, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ((), []),
        (tuple(range(1, 13)), list(range(1, 13))),
        (tuple(range(5, 13)), list(range(5, 13))),
    ],
)
def test_table_5_layers(layers, dividing):
    kinds = Division(layers=layers).layer_relations(12)
    assert [i + 1 for i, kind in enumerate(kinds) if kind == "learned"] == dividing
    assert all(kind in ("learned", relation.ONE_STREAM) for kind in kinds)


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "x"},
        {"pool": "x"},
        {"fusion": "x"},
        {"two_stream_form": "x"},
        {"pool": "none"},
        {"ratio": 0.5, "mode": "two_stream"},
        {"ratio": 0.5, "mode": "prototype"},
        {"portions": 0},
        {"portions": (0.5, 1.5)},
        {"portions": ()},
        {"portions": "half"},
        {"portions": float("nan")},
        {"shared_boundary": -1},
        {"shared_boundary": 0.5},
        {"regions": 2},
        {"regions": -2, "mode": "continuous"},
    ],
)
def test_impossible_divisions_are_refused(fields):
    with pytest.raises(ValueError, match="model.division"):
        Division(**fields)
    with pytest.raises(ValueError, match="outside"):
        Division(layers=(13,)).layer_relations(12)


def test_layers_of_a_fixed_form_have_it_whatever_mode_and_layers_say():
    fixed = {"one_stream_layers": (4,), "two_stream_layers": [1, 3]}
    one, two = relation.ONE_STREAM, relation.TWO_STREAM
    assert Division(**fixed).layer_relations(5) == (two, "learned", two, one, "learned")
    assert Division(layers=(5,), **fixed).layer_relations(5) == (two, one, two, one, "learned")
    assert Division(mode="two_stream", **fixed).layer_relations(5) == (two, two, two, one, one)
    masked, form = relation.MASKED_TWO_STREAM, {"two_stream_form": "masked"}
    assert Division(**fixed, **form).layer_relations(5) == (masked, "learned", masked, one, "learned")
    assert Division(mode="two_stream", **fixed, **form).layer_relations(5) == (masked, two, masked, one, one)
    with pytest.raises(ValueError, match="model.division.one_stream_layers .* lie outside 1..2"):
        Division(**fixed).layer_relations(2)
    with pytest.raises(ValueError, match="both have 3: a layer has one form"):
        Division(one_stream_layers=(2, 3), two_stream_layers=(3,))
