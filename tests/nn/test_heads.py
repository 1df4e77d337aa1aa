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


def test_the_average_box_is_that_of_the_cells_around_the_best():
    rng = np.random.default_rng(0)
    score = rng.random((2, 4, 5, 1)).astype(np.float32)
    score[0, 0, 4], score[1, 2, 1] = 30.0, 40.0  # the best at a corner, and inside
    size, offset = (rng.random((2, 4, 5, 2)).astype(np.float32) for _ in range(2))
    maps = {"score_map": score, "size_map": size, "offset_map": offset}
    for window, radius in ((0.0, 1), (0.6, 2)):
        found = heads.averaged_box(maps, window, radius)
        weight = score[..., 0] * (1 - window + window * heads.hann_window(4, 5))
        for b, (row, column) in enumerate([(0, 4), (2, 1)]):
            total, boxes = 0.0, np.zeros(4)
            for i in range(max(0, row - radius), min(4, row + radius + 1)):
                for j in range(max(0, column - radius), min(5, column + radius + 1)):
                    x, y = (j + offset[b, i, j, 0]) / 5, (i + offset[b, i, j, 1]) / 4
                    boxes += weight[b, i, j] * np.array([x, y, *size[b, i, j]])
                    total += weight[b, i, j]
            np.testing.assert_allclose(found[b], boxes / total, rtol=1e-4)
    single = heads.decode_windowed(jax.tree.map(jnp.asarray, maps), 0.6)[0]
    np.testing.assert_allclose(heads.averaged_box(maps, 0.6, 0), single, rtol=1e-5)
