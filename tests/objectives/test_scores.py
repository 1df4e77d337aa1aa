import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.recipes import gen, load
from trackers.objectives import scores


@pytest.mark.parametrize("size, cells", [(256, 16), (320, 20), (64, 4), (224, 14)])
def test_heat_maps_equal_the_program(size, cells):
    manifest, out = load("losses")
    boxes = jnp.asarray(manifest["checks"]["heatmap_boxes_xywh_normalised"], jnp.float32)
    np.testing.assert_allclose(scores.gaussian_heatmap(boxes, (cells, cells)), out[f"heatmap_{size}"], atol=1e-6)


def test_heat_map_of_a_rectangular_grid_has_its_peak_in_the_box():
    heatmap = scores.gaussian_heatmap(jnp.array([[0.5, 0.2, 0.3, 0.2]]), (8, 12))
    assert np.unravel_index(np.argmax(heatmap[0]), (8, 12)) == (2, 8)
    assert heatmap.max() == 1.0


def _as_the_program_draws(center, radius, size):
    """CornerNet's draw_gaussian, as OSTrack has it."""
    sigma, offsets = (2 * radius + 1) / 6, np.arange(-radius, radius + 1)
    gaussian = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma**2))
    x, y = center
    left, right, top, bottom = min(x, radius), min(size - x, radius + 1), min(y, radius), min(size - y, radius + 1)
    heatmap = np.zeros((size, size))
    there = heatmap[y - top : y + bottom, x - left : x + right]
    drawn = gaussian[radius - top : radius + bottom, radius - left : radius + right]
    if min(there.shape) > 0 and min(drawn.shape) > 0:
        np.maximum(there, drawn, out=there)
    return heatmap


def test_tail_of_a_center_just_outside_the_map_is_drawn():
    heatmap = scores.gaussian_heatmap(jnp.array([[0.808, -0.029, 0.333, 0.172]]), (18, 18))
    np.testing.assert_allclose(heatmap[0, :3, 17], [0.0183, 0.1353, 0.0183], atol=1e-4)
    size = 18
    for side in (0.1, 0.333, 0.6):
        wh = np.array([side, side], np.float32)
        radius = max(int(scores.gaussian_radius(wh * size)), 0)
        # Cells of the center on every side and beyond every corner, far enough for nothing to reach in.
        cells = np.array([(x, y) for x in (-9, -3, -1, 0, 7, 17, 18, 19, 25) for y in (-9, -2, -1, 5, 17, 18, 20, 25)])
        boxes = np.concatenate([cells / size - wh / 2, np.broadcast_to(wh, cells.shape)], axis=1).astype(np.float32)
        want = [_as_the_program_draws(cell, radius, size) for cell in cells.tolist()]
        np.testing.assert_allclose(scores.gaussian_heatmap(jnp.asarray(boxes), (size, size)), want, atol=1e-6)


def test_focal_loss_and_gradient_equal_the_program():
    manifest, out = load("losses")
    score = gen(manifest["salt"], "input/score").random((6, 1, 16, 16)).astype(np.float32)
    score = jnp.asarray(np.clip(score, np.float32(1e-4), np.float32(1 - 1e-4)))[:, 0]
    target = jnp.asarray(out["heatmap_256"][:6])
    value, gradient = jax.value_and_grad(scores.focal_loss)(score, target)
    np.testing.assert_allclose(value, out["focal_loss"], rtol=1e-5)
    np.testing.assert_allclose(gradient, out["focal_grad"][:, 0], atol=1e-5 * np.abs(out["focal_grad"]).max())
    np.testing.assert_allclose(scores.focal_loss(score, target * 0.9), out["focal_loss_no_positive"], rtol=1e-5)


def test_focal_loss_is_finite_at_the_ends():
    target = jnp.array([[[1.0, 0.0], [0.3, 0.0]]])
    for value in (0.0, 1.0):
        loss, gradient = jax.value_and_grad(scores.focal_loss)(jnp.full((1, 2, 2), value), target)
        assert np.isfinite(loss) and np.isfinite(gradient).all()
