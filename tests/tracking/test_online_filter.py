import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import families, programs
from trackers.errors import InputError
from trackers.tracking import online_filter, single_object

ROWS, COLUMNS, WIDTH = 5, 6, 4


def tokens(seed):
    return np.random.default_rng(seed).standard_normal((ROWS, COLUMNS, WIDTH)).astype(np.float32)


def expected_response(frames, centers, shares, shown):
    """The same in float64, written out cell by cell."""
    moments = bump = 0.0
    for frame, (x, y), share in zip(frames, centers, shares, strict=True):
        rows, targets, weights = [], [], []
        for i in range(ROWS):
            for j in range(COLUMNS):
                token = frame[i, j].astype(np.float64)
                rows.append([*(token / (np.linalg.norm(token) + 1e-6)), 0.3])
                targets.append(np.exp(-((j + 0.5 - x * COLUMNS) ** 2 + (i + 0.5 - y * ROWS) ** 2) / 2))
                weights.append(1 + 4 * targets[-1])
        a, t, w = np.array(rows), np.array(targets), np.array(weights) / np.sum(weights)
        moments = moments + share * ((a.T * w) @ a - moments)
        bump = bump + share * ((a.T * w) @ t - bump)
    ridge = 2e-3 * np.trace(moments) / len(bump) * np.eye(len(bump))
    a = shown.astype(np.float64).reshape(-1, WIDTH)
    a = np.hstack([a / (np.linalg.norm(a, axis=1, keepdims=True) + 1e-6), np.full((len(a), 1), 0.3)])
    return np.clip(a @ np.linalg.solve(moments + ridge, bump), 0, 1).reshape(ROWS, COLUMNS)


def test_it_is_a_ridge_regression_over_all_frames():
    frames, centers = [tokens(i) for i in range(3)], np.float32([[0.5, 0.5], [0.2, 0.7], [0.9, 0.4]])
    state = online_filter.start(np.stack(frames[:1]), centers[:1])
    for frame, center in zip(frames[1:], centers[1:], strict=True):
        state = online_filter.learned(state, frame, center, 0.25)
    found = online_filter.response(state, tokens(9))
    np.testing.assert_allclose(found, expected_response(frames, centers, [1, 0.25, 0.25], tokens(9)), atol=2e-4)


def test_the_first_frame_is_the_mean_of_its_views():
    frames, centers = np.stack([tokens(0), tokens(1)]), np.float32([[0.5, 0.5], [0.3, 0.6]])
    both = online_filter.start(frames, centers)
    alone = [online_filter.start(frames[i : i + 1], centers[i : i + 1]) for i in range(2)]
    np.testing.assert_allclose(both.moments, (alone[0].moments + alone[1].moments) / 2, rtol=1e-5)


def test_a_look_alike_is_told_apart():
    """Two places that are alike but for one number, before a background."""
    frame = np.float32([0, 0, 0, 1]) + 0.1 * tokens(0)
    frame[2, 1], frame[2, 4] = [3, 3, 1.5, 0], [3, 3, -1.5, 0]
    state = online_filter.start(frame[None], np.float32([[1.5 / COLUMNS, 2.5 / ROWS]]))
    found = np.asarray(online_filter.response(state, frame))
    assert found[2, 1] > 1.3 * found[2, 4]


VIDEO = np.random.default_rng(3).integers(0, 256, (5, 90, 120, 3), np.uint8)
BOX = np.float32([30, 20, 24, 20])


@pytest.fixture(scope="module")
def tiny():
    model, variables = families.tiny("grm")
    return model, variables


def tracker(model, **settings):
    return single_object.Tracker(model, {"filter_weight": 0.7, "filter_update": 0.2, **settings})


@pytest.mark.parametrize("settings", [{}, {"crop_aspect": 1.0, "lost_below": 0.2}])
def test_scan_and_vmap_equal_the_loop(tiny, settings):
    model, variables = tiny
    one = tracker(model, **settings)
    state, boxes = one.init(variables, VIDEO[0], BOX), []
    for frame in VIDEO[1:]:
        state, output = one.step(variables, state, frame)
        boxes.append(np.asarray(output.box))
    scanned = single_object.track(one, variables, VIDEO, BOX)
    np.testing.assert_allclose(scanned.box, boxes, atol=1e-3)
    both = jax.vmap(lambda box: single_object.track(one, variables, VIDEO, box, (90, 120)))(np.stack([BOX + 5, BOX]))
    np.testing.assert_allclose(both.box[1], boxes, atol=1e-3)


@functools.partial(jax.jit, static_argnums=0)
def looked(one, variables, state):
    """The score map of the first frame."""
    return one._look(variables, state, jnp.asarray(BOX), jnp.asarray(VIDEO[0]), None)[2].maps["score_map"][0, :, :, 0]


def test_what_it_sees_is_mixed_into_the_score_map(tiny):
    model, variables = tiny
    maps = {}
    for share in (0.0, 0.25, 1.0):
        one = tracker(model, filter_weight=share, window=0.0)
        state = one.init(variables, VIDEO[0], BOX)
        maps[share] = looked(one, variables, state)
        score = one.step(variables, state, VIDEO[0])[1].score
        assert float(score) == pytest.approx(float(maps[share].max()), abs=1e-4)
    np.testing.assert_allclose(maps[0.25], 0.75 * maps[0.0] + 0.25 * maps[1.0], atol=1e-4)
    # In the frame that it was learned from, the middle of the crop is what it sees best.
    best = np.unravel_index(np.argmax(maps[1.0]), maps[1.0].shape)
    assert np.abs(np.array(best) + 0.5 - np.array(maps[1.0].shape) / 2).max() <= 1.5


def test_frames_of_low_scores_teach_nothing(tiny, monkeypatch):
    model, variables = tiny
    one = tracker(model)
    state = one.init(variables, VIDEO[0], BOX)
    after = {}
    for limit in (0.0, 2.0):
        monkeypatch.setattr(online_filter, "SURE", limit)
        jax.clear_caches()
        after[limit] = one.step(variables, state, VIDEO[1])[0].filter
    assert not jnp.allclose(after[0.0].moments, state.filter.moments)
    np.testing.assert_array_equal(after[2.0].moments, state.filter.moments)


@pytest.mark.parametrize("family", ["mixformer_v2", "ostrack", "simtrack"])
def test_other_models_are_refused_in_a_line(family):
    model, variables = families.tiny(family)
    with pytest.raises(InputError, match="tracking.filter_weight needs a model with a center head"):
        tracker(model).init(variables, VIDEO[0], BOX)


def test_a_layer_that_is_not_there_is_refused(tiny):
    with pytest.raises(InputError, match="filter_layer=9"):
        tracker(tiny[0], filter_layer=9).init(tiny[1], VIDEO[0], BOX)


def test_without_it_nothing_is_kept(tiny):
    plain = single_object.Tracker(tiny[0], {})
    assert plain.init(tiny[1], VIDEO[0], BOX).filter is None


MANY_TARGETS = """
import jax, numpy as np
from trackers.tracking import online_filter

def response(tokens):
    center = np.full((1, 2), 0.5, np.float32)
    return online_filter.response(online_filter.start(tokens[None], center), tokens)

spec = jax.P("data")
mesh = jax.sharding.Mesh(jax.devices(), spec)
tokens = np.random.default_rng(0).standard_normal((16, 6, 6, 192), np.float32)
tokens = jax.device_put(tokens, jax.NamedSharding(mesh, spec))
step = jax.jit(jax.shard_map(jax.vmap(response), mesh=mesh, in_specs=spec, out_specs=spec))
seen = [step(tokens) for _ in range(60)]
print(np.asarray(seen[-1]).shape)
"""


def test_many_targets_on_two_devices_of_a_processor_do_not_wait_for_each_other():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", MANY_TARGETS]
    done = subprocess.run(command, cwd=programs.ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "(16, 6, 6)\n", done.stderr
