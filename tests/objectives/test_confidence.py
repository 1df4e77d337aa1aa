import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from tests import recipes
from trackers import objectives
from trackers.errors import InputError
from trackers.objectives import confidence

MODEL = {
    "name": "mixformer_v2", "width": 16, "depth": 1, "heads": 2, "template_size": 16, "search_size": 32,
    "head": {"bins": 8},
}  # fmt: skip


def test_score_loss_equals_the_program():
    manifest, _ = recipes.load("distill_stage1")
    logits = recipes.image(manifest, "rand/scores")
    labels = recipes.gen(manifest["salt"], "input/rand/score_labels").random(8) < 0.5
    value = confidence.score_loss(jnp.asarray(logits), jnp.asarray(labels, jnp.float32))
    np.testing.assert_allclose(value, manifest["values"]["rand/score_bce"], rtol=2e-5)


def test_objective():
    model = trackers.build(MODEL)
    variables = trackers.init(model, jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = {
        "template": rng.integers(0, 256, (4, 2, 16, 16, 3), np.uint8),
        "template_box": np.full((4, 2, 4), 0.25, np.float32),
        "search": rng.integers(0, 256, (4, 32, 32, 3), np.uint8),
        "search_box": np.full((4, 4), 0.3, np.float32),
        "label": np.float32([1, 0, 1, 0]),
    }
    objective = objectives.build({"name": "confidence"}, model)
    run = jax.jit(lambda v, b: objective(v["params"], v["batch_stats"], b))
    loss, (metrics, _) = run(variables, batch)
    assert loss == metrics["loss"] and 0 <= metrics["accuracy"] <= 1
    # What is shown instead of the target counts for the score only.
    moved = {**batch, "search_box": batch["search_box"] + np.float32([0, 0.2, 0, 0.2])[:, None]}
    assert run(variables, moved)[1][0] == metrics
    negative = run(variables, {**batch, "label": np.zeros(4, np.float32)})[1][0]
    assert negative["iou"] == 0 and np.isfinite(negative["loss"])


def test_needs_a_score():
    with pytest.raises(InputError, match="model.score_head=true"):
        objectives.build({"name": "confidence"}, trackers.build(MODEL | {"score_head": False}))
