import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from trackers import weights
from trackers.errors import InputError
from trackers.nn import stacking
from trackers.nn.blocks import Mlp
from trackers.training import initial

CONFIG = {
    "name": "mixformer_v2", "width": 16, "depth": 6, "heads": 2, "template_size": 16, "search_size": 32,
    "head": {"bins": 8}, "score_head": False,
}  # fmt: skip


def _variables(**changes):
    model = trackers.build(CONFIG | changes)
    shapes = jax.eval_shape(lambda: trackers.init(model, jax.random.key(0)))
    numbers = np.random.default_rng(len(changes))
    return jax.tree.map(lambda leaf: numbers.standard_normal(leaf.shape).astype(np.float32), shapes)


@pytest.mark.parametrize("scan", [False, True])
def test_chosen_layers_become_the_first_ones(scan):
    source, like = _variables(), _variables(depth=2, scan_layers=scan)
    made = initial.fit(source, like, layers=(2, 5))
    assert jax.tree.structure(made) == jax.tree.structure(like)
    given, found = stacking.flatten(source), stacking.flatten(made)
    for path, leaf in found.items():
        theirs = path.replace("block_1/", "block_5/").replace("block_0/", "block_2/")
        np.testing.assert_array_equal(leaf, given[theirs])


def test_narrower_mlps_keep_the_strongest_units():
    hidden, kept = 12, np.array([1, 4, 5, 10])
    rng = np.random.default_rng(0)
    wide = {"fc1": {"kernel": rng.standard_normal((4, hidden)), "bias": rng.standard_normal(hidden)}}
    wide["fc2"] = {"kernel": rng.standard_normal((hidden, 4)), "bias": rng.standard_normal(4)}
    # The other units do nothing: what remains is the same function.
    wide["fc2"]["kernel"][np.setdiff1d(np.arange(hidden), kept)] = 0
    tree = lambda mlp: {"params": {"encoder": {"block_0": {"mlp": mlp}}}}  # noqa: E731
    like = jax.tree.map(np.asarray, Mlp(4).init(jax.random.key(0), jnp.zeros((1, 4)))["params"])
    made = initial.fit(tree(wide), tree(like))["params"]["encoder"]["block_0"]["mlp"]
    np.testing.assert_array_equal(made["fc1"]["bias"], wide["fc1"]["bias"][kept])
    x = rng.standard_normal((3, 4)).astype(np.float32)
    narrow, whole = Mlp(4).apply({"params": made}, x), Mlp(hidden).apply({"params": wide}, x)
    np.testing.assert_allclose(narrow, whole, atol=1e-5)


def test_checkpoint_of_a_deeper_model_and_a_new_score_head(tmp_path):
    source = _variables()
    weights.save(tmp_path, source, CONFIG)
    init = {"checkpoint": str(tmp_path), "source": {"depth": 6, "score_head": False}, "layers": (0, 3)}
    config = CONFIG | {"depth": 2, "score_head": True}
    made = initial.Start(config, **init, fresh=("params/score/",)).variables(jax.random.key(0))
    np.testing.assert_array_equal(
        made["params"]["encoder"]["block_1"]["mlp"]["fc1"]["bias"],
        source["params"]["encoder"]["block_3"]["mlp"]["fc1"]["bias"],
    )
    assert "score" in made["params"]
    with pytest.raises(InputError, match=r"params/score/fc1/bias \(nothing there, \(16,\) here\).*config.init.fresh"):
        initial.Start(config, **init).variables(jax.random.key(0))
    with pytest.raises(InputError, match="has layers 0 to 5, not 7"):
        initial.Start(config, **init | {"layers": (1, 7)}).variables(jax.random.key(0))


def test_plain_start_is_the_checkpoint(tmp_path):
    source = _variables()
    weights.save(tmp_path, source, CONFIG)
    made = initial.Start(CONFIG, str(tmp_path)).variables(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, made, source)
