import jax
import jax.numpy as jnp
import numpy as np

from trackers.nn import corner


def test_certain_corners_give_their_box():
    """A cell stands for its top left corner: cell (row 1, column 2) of a 4 x 8 map is the point x 2/8, y 1/4."""
    logits = np.full((2, 1, 4, 8), -1e4, np.float32)
    logits[0, 0, 1, 2], logits[1, 0, 3, 6] = 1e4, 1e4
    box = corner.decode_corners(corner.corner_maps(*jnp.asarray(logits)))
    np.testing.assert_allclose(box, [[0.5, 0.5, 0.5, 0.5]], atol=1e-6)


def test_uncertain_corners_meet_in_the_mean_of_the_cells():
    maps = corner.corner_maps(jnp.zeros((1, 4, 5)), jnp.zeros((1, 4, 5)))
    np.testing.assert_allclose(maps["corner_top_left"], np.full((1, 4, 5), 1 / 20), atol=1e-7)
    np.testing.assert_allclose(corner.decode_corners(maps), [[0.4, 0.375, 0, 0]], atol=1e-6)


def test_exchanged_corners_are_kept():
    logits = np.full((2, 1, 4, 4), -1e4, np.float32)
    logits[0, 0, 3, 3], logits[1, 0, 1, 1] = 1e4, 1e4
    box = corner.decode_corners(corner.corner_maps(*jnp.asarray(logits)))
    np.testing.assert_allclose(box, [[0.5, 0.5, -0.5, -0.5]], atol=1e-6)


def test_gradients_are_finite_where_the_corners_are_certain():
    logits = jnp.zeros((1, 4, 4)).at[0, 1, 1].set(1e4)
    gradient = jax.grad(lambda x: corner.decode_corners(corner.corner_maps(x, x)).sum())(logits)
    assert np.isfinite(gradient).all()
