import numpy as np
import pytest

from tests.recipes import load, weights
from trackers.nn import tokens


@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
@pytest.mark.parametrize("n", [6, 8, 16, 20, 24])
def test_resized_grids_equal_the_program(method, n):
    manifest, out = load("grm_tiny")
    grid = weights(manifest)["backbone.pos_embed"][0, 1:, :8].reshape(14, 14, 8)
    found = tokens.resize_grid(grid, (n, n), method)
    np.testing.assert_allclose(found, out[f"interp/{method}_14_to_{n}_ch0-7"][0].transpose(1, 2, 0), atol=1e-6)


def test_resizing_to_the_same_grid_is_the_identity():
    grid = np.random.default_rng(0).standard_normal((5, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(tokens.resize_grid(grid, (5, 7)), grid, atol=1e-6)


def test_sincos_positions_tell_rows_from_columns():
    table = tokens.sincos_positions((3, 5), 16).reshape(3, 5, 16)
    np.testing.assert_array_equal(table[0, :, 8:], np.broadcast_to(table[0, 0, 8:], (5, 8)))
    np.testing.assert_array_equal(table[:, 0, :8], np.broadcast_to(table[0, 0, :8], (3, 8)))
    np.testing.assert_allclose(table[0, 2, 0], np.sin(2.0), atol=1e-6)
    assert len(np.unique(table.reshape(15, 16).round(5), axis=0)) == 15
    with pytest.raises(ValueError, match="divisible by 4"):
        tokens.sincos_positions((2, 2), 10)


def test_grid_of_any_size():
    assert tokens.grid_of((64, 97), 16) == (4, 6)
    with pytest.raises(ValueError, match="smaller than one patch"):
        tokens.grid_of(8, 16)


@pytest.mark.parametrize("kind, rows", [("learned", 1 + 6), ("interpolated", 1 + 4), ("sincos", None)])
def test_row_of_the_class_token_is_never_resized(kind, rows):
    asked = []

    def param(name, init, shape):
        asked.append(shape[0])
        return np.arange(shape[0] * 8, dtype=np.float32).reshape(shape)

    plain = tokens.position_table(param, "p", (2, 3), 8, kind, (2, 2), "bilinear")
    table = tokens.position_table(param, "p", (2, 3), 8, kind, (2, 2), "bilinear", extra=1)
    assert plain.shape == (6, 8) and table.shape == (7, 8)
    assert asked == ([rows - 1, rows] if rows else [])
    if kind == "sincos":
        assert not np.any(table[0])
        np.testing.assert_array_equal(table[1:], plain)
    else:
        np.testing.assert_array_equal(table[0], np.arange(8))
        # The second table's cells begin a row later: 8 more in every number.
        np.testing.assert_allclose(table[1:], plain + 8, atol=1e-5)


def test_box_share_is_the_covered_area_of_each_cell():
    grid = (3, 4)
    boxes = np.random.default_rng(0).uniform([-0.3, -0.3, 0.1, 0.1], [0.7, 0.7, 1.2, 1.2], (6, 4)).astype(np.float32)
    expected = np.zeros((6, *grid))
    for n, (x, y, w, h) in enumerate(boxes):
        for row in range(grid[0]):
            for column in range(grid[1]):
                height = min(y + h, (row + 1) / grid[0]) - max(y, row / grid[0])
                width = min(x + w, (column + 1) / grid[1]) - max(x, column / grid[1])
                expected[n, row, column] = max(height, 0) * max(width, 0) * grid[0] * grid[1]
    assert expected.min() == 0 and expected.max() > 0.999 and ((expected > 0.1) & (expected < 0.9)).any()
    np.testing.assert_allclose(tokens.box_share(boxes, grid), expected, atol=2e-6)
