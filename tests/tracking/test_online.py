"""Online templates: against a plain loop of the program's rules, under jit, scan and vmap, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from configs import grm
from trackers.errors import InputError
from trackers.nn.heads import Prediction
from trackers.tracking import online, single_object
from trackers.tracking.single_object import Tracker, track

BOX = np.float32([40, 30, 16, 16])


class Judge:
    """Stands for a model: the score is the brightness of the search crop, and the cache is the templates."""

    template_size, search_size = 8, 16

    def __init__(self, templates=2):
        self.templates = templates

    def apply(self, variables, *inputs, method):
        if method == "encode_template":
            return {"templates": inputs[0], "boxes": inputs[1]}
        level = _level(inputs[1].mean(axis=(1, 2)))
        return Prediction(box=jnp.array([[0.5, 0.5, 0.25, 0.25]]), score=level / 255, maps={})

    def decode(self, prediction, window):
        return prediction.box, prediction.score


def _level(normalized):
    """Grey levels 0..255 of normalized colors (..., 3)."""
    return (normalized[..., 0] * 0.229 + 0.485) * 255


def _frames(levels):
    return np.broadcast_to(np.uint8(levels)[:, None, None, None], (len(levels), 90, 120, 3)).copy()


def _program(levels, count, interval, threshold=0.5, decay=1.0):
    """Levels of the online templates after every frame, by the program's rules in plain Python."""
    first, slots, slot, best, best_score, shown = levels[0], [levels[0]] * count, 0, levels[0], -1.0, []
    for frame, level in enumerate(levels[1:], start=1):
        score = level / 255
        best_score *= decay
        if score > threshold and score > best_score:
            best, best_score = level, score
        if frame % interval == 0:
            slots = [best if i == slot else old for i, old in enumerate(slots)]
            slot, best, best_score = (slot + 1) % count, first, -1.0
        shown.append([first, *slots])
    return np.array(shown)


def _shown(tracker, levels):
    """Levels of the templates in the cache after every frame."""
    frames = _frames(levels)
    state, shown = tracker.init({}, frames[0], BOX), []
    for frame in frames[1:]:
        state, _ = tracker.step({}, state, frame)
        shown.append(_level(np.asarray(state.cache["templates"])[0].mean(axis=(1, 2))))
    return np.array(shown)


@pytest.mark.parametrize(("templates", "interval", "decay"), [(2, 5, 1.0), (2, 1, 1.0), (4, 3, 1.0), (3, 4, 0.8)])
def test_templates_are_those_of_the_program(templates, interval, decay):
    levels = np.random.default_rng(interval).integers(60, 200, 30)
    tracker = Tracker(Judge(templates), {"update_interval": interval, "score_decay": decay})
    expected = _program(levels, templates - 1, interval, decay=decay)
    assert len(np.unique(expected[:, 1:])) > 3
    np.testing.assert_allclose(_shown(tracker, levels), expected, atol=1e-2)


def test_an_interval_without_a_good_frame_puts_the_first_template_back():
    levels = [100, 150, 180, 140, 90, 110, 120, 30, 30]
    tracker = Tracker(Judge(), {"update_interval": 3})
    np.testing.assert_allclose(_shown(tracker, levels)[:, 1], [100, 100, 180, 180, 180, 100, 100, 100], atol=1e-2)
    higher = Tracker(Judge(), {"update_interval": 3, "update_threshold": 0.8})
    np.testing.assert_allclose(_shown(higher, levels)[:, 1], 100, atol=1e-2)


def test_the_crop_is_around_the_new_box():
    # A gradient from left to right: the crop's mean says where it was taken.
    frames = np.repeat((np.arange(120) * 2)[None, None, :, None], 90, 1).repeat(3, 3).repeat(3, 0).astype(np.uint8)

    class Right(Judge):
        def apply(self, variables, *inputs, method):
            found = super().apply(variables, *inputs, method=method)
            if method == "encode_template":
                return found
            return found.replace(box=jnp.array([[0.75, 0.5, 0.25, 0.25]]), score=jnp.ones(1))

    tracker = Tracker(Right(), {"update_interval": 1})
    state = tracker.init({}, frames[0], BOX)
    state, output = tracker.step({}, state, frames[1])
    center = float(output.box[0] + output.box[2] / 2)
    assert center == pytest.approx(48 + 16)
    np.testing.assert_allclose(_level(np.asarray(state.cache["templates"])[0, 1]).mean(), 2 * center - 1, atol=1.0)
    np.testing.assert_allclose(state.cache["boxes"][0, 1], [0.25, 0.25, 0.5, 0.5], atol=1e-6)


def test_scan_and_vmap_equal_the_loop():
    tracker = Tracker(Judge(3), {"update_interval": 2})
    levels = np.random.default_rng(1).integers(60, 200, (2, 9))
    lockstep = jax.vmap(lambda frames: track(tracker, {}, frames, BOX).score)(
        jnp.stack([_frames(row) for row in levels])
    )
    np.testing.assert_allclose(lockstep, levels[:, 1:] / 255, atol=1e-4)

    def templates(frames):
        def body(state, frame):
            state, _ = tracker.step({}, state, frame)
            return state, state.online.templates[:, 0, 0, 0]

        return jax.lax.scan(body, tracker.init({}, frames[0], BOX), frames[1:])[1]

    together = jax.vmap(templates)(jnp.stack([_frames(row) for row in levels]))
    for i, row in enumerate(levels):
        np.testing.assert_array_equal(together[i], _program(row, 2, 2))


def test_a_score_that_is_not_a_number_is_never_taken():
    state = online.start(jnp.zeros((4, 4, 3)), jnp.zeros(4), 2)
    judged = online.judge(state, jnp.float32(jnp.nan), lambda: (jnp.ones((4, 4, 3)), jnp.ones(4)))
    assert judged.best_score == -1 and judged.best.max() == 0 and judged.frames == 1


def test_mixformer_keeps_up_its_cache():
    model = trackers.build(
        {
            "name": "mixformer_v2",
            "width": 32,
            "depth": 2,
            "heads": 2,
            "template_size": 32,
            "search_size": 64,
            "templates": 3,
            "head": {"bins": 16},
        }  # fmt: skip
    )
    variables = trackers.init(model, jax.random.key(0))
    tracker = Tracker(model, {"update_interval": 2, "update_threshold": 0.0, "search_factor": 4.7})
    frames = np.random.default_rng(0).integers(0, 255, (5, 90, 120, 3), dtype=np.uint8)
    state = tracker.init(variables, frames[0], BOX)
    first = state
    for frame in frames[1:]:
        state, output = tracker.step(variables, state, frame)
        assert 0 < float(output.score) < 1
    assert int(state.online.slot) == 1
    fresh = tracker.encode(variables, state.online)
    for kept, new, old in zip(*map(jax.tree.leaves, (state.cache, fresh, first.cache)), strict=True):
        np.testing.assert_allclose(kept, new, atol=1e-5)
        assert np.abs(np.asarray(kept) - np.asarray(old)).max() > 1e-3


def test_settings_of_a_benchmark():
    benchmark = {"search_factor": 4.4, "update_interval": 200, "model": {"division": {"threshold": 0.4}}}
    model = {"name": "grm", "width": 96, "division": {"threshold": 0.0, "pool": "max"}}
    config = {"model": model, "tracking": {"search_factor": 4.5, "benchmarks": {"lasot": benchmark}}}
    assert Tracker(Judge(), config["tracking"]).settings.search_factor == 4.5
    changed, tracking, chosen = single_object.for_benchmark(config, "lasot")
    settings = Tracker(Judge(), tracking).settings
    assert (settings.search_factor, settings.update_interval) == (4.4, 200)
    assert changed == {"name": "grm", "width": 96, "division": {"threshold": 0.4, "pool": "max"}}
    assert chosen == {
        "model.division.threshold": 0.4,
        "tracking.search_factor": 4.4,
        "tracking.update_interval": 200,
    }
    same, tracking, chosen = single_object.for_benchmark(config, "otb")
    assert Tracker(Judge(), tracking).settings.update_interval == 0 and (same, chosen) == (model, {})


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"serch_factor": 4.0}, "config.tracking.benchmarks.lasot: tracking.serch_factor is not a setting"),
        ({"window": 2.0}, "config.tracking.benchmarks.lasot: tracking.window must be from 0 to 1"),
        ({"model": {"division": {"treshold": 0.4}}}, "benchmarks.lasot: model.division.treshold is not a field"),
        ({"model": {"depth": {"layers": 3}}}, "benchmarks.lasot: model.depth is one value, not a section"),
        ({"model": 0.4}, "benchmarks.lasot must be a section of settings"),
        (0.4, "benchmarks.lasot must be a section of settings"),
    ],
)
def test_wrong_settings_of_a_benchmark_are_named(settings, message):
    config = {"model": {"name": "grm"}, "tracking": {"benchmarks": {"lasot": settings}}}
    with pytest.raises(InputError, match=message):
        single_object.for_benchmark(config, "lasot")
    single_object.for_benchmark(config, "otb")
    config["tracking"]["window"] = 5.0
    with pytest.raises(InputError, match="^tracking.window must be"):
        single_object.for_benchmark(config, "otb")


def test_division_thresholds_of_grm_are_those_of_the_programs_benchmarks():
    config = grm.get_config("b256")
    for name, threshold in {"lasot": 0.4, "avist": 0.4, "uav": 0.55, "nfs": 0.6, "got10k": 0.0}.items():
        assert single_object.for_benchmark(config, name)[0]["division"]["threshold"] == threshold


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"update_interval": 2.5}, "tracking.update_interval must be a whole number, got 2.5"),
        ({"update_interval": -1}, "tracking.update_interval must be from 0 to"),
        ({"update_threshold": 2}, "tracking.update_threshold must be from 0 to 1"),
        ({"score_decay": 0}, "tracking.score_decay"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(InputError, match=message):
        Tracker(Judge(), settings)


def test_models_that_cannot_be_updated_are_refused():
    with pytest.raises(InputError, match="model.templates to 2 or more"):
        Tracker(Judge(templates=1), {"update_interval": 5})

    class Silent(Judge):
        def apply(self, variables, *inputs, method):
            found = super().apply(variables, *inputs, method=method)
            return found if method == "encode_template" else found.replace(score=None)

    tracker = Tracker(Silent(), {"update_interval": 5})
    state = tracker.init({}, _frames([9])[0], BOX)
    with pytest.raises(InputError, match="model.score_head=true"):
        tracker.step({}, state, _frames([9])[0])
