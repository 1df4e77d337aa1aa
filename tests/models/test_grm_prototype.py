"""GRM's prototype (appendix C.1): one-stream in training, groups by score at inference; and the auxiliary loss."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from configs import grm
from tests.recipes import random_variables
from tests.training import support
from trackers import errors, objectives, weights
from trackers.nn import relation, stacking

TINY = {"name": "grm", "width": 32, "depth": 3, "heads": 2, "patch_size": 8, "template_size": 16, "search_size": 32}
TINY |= {"head": {"channels": 32}}
FIELDS = {"hidden": (16, 8), "portions": (0.25, 0.7), "shared_boundary": 3}
RNGS = {name: jax.random.key(i) for i, name in enumerate(("gumbel", "droppath", "dropout"))}
N_TEMPLATE, N_SEARCH = 4, 16


def build(**fields):
    return trackers.build(TINY | {"division": {"mode": "prototype", **FIELDS, **fields}})


@functools.cache
def variables():
    return random_variables(build())


def without_modules(tree):
    """Variables, or gradients of their params, of a model whose layers do not divide."""
    return {path: leaf for path, leaf in stacking.flatten(tree).items() if "/division/" not in path}


def of_one_stream():
    model = build(mode="one_stream")
    like = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    return model, stacking.unflatten(without_modules(variables()), like)


def inputs(batch=2):
    keys = jax.random.split(jax.random.key(0))
    template, search = (jax.random.normal(k, (batch, n, n, 3)) for k, n in zip(keys, (16, 32), strict=True))
    return template[:, None], jnp.full((batch, 1, 4), 0.25), search


def training_batch():
    template, box, search = inputs()
    search_box = jnp.array([[0.3, 0.3, 0.4, 0.2], [0.1, 0.5, 0.3, 0.4]])
    return {"template": template * 50 + 120, "template_box": box, "search": search * 50 + 120, "search_box": search_box}


def objective_of(model, **fields):
    return objectives.build({"name": "center", "division_weight": 1.0} | fields, model)


@functools.cache
def gradients(mode):
    """({path: gradient} of a step's loss, the same of its term "division" alone, metrics)."""
    model, values = (build(), variables()) if mode == "prototype" else of_one_stream()
    objective = objective_of(model, division_weight=float(mode == "prototype"))

    def loss(params):
        value, (metrics, _) = objective(params, values["batch_stats"], training_batch(), RNGS)
        return value, metrics

    def division(params):
        return loss(params)[1].get("division", 0.0)

    run = jax.jit(lambda params: (jax.grad(loss, has_aux=True)(params), jax.grad(division)(params)))
    (whole, metrics), part = run(values["params"])
    return *(stacking.flatten({"params": tree}) for tree in (whole, part)), metrics


@pytest.mark.slow
def test_training_leaves_the_attention_alone():
    """Values and gradients of everything but the modules are those of one_stream, bit for bit."""
    (mine, _, metrics), (right, _, others) = gradients("prototype"), gradients("one_stream")
    for name in ("giou", "l1", "focal", "iou"):
        np.testing.assert_array_equal(metrics[name], others[name])
    assert set(without_modules(mine)) == set(right)
    for path, gradient in right.items():
        np.testing.assert_array_equal(mine[path], gradient, err_msg=path)
    assert sum(bool(np.abs(gradient).max() > 0) for gradient in right.values()) > 60
    assert metrics["division_share"] == 1.0


def test_its_modules_learn_from_the_box_alone_and_nothing_else_does():
    whole, of_division, metrics = gradients("prototype")
    assert metrics["division"] > 0
    for path, gradient in of_division.items():
        if "/division/" in path:
            assert np.abs(gradient).max() > 0, path
            np.testing.assert_allclose(gradient, whole[path], rtol=1e-4, atol=1e-6)
        else:
            np.testing.assert_array_equal(gradient, 0, err_msg=path)


def test_the_auxiliary_loss_of_a_learned_division_reaches_modules_and_backbone():
    """The other half of appendix C.1: the very loss, in the mode that the tracking loss trains as well."""
    objective = objective_of(build(mode="learned"), giou_weight=0.0, l1_weight=0.0, focal_weight=0.0)
    values = variables()
    run = jax.grad(lambda params: objective(params, values["batch_stats"], training_batch(), RNGS)[0])
    found = stacking.flatten(jax.jit(run)(values["params"]))
    for path in ("encoder/block_1/division/logits/kernel", "encoder/block_0/mlp/fc1/kernel"):
        assert np.abs(found[path]).max() > 0


@functools.cache
def predictions():
    """One compiled program: (prototype, stacked, one sample at a time, frames scanned, all joined, one_stream, the
    training passes of stacked prototype and one_stream)."""
    model, values, (template, box, search) = build(), variables(), inputs()
    stacked, all_joined, (one_stream, bare) = model.clone(scan_layers=True), build(portions=1.0), of_one_stream()
    like = jax.eval_shape(lambda key: trackers.init(stacked, key), jax.random.key(0))
    restacked = stacking.unflatten(stacking.flatten(values), like)

    @jax.jit
    def run(values, restacked, bare):
        def one(*arrays):
            return model.apply(values, *(a[None] for a in arrays))

        cache = model.apply(values, template, box, method="encode_template")
        frames = jax.lax.scan(
            lambda _, x: (None, model.apply(values, cache, x, method="locate").division),
            None,
            jnp.stack([search, -search]),
        )[1]
        training = [
            m.apply(v, template, box, search, train=True, rngs=RNGS, mutable=["batch_stats"])[0]
            for m, v in ((stacked, restacked), (one_stream, bare))
        ]
        return (
            model.apply(values, template, box, search),
            stacked.apply(restacked, template, box, search),
            jax.tree.map(lambda x: x[:, 0], jax.vmap(one)(template, box, search)),
            frames,
            all_joined.apply(values, template, box, search),
            one_stream.apply(bare, template, box, search),
            training,
        )

    return jax.device_get(run(values, restacked, bare))


def test_groups_are_those_of_the_modules_scores():
    prediction = predictions()[0]
    assert prediction.division.shape == (2, 3, N_SEARCH) and (prediction.division[:, 0] == relation.ALL).all()
    for layer, joined in enumerate((4, 11)):
        scores = prediction.division_log_probs[:, layer, :, 1] - prediction.division_log_probs[:, layer, :, 0]
        for found, values in zip(prediction.division[:, layer + 1], scores, strict=True):
            ranked = found[np.argsort(-values, kind="stable")]
            expected = [relation.ALL] * (joined - 1) + [relation.BOUNDARY] * 3
            np.testing.assert_array_equal(ranked, expected + [relation.SEARCH] * (N_SEARCH - joined - 2))
    np.testing.assert_allclose(prediction.division_share, [[6 / 16, 13 / 16]] * 2)


def test_it_is_safe_under_jit_vmap_and_scan_and_stacked():
    whole, stacked, single, frames, *_ = predictions()
    for other in (stacked, single):
        np.testing.assert_allclose(other.box, whole.box, atol=1e-5)
        np.testing.assert_array_equal(other.division, whole.division)
    np.testing.assert_array_equal(frames[0], whole.division)
    assert (frames[1] != frames[0]).any()


def test_with_all_tokens_joined_it_is_one_stream():
    *_, all_joined, one_stream, _ = predictions()
    for name, values in one_stream.maps.items():
        np.testing.assert_allclose(all_joined.maps[name], values, atol=1e-5)
    np.testing.assert_array_equal(all_joined.division, one_stream.division)
    assert np.abs(predictions()[0].maps["size_map"] - one_stream.maps["size_map"]).max() > 1e-4


def test_stacked_layers_train_as_one_stream():
    one, other = predictions()[-1]
    for name, values in other.maps.items():
        np.testing.assert_allclose(one.maps[name], values, atol=1e-5)
    np.testing.assert_array_equal(one.division, other.division)
    assert one.division_log_probs.shape == (2, 2, N_SEARCH, 2)


SPLIT = """
import jax, numpy as np
from tests.models import test_grm_prototype as prototype
from trackers.training import sharding

mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
model, variables, arrays = prototype.build(), prototype.variables(), prototype.inputs(8)

def run(variables, arrays):
    found = model.apply(variables, *arrays)
    return found.division, found.maps

division, maps = jax.jit(run)(variables, arrays)
placed = jax.device_put(variables, sharding.shardings(variables, mesh))
arrays = jax.device_put(arrays, sharding.batch_sharding(mesh))
of_devices, split = jax.jit(sharding.under(mesh, run))(placed, arrays)
np.testing.assert_array_equal(of_devices, division)
for name, values in maps.items():
    np.testing.assert_allclose(split[name], values, atol=1e-5)
print("equal", np.unique(division))
"""


def test_eight_devices_divide_as_one():
    """A mesh that splits batch, parameters and heads."""
    where = {"env": support.environ(8), "cwd": support.ROOT}
    command = [sys.executable, "-c", SPLIT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **where)
    assert done.stdout.strip() == "equal [1 2 3]", done.stderr[-2000:]


def test_a_layers_attention_is_that_of_the_groups():
    """A layer's tokens against a softmax over each token's own group, in float64."""
    model, values, arrays = build(), variables(), inputs(1)
    prediction = jax.jit(lambda v: model.apply(v, *arrays, features=True))(values)
    before = np.asarray(prediction.features["layers"][0, 0], np.float64)
    params = jax.tree.map(lambda a: np.asarray(a, np.float64), values["params"]["encoder"]["block_1"])

    def norm(x, p):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * p["scale"] + p["bias"]

    qkv = np.einsum("nd,dthe->tnhe", norm(before, params["norm1"]), params["attention"]["qkv"]["kernel"])
    q, k, v = qkv + params["attention"]["qkv"]["bias"][:, None]
    categories = [relation.TEMPLATE] * N_TEMPLATE + prediction.division[0, 1].tolist()
    assert set(categories) == {0, 1, 2, 3}
    apart = [{0, 1}, {1, 2}]  # T and S, S and A: all else may look at each other
    attended = np.zeros_like(v)
    for i, a in enumerate(categories):
        keys = [j for j, b in enumerate(categories) if {a, b} not in apart]
        weights = np.exp(np.einsum("he,mhe->hm", q[i], k[keys]) / np.sqrt(q.shape[-1]))
        attended[i] = np.einsum("hm,mhe->he", weights / weights.sum(-1, keepdims=True), v[keys])
    out = params["attention"]["out"]
    x = before + np.einsum("nhe,hed->nd", attended, out["kernel"]) + out["bias"]
    hidden = norm(x, params["norm2"]) @ params["mlp"]["fc1"]["kernel"] + params["mlp"]["fc1"]["bias"]
    hidden = np.asarray(jax.nn.gelu(jnp.asarray(hidden), approximate=False), np.float64)
    x = x + hidden @ params["mlp"]["fc2"]["kernel"] + params["mlp"]["fc2"]["bias"]
    np.testing.assert_allclose(prediction.features["layers"][0, 1], x, atol=2e-4)


@pytest.mark.parametrize("fields", [{"division_weight": 0.0}, {"entropy_weight": 1.0}])
def test_an_objective_that_cannot_train_it_is_refused(fields):
    with pytest.raises(errors.InputError, match="set objective.division_weight to 1 and objective.entropy_weight to 0"):
        objective_of(build(), **fields)


@pytest.mark.parametrize("portions", [0, (1.5,), (0.5, 0.5, 0.5)])
def test_wrong_portions_are_one_line(portions):
    with pytest.raises(errors.InputError, match="model.division.portions") as caught:
        trackers.init(build(portions=portions), jax.random.key(0))
    assert "\n" not in str(caught.value)


def test_the_variant_is_the_published_run_but_for_the_division():
    config, plain = (trackers.to_plain(grm.get_config(name)) for name in ("b256_prototype", "b256"))
    changed = {line.partition(":")[0] for line in weights.differing_keys(plain, config)}
    assert {key for key in changed if not key.startswith("tracking.benchmarks.")} == {
        "variant",
        "model.division.mode",
        "model.division.shared_boundary",
        "objective.division_weight",
    }
    assert config["tracking"]["benchmarks"] == {}, "the thresholds are the learned division's"
