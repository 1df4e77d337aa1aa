"""The papers' figures along a track: which images and maps stand where."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from trackers.nn import stacking
from trackers.tracking import single_object
from trackers.tracking.pictures import attention, maps, panels

SIMTRACK = {"name": "simtrack", "width": 16, "depth": 2, "heads": 2, "patch_size": 8, "template_size": 24}
SIMTRACK |= {"search_size": 32, "foveal_size": 0, "head": {"channels": 8}, "template_position": "grid"}
GRM = {"name": "grm", "width": 16, "depth": 6, "heads": 2, "patch_size": 8, "template_size": 16, "search_size": 32}
GRM |= {"head": {"channels": 8}, "division": {"hidden": (8, 8)}}
FRAMES = np.random.default_rng(1).integers(0, 256, (2, 40, 50, 3), np.uint8)
BOX = np.array([10.0, 12.0, 14.0, 9.0], np.float32)


def drawn(model):
    """Weights by NumPy."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    return jax.tree.map(lambda s: jnp.asarray(rng.standard_normal(s.shape), jnp.float32), shapes)


@pytest.mark.slow
def test_base_beside_ours():
    """SimTrack's Fig. 4: a row of the two-stream baseline, one of the tracker (layers stacked), over the same crop."""
    ours, base = (trackers.build(SIMTRACK | fields) for fields in ({"scan_layers": True}, {"interaction": ()}))
    variables, base_variables = drawn(ours), drawn(base)
    assert "blocks_0_1" in variables["params"]["encoder"]
    tracker, base_tracker = single_object.Tracker(ours), single_object.Tracker(base)
    figure = maps.Attention(tracker, variables, (), (base_tracker, base_variables))
    figure.start(FRAMES[0], BOX)
    state = tracker.init(variables, FRAMES[0], BOX)
    moved = state.replace(box=jnp.asarray(BOX) + jnp.array([5.0, 3.0, 0.0, 0.0]))
    rows = figure.rows("frame 7", moved, FRAMES[1], None)

    assert [label for label, _ in rows] == ["frame 7: Base", "frame 7: Ours"]
    for _, row in rows:
        assert [panel.title for panel in row] == ["exemplar", "search", "layer 1", "layer 2"]
        np.testing.assert_array_equal(row[0].image, state.online.templates[0])
    crop = maps.search_crop(tracker, moved, FRAMES[1])
    assert crop.shape == (32, 32, 3) and crop.dtype == np.uint8
    assert (crop != maps.search_crop(tracker, state, FRAMES[1])).any()
    search = maps.crops.normalize(jnp.asarray(crop, jnp.float32))[None]
    single = ours.clone(scan_layers=False)
    like = jax.eval_shape(lambda key: trackers.init(single, key), jax.random.key(0))
    restacked = stacking.unflatten(stacking.flatten(variables), like)
    base_cache = base_tracker.init(base_variables, FRAMES[0], BOX).cache
    for (_, row), part in zip(
        rows, ((base, base_variables, base_cache), (single, restacked, moved.cache)), strict=True
    ):
        np.testing.assert_array_equal(row[1].image, crop)
        for panel, layer in zip(row[2:], attention.target_attention(*part, search), strict=True):
            expected = panels.blend(crop, layer[0])
            # One compiled, one op by op: rounding moves a color by one entry of its table at most, 0.55 * 4.5 of 255.
            difference = np.abs(panel.image.astype(int) - expected)
            assert difference.max() <= 3 and difference.mean() < 0.1
            assert panel.caption.endswith(" %")
    assert any((a.image != b.image).any() for a, b in zip(rows[0][1], rows[1][1], strict=True))

    alone = maps.Attention(tracker, variables, (2,))
    alone.start(FRAMES[0], BOX)
    ((label, row),) = alone.rows("frame 7", moved, FRAMES[1], None)
    assert label == "frame 7" and [panel.title for panel in row] == ["exemplar", "search", "layer 2"]
    np.testing.assert_array_equal(row[2].image, rows[1][1][3].image)


def test_what_a_layer_keeps_is_light_and_the_rest_dark():
    """GRM's Fig. 1 to 3; the crop is 32 pixels of a window of 16, which begins at (9, 5) of the frame."""
    tracker = single_object.Tracker(trackers.build(GRM), {"search_factor": 1.5})
    figure = maps.Division(tracker)
    division = np.full((6, 16), 2)
    division[1] = [1, 2, 0, 1] * 4
    box = np.array([13.0, 9.0, 4.0, 8.0], np.float32)
    output = types.SimpleNamespace(division=division, box=box, window=np.array([9, 5, 16]))
    state = single_object.State(jnp.asarray(BOX), {}, None)
    ((label, row),) = figure.rows("frame 3", state, FRAMES[1], output)
    assert label == "frame 3" and [panel.title for panel in row] == ["search", "layer 2", "layer 4", "layer 6"]
    crop = row[0].image.astype(int)
    # Columns of 8 pixels: search-only, all, template's kind, search-only.
    assert (row[1].image[:, 8:24] == crop[:, 8:24]).all()
    np.testing.assert_allclose(row[1].image[:, :8], 0.4 * crop[:, :8], atol=1)
    np.testing.assert_allclose(row[1].image[:, 24:], 0.4 * crop[:, 24:], atol=1)
    assert row[1].caption.startswith("50 %") and row[2].caption.startswith("100 %")
    np.testing.assert_array_equal(row[2].image, crop)
    (left, top), width, height = box_of(row[0])
    np.testing.assert_allclose([left + 0.5, top + 0.5, width, height], [8, 8, 8, 16])


def box_of(panel):
    """(corner, width, height) of the rectangle that a panel's mark draws."""
    added = []
    panel.mark(types.SimpleNamespace(add_patch=added.append))
    return added[0].get_xy(), added[0].get_width(), added[0].get_height()


@pytest.mark.parametrize("fields, expected", [(GRM, True), (SIMTRACK, False)])
def test_which_trackers_divide(fields, expected):
    assert maps.divides(trackers.build(fields)) is expected


def test_layers_of_the_papers_figures():
    """SimTrack: 2, 4, ..., 12 of 12. GRM: 3, 7 and 11 of a ViT-B, whose layers 2 to 12 divide."""
    assert maps.every_second(12) == (2, 4, 6, 8, 10, 12)
    assert maps.every_second(24) == (4, 8, 12, 16, 20, 24)
    assert maps.every_second(3) == (1, 2, 3)
    assert maps.of_thirds(range(2, 13)) == (3, 7, 11)
    assert maps.of_thirds(range(1, 13)) == (3, 7, 11)
    assert maps.of_thirds(range(2, 25)) == (5, 13, 21)
    assert maps.of_thirds((4, 5, 6)) == (4, 5, 6)
    assert maps.of_thirds((2, 3)) == (2, 3) and maps.of_thirds((3,)) == (3,)
