"""OSTrack against the program's numbers, and what its elimination does."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from configs import ostrack
from tests.recipes import image, load, weights
from trackers import convert
from trackers.nn import relation
from trackers.objectives.ostrack import keep_rate
from trackers.training import flops

TINY = {"name": "ostrack", "width": 48, "depth": 6, "heads": 3, "template_size": 128, "search_size": 128}
TINY |= {"head": {"channels": 16}, "elimination": {"layers": (2, 4), "keep": 0.7}}


def close(a, b, atol, **kwargs):
    np.testing.assert_allclose(np.asarray(a), b, atol=atol, rtol=0, **kwargs)


def tokens_of(kind, **fields):
    return {**TINY, "elimination": {**TINY["elimination"], "tokens": kind}, **fields}


@functools.cache
def recorded(case):
    manifest, out = load(case)
    inputs = [jnp.asarray(image(manifest, name).transpose(0, 2, 3, 1)) for name in ("template", "search")]
    return manifest, out, weights(manifest), (inputs[0][:, None], jnp.full((len(inputs[0]), 1, 4), 0.25), inputs[1])


def removed(prediction, layers):
    """Search tokens of each sample that leave in each of the layers (1-based), sorted."""
    there = np.asarray(prediction.division) == relation.ALL
    return [[np.flatnonzero(a & ~b) for a, b in zip(there[:, i - 1], there[:, i], strict=True)] for i in layers]


def check(prediction, out, prefix, layers, every=1):
    close(prediction.box, out[f"{prefix}pred_boxes"][:, 0], 1e-5)
    for name in ("score_map", "size_map", "offset_map"):
        close(np.moveaxis(np.asarray(prediction.maps[name]), -1, 1), out[f"{prefix}{name}"], 3e-5, err_msg=name)
    for i, leaving in enumerate(removed(prediction, layers)):
        np.testing.assert_array_equal(leaving, out[f"{prefix}removed_{i}"])
    searched = prediction.features["tokens"][:, -prediction.division.shape[2] :]
    close(searched[:, ::every], out[f"{prefix}search_tokens"], 3e-4)


@pytest.mark.parametrize("scan", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["center_point", "center_box", "all"])
def test_tiny_equals_the_program(kind, scan):
    config = tokens_of(kind, scan_layers=scan)
    _, out, state_dict, inputs = recorded("ostrack_tiny")
    model, variables = trackers.build(config), convert.to_variables(state_dict, config)
    check(model.apply(variables, *inputs, features=True), out, f"{kind}/", (2, 4))


@pytest.mark.parametrize("scan, remat", [(False, "none"), (True, "dots")])
def test_tokens_out_of_sight_are_as_good_as_gone(scan, remat):
    """The rate of training, traced: shapes stay, and the numbers are those of the program, which takes tokens out."""
    config = tokens_of("center_point", scan_layers=scan, remat=remat)
    _, out, state_dict, inputs = recorded("ostrack_tiny")
    model, variables = trackers.build(config), convert.to_variables(state_dict, config)
    run = jax.jit(lambda rate: model.apply(variables, *inputs, features=True, keep_rate=rate))
    check(run(0.85), out, "rate85/", (2, 4))
    check(run(0.7), out, "center_point/", (2, 4))
    assert np.all(np.asarray(run(1.0).division) == relation.ALL)


@pytest.mark.parametrize("rate", [0.85, None])
def test_training_pass_equals_the_program(rate):
    """Tokens masked by a rate, or taken out by a model that keeps as many."""
    keep = {"keep": 0.85} if rate is None else {}
    config = {**TINY, "elimination": {**TINY["elimination"], **keep}}
    manifest, out, state_dict, inputs = recorded("ostrack_tiny")
    model, variables = trackers.build(config), convert.to_variables(state_dict, config)
    rest = {name: value for name, value in variables.items() if name != "params"}

    def loss(params):
        options = {"train": True, "mutable": ["batch_stats"], "keep_rate": rate}
        prediction, _ = model.apply({"params": params, **rest}, *inputs, **options)
        maps = prediction.maps
        weight = jnp.linspace(0, 1, maps["score_map"].size).reshape(maps["score_map"].shape)
        sizes = jnp.sum(maps["size_map"] ** 2) + jnp.sum(maps["offset_map"] ** 2)
        return jnp.sum(maps["score_map"] * weight) + sizes, prediction

    (value, prediction), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    close(prediction.box, out["train/pred_boxes"][:, 0], 1e-5)
    np.testing.assert_allclose(value, out["train/loss"], rtol=1e-5)
    published = convert.from_variables({"params": grads}, config)
    for key, norm in manifest["train"]["gradient_norms"].items():
        # A convolution's bias before BatchNorm has no effect: its gradient is rounding.
        np.testing.assert_allclose(np.linalg.norm(published[key]), norm, rtol=1e-3, atol=1e-2, err_msg=key)
        if f"train/grad/{key}" in out:
            close(published[key], out[f"train/grad/{key}"], 2e-4 * np.abs(out[f"train/grad/{key}"]).max())


@pytest.mark.slow
def test_vitb256_equals_the_program():
    config = {"name": "ostrack", "scan_layers": True}
    _, out, state_dict, inputs = recorded("ostrack_vitb256_ce")
    model, variables = trackers.build(config), convert.to_variables(state_dict, config)
    prediction = jax.jit(lambda *x: model.apply(variables, *x, features=True))(*inputs)
    check(prediction, out, "center_point/", (4, 7, 10), every=16)


def test_without_elimination_all_tokens_stay():
    config = {**TINY, "elimination": {"layers": ()}}
    _, _, state_dict, inputs = recorded("ostrack_tiny")
    model, variables = trackers.build(config), convert.to_variables(state_dict, config)
    prediction = model.apply(variables, *inputs)
    assert np.all(np.asarray(prediction.division) == relation.ALL)
    kept = trackers.build({**TINY, "elimination": {"layers": (2, 4), "keep": 1.0}}).apply(variables, *inputs)
    close(prediction.box, kept.box, 1e-6)


@pytest.mark.parametrize("variant, billions", [("b256_ce", 22.64), ("b256", 30.91)])
def test_multiply_adds_with_and_without_elimination(variant, billions):
    """With the attention's products, which the paper's 21.5 G leave out."""
    model = trackers.build(ostrack.get_config(variant).model)
    assert round(flops.of_tracker(model)["whole"] / 1e9, 2) == billions


def test_the_keep_rate_falls_as_the_programs():
    rates = {epoch: float(keep_rate(jnp.int32(epoch), 20, 80, 0.7)) for epoch in (1, 19, 20, 40, 60, 100, 300)}
    for epoch, rate in rates.items():
        progress = min(max((epoch - 20) / 80, 0), 1)
        assert rate == pytest.approx(0.7 + 0.3 * (math.cos(math.pi * progress) + 1) / 2, abs=1e-6)
    assert [float(keep_rate(jnp.int32(epoch), 2, 0, 0.7)) for epoch in (1, 2, 3)] == pytest.approx([1.0, 0.7, 0.7])


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"layers": (0, 4)}, r"model.elimination.layers \(0, 4\) lie outside 1..6"),
        ({"layers": (7,)}, r"model.elimination.layers \(7,\) lie outside 1..6"),
        ({"keep": 0.0}, "model.elimination.keep must be above 0"),
        ({"tokens": "corner"}, "model.elimination.tokens must be one of"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(Exception, match=message):
        model = trackers.build({**TINY, "elimination": {**TINY["elimination"], **fields}})
        trackers.init(model, jax.random.key(0))
