import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from trackers import errors, objectives
from trackers.nn.heads import Prediction

TINY = {"name": "simtrack", "width": 16, "depth": 1, "heads": 2, "template_size": 32, "search_size": 32}
TINY |= {"foveal_size": 16, "head": {"channels": 8}}


def make(**fields):
    model = trackers.build(TINY)
    return objectives.build({"name": "corners"} | fields, model), model


def loss_of(objective, box, truth):
    prediction = Prediction(box=jnp.asarray(box, jnp.float32), score=None, maps={})
    return objective.loss(prediction, jnp.asarray(truth, jnp.float32))


def test_loss_is_the_weighted_sum_of_giou_and_l1():
    truth = [[0.25, 0.25, 0.5, 0.5]]
    loss, metrics = loss_of(make()[0], [[0.5, 0.5, 0.5, 0.25]], truth)
    # IoU 1/2 and no empty hull; two of the four coordinates are 1/8 off.
    np.testing.assert_allclose([metrics["giou"], metrics["l1"], metrics["iou"]], [0.5, 1 / 16, 0.5], atol=1e-6)
    np.testing.assert_allclose(loss, 2 * 0.5 + 5 / 16, atol=1e-6)
    other, _ = loss_of(make(giou_weight=1.0, l1_weight=0.0)[0], [[0.5, 0.5, 0.5, 0.25]], truth)
    np.testing.assert_allclose(other, 0.5, atol=1e-6)
    assert loss_of(make()[0], [[0.5, 0.5, 0.5, 0.5]], truth)[0] < 1e-6


def test_exchanged_corners_still_teach():
    """The program has no gradient of GIoU for a batch with such a box; here each box is judged by itself."""
    objective, _ = make()
    truth = [[0.25, 0.25, 0.5, 0.5]] * 2
    boxes = jnp.array([[0.4, 0.5, -0.2, 0.3], [0.45, 0.5, 0.4, 0.4]])
    gradient = jax.jit(jax.grad(lambda box: loss_of(objective, box, truth)[0]))(boxes)
    assert np.isfinite(gradient).all() and np.all(np.abs(gradient).max(axis=1) > 0)
    alone = jax.jit(jax.grad(lambda box: loss_of(objective, box, truth[:1])[0]))(boxes[1:])
    np.testing.assert_allclose(2 * gradient[1], alone[0], atol=1e-6)


def test_training_pass_updates_statistics():
    objective, model = make()
    variables = trackers.init(model, jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = {
        "template": rng.integers(0, 256, (2, 1, 32, 32, 3), np.uint8),
        "template_box": np.full((2, 1, 4), 0.25, np.float32),
        "search": rng.integers(0, 256, (2, 32, 32, 3), np.uint8),
        "search_box": np.array([[0.3, 0.3, 0.4, 0.2], [0.1, 0.5, 0.3, 0.4]], np.float32),
    }
    given = variables["params"], variables["batch_stats"], batch
    _, (metrics, _) = jax.eval_shape(functools.partial(objective, train=False), *given)
    assert set(metrics) == {"loss", "giou", "l1", "iou"}
    _, (_, stats) = jax.jit(objective)(*given)
    assert not any(map(np.array_equal, *map(jax.tree.leaves, (stats, variables["batch_stats"]))))


def test_wrong_fields_are_named():
    with pytest.raises(errors.InputError, match="objective"):
        make(focal_weight=1.0)
