"""Crops of pale and dark video are stretched by what the first frame's template shows, others stay as they are."""

import jax
import numpy as np
import pytest

import trackers
from configs import variants
from trackers.ops import crops
from trackers.tracking import contrast, single_object

RNG = np.random.default_rng(3)
FRAMES = RNG.integers(0, 256, (3, 90, 120, 3), np.uint8)
BOX = np.float32([50, 40, 20, 12])


def pale(frames, share=0.1, darkest=20):
    return np.round(frames * share + darkest).astype(np.uint8)


@pytest.fixture(scope="module")
def tiny():
    model = trackers.build(variants.load("configs/grm.py:tiny").model)
    return model, trackers.init(model, jax.random.key(0))


def levels_of(frame, box, least=40.0, aspect=None):
    crop, _ = crops.sample_target(frame, box, 2.0, 32, frame.shape[:2], aspect)
    inside, _ = crops.sample_target(np.full_like(frame, 255), box, 2.0, 32, frame.shape[:2], aspect)
    return np.asarray(crop), np.asarray(contrast.levels(crop, inside == 255, least))


def test_a_crop_of_enough_contrast_stays_as_it_is():
    crop, levels = levels_of(FRAMES[0], BOX, least=5.0)
    assert levels[1] == 1.0
    np.testing.assert_array_equal(contrast.stretched(crop, levels), crop)


@pytest.mark.parametrize("aspect", [None, 0.4])
def test_a_pale_crop_gets_the_contrast_that_is_asked_for(aspect):
    crop, levels = levels_of(pale(FRAMES[0]), BOX, aspect=aspect)
    stretched = np.asarray(contrast.stretched(crop, levels))
    assert crop.std() < 15 and stretched.std() == pytest.approx(40.0, abs=0.5)
    # Where the mean is: 127.5 less what it was below, as many times smaller as levels were stretched.
    assert stretched.mean() == pytest.approx(127.5 + (crop.mean() - 127.5) / levels[1], abs=0.5)
    assert (stretched == np.round(stretched)).all() and stretched.min() >= 0 and stretched.max() <= 255


@pytest.mark.parametrize("box", [(-8, 40, 20, 12), (112, 84, 20, 12), (50, -6, 20, 12)])
def test_black_beside_the_frame_does_not_count(box):
    crop, (mean, gain) = levels_of(pale(FRAMES[0], darkest=200), np.float32(box))
    seen = crop[crop.min(axis=-1) >= 195]
    assert 100 < len(seen) < 0.9 * 32 * 32 and crop.std() > 30
    assert mean == pytest.approx(seen.mean(), abs=1.0) and gain > 1.5


def test_a_crop_of_one_level_is_not_divided_by_zero():
    crop, levels = levels_of(np.full((90, 120, 3), 60, np.uint8), BOX)
    assert levels.tolist() == [60.0, 40.0]
    assert np.unique(contrast.stretched(crop, levels)).tolist() == [126.0]


def test_a_crop_with_nothing_in_the_frame_stays_as_it_is():
    crop, levels = levels_of(FRAMES[0], np.float32([300, 40, 20, 12]))
    assert not crop.any() and not np.asarray(contrast.stretched(crop, levels)).any()


def test_all_crops_are_stretched_as_the_first_template_was(tiny):
    model, variables = tiny
    tracker = single_object.Tracker(model, {"least_contrast": 40.0})
    video = pale(FRAMES)
    state = tracker.init(variables, video[0], BOX)
    plain = single_object.Tracker(model).init(variables, video[0], BOX)
    expected = contrast.stretched(plain.online.templates[0].astype(np.float32), state.levels)
    np.testing.assert_array_equal(state.online.templates[0], expected)
    # Also of a frame that has become brighter.
    for frame in (video[1], video[2] + 5):
        seen, crop = (np.asarray(tracker.cut_search(state_, BOX, frame)) for state_ in (state, plain))
        np.testing.assert_array_equal(seen, contrast.stretched(crop, state.levels))
        assert seen.std() > 2 * crop.std()


def test_a_video_of_enough_contrast_is_tracked_as_without(tiny):
    model, variables = tiny
    boxes = [
        np.asarray(single_object.track(single_object.Tracker(model, settings), variables, FRAMES, BOX).box)
        for settings in ({}, {"least_contrast": 5.0})
    ]
    np.testing.assert_allclose(*boxes, atol=1e-3)
