"""How templates' tokens and center head are told the template's box (model.template_position, template_sides)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from tests import families, recipes
from trackers import weights
from trackers.nn import stacking
from trackers.training import initial, schedules

TOLD = {"template_position": "box", "head": {"channels": 32, "template_sides": True}}


@pytest.fixture(scope="module")
def told():
    return families.tiny("grm", **{"template_position": "box"})


def test_tokens_get_the_learned_vector_scaled_by_the_covered_share(told):
    model, variables = told
    plain, _ = families.tiny("grm")
    template, _, _ = families.inputs(model, 2)
    boxes = jnp.array([[[0.25, 0.1, 0.5, 0.8]], [[0.1, 0.3, 0.85, 0.35]]], jnp.float32)
    untold = {"params": {k: v for k, v in variables["params"].items() if k != "box_position"}}
    here, there = (
        m.apply(v, template, boxes, method="embed_template") for m, v in ((model, variables), (plain, untold))
    )
    rows, columns = model.template_grid
    for n, (x, y, w, h) in enumerate(np.asarray(boxes)[:, 0]):
        covered = [
            np.clip(np.minimum(start + side, (np.arange(k) + 1) / k) - np.maximum(start, np.arange(k) / k), 0, 1) * k
            for start, side, k in ((y, h, rows), (x, w, columns))
        ]
        share = np.outer(*covered).reshape(-1, 1)
        added = share * np.asarray(variables["params"]["box_position"]["inside"])
        np.testing.assert_allclose(here[n] - there[n], added, atol=1e-5)


@pytest.mark.parametrize("family", [name for name in families.ONE_STREAM if name != "simtrack"])
def test_every_tracker_of_the_base_can_be_told_the_box(family):
    """Two boxes of one area give two predictions; without the vector they give one."""
    model, variables = families.tiny(family, template_position="box")
    template, _, search = families.inputs(model, 1)
    count = template.shape[1]
    wide, tall = (
        jnp.tile(jnp.array(box, jnp.float32), (1, count, 1)) for box in ((0.0, 0.35, 0.6, 0.3), (0.35, 0.0, 0.3, 0.6))
    )
    run = jax.jit(lambda variables, box: model.apply(variables, template, box, search).box)
    assert np.abs(run(variables, wide) - run(variables, tall)).max() > 1e-5
    silent = {**variables, "params": {**variables["params"], "box_position": {"inside": jnp.zeros(model.width)}}}
    np.testing.assert_allclose(run(silent, wide), run(silent, tall), atol=1e-6)


def test_the_head_is_told_the_sides_of_the_first_box():
    model = trackers.build(trackers.merged(trackers.to_plain(families.config("grm").model), TOLD))
    variables = recipes.random_variables(model)
    template, _, search = families.inputs(model, 2)
    boxes = jnp.array([[[0.2, 0.35, 0.6, 0.3]], [[0.35, 0.2, 0.3, 0.6]]], jnp.float32)
    cache = model.apply(variables, template, boxes, method="encode_template")
    np.testing.assert_allclose(cache["template_sides"], np.log([[0.6, 0.3], [0.3, 0.6]]), atol=1e-6)
    locate = jax.jit(lambda cache: model.apply(variables, cache, search, method="locate").maps["size_map"])
    swapped = {**cache, "template_sides": cache["template_sides"][::-1]}
    assert np.abs(locate(cache) - locate(swapped)).max() > 1e-4


def test_a_run_that_is_told_the_box_starts_at_the_numbers_of_weights_that_lack_it(tmp_path):
    plain, variables = families.tiny("grm")
    section = trackers.to_plain(families.config("grm").model)
    weights.save(tmp_path, variables, section)
    wanted = trackers.merged(section, TOLD)
    source = {"template_position": "grid", "head": {"template_sides": False}}
    fresh = ("params/box_position/", "params/template_sides/")
    start = initial.Start(wanted, str(tmp_path), source=source, fresh=fresh).variables(jax.random.key(0))
    added = stacking.flatten(start).keys() - stacking.flatten(variables).keys()
    assert added == {"params/box_position/inside", "params/template_sides/kernel"}
    inputs = families.inputs(plain, 2)
    before, after = (
        jax.jit(model.apply)(numbers, *inputs)
        for model, numbers in ((plain, variables), (trackers.build(wanted), start))
    )
    # Equal but for the rounding of two programs.
    np.testing.assert_allclose(before.box, after.box, atol=1e-6)
    for name in before.maps:
        np.testing.assert_allclose(before.maps[name], after.maps[name], atol=2e-6)


def test_what_tells_the_box_learns_at_the_full_rate():
    model = trackers.build(trackers.merged(trackers.to_plain(families.config("grm").model), TOLD))
    params = recipes.random_variables(model)["params"]
    rates = schedules.multipliers(params, schedules.multiplier_rules(0.1))
    assert (rates["box_position"]["inside"], rates["template_sides"]["kernel"]) == (1.0, 1.0)
    assert rates["encoder"]["patch_embed"]["kernel"] == 0.1


def test_another_name_is_refused():
    model = trackers.build({**trackers.to_plain(families.config("ostrack").model), "template_position": "boxes"})
    with pytest.raises(ValueError, match="model.template_position must be one of"):
        trackers.init(model, jax.random.key(0))
