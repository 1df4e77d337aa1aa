"""Pairs whose target has turned, or whose light has changed, since the template."""

import dataclasses

import jax
import numpy as np
import pytest

from data_pipelines.procedural import video
from data_pipelines.procedural.video import training_pairs

PLAIN = video.SyntheticConfig(template_size=24, search_size=48, backgrounds=2, families=3, poses=2)
COUNT = 96


@pytest.fixture(scope="module")
def banks():
    return video.banks_at(3, 0, PLAIN)


def pairs(banks, **changes):
    config = dataclasses.replace(PLAIN, **changes)
    made = jax.jit(lambda keys: training_pairs.pairs(keys, banks, config))(jax.random.split(jax.random.key(5), COUNT))
    return {name: np.asarray(value, np.float32) for name, value in made.items()}


@pytest.fixture(scope="module")
def plain(banks):
    return pairs(banks)


def changed(plain, other):
    """Which search crops differ by more than rounding, (COUNT,) bool."""
    return (np.abs(plain["search"] - other["search"]) > 2).mean((1, 2, 3)) > 0.02


@pytest.mark.parametrize("field", ["turn_probability", "relight_probability"])
def test_only_the_search_crops_of_some_pairs_change(banks, plain, field):
    other = pairs(banks, **{field: 0.5})
    assert np.abs(plain["template"] - other["template"]).max() <= 1
    np.testing.assert_allclose(plain["template_box"], other["template_box"], atol=1e-6)
    assert 0.3 < changed(plain, other).mean() < 0.7


def test_a_turned_target_has_another_box_of_the_same_area(banks, plain):
    turned = pairs(banks, turn_probability=1.0, search_center_jitter=0.0, search_scale_jitter=0.0)
    upright = pairs(banks, search_center_jitter=0.0, search_scale_jitter=0.0)
    # Boxes measure one unit in the search crop, whatever they show.
    for made in (turned, upright):
        np.testing.assert_allclose(made["search_box"][:, 2:].prod(1), PLAIN.search_factor**-2, rtol=1e-4)
    aspects = [np.log(made["search_box"][:, 2] / made["search_box"][:, 3]) for made in (turned, upright)]
    assert np.abs(aspects[0] - aspects[1]).max() > 0.5
    angles = jax.vmap(lambda key: training_pairs._turn(key, dataclasses.replace(PLAIN, turn_probability=1.0)))(
        jax.random.split(jax.random.key(0), 2000)
    )
    assert np.histogram(angles, bins=8, range=(-np.pi, np.pi))[0].min() > 200


def test_light_changes_what_is_seen_and_no_box(banks, plain):
    relit = pairs(banks, relight_probability=1.0)
    np.testing.assert_allclose(plain["search_box"], relit["search_box"], atol=1e-6)
    assert changed(plain, relit).mean() > 0.9
    ratio = relit["search"].mean((1, 2, 3)) / np.maximum(plain["search"].mean((1, 2, 3)), 1)
    assert ratio.min() > 0.15 and ratio.max() < 3.0
    assert np.quantile(ratio, 0.1) < 0.7 and np.quantile(ratio, 0.9) > 1.0
