"""The focal similarity loss against the recorded values, and the objective around it.

Tolerance 2e-5 relative: the recorded float32 losses are 4e-7 from float64.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import ikun
from tests.recipes import given, load, random_variables
from trackers import build, errors, objectives, to_plain
from trackers.objectives.referring import Validation, similarity_loss


def number(text):
    return 0.0 if text == "None" else float(text)


def test_losses_and_gradients_equal_the_program():
    manifest, out = load("ikun_losses")
    target = jnp.asarray(given(manifest, "labels"))
    recorded = manifest["values"]["similarity_loss"]
    assert len(recorded) == 24
    for name, expected in recorded.items():
        scores, rho, gamma, reduction = name.split("/")
        options = number(gamma.split("=")[1]), number(rho.split("=")[1]), reduction
        run = jax.value_and_grad(lambda s, options=options: similarity_loss(s, target, *options))
        value, gradient = run(jnp.asarray(given(manifest, scores)))
        np.testing.assert_allclose(value, expected["loss64"], rtol=2e-5, err_msg=name)
        if f"grad/{name}" in out:
            np.testing.assert_allclose(gradient, out[f"grad/{name}"], atol=2e-6, err_msg=name)


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_gradients_are_finite_where_the_loss_vanishes(gamma):
    run = jax.grad(lambda s: similarity_loss(s, jnp.array([1.0, 0.0]), gamma))
    assert np.isfinite(run(jnp.array([200.0, -200.0]))).all()


def test_rows_without_weight_do_not_count():
    scores, target = jnp.array([0.3, -0.2, 0.9]), jnp.array([1.0, 0.0, 0.0])
    weight = jnp.array([1.0, 1.0, 0.0])
    for reduction in ("sum", "mean"):
        kept = similarity_loss(scores[:2], target[:2], reduction=reduction)
        np.testing.assert_allclose(similarity_loss(scores, target, reduction=reduction, weight=weight), kept, rtol=1e-6)


def test_several_phrases_of_a_clip_count_as_rows(tiny):
    _, model, _ = tiny
    objective = objectives.build({"name": "referring"}, model)
    scores, target = jnp.linspace(-1, 1, 6), jnp.array([1.0, 0, 1, 0, 0, 1])
    weight = jnp.array([1.0, 0.0])
    together = objective.loss(scores.reshape(2, 3), target.reshape(2, 3), weight)
    apart = objective.loss(scores, target, jnp.repeat(weight, 3))
    assert jax.tree.all(jax.tree.map(np.allclose, together, apart))


@pytest.fixture(scope="module")
def tiny():
    config = ikun.get_config("tiny")
    fields = to_plain(config.model) | {"visual_width": 32, "visual_depths": (1,), "local_size": 8, "global_size": 16}
    fields["joint_statistics"] = False
    model = build(fields)
    return config, model, random_variables(model)


def batch_of(model, size=2, seed=0):
    rng = np.random.default_rng(seed)
    sides = (model.local_size, model.global_size)
    local, whole = (rng.integers(0, 256, (size, 2, n, n, 3), np.uint8) for n in sides)
    tokens = rng.integers(1, 500, (size, model.transformer.length)).astype(np.int32)
    return {"local": local, "global": whole, "tokens": tokens, "target": np.arange(size, dtype=np.float32) % 2}


def test_objective_of_a_batch(tiny):
    config, model, variables = tiny
    objective = objectives.build(config.objective, model)
    batch = batch_of(model)
    rngs = {"dropout": jax.random.key(1)}

    @jax.jit
    def step(params, batch):
        run = jax.value_and_grad(lambda p: objective(p, variables["batch_stats"], batch, rngs), has_aux=True)
        return run(params)

    (loss, (metrics, statistics)), gradients = step(variables["params"], batch)
    assert metrics["loss"] == loss and metrics["meant"] == 0.5
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))
    assert np.abs(gradients["text"]["token_embedding"]).max() > 0
    assert jax.tree.structure(statistics) == jax.tree.structure(variables["batch_stats"])
    evaluate = jax.jit(lambda b: objective(variables["params"], variables["batch_stats"], b, train=False))
    _, (_, same) = evaluate(batch)
    assert jax.tree.all(jax.tree.map(np.array_equal, same, variables["batch_stats"]))


def test_validation_counts_over_all_batches():
    means = {"hit": 0.25, "found": 0.5, "meant": 0.25, "loss": 1.0}
    means |= {f"wrong_clip_{name}": value for name, value in {"hit": 0.0, "found": 0.0, "meant": 0.25}.items()}
    summary = Validation.summary(means)
    assert (summary["precision"], summary["recall"]) == (0.5, 1.0)
    assert summary["f1"] == pytest.approx(2 / 3) and summary["accuracy"] == 0.75
    assert (summary["wrong_clip_precision"], summary["wrong_clip_f1"]) == (0.0, 0.0)
    seen = {}

    def run(batch):
        seen.update(batch)
        return 0.0, ({"hit": 1.0, "found": 2.0, "meant": 3.0, "loss": 4.0}, {})

    batch = {name: jnp.arange(3.0) for name in ("local", "global", "tokens", "target")}
    control = Validation.control(run, batch)
    assert {name: seen[name].tolist()[0] for name in seen} == {"local": 2, "global": 2, "tokens": 0, "target": 0}
    assert control == {"wrong_clip_hit": 1.0, "wrong_clip_found": 2.0, "wrong_clip_meant": 3.0}


@pytest.mark.parametrize("change, says", [({"reduction": "max"}, "reduction"), ({"alpha": 1}, "alpha")])
def test_wrong_settings_are_named(change, says):
    with pytest.raises(errors.InputError, match=says):
        objectives.build({"name": "referring"} | change, None)
