"""The neural Kalman filter: equal to the plain filter before training, sound, bridges gaps, learns from made tracks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import trackers
from configs import neural_kalman
from data_pipelines import trajectories
from trackers import errors, objectives
from trackers.io import mot_files
from trackers.ops import kalman_filter
from trackers.tracking import smoothing as tracks_filter

CONFIG = neural_kalman.get_config("tiny")


@pytest.fixture(scope="module")
def model():
    return trackers.build(CONFIG.model)


@pytest.fixture(scope="module")
def variables(model):
    return trackers.init(model, jax.random.key(0))


def _batch(rows=4, step=0, split="train"):
    return next(trajectories.batches(CONFIG, step, range(rows), 0, split))


def _plain(observed, confidence, seen):
    """The textbook filter in float64, one track: gain from the inverse, covariance (I - K H) P."""
    transition = np.eye(8) + np.eye(8, k=4)
    noise = [np.asarray(x, np.float64) for x in (1 / 20, 1 / 160)]
    height = max(observed[0, 3], 1)
    p, v = noise[0] * height, noise[1] * height
    mean = np.concatenate([observed[0], np.zeros(4)]).astype(np.float64)
    covariance = np.diag(np.square([2 * p, 2 * p, 1e-2, 2 * p, 10 * v, 10 * v, 1e-5, 10 * v]))
    means = [mean]
    for z, c, there in zip(observed[1:], confidence[1:], seen[1:], strict=True):
        h = max(abs(mean[3]), 1)
        p, v = noise[0] * h, noise[1] * h
        mean = transition @ mean
        covariance = transition @ covariance @ transition.T + np.diag(np.square([p, p, 1e-2, p, v, v, 1e-5, v]))
        if there:
            p = noise[0] * max(abs(mean[3]), 1)
            spread = covariance[:4, :4] + np.diag(np.square([p, p, 1e-1, p])) * max(1 - c, 0.05)
            gain = covariance[:, :4] @ np.linalg.inv(spread)
            mean = mean + gain @ (z - mean[:4])
            covariance = covariance - gain @ covariance[:4]
        means.append(mean)
    return np.stack(means)


def test_untrained_is_the_plain_nsa_filter(model, variables):
    """Relative to coordinates of some 1000 pixels: float32 over 48 frames."""
    batch = _batch()
    track = jax.jit(model.apply)(variables, batch["observed"], batch["confidence"], batch["seen"])
    assert not batch["seen"].all()
    for row in range(4):
        expected = _plain(*(batch[name][row] for name in ("observed", "confidence", "seen")))
        np.testing.assert_allclose(track.filtered[row], expected, atol=2e-2, rtol=1e-5)


def test_boxes_there_and_back():
    boxes = np.random.default_rng(0).uniform(1, 500, (20, 4)).astype(np.float32)
    np.testing.assert_allclose(kalman_filter.to_boxes(kalman_filter.to_observation(boxes)), boxes, rtol=1e-5, atol=1e-3)


def test_sure_observations_move_the_state_more_and_covariance_stays_positive():
    state = kalman_filter.start(jnp.array([100.0, 100.0, 0.5, 80.0]))
    seen = jnp.array([110.0, 100.0, 0.5, 80.0])
    moved = []
    for confidence in (0.0, 0.5, 1.0):
        ahead = kalman_filter.predict(state, kalman_filter.process_noise(state.mean))
        after = kalman_filter.update(ahead, seen, kalman_filter.observation_noise(ahead.mean, jnp.float32(confidence)))
        moved.append(float(after.mean[0]))
        assert np.linalg.eigvalsh(np.asarray(after.covariance, np.float64)).min() > -1e-9
    assert 100 < moved[0] < moved[1] < moved[2] < 110


def test_a_gap_is_bridged_at_constant_velocity(model, variables):
    frames = np.arange(1, 31)
    boxes = np.stack([5.0 * frames, 2.0 * frames, np.full(30, 20.0), np.full(30, 40.0)], axis=1)
    tracks = mot_files.from_rows(frames, np.ones(30), boxes, np.full(30, 0.9))
    holed = tracks.select((frames < 18) | (frames > 22))
    filled = tracks_filter.smooth(model, variables, holed, largest_gap=5)
    assert filled.frames.tolist() == frames.tolist()
    np.testing.assert_allclose(filled.boxes[17:22], boxes[17:22], atol=1.5)
    assert (filled.confidence[17:22] == 0).all() and (filled.confidence[:17] == 0.9).all()
    # A larger gap starts the track anew, under its id, and adds nothing.
    apart = tracks_filter.smooth(model, variables, holed, largest_gap=4)
    assert apart.frames.tolist() == holed.frames.tolist()
    np.testing.assert_allclose(apart.boxes[17], boxes[22], atol=1e-3)


def test_tracks_are_filtered_alike_in_any_company(model, variables):
    batch = _batch()
    boxes = np.asarray(kalman_filter.to_boxes(batch["target"][:2]), np.float64).reshape(-1, 4)
    frames, ids = np.tile(np.arange(1, 49), 2), np.repeat([3, 7], 48)
    both = mot_files.from_rows(frames, ids, boxes)
    together = tracks_filter.smooth(model, variables, both)
    alone = tracks_filter.smooth(model, variables, both.select(both.ids == 7))
    kept = together.select(together.ids == 7)
    np.testing.assert_allclose(kept.boxes, alone.boxes, atol=2e-2)
    assert len(tracks_filter.smooth(model, variables, mot_files.empty())) == 0


@pytest.mark.slow
def test_training_beats_the_plain_filter(model, variables):
    objective = objectives.build(CONFIG.objective, model)
    optimizer = optax.adam(3e-3)

    @jax.jit
    def step(params, state, batch):
        (_, (_, _)), grads = jax.value_and_grad(objective, has_aux=True)(params, {}, batch)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, optax.global_norm(grads)

    evaluate = jax.jit(lambda params, batch: objective(params, {}, batch, train=False)[1][0])
    params = variables["params"]
    state, held_out = optimizer.init(params), _batch(128, split="validation")
    before = evaluate(params, held_out)
    stream = trajectories.batches(CONFIG, 0, range(32), 0, "train")
    for _ in range(120):
        params, state, norm = step(params, state, next(stream))
        assert np.isfinite(norm)
    after = evaluate(params, held_out)
    assert after["filtered_error"] < 0.9 * before["filtered_error"]
    assert after["predicted_error"] < before["predicted_error"]
    assert after["iou"] > before["iou"] and after["surprise"] < before["surprise"]


def test_gradients_are_finite_for_wild_input(model, variables):
    objective = objectives.build(CONFIG.objective, model)
    batch = _batch()
    batch["observed"] = batch["observed"].copy()
    batch["observed"][0, 5] = [1e6, -1e6, 50, 1e-3]
    batch["seen"] = batch["seen"].copy()
    batch["seen"][1, 1:] = False
    grads = jax.jit(jax.grad(lambda params: objective(params, {}, batch)[0]))(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_batches_are_a_function_of_seed_and_step():
    first, again = _batch(3, step=5), _batch(3, step=5)
    later = trajectories.batches(CONFIG, 4, range(3), 0, "train")
    next(later)
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
        np.testing.assert_array_equal(values, next(later)[name] if name == "observed" else again[name])
    assert first["seen"][:, 0].all() and (first["target"][..., 3] > 0).all()
    assert not np.array_equal(first["observed"], _batch(3, step=6)["observed"])


def test_ground_truth_windows(tmp_path):
    rows = [(f, i, 10 * f, 5, 20, 30) for i in range(6) for f in range(1, 61) if not (i == 5 and f == 30)]
    frames, ids, *boxes = np.array(rows, np.float64).T
    mot_files.write_truth(tmp_path / "v" / "gt" / "gt.txt", mot_files.from_rows(frames, ids, np.stack(boxes, 1)))
    assert (
        len(trajectories.read_windows(tmp_path, 48)) == 4
        and len(trajectories.read_windows(tmp_path, 48, "validation")) == 1
    )
    config = neural_kalman.get_config("mot")
    with config.unlocked():
        config.data.trajectories.mot = str(tmp_path)
    batch = next(trajectories.batches(config, 0, range(2), 0, "train"))
    assert batch["target"].shape == (2, 48, 4) and (batch["target"][..., 3] == 30).all()
    with pytest.raises(errors.InputError, match="no train track of 61 frames"):
        trajectories.read_windows(tmp_path, 61)


def test_wrong_settings():
    with pytest.raises(errors.InputError, match="model.hiden"):
        trackers.build({"name": "neural_kalman", "hiden": 3})
    with pytest.raises(ValueError, match="no variant 'x'"):
        neural_kalman.get_config("x")
