import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.recipes import load
from trackers.objectives import boxes as losses
from trackers.ops import boxes

numbers = st.floats(-2, 2, width=32)
any_box = st.tuples(numbers, numbers, numbers, numbers)
degenerate = st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 2), (0.5, 0.5, 0.2, 0.2), (0, 0, 1, 0), (0, 0, 1, 1)])


def test_measures_and_conversions_equal_the_program():
    _, out = load("losses")
    a, b = jnp.asarray(out["boxes1"]), jnp.asarray(out["boxes2"])
    overlap, union = boxes.iou(a, b)
    for found, name in ((overlap, "iou"), (union, "union"), (boxes.giou(a, b), "giou")):
        np.testing.assert_allclose(found, out[name], atol=1e-6)
    for name, box in (
        ("xyxy_to_cxcywh", b), ("cxcywh_to_xyxy", b), ("xywh_to_xyxy", b)
    ):  # fmt: skip
        key = next(k for k in out if k.startswith(name))
        np.testing.assert_allclose(getattr(boxes, name)(box), out[key], atol=1e-6)


@pytest.mark.parametrize("name", ["giou_loss", "l1_loss"])
def test_losses_and_gradients_equal_the_program(name):
    _, out = load("losses")
    value, gradient = jax.value_and_grad(getattr(losses, name))(jnp.asarray(out["boxes1"]), jnp.asarray(out["boxes2"]))
    np.testing.assert_allclose(value, out[name], atol=1e-6)
    # At equal boxes the two sides of max and |x| meet: the subgradient chosen there is a convention.
    np.testing.assert_allclose(gradient[1:], out[f"{name}_grad_boxes1"][1:], atol=1e-6)


def test_clipping_equals_the_program():
    manifest, out = load("losses")
    given_boxes = jnp.asarray(manifest["checks"]["clip_box_in_xywh"], jnp.float32)
    for margin in (0, 10):
        found = boxes.clip_xywh(given_boxes, 240, 320, float(margin))
        np.testing.assert_allclose(found, out[f"clip_box_240x320_margin{margin}_f64"], atol=1e-4)


@given(any_box)
@settings(deadline=None, max_examples=30)
def test_conversions_are_inverse(values):
    box = jnp.asarray(values, jnp.float32)
    for there, back in (
        (boxes.xywh_to_xyxy, lambda corners: boxes.cxcywh_to_xywh(boxes.xyxy_to_cxcywh(corners))),
        (boxes.cxcywh_to_xyxy, boxes.xyxy_to_cxcywh),
        (boxes.xywh_to_cxcywh, boxes.cxcywh_to_xywh),
    ):
        np.testing.assert_allclose(back(there(box)), box, atol=1e-5)


MEASURES = [
    jax.jit(jax.value_and_grad(measure, argnums=(0, 1)))
    for measure in (lambda a, b: boxes.iou(a, b)[0], boxes.giou, boxes.ciou)
]


@given(st.one_of(any_box, degenerate), st.one_of(any_box, degenerate))
@example((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.2244952245721029e-36))
@settings(deadline=None, max_examples=60)
def test_gradients_are_finite_and_values_bounded_for_any_boxes(a, b):
    a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    for measure in MEASURES:
        value, gradients = measure(a, b)
        assert -1 - 1e-5 <= value <= 1 + 1e-5
        assert np.isfinite(gradients[0]).all() and np.isfinite(gradients[1]).all()


def test_equal_and_far_boxes():
    box, far = jnp.array([0.1, 0.2, 0.5, 0.8]), jnp.array([5.0, 5.0, 5.1, 5.1])
    for measure in (boxes.giou, boxes.ciou):
        np.testing.assert_allclose(measure(box, box), 1.0, atol=1e-6)
    assert boxes.giou(box, far) < -0.9
    assert boxes.iou(box, far)[0] == 0


def test_ciou_is_its_formula():
    a, b = np.array([0.0, 0.0, 2.0, 1.0]), np.array([0.0, 0.0, 2.0, 1.5])
    overlap, v = 2 / 3, 4 / np.pi**2 * (np.arctan(2 / 1) - np.arctan(2 / 1.5)) ** 2
    expected = overlap - 0.25**2 / (2**2 + 1.5**2) - v**2 / (1 - overlap + v)
    np.testing.assert_allclose(boxes.ciou(jnp.asarray(a), jnp.asarray(b)), expected, rtol=1e-5)
