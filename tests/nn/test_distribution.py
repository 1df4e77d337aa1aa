import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trackers.nn.distribution import EDGES, SCORE_ORDERS, DistributionHead, ScoreHead, decode_edges
from trackers.training import flops


def test_the_head_costs_what_the_supplement_says():
    """T4: the two matrices of the shared MLP for four tokens, at 72 bins; norms, biases, softmax are not counted."""
    head = DistributionHead(bins=72)
    tokens = jax.ShapeDtypeStruct((1, 4, 768), jnp.float32)
    variables = jax.eval_shape(head.init, jax.random.key(0), tokens)
    count = flops.multiply_adds(lambda v, t: decode_edges(head.apply(v, t)), variables, tokens)
    assert count == 4 * (768 * 768 + 768 * 72) == 2_580_480


@pytest.mark.parametrize("bins", [7, 96])
def test_a_certain_distribution_is_its_own_edge(bins):
    at = {"left": 1, "right": 5, "top": 2, "bottom": 6}
    logits = jnp.stack([100.0 * jax.nn.one_hot(at[edge], bins) for edge in EDGES])[None]
    box, maps = decode_edges(logits)
    np.testing.assert_allclose(box[0], np.array([3, 4, 4, 4]) / bins, atol=1e-6)
    assert all(maps[edge].shape == maps[f"{edge}_logits"].shape == (1, bins) for edge in EDGES)
    assert all(int(jnp.argmax(maps[edge])) == at[edge] for edge in EDGES)


def test_one_shared_mlp_treats_all_edges_alike_and_four_do_not():
    tokens = jax.random.normal(jax.random.key(0), (2, 4, 8))
    for mlps in (1, 4):
        head = DistributionHead(bins=5, mlps=mlps)
        variables = jax.jit(head.init)(jax.random.key(1), tokens)
        run = jax.jit(head.apply)
        one, two = run(variables, tokens), run(variables, tokens[:, ::-1])[:, ::-1]
        assert bool(np.abs(one - two).max() < 1e-6) == (mlps == 1)
    single = run(variables, tokens[:, :1])
    np.testing.assert_allclose(single, run(variables, jnp.repeat(tokens[:, :1], 4, axis=1)), atol=1e-6)


@pytest.mark.parametrize("order", SCORE_ORDERS)
def test_the_score_in_both_orders(order):
    """Linear, ReLU, linear, and the mean over the four tokens before it (supplement) or after it (program)."""
    tokens = np.random.default_rng(0).standard_normal((3, 4, 8)).astype(np.float32)
    head = ScoreHead(order=order)
    variables = jax.jit(head.init)(jax.random.key(1), tokens)
    fc1, fc2 = (jax.tree.map(np.float64, variables["params"][name]) for name in ("fc1", "fc2"))

    def mlp(x):
        return (np.maximum(x @ fc1["kernel"] + fc1["bias"], 0) @ fc2["kernel"] + fc2["bias"])[..., 0]

    orders = {"mlp_then_mean": mlp(tokens).mean(axis=-1), "mean_then_mlp": mlp(tokens.mean(axis=1))}
    np.testing.assert_allclose(jax.jit(head.apply)(variables, tokens), orders[order], atol=1e-6)
    assert np.abs(orders["mlp_then_mean"] - orders["mean_then_mlp"]).max() > 1e-3


def test_the_orders_of_the_score_have_the_same_parameters_and_agree_where_all_tokens_are_equal():
    tokens = jnp.repeat(jax.random.normal(jax.random.key(0), (3, 1, 8)), 4, axis=1)
    heads = [ScoreHead(order=order) for order in SCORE_ORDERS]
    one, two = (jax.jit(head.init)(jax.random.key(1), tokens) for head in heads)
    jax.tree.map(np.testing.assert_array_equal, one, two)
    scores = [jax.jit(head.apply)(one, tokens) for head in heads]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
