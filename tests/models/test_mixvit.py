"""MixViT against the numbers recorded from the authors' program; tolerances as in test_mixformer_v2.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from tests.recipes import image, load, weights
from trackers import convert, errors
from trackers.nn.corner import PyramidBranch
from trackers.ops import boxes

TINY = {
    "name": "mixvit", "width": 96, "depth": 3, "heads": 3, "template_size": 32, "search_size": 64,
    "head": {"channels": 32},
}  # fmt: skip
SMALL = TINY | {"width": 32, "depth": 1, "heads": 2, "head": {"channels": 8}}
SCORED = SMALL | {"score_head": True, "head": {"kind": "corner", "channels": 8}}
MARGINALS = {"t": ("top_left", 2), "l": ("top_left", 1), "b": ("bottom_right", 2), "r": ("bottom_right", 1)}


def close(found, expected, atol):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=atol, rtol=0)


def check(prediction, out, prefix=""):
    close(prediction.box, out[f"{prefix}pred_boxes"][:, 0], 5e-6)
    for corner, short in (("top_left", "tl"), ("bottom_right", "br")):
        found = prediction.maps[f"corner_{corner}"]
        close(found.reshape(len(found), -1), out[f"{prefix}prob_{short}"], 5e-6)
        if f"{prefix}logit_{short}" in out:
            logits = prediction.maps[f"corner_{corner}_logits"]
            close(logits.reshape(len(found), -1), out[f"{prefix}logit_{short}"], 1e-4)
    for edge, (corner, axis) in MARGINALS.items():
        if f"{prefix}marg_{edge}" in out:
            close(jnp.sum(prediction.maps[f"corner_{corner}"], axis=axis), out[f"{prefix}marg_{edge}"], 5e-6)


@functools.cache
def tiny_teacher():
    """The recorded teacher of the distillation's first stage: (outputs, published weights, templates, search)."""
    manifest, out = load("distill_stage1")
    state_dict = {k.removeprefix("teacher."): v for k, v in weights(manifest).items() if k.startswith("teacher.")}
    templates = jnp.asarray(image(manifest, "template_images").transpose(1, 0, 3, 4, 2))
    return out, state_dict, templates, jnp.asarray(image(manifest, "search_images")[0].transpose(0, 2, 3, 1))


@pytest.mark.parametrize("scan", [False, True])
def test_tiny_equals_the_program(scan):
    out, state_dict, templates, search = tiny_teacher()
    config = TINY | {"scan_layers": scan}
    model = trackers.build(config)
    variables = convert.to_variables(state_dict, config)
    found = jax.jit(lambda v, t, s: model.apply(v, t, None, s))(variables, templates, search)
    check(found, out, "tiny/teacher/")
    assert found.score is None


@pytest.mark.slow
@pytest.mark.parametrize("name, kind", [("mixvit_b", "corner_up"), ("mixvit_b_corner", "corner")])
def test_full_size_equals_the_program(name, kind):
    manifest, out = load(name)
    config = {"name": "mixvit", "scan_layers": True, "head": {"kind": kind}}
    model, variables = trackers.build(config), convert.to_variables(weights(manifest), config)
    images = {key: jnp.asarray(image(manifest, key).transpose(0, 2, 3, 1)) for key in manifest["inputs"]}
    templates = jnp.stack([images["template"], images["online_template"]], axis=1)
    run = jax.jit(lambda v, t, s: model.apply(v, t, None, s, features=True))
    prediction = run(variables, templates, images["search"])
    check(prediction, out)
    spans = zip(("template", "online_template", "search"), (8, 8, 18), (0, 64, 128), strict=True)
    for span, side, first in spans:
        tokens = prediction.features["tokens"][:, first : first + side * side]
        maps = tokens.reshape(2, side, side, 768).transpose(0, 3, 1, 2)
        close(maps[:, ::24, ::3, ::3], out[f"{span}_map"], 1e-4)


def inputs(batch=2, count=2):
    keys = jax.random.split(jax.random.key(0))
    return jax.random.normal(keys[0], (batch, count, 32, 32, 3)), jax.random.normal(keys[1], (batch, 64, 64, 3))


@functools.cache
def scored():
    model = trackers.build(SCORED)
    return model, trackers.init(model, jax.random.key(0))


def test_score_module_judges_the_box_and_the_static_template():
    model, variables = scored()
    templates, search = inputs(count=3)
    options = {"features": True}
    run = jax.jit(lambda t, s, box: model.apply(variables, t, None, s, score_box=box, **options).maps["score_logits"])
    given = jnp.array([[0.1, 0.2, 0.6, 0.7]] * 2)
    score = run(templates, search, given)
    assert score.shape == (2,)
    assert np.abs(run(templates, search, given + 0.3) - score).min() > 1e-6
    cached = jax.jit(lambda t, s: model.apply(variables, t, None, s))(templates, search)
    close(cached.maps["score_logits"], run(templates, search, boxes.cxcywh_to_xyxy(cached.box)), 1e-5)


def test_score_module_goes_to_the_published_names_and_back():
    _, variables = scored()
    published = convert.from_variables(variables, SCORED)
    assert published["score_branch.score_token"].shape == (1, 1, 32)
    assert published["score_branch.proj_q.1.weight"].shape == (32, 32)
    assert {f"score_branch.score_head.layers.{i}.weight" for i in range(3)} <= set(published)
    again = convert.to_variables(published, SCORED)
    jax.tree.map(np.testing.assert_array_equal, variables, again)
    with pytest.raises(errors.InputError, match="unexpected: score_branch"):
        convert.to_variables(published, SCORED | {"score_head": False})


def test_pyramid_trains_and_moves_its_statistics():
    branch = PyramidBranch(8)
    features = jax.random.normal(jax.random.key(0), (2, 2, 3, 4))
    variables = jax.jit(branch.init, static_argnums=2)(jax.random.key(1), features, False)

    def loss(params):
        logits, updated = branch.apply({**variables, "params": params}, features, True, mutable=["batch_stats"])
        assert logits.shape == (2, 8, 12)
        return jnp.sum(jnp.square(logits)), updated["batch_stats"]

    gradients, statistics = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert np.abs(gradients["adjust2"]["conv1"]["kernel"]).max() > 0
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 0, variables["batch_stats"], statistics)
    assert all(jax.tree.leaves(moved))


def test_rectangular_crops_and_both_heads():
    for kind, cells in (("corner", (4, 6)), ("corner_up", (16, 24))):
        model = trackers.build(SMALL | {"search_size": (64, 96), "head": {"kind": kind, "channels": 8}})
        shapes = jax.eval_shape(lambda m=model: m.init_with_output(jax.random.key(0), *trackers.example_inputs(m))[0])
        assert shapes.maps["corner_top_left"].shape == (1, *cells)


@pytest.mark.parametrize(
    "change, says", [({"head": {"kind": "center"}}, "model.head.kind"), ({"head": {"channels": 4}}, "head.channels")]
)
def test_wrong_configs_are_named(change, says):
    with pytest.raises(errors.InputError, match=says):
        trackers.init(trackers.build(TINY | change), jax.random.key(0))
