"""The tracking loop: against the recorded program, under jit, scan and vmap, and what it refuses."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from configs import grm
from tests import recipes
from trackers import convert
from trackers.errors import InputError
from trackers.nn.heads import Prediction, decode_windowed, hann_window
from trackers.ops import crops
from trackers.tracking import single_object
from trackers.tracking.single_object import Tracker, check_box, track

BOX = np.float32([30, 25, 24, 20])


@pytest.fixture(scope="module")
def tiny():
    config = grm.get_config("tiny")
    # Random weights say a size of 0.5: with a factor of 4 each window's side would be a whole number, which rounding
    # errors lift to the next.
    config.tracking.search_factor = 3.9
    model = trackers.build(config.model)
    return Tracker(model, config.tracking), jax.jit(lambda key: trackers.init(model, key))(jax.random.key(0))


def _video(count=5, seed=0, height=90, width=120):
    rng = np.random.default_rng(seed)
    background = rng.integers(0, 200, (height, width, 3), dtype=np.uint8)
    target = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
    frames = np.repeat(background[None], count, axis=0)
    for t in range(count):
        frames[t, 25 + t : 45 + t, 30 + 2 * t : 54 + 2 * t] = target
    return frames


def _loop(tracker, variables, frames, box, **size):
    state, outputs = tracker.init(variables, frames[0], box, **size), []
    for frame in frames[1:]:
        state, output = tracker.step(variables, state, frame, **size)
        outputs.append(output)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *outputs)


def _assert_close(a, b, pixels=1e-3):
    np.testing.assert_allclose(a.box, b.box, atol=pixels)
    np.testing.assert_allclose(a.score, b.score, atol=1e-5)
    np.testing.assert_array_equal(a.window, b.window)


def test_output(tiny):
    tracker, variables = tiny
    state = tracker.init(variables, _video()[0], BOX)
    np.testing.assert_array_equal(state.box, BOX)
    state, output = tracker.step(variables, state, _video()[1])
    assert output.box.shape == (4,) and output.box.dtype == jnp.float32
    assert output.score.shape == () and 0 < float(output.score) < 1
    assert output.division.shape == (tracker.model.depth, tracker.model.lengths[1])
    np.testing.assert_array_equal(output.window, jnp.stack(crops.crop_window(BOX, 3.9)))
    np.testing.assert_array_equal(state.box, output.box)


def test_scan_equals_loop(tiny):
    tracker, variables = tiny
    frames = _video()
    # The loop's frames are padded, those of the scan are not; the crop of the second box reaches beyond them.
    for box in (BOX, np.float32([100, 70, 18, 18])):
        _assert_close(track(tracker, variables, frames, box), _loop(tracker, variables, frames, box))


def test_vmap_equals_loop(tiny):
    tracker, variables = tiny
    frames = np.stack([_video(seed=seed) for seed in range(3)])
    boxes = BOX + np.float32([[0, 0, 0, 0], [3, -4, 5, 1], [-9, 2, 0, 7]])
    lockstep = jax.vmap(lambda f, b: track(tracker, variables, f, b))(frames, boxes)
    for i in range(3):
        alone = _loop(tracker, variables, frames[i], boxes[i])
        _assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], lockstep), alone)


def test_padded_frames_track_alike(tiny):
    tracker, variables = tiny
    frames = _video()
    canvas = np.full((len(frames), 128, 160, 3), 255, np.uint8)
    canvas[:, :90, :120] = frames
    for size in ((90, 120), np.int32([90, 120])):
        _assert_close(_loop(tracker, variables, canvas, BOX, frame_size=size), _loop(tracker, variables, frames, BOX))


def test_equal_trackers_share_a_compilation(tiny):
    tracker, variables = tiny
    again = Tracker(tracker.model, {"template_factor": 2.0, "search_factor": 3.9})
    assert again == tracker and hash(again) == hash(tracker)
    assert Tracker(tracker.model, {"window": 0.5}) != tracker


class _Fixed:
    """Stands for a model: the same prediction in every frame, and the template itself for a cache."""

    template_size, search_size, templates = 16, 32, 2

    def __init__(self, **prediction):
        self.prediction = Prediction(**{"box": None, "score": None, "maps": {}, **prediction})

    def apply(self, variables, *inputs, method):
        return inputs if method == "encode_template" else self.prediction

    def decode(self, prediction, window):
        return prediction.box, prediction.score


class _Mapped(_Fixed):
    def decode(self, prediction, window):
        return decode_windowed(prediction.maps, window)


def _maps(score, size=0.25, offset=0.5):
    maps = {
        "score_map": jnp.asarray(score, jnp.float32)[None, :, :, None],
        "size_map": jnp.full((1, *np.shape(score), 2), size, jnp.float32),
        "offset_map": jnp.full((1, *np.shape(score), 2), offset, jnp.float32),
    }
    return _Mapped(maps=maps)


def _one_step(model, box=(40, 30, 20, 20), **settings):
    tracker = Tracker(model, settings)
    state = tracker.init({}, np.zeros((90, 120, 3), np.uint8), np.float32(box))
    return tracker.step({}, state, np.zeros((90, 120, 3), np.uint8))[1]


def test_box_is_mapped_back():
    score = np.zeros((4, 4))
    score[1, 2] = 0.9
    # Center of cell (row 1, column 2): (2.5/4, 1.5/4) of a window of 80 pixels around (50, 40); size 80/4.
    output = _one_step(_maps(score))
    np.testing.assert_allclose(output.box, [50 + 10 - 10, 40 - 10 - 10, 20, 20], atol=1e-4)
    assert float(output.score) == pytest.approx(0.9)
    assert output.division is None
    assert output.window.tolist() == [10, 0, 80]


def test_window_prefers_the_middle_by_its_weight():
    score = np.full((4, 4), 0.01)
    score[0, 0], score[1, 1] = 0.9, 0.5
    assert float(_one_step(_maps(score)).score) == pytest.approx(0.5)
    assert float(_one_step(_maps(score), window=0.0).score) == pytest.approx(0.9)
    # 0.9 (1 - w + w h00) > 0.5 (1 - w + w h11) up to w = 0.4 / (0.9 (1 - h00) - 0.5 (1 - h11))
    h = hann_window(4, 4)
    edge = 0.4 / (0.9 * (1 - h[0, 0]) - 0.5 * (1 - h[1, 1]))
    assert float(_one_step(_maps(score), window=edge - 0.01).score) == pytest.approx(0.9)
    assert float(_one_step(_maps(score), window=edge + 0.01).score) == pytest.approx(0.5)


def test_size_update_moves_part_of_the_way():
    score = np.zeros((4, 4))
    score[1, 2] = 0.9
    output = _one_step(_maps(score, size=0.5), size_update=0.25)
    # Predicted 40 pixels from 20: 25, around the same center.
    np.testing.assert_allclose(output.box, [60 - 12.5, 30 - 12.5, 25, 25], atol=1e-4)


def test_the_first_aspect_is_kept_where_asked():
    score = np.zeros((4, 4))
    score[1, 2] = 0.9
    tall = _maps(score, size=np.float32([0.125, 0.5]))
    # A window of 80 pixels: 10 x 40 are seen, of a target that was 20 x 20.
    np.testing.assert_allclose(_one_step(tall).box, [60 - 5, 30 - 20, 10, 40], atol=1e-4)
    np.testing.assert_allclose(_one_step(tall, aspect_update=0.0).box, [60 - 10, 30 - 10, 20, 20], atol=1e-4)


def test_crops_take_the_first_box_s_aspect_where_asked():
    score = np.zeros((4, 4))
    score[1, 2] = 0.9
    output = _one_step(_maps(score), (40, 35, 20, 45), crop_aspect=1.0)
    # A window of 80 x 180 pixels around (50, 57.5), of whose sides the size seen is a quarter.
    assert output.window.tolist() == [10, -32, 80, 180]
    np.testing.assert_allclose(output.box, [50 + 10 - 10, 57.5 - 22.5 - 22.5, 20, 45], atol=1e-3)
    half = _one_step(_maps(score), (40, 35, 20, 45), crop_aspect=0.5)
    assert half.window[2:].tolist() == [98, 147]  # 120 * (20 / 45) ** +-1/4, rounded up


@pytest.mark.parametrize("recover", [{}, {"lost_below": 0.6, "found_above": 0.7, "lost_after": 1}])
def test_with_stretched_crops_scan_and_vmap_equal_the_loop(tiny, recover):
    tracker, variables = tiny
    stretched = Tracker(tracker.model, {**dict(vars(tracker.settings)), "crop_aspect": 1.0, **recover})
    frames, box = _video(), np.float32([30, 20, 12, 30])
    alone = _loop(stretched, variables, frames, box)
    assert alone.window.shape == (4, 4)
    _assert_close(alone, track(stretched, variables, frames, box))
    both = jax.vmap(lambda box: track(stretched, variables, frames, box, (90, 120)))(np.stack([BOX, box]))
    _assert_close(alone, jax.tree.map(lambda leaf: leaf[1], both))
    state = stretched.init(variables, frames[0], box)
    np.testing.assert_allclose(state.online.boxes[0], [0.25, 0.25, 0.5, 0.5], atol=0.02)


def test_the_mean_of_cells_is_taken_where_asked():
    score = np.full((4, 4), 1e-4)
    score[1, 1] = score[1, 2] = 0.5
    output = _one_step(_maps(score), average_cells=1)
    # Cells of 20 pixels from (10, 0) on: the two centers are (40, 30) and (60, 30).
    np.testing.assert_allclose(output.box, [50 - 10, 30 - 10, 20, 20], atol=0.1)


@pytest.mark.parametrize("settings", [{"size_score_power": 1.0}, {"average_cells": 1}])
def test_settings_that_need_what_a_model_does_not_give(settings):
    [name] = settings
    with pytest.raises(InputError, match=f"tracking.{name}"):
        _one_step(_Fixed(box=jnp.full((1, 4), 0.5)), **settings)


def test_box_stays_in_the_frame():
    score = np.zeros((4, 4))
    score[0, 0] = 0.9
    for margin in (10.0, 4.0):
        output = _one_step(_maps(score, size=1e-3), box=(0, 0, 20, 20), clip_margin=margin)
        np.testing.assert_allclose(output.box, [0, 0, margin, margin], atol=1e-4)


def test_model_without_score_map():
    box = jnp.float32([[0.5, 0.5, 0.25, 0.25]])
    output = _one_step(_Fixed(box=box, score=jnp.float32([0.7])))
    np.testing.assert_allclose(output.box, [40, 30, 20, 20], atol=1e-4)
    assert float(output.score) == pytest.approx(0.7)
    assert np.isnan(float(_one_step(_Fixed(box=box)).score))


@pytest.mark.slow
def test_jit_equals_eager():
    score = np.random.default_rng(0).random((4, 4))
    jitted = _one_step(_maps(score), box=(40.3, 30.7, 21.2, 19.9))
    with jax.disable_jit():
        eager = _one_step(_maps(score), box=(40.3, 30.7, 21.2, 19.9))
    _assert_close(jitted, eager)


def test_template_of_every_slot_is_the_first_frame():
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    box = np.float32([40, 30, 20, 10])
    template, template_box = Tracker(_Fixed()).init({}, frame, box).cache
    crop, _ = crops.sample_target(frame, box, 2.0, 16)
    assert template.shape == (1, 2, 16, 16, 3)
    for k in range(2):
        np.testing.assert_allclose(template[0, k], crops.normalize(crop), atol=1e-6)
        # A window of ceil(2 sqrt(200)) = 29 pixels.
        np.testing.assert_allclose(template_box[0, k], [0.5 - 10 / 29, 0.5 - 5 / 29, 20 / 29, 10 / 29], rtol=1e-6)


def test_template_box_is_cut_to_whole_pixels_where_asked():
    """SimTrack's program: [int(size/2 - w/2), int(size/2 - h/2), w, h] / size with w, h in pixels of the crop."""
    frame, side, size = np.zeros((90, 120, 3), np.uint8), 29, 16
    box = np.float32([40, 30, 20, 10])
    _, template_box = Tracker(_Fixed(), {"template_box_step": 1.0}).init({}, frame, box).cache
    w, h = 20 * size / side, 10 * size / side
    expected = [int(size / 2 - w / 2), int(size / 2 - h / 2), w, h]
    np.testing.assert_allclose(template_box[0, 0] * size, expected, rtol=1e-6)


def test_hann_window():
    window = hann_window(16, 8)
    assert window.shape == (16, 8) and window.min() > 0
    np.testing.assert_allclose(window, np.outer(np.hanning(18)[1:-1], np.hanning(10)[1:-1]), atol=1e-6)


@pytest.mark.parametrize(
    "box,message",
    [
        ((10, 10, 0, 5), "no area"),
        ((10, 10, 5, -1), "no area"),
        ((np.nan, 10, 5, 5), "finite"),
        ((120, 10, 5, 5), "outside"),
        ((-5, 10, 5, 5), "outside"),
        ((10, 90, 5, 5), "outside"),
        ((10, 10, 5), "four numbers"),
        ("abcd", "four numbers"),
    ],
)
def test_wrong_first_box(tiny, box, message):
    with pytest.raises(InputError, match=message):
        check_box(box, 90, 120)
    with pytest.raises(InputError, match=message):
        tiny[0].init(tiny[1], _video()[0], box)
    if not isinstance(box, str):
        with pytest.raises(InputError, match=message):
            track(*tiny, _video(), box)


def test_box_is_checked_against_the_frame_not_the_canvas(tiny):
    canvas = np.zeros((200, 200, 3), np.uint8)
    tiny[0].init(tiny[1], canvas, (130, 100, 9, 9))
    with pytest.raises(InputError, match="outside the frame of 120x90"):
        tiny[0].init(tiny[1], canvas, (130, 100, 9, 9), frame_size=np.int32([90, 120]))


@pytest.mark.parametrize("frame", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_wrong_frame(tiny, frame):
    with pytest.raises(InputError, match="uint8 RGB"):
        tiny[0].init(tiny[1], frame, (1, 1, 5, 5))


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"windw": 1.0}, "tracking.windw is not a setting"),
        ({"window": 1.5}, "tracking.window must be from 0 to 1"),
        ({"search_factor": 0}, "tracking.search_factor must be above 0"),
        ({"search_factor": 1e30}, "tracking.search_factor must be above 0 and at most 100, got 1e.30"),
        ({"search_factor": math.inf}, "tracking.search_factor must be a number, got inf"),
        ({"search_factor": 10**400}, "tracking.search_factor must be above 0 and at most 100"),
        ({"search_factor": "4"}, "tracking.search_factor must be a number, got '4'"),
        ({"window": True}, "tracking.window must be a number, got True"),
        ({"update_interval": math.inf}, "tracking.update_interval must be a whole number, got inf"),
        ({"average_cells": 10**12}, "tracking.average_cells must be from 0 to 1024"),
        ({"size_update": 0.0}, "tracking.size_update"),
        ({"clip_margin": -1}, "tracking.clip_margin"),
        ({"size_score_power": -1}, "tracking.size_score_power must be from 0 to 100"),
        ({"aspect_update": 1.5}, "tracking.aspect_update must be from 0 to 1"),
        ({"crop_aspect": -1}, "tracking.crop_aspect must be from 0 to 1"),
        ({"least_contrast": 128}, "tracking.least_contrast must be from 0 to 127.5"),
        ({"filter_weight": 1.5}, "tracking.filter_weight must be from 0 to 1"),
        ({"filter_layer": 0}, "tracking.filter_layer must be from 1 to 1024"),
        ({"filter_update": 0}, "tracking.filter_update must be above 0 and at most 1"),
        ({"average_cells": 0.5}, "tracking.average_cells must be a whole number"),
        ({"template_factor": "big"}, "tracking.template_factor must be a number"),
    ],
)
def test_wrong_settings(tiny, settings, message):
    with pytest.raises(InputError, match=message):
        Tracker(tiny[0].model, settings)


def test_crops_must_be_square(tiny):
    with pytest.raises(InputError, match="search_size is 32x64"):
        Tracker(tiny[0].model.clone(search_size=(32, 64)))


def _recorded_video(manifest):
    g = recipes.gen(manifest["salt"], "input/video")
    noise, texture = g.integers(0, 64, size=(240, 320, 3)), g.integers(0, 256, size=(40, 48, 3))
    y, x, c = np.meshgrid(np.arange(240), np.arange(320), np.arange(3), indexing="ij")
    base = (2 * x + 3 * y + 50 * c + 40 * ((x // 32 + y // 24) % 2)) % 192
    frames = np.stack([((base + noise + 2 * t) % 256).astype(np.uint8) for t in range(11)])
    for t, frame in enumerate(frames):
        frame[90 + 3 * t : 130 + 3 * t, 110 + 5 * t : 158 + 5 * t] = texture
    assert [int(frame.sum()) for frame in frames] == manifest["checks"]["frame_sums"]
    return frames


@pytest.mark.slow
def test_boxes_equal_the_recorded_program():
    config = grm.get_config("b256")
    with config.unlocked():
        config.model.dtype = "float32"
    variables = jax.device_put(convert.to_variables(recipes.weights(recipes.load("grm_vitb256")[0]), config.model))
    manifest, recorded = recipes.load("tracker_loop")
    frames = _recorded_video(manifest)
    for case, threshold in (("t0", 0.0), ("t0.4", 0.4)):
        model = trackers.build(config.model)
        model = model.clone(division=dataclasses.replace(model.division, threshold=threshold))
        tracker = single_object.Tracker(model, config.tracking)
        state = tracker.init(variables, frames[0], manifest["config"]["init_bbox_xywh"])
        np.testing.assert_array_equal(state.cache["template_mask"], recorded[f"{case}/template_mask"])
        shared = manifest["checks"][case]["fraction_shared_per_frame_layer"]
        for t, frame in enumerate(frames[1:]):
            state, output = tracker.step(variables, state, frame)
            np.testing.assert_allclose(output.box, recorded[f"{case}/states_f64"][t], atol=1e-3)
            np.testing.assert_allclose((output.division[1:] == 2).mean(axis=1), shared[t], atol=1e-6)
