"""Lost and found: the rule against numbers, where it looks, off by default, and that a target comes back."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from configs import grm
from data_pipelines.procedural import video
from tests import families
from trackers import weights
from trackers.errors import InputError
from trackers.tracking import lockstep, recovery, single_object

BOX = np.float32([30, 25, 24, 20])
BELOW, ABOVE, AFTER = 0.3, 0.7, 3


def _judged(said, start=None):
    """[(lost, sure x)] of scores, the box of frame t at x = t."""
    sighting, seen = recovery.start(jnp.asarray(BOX)) if start is None else start, []
    for t, score in enumerate(said):
        box = jnp.float32([t, 0, 10, 10])
        sighting = recovery.judge(sighting, box, jnp.float32(score), BELOW, ABOVE, AFTER)
        seen.append((bool(sighting.lost), float(sighting.sure[0])))
    return seen


def test_two_thresholds_and_patience():
    said = [0.9, 0.2, 0.2, 0.5, 0.2, 0.2, 0.2, 0.5, 0.69, 0.7, 0.5]
    # Lost by the third low score in a row, found by the first that is high; the last box that was not low is kept.
    lost = [False] * 6 + [True] * 3 + [False] * 2
    sure = [0, 0, 0, 3, 3, 3, 3, 3, 3, 9, 10]
    assert _judged(said) == list(zip(lost, sure, strict=True))


def test_no_score_says_nothing():
    assert not any(lost for lost, _ in _judged([np.nan] * 9))


def test_a_lost_box_keeps_the_sure_size_and_goes_home_where_the_score_is_low():
    sighting = recovery.start(jnp.float32([10, 20, 8, 4])).replace(lost=jnp.bool_(True))
    box = jnp.float32([100, 100, 20, 30])
    np.testing.assert_allclose(recovery.held(sighting, box), [100 + 10 - 4, 100 + 15 - 2, 8, 4])
    np.testing.assert_allclose(recovery.held(sighting, box, True), [10, 20, 8, 4])
    seen = sighting.replace(lost=jnp.bool_(False))
    np.testing.assert_allclose(recovery.held(seen, box, True), box)


@pytest.mark.parametrize(("height", "width", "side"), [(240, 320, 100), (1080, 1920, 90), (50, 40, 200)])
def test_it_widens_and_then_sees_every_place_of_the_frame(height, width, side):
    sighting = recovery.start(jnp.float32([20, 15, 10, 8])).replace(lost=jnp.bool_(True))
    places, after = recovery.places(sighting, float(side), height, width)
    assert places.shape == (recovery.WINDOWS, 4)
    np.testing.assert_allclose(places[4], sighting.sure, atol=1e-4)
    step = min(side / 2, width - 25)  # middles stay inside the frame
    np.testing.assert_allclose(places[5, 0] - places[4, 0], step, atol=1e-4)
    sighting, covered = after.replace(count=jnp.int32(9)), np.zeros((height, width), bool)
    cells = int(np.ceil(width / (side / 2)) * np.ceil(height / (side / 2)))
    look = jax.jit(functools.partial(recovery.places, side=float(side), height=height, width=width))
    for _ in range(-(-cells // recovery.WINDOWS)):
        places, sighting = look(sighting)
        for x, y in np.asarray(places[:, :2] + 0.5 * places[:, 2:]):
            quarter = int(np.ceil(side / 4)) + 1
            covered[max(0, int(y) - quarter) : int(y) + quarter, max(0, int(x) - quarter) : int(x) + quarter] = True
    assert covered.all()


def test_off_nothing_changes():
    """The defaults have no such state, and where nothing is ever low the boxes are the same."""
    model, variables = families.tiny("grm")
    frames = np.random.default_rng(0).integers(0, 256, (4, 90, 120, 3), dtype=np.uint8)
    plain = single_object.Tracker(model, {"search_factor": 3.9})
    watched = single_object.Tracker(model, {"search_factor": 3.9, "lost_below": 1e-6})
    states = [each.init(variables, frames[0], BOX) for each in (plain, watched)]
    assert plain.settings.lost_below == 0 and states[0].sighting is None
    for frame in frames[1:]:
        outputs = []
        for k, each in enumerate((plain, watched)):
            states[k], output = each.step(variables, states[k], frame)
            outputs.append(output)
        assert outputs[0].lost is None and not outputs[1].lost
        np.testing.assert_allclose(outputs[0].box, outputs[1].box, atol=1e-4)


def test_no_config_asks_for_it():
    for family in families.ONE_STREAM:
        section = families.config(family).tracking
        assert "lost_below" not in section


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lost_below": 1.5}, "tracking.lost_below must be from 0 to 1"),
        ({"lost_below": 0.8, "found_above": 0.7}, "tracking.found_above must be from tracking.lost_below to 1"),
        ({"lost_after": 0}, "tracking.lost_after must be from 1 to"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(InputError, match=message):
        single_object.Tracker(families.tiny("grm")[0], settings)


def _cut(seed=5006, away=8):
    """(frames, boxes, first and last frame without the target): a grey screen hides it all for a while."""
    frames, boxes = video.sequence(seed, 26)
    frames[8 : 8 + away] = 128
    # Then everything stands elsewhere, as after a pan of the camera.
    frames[8 + away :] = np.roll(frames[8 + away :], (50, 90), axis=(1, 2))
    return frames, boxes + np.where(np.arange(26) >= 8 + away, 1, 0)[:, None] * [90, 50, 0, 0]


@pytest.mark.slow
def test_a_target_that_comes_back_elsewhere_is_found_alone_and_in_lockstep():
    config = grm.get_config("t128")
    model, variables = trackers.build(config.model), weights.load(None, config.model)
    frames, boxes = _cut()
    tracker = single_object.Tracker(model, recovery.switched_on(config.tracking))
    state = tracker.init(variables, frames[0], boxes[0])
    alone = []
    for frame in frames[1:]:
        state, output = tracker.step(variables, state, frame)
        alone.append([*np.asarray(output.box), float(output.score), float(output.lost)])
    alone = np.array(alone)
    lost = alone[:, 5].astype(bool)
    assert not lost[:7].any() and lost[10:15].all() and not lost[-3:].any()
    center, truth = (each[:2] + 0.5 * each[2:4] for each in (alone[-1], boxes[-1]))
    assert np.abs(center - truth).max() < 0.5 * boxes[-1, 2:].max()

    device = lockstep.Lockstep(tracker, variables, 2, jax.local_devices()[:1], one_frame=True)
    states, together, size = device.empty(), [], np.int32(frames.shape[1:3])
    for t, frame in enumerate(frames):
        starts = {slot: np.float32(boxes[0]) for slot in range(2)} if t == 0 else {}
        batch = device.put(frame[None], size[None], np.full((2, 1), t > 0), starts, np.zeros(2, bool))
        states, found = device.step(states, batch)
        together.append(np.asarray(found)[:, 0])
    for slot in range(2):
        np.testing.assert_allclose(np.array(together)[1:, slot], alone, atol=2e-2)
