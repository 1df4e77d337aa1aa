import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from trackers import errors, objectives
from trackers.objectives import center

TINY = {"name": "grm", "width": 32, "depth": 2, "heads": 2, "template_size": 32, "search_size": 64}
TINY |= {"head": {"channels": 8}}


def make(**fields):
    model = trackers.build(TINY)
    return objectives.build({"name": "center"} | fields, model), trackers.init(model, jax.random.key(0))


def batch(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "template": rng.integers(0, 256, (2, 1, 32, 32, 3), np.uint8),
        "template_box": np.full((2, 1, 4), 0.25, np.float32),
        "search": rng.integers(0, 256, (2, 64, 64, 3), np.uint8),
        "search_box": np.array([[0.3, 0.3, 0.4, 0.2], [0.1, 0.5, 0.3, 0.4]], np.float32),
    }


RNGS = {name: jax.random.key(i) for i, name in enumerate(("gumbel", "droppath", "dropout"))}


def test_loss_is_the_weighted_sum_and_terms_can_be_added():
    plain, variables = make()
    full, _ = make(entropy_weight=1.5, division_weight=0.5)
    loss, (metrics, stats) = plain(variables["params"], variables["batch_stats"], batch(), RNGS)
    expected = 2 * metrics["giou"] + 5 * metrics["l1"] + metrics["focal"]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    more, (terms, _) = full(variables["params"], variables["batch_stats"], batch(), RNGS)
    np.testing.assert_allclose(more, loss + 1.5 * terms["entropy"] + 0.5 * terms["division"], rtol=1e-5)
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (stats, variables["batch_stats"])), strict=True))


def test_evaluation_changes_nothing_and_needs_no_keys():
    objective, variables = make()
    _, (_, stats) = objective(variables["params"], variables["batch_stats"], batch(), train=False)
    assert stats is variables["batch_stats"]


def test_entropy_regularization_is_least_at_one_half():
    values = [float(center.entropy_regularization(jnp.array([[s]]))) for s in (0.0, 0.2, 0.5, 0.8, 1.0)]
    assert abs(values[2]) < 1e-4 and values[0] > values[1] > values[2] < values[3] < values[4]
    np.testing.assert_allclose(values[0], 1.0, atol=1e-4)


def test_division_supervision_prefers_interaction_inside_the_box_only():
    box = jnp.array([[0.25, 0.25, 0.24, 0.24]])
    inside = np.zeros((4, 4), bool)
    inside[1:2, 1:2] = True
    right = jnp.where(jnp.asarray(inside).reshape(1, 1, 16, 1), jnp.array([-9.0, 0.0]), jnp.array([0.0, -9.0]))
    wrong = right[..., ::-1]
    good, bad = (float(center.division_loss(jax.nn.log_softmax(x), box, (4, 4))) for x in (right, wrong))
    assert good < 0.01 and bad > 8


def test_division_terms_need_a_division():
    model = trackers.build(TINY | {"division": {"mode": "one_stream"}})
    variables = trackers.init(model, jax.random.key(0))
    objective = objectives.build({"name": "center", "division_weight": 1.0}, model)
    with pytest.raises(ValueError, match="divides"):
        objective(variables["params"], variables["batch_stats"], batch(), train=False)


@pytest.mark.parametrize("config", [{"name": "center_of_mass"}, {"name": "center", "giou": 2.0}])
def test_wrong_objectives_are_named(config):
    with pytest.raises(errors.InputError, match="objective"):
        objectives.build(config, trackers.build(TINY))


def _maps_that_know(box, rows, columns):
    """size_map and offset_map from which every cell decodes `box` (B,4) x,y,w,h."""
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    middle = (box[:, :2] + box[:, 2:] / 2) * [columns, rows]
    offset = middle[:, None, None] - np.stack([x, y], axis=-1)
    size = np.broadcast_to(box[:, None, None, 2:], offset.shape)
    return {"size_map": jnp.asarray(size, jnp.float32), "offset_map": jnp.asarray(offset, jnp.float32)}


def test_losses_around_the_center_are_zero_where_all_cells_know_the_box():
    box = batch()["search_box"]
    truth = jnp.asarray(np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1))
    losses = center.around_center_losses(_maps_that_know(box, 4, 6), box, truth, 0.7)
    np.testing.assert_allclose(losses, 0.0, atol=1e-6)


def test_losses_around_the_center_weigh_cells_by_their_distance():
    box = np.array([[0.1, 0.25, 0.5, 0.5]], np.float32)  # center (0.35, 0.5): 1.4 and 2 cells of 4
    truth = jnp.asarray([[0.1, 0.25, 0.6, 0.75]])
    maps = _maps_that_know(box, 4, 4)
    for column, row in ((1, 2), (2, 2), (3, 0)):
        wrong = {**maps, "offset_map": maps["offset_map"].at[0, row, column, 0].add(0.4)}  # a tenth of the crop
        _, l1 = center.around_center_losses(wrong, box, truth, 0.7)
        x, y = np.meshgrid(np.arange(4), np.arange(4))
        weights = np.exp(-((x - 1.4) ** 2 + (y - 2.0) ** 2) / (2 * 0.7**2))
        np.testing.assert_allclose(l1, weights[row, column] / weights.sum() * 0.05, rtol=1e-4)


def test_a_box_learned_around_the_center_replaces_that_of_the_best_cell():
    around, variables = make(box_spread=0.7)
    plain, _ = make()
    _, (metrics, _) = around(variables["params"], variables["batch_stats"], batch(), RNGS)
    _, (usual, _) = plain(variables["params"], variables["batch_stats"], batch(), RNGS)
    assert metrics["giou"] != usual["giou"] and metrics["l1"] != usual["l1"]
    for name in ("focal", "iou"):
        np.testing.assert_array_equal(metrics[name], usual[name])


def test_a_lower_heatmap_overlap_calls_more_cells_near():
    wide, variables = make(heatmap_overlap=0.1)
    narrow, _ = make()
    large = batch() | {"search_box": np.array([[0.1, 0.1, 0.75, 0.75]] * 2, np.float32)}
    losses = [o(variables["params"], variables["batch_stats"], large, RNGS)[1][0]["focal"] for o in (wide, narrow)]
    assert losses[0] < losses[1]
