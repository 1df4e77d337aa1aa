import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import masking
from tests.recipes import gen, load
from trackers.nn import relation
from trackers.nn.relation import ALL, BOUNDARY, SEARCH, TEMPLATE

divisions = st.lists(st.sampled_from([TEMPLATE, SEARCH, ALL]), min_size=1, max_size=12)


def one_hot(categories):
    return jax.nn.one_hot(jnp.asarray(categories), 3)[None]


@given(divisions)
@settings(deadline=None, max_examples=40)
def test_mask_follows_the_rules_of_eq_2_to_4(categories):
    mask = np.asarray(relation.attention_mask(one_hot(categories)))[0]
    sees = {TEMPLATE: {TEMPLATE, ALL}, SEARCH: {SEARCH, ALL}, ALL: {TEMPLATE, SEARCH, ALL}}
    for i, a in enumerate(categories):
        for j, b in enumerate(categories):
            assert mask[i, j] == float(i == j or b in sees[a])


@given(divisions)
@settings(deadline=None, max_examples=20)
def test_mask_is_the_sum_of_group_products_of_eq_7(categories):
    t, s, a = (np.asarray([c == k for c in categories], np.float32) for k in (TEMPLATE, SEARCH, ALL))
    groups = np.outer(t, t) + np.outer(s, s) + np.outer(t + s, a) + np.outer(a, a) + np.outer(a, t + s)
    expected = np.maximum(groups, np.eye(len(categories)))
    np.testing.assert_array_equal(np.asarray(relation.attention_mask(one_hot(categories)))[0], expected)


@given(st.lists(st.sampled_from([TEMPLATE, SEARCH, ALL, BOUNDARY]), min_size=1, max_size=12))
@settings(deadline=None, max_examples=40)
def test_the_prototypes_mask_is_two_groups_and_what_both_share(categories):
    """Pair by pair; and the same as GRM's relation where A is called T, and B is called A."""
    d = jax.nn.one_hot(jnp.asarray(categories), 4)[None]
    mask = np.asarray(relation.attention_mask(d, relation.PROTOTYPE_RELATION))[0]
    groups = {TEMPLATE: {"target"}, ALL: {"target"}, SEARCH: {"search"}, BOUNDARY: {"target", "search"}}
    for i, a in enumerate(categories):
        for j, b in enumerate(categories):
            assert mask[i, j] == float(i == j or bool(groups[a] & groups[b]))
    renamed = {TEMPLATE: TEMPLATE, ALL: TEMPLATE, SEARCH: SEARCH, BOUNDARY: ALL}
    np.testing.assert_array_equal(mask, relation.attention_mask(one_hot([renamed[c] for c in categories]))[0])


def test_any_relation_keeps_self_visible():
    mask = relation.attention_mask(one_hot([0, 1, 2, 2]), relation=((0, 0, 1), (0, 0, 0), (0, 1, 0)))
    np.testing.assert_array_equal(np.diagonal(np.asarray(mask)[0]), 1.0)


def recorded():
    manifest, out = load("softmax_with_policy")
    logits = gen(manifest["salt"], "input/attn").standard_normal((2, 3, 20, 20)).astype(np.float32) * np.float32(5)
    return manifest, out, jnp.asarray(logits)


@pytest.mark.parametrize(
    "name, scale, policy, eps",
    [
        ("hard_std5", 1.0, "policy_hard", 1e-6),
        ("hard_std50_underflow", 10.0, "policy_hard", 1e-6),
        ("soft_policy", 1.0, "policy_soft", 1e-6),
        ("hard_std5_eps0", 1.0, "policy_hard", 0.0),
    ],
)
def test_masked_softmax_equals_the_program(name, scale, policy, eps):
    _, out, logits = recorded()
    mask = relation.attention_mask(jnp.asarray(out[f"A/{policy}"]))[:, None]
    found = relation.masked_softmax(logits * jnp.float32(scale), mask, eps)
    np.testing.assert_allclose(found, out[f"A/{name}"], atol=1e-6)


def test_masked_softmax_gradients_equal_the_program():
    manifest, out, logits = recorded()
    cotangent = gen(manifest["salt"], "input/cotangent").standard_normal((2, 3, 20, 20)).astype(np.float32)

    def value(logits, policy):
        return jnp.sum(relation.masked_softmax(logits, relation.attention_mask(policy)[:, None]) * cotangent)

    by_logits, by_policy = jax.grad(value, argnums=(0, 1))(logits, jnp.asarray(out["A/policy_soft"]))
    np.testing.assert_allclose(by_logits, out["A/grad_attn_soft_policy"], atol=2e-5)
    np.testing.assert_allclose(by_policy, out["A/grad_policy_soft_policy"], atol=2e-5 * np.abs(by_policy).max())


def random_qkv(seed, tokens, batch=1):
    return (jax.random.normal(key, (batch, tokens, 3, 8)) for key in jax.random.split(jax.random.key(seed), 3))


@given(st.lists(st.sampled_from([TEMPLATE, SEARCH, ALL]), min_size=8, max_size=8), st.integers(0, 5))
@settings(deadline=None, max_examples=8)
def test_masked_equals_three_separate_attentions(categories, seed):
    q, k, v = random_qkv(seed, len(categories))
    masked = relation.masked_attention(q, k, v, relation.attention_mask(one_hot(categories)))
    separate = masking.separate_attention(q, k, v, categories)
    # The masked softmax keeps a weight of about eps for forbidden keys, more where the others' logits are low.
    np.testing.assert_allclose(masked, separate, atol=1e-3)


@pytest.mark.parametrize("rows", [relation.ONE_STREAM, relation.TWO_STREAM, relation.ASYMMETRIC])
def test_split_attention_equals_the_mask_of_its_relation(rows):
    q, k, v = random_qkv(1, 11, batch=2)
    categories = jnp.asarray([0] * 4 + [1] * 7)
    mask = relation.attention_mask(jnp.broadcast_to(jax.nn.one_hot(categories, 2), (2, 11, 2)), rows)
    logits = jnp.einsum("bnhd,bmhd->bhnm", q, k) * 8**-0.5
    expected = jnp.einsum("bhnm,bmhd->bnhd", jax.nn.softmax(jnp.where(mask[:, None] > 0, logits, -jnp.inf)), v)
    np.testing.assert_allclose(relation.split_attention(q, k, v, (4, 7), (4, 7), rows), expected, atol=1e-5)


def test_box_token_mask_counts_cells_as_the_program():
    manifest, out = load("losses")
    boxes = jnp.asarray(manifest["checks"]["mask_cond_boxes"], jnp.float32)[:, None]
    np.testing.assert_array_equal(relation.box_token_mask(boxes, (8, 8)), out["mask_cond_128"])
