"""What holds for every one-stream tracker, whatever its token layout, relations and head (nn/one_stream.py)."""

import functools
import sys
import types
import typing

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
import train
from tests import families
from tests.training import support
from trackers import convert
from trackers.errors import InputError
from trackers.nn import stacking
from trackers.tracking import single_object
from trackers.training import flops, state

every_family = pytest.mark.parametrize("family", families.ONE_STREAM)


def close(a, b, atol=1e-5):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol, rtol=0)


@functools.cache
def predictions(family):
    """A batch of three through the model in one compiled program: as it is, in two steps, permuted, one by one."""
    model, variables = families.tiny(family)
    order = jnp.array([2, 0, 1])

    @jax.jit
    def run(variables, *inputs):
        template, box, search = inputs
        cache = model.apply(variables, template, box, method="encode_template")
        one = jax.vmap(lambda *x: model.apply(variables, *(y[None] for y in x)))(*inputs)
        return (
            model.apply(variables, *inputs, features=True),
            model.apply(variables, cache, search, method="locate"),
            model.apply(variables, *(x[order] for x in inputs)),
            jax.tree.map(lambda x: x[:, 0], one),
        )

    return run(variables, *families.inputs(model)), np.asarray(order)


@every_family
def test_a_prediction_has_the_shapes_and_meaning_of_the_contract(family):
    (whole, *_), _ = predictions(family)
    model, _ = families.tiny(family)
    assert whole.box.shape == (3, 4) and whole.box.dtype == jnp.float32
    assert whole.maps and all(leaf.shape[0] == 3 for leaf in whole.maps.values())
    if whole.score is not None:
        assert whole.score.shape == (3,) and np.all((whole.score > 0) & (whole.score < 1)), "a probability"
    if whole.division is not None:
        assert whole.division.shape == (3, model.depth, np.prod(model.search_grid))
        assert set(np.unique(whole.division)) <= {0, 1, 2}
    assert whole.features["tokens"].shape[::2] == (3, model.width)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(whole))


@every_family
def test_the_full_forward_is_locate_of_encode_template(family):
    (whole, in_two, *_), _ = predictions(family)
    close(in_two.box, whole.box)
    for name, values in whole.maps.items():
        close(in_two.maps[name], values, 1e-4)


@every_family
def test_samples_do_not_know_of_each_other(family):
    (whole, _, permuted, one), order = predictions(family)
    close(permuted.box, whole.box[order])
    close(one.box, whole.box)


@every_family
def test_template_and_search_crop_both_count(family):
    model, variables = families.tiny(family)
    template, box, search = families.inputs(model, 1)
    run = jax.jit(lambda t, x: model.apply(variables, t, box, x).box)
    boxes = run(template, search)
    assert np.abs(run(-template, search) - boxes).max() > 1e-6 and np.abs(run(template, -search) - boxes).max() > 1e-6


@every_family
@pytest.mark.slow
def test_stacked_layers_and_half_precision_compute_the_same(family):
    model, variables = families.tiny(family)
    stacked = model.clone(scan_layers=True, remat="dots")
    like = jax.eval_shape(lambda key: trackers.init(stacked, key), jax.random.key(0))
    restacked = stacking.unflatten(stacking.flatten(variables), like)
    half = model.clone(dtype="bfloat16")
    inputs = families.inputs(model)
    one, other = jax.jit(lambda a, b: (stacked.apply(a, *inputs), half.apply(b, *inputs)))(restacked, variables)
    (whole, *_), _ = predictions(family)
    close(one.box, whole.box)
    assert other.box.dtype == jnp.float32 and np.isfinite(other.box).all()


@every_family
def test_the_model_says_what_a_tracker_goes_on_with(family):
    (whole, *_), _ = predictions(family)
    model, _ = families.tiny(family)
    box, score = model.decode(whole, 0.0)
    close(box, whole.box)
    box, score = model.decode(whole, 1.0)
    assert box.shape == (3, 4) and (score is None or score.shape == (3,))


@every_family
def test_a_tracker_follows_with_it(family):
    model, variables = families.tiny(family)
    tracker = single_object.Tracker(model, {**families.config(family).tracking, "benchmarks": {}})
    frames = np.random.default_rng(0).integers(0, 256, (3, 90, 120, 3), np.uint8)
    output = single_object.track(tracker, variables, frames, (40, 30, 24, 20))
    assert output.box.shape == (2, 4) and np.isfinite(output.box).all()


@every_family
@pytest.mark.slow
def test_a_step_of_training_moves_every_parameter(family):
    config = support.family_config(family)
    model, objective, optimizer = support.parts(config)
    before = support.filled(model)
    step = jax.jit(functools.partial(train.train_step, objective=objective, optimizer=optimizer))
    after, metrics = step(state.create(before, optimizer), support.batch(config, 0, range(8)), jax.random.key(0))
    assert np.isfinite(metrics["loss"]) and metrics["bad_leaf"] == -1
    moved = support.leaves_equal(after.params, before["params"])
    still = {name for name, _ in state.named_leaves(after.params)} - set(moved)
    assert not [name for name in still if not name.startswith("score/")], "the objective reaches all but a score head"


@pytest.mark.parametrize("family", [name for name in families.ONE_STREAM if families.is_published(name)])
def test_variables_go_to_the_published_names_and_back(family):
    config = trackers.to_plain(families.config(family).model)
    _, variables = families.tiny(family)
    again = convert.to_variables(convert.from_variables(variables, config), config)
    assert not support.leaves_equal(again, jax.tree.map(np.asarray, variables))


@every_family
def test_its_cost_is_counted(family):
    counts = flops.of_tracker(families.tiny(family)[0])
    assert 0 < counts["search"] <= counts["whole"] <= counts["template"] + counts["search"]


class Own(nn.Module):
    """A tracker of one's own, with types that are open or written otherwise than ours."""

    width: "int" = 8
    dtype: typing.Any = None
    layers: tuple = ()
    stride: typing.Optional[int] = None  # noqa: UP045


def test_fields_whose_types_are_open_are_taken_as_they_are(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers.models.own", types.SimpleNamespace(Model=Own))
    given = {"width": 4, "dtype": jnp.bfloat16, "layers": ("a",), "stride": 2}
    assert trackers.build({"name": "own", **given}) == Own(**given)
    with pytest.raises(InputError, match="model.width must be from 1 to 65536, got 0"):
        trackers.build({"name": "own", "width": 0})
    with pytest.raises(InputError, match="model.layers must be a tuple, got 3"):
        trackers.build({"name": "own", "layers": 3})
