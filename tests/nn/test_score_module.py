import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trackers.nn.score_module import CrossAttention, precise_roi_pool


def interpolated(features, y, x):
    """The bilinear interpolation of (h,w) at one point, with nothing outside the map."""
    rows = np.maximum(0, 1 - np.abs(np.arange(features.shape[0]) - y))
    columns = np.maximum(0, 1 - np.abs(np.arange(features.shape[1]) - x))
    return rows @ features @ columns


@pytest.mark.parametrize("box", [(0.1, 0.2, 0.7, 0.9), (-0.3, 0.4, 0.2, 1.4), (0.31, 0.5, 0.33, 0.51)])
def test_pooling_is_the_mean_of_the_interpolated_map(box):
    features = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    pooled = precise_roi_pool(jnp.asarray(features)[None, :, :, None], jnp.array([box]), 2)[0, :, :, 0]
    x1, y1, x2, y2 = np.array(box) * (7, 5, 7, 5)
    n = 40
    points = (np.arange(2 * n) + 0.5) / (2 * n)
    rows, columns = y1 + points * (y2 - y1), x1 + points * (x2 - x1)
    values = np.array([[interpolated(features, y, x) for x in columns] for y in rows])
    expected = values.reshape(2, n, 2, n).mean(axis=(1, 3))
    # The midpoint rule on 40 points a bin is off by at most about its squared step.
    np.testing.assert_allclose(pooled, expected, atol=3e-3)


def test_pooling_a_constant_gives_it_back_and_boxes_without_area_give_zero():
    features = jnp.full((3, 6, 6, 2), 2.5)
    boxes = jnp.array([[0.2, 0.2, 0.8, 0.8], [0.5, 0.2, 0.5, 0.8], [0.6, 0.2, 0.4, 0.8]])
    pooled = precise_roi_pool(features, boxes, 4)
    np.testing.assert_allclose(pooled[0], 2.5, rtol=1e-5)
    assert np.all(pooled[1:] == 0)
    gradients = jax.jit(jax.grad(lambda b: jnp.sum(jnp.square(precise_roi_pool(features, b, 4)))))(boxes)
    assert np.isfinite(gradients).all()


def test_attention_is_scaled_by_the_whole_width():
    module = CrossAttention(heads=2)
    x, memory = jax.random.normal(jax.random.key(0), (1, 1, 8)), jax.random.normal(jax.random.key(1), (1, 5, 8))
    variables = jax.jit(module.init)(jax.random.key(2), x, memory)
    p = variables["params"]
    q, k, v = (jnp.einsum("bnd,dhe->bnhe", y, p[name]["kernel"]) for name, y in
               (("query", x), ("key", memory), ("value", memory)))  # fmt: skip
    weights = jax.nn.softmax(jnp.einsum("bnhe,bmhe->bhnm", q, k) / 8**0.5, axis=-1)
    expected = jnp.einsum("bhnm,bmhe,hed->bnd", weights, v, p["out"]["kernel"])
    np.testing.assert_allclose(module.apply(variables, x, memory), expected, atol=1e-5)
