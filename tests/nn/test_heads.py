import jax
import jax.numpy as jnp
import numpy as np

from tests.recipes import gen, image, load, weights
from trackers.nn import heads


def head_variables(w):
    params, stats = {}, {}
    for name, suffix in (("score", "ctr"), ("offset", "offset"), ("size", "size")):
        params[name], stats[name] = {}, {}
        for i in range(1, 5):
            key = f"conv{i}_{suffix}"
            params[name][f"conv{i}"] = {
                "kernel": w[f"{key}.0.weight"].transpose(2, 3, 1, 0),
                "bias": w[f"{key}.0.bias"],
            }
            params[name][f"norm{i}"] = {"scale": w[f"{key}.1.weight"], "bias": w[f"{key}.1.bias"]}
            stats[name][f"norm{i}"] = {"mean": w[f"{key}.1.running_mean"], "var": w[f"{key}.1.running_var"]}
        last = f"conv5_{suffix}"
        params[name]["conv5"] = {"kernel": w[f"{last}.weight"].transpose(2, 3, 1, 0), "bias": w[f"{last}.bias"]}
    return {"params": params, "batch_stats": stats}


def test_center_head_equals_the_program_where_the_clamp_is_active():
    manifest, out = load("losses")
    features = jnp.asarray(image(manifest, "feat").transpose(0, 2, 3, 1))
    maps = heads.CenterHead(32).apply(head_variables(weights(manifest)), features)
    for name in ("score", "size", "offset"):
        np.testing.assert_allclose(maps[f"{name}_map"], out[f"head_{name}"].transpose(0, 2, 3, 1), atol=1e-5)
    assert np.any(np.asarray(maps["score_map"]) == np.float32(1 - 1e-4))
    box, _ = heads.decode_center(**maps)
    np.testing.assert_allclose(box, out["head_bbox"], atol=1e-5)


def test_decoding_equals_the_program_with_ties():
    manifest, out = load("losses")
    draw = lambda name: gen(manifest["salt"], f"input/cal/{name}")  # noqa: E731
    score = draw("score").random((4, 1, 16, 16)).astype(np.float32)
    score[3] = 0.5
    score[3, 0, 5, 6] = score[3, 0, 9, 2] = 0.75
    size = draw("size").random((4, 2, 16, 16)).astype(np.float32)
    offset = draw("offset").standard_normal((4, 2, 16, 16)).astype(np.float32)
    box, best = heads.decode_center(*(jnp.asarray(m.transpose(0, 2, 3, 1)) for m in (score, size, offset)))
    np.testing.assert_allclose(box, out["cal_bbox"], atol=1e-6)
    np.testing.assert_allclose(best[:, None], out["cal_bbox_maxscore"], atol=1e-7)


def test_batch_norm_of_a_sharded_or_split_batch_uses_all_of_it():
    x = jax.random.normal(jax.random.key(0), (8, 3, 3, 4)) * 3 + 1
    norm = heads.BatchNorm()
    variables = norm.init(jax.random.key(0), x, True)
    y, updated = norm.apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.1 * x.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 + 0.1 * x.reshape(-1, 4).var(0, ddof=1), atol=1e-5)
