"""StableHLO: what was written and read again says what the model says, for every family."""

import jax
import numpy as np
import pytest

import trackers
from tests import families, recipes
from trackers.export import graphs, stablehlo
from trackers.nn import stacking
from trackers.tracking import single_object, with_words

ONLINE = {"update_interval": 2, "update_threshold": 0.0, "size_update": 0.5}
# Family, fields of its model, tracking settings.
TRACKERS = {
    "grm": ("grm", {}, {}),
    "grm without division": ("grm", {"division": {"mode": "one_stream"}}, {"lost_below": 0.6, "lost_after": 1}),
    "grm two_stream": ("grm", {"division": {"mode": "two_stream"}}, {}),
    "simtrack": ("simtrack", {}, {"template_box_step": 1.0}),
    "mixformer_v2": ("mixformer_v2", {}, ONLINE),
    "mixvit": ("mixvit", {}, {}),
    "ostrack": ("ostrack", {}, {}),
}
# What others stand for: the cache is MixFormerV2's, too.
SLOW = ("grm two_stream", "mixvit", "simtrack", "ostrack")
BOXES = np.float32([[30, 25, 24, 20], [60, 40, 30, 26]])


def built(family, fields):
    """(model, variables) of a family's tiny variant as it is exported."""
    section = trackers.merged(trackers.to_plain(families.config(family).model), fields)
    model = trackers.build(graphs.portable(section))
    return model, recipes.random_variables(model)


def noise(graph, rows, seed=0):
    """{name: array} of `rows` rows for a graph: noise, and ids that every vocabulary has."""
    draw = np.random.default_rng(seed)
    return {
        name: draw.integers(1, 9, (rows, *x.shape[1:])).astype(np.int32)
        if x.dtype == np.int32
        else draw.random((rows, *x.shape[1:]), np.float32)
        for name, x in graph.inputs.items()
    }


def written(folder, tracker, variables, parts):
    """The stablehlo.Runner of what was written to a folder."""
    found = stablehlo.programs(tracker, variables, parts, ("cpu",))
    for name, content in stablehlo.files(found).items():
        (folder / name).write_bytes(content)
    return stablehlo.Runner(folder, found, stacking.flatten(variables))


def check_graphs(run, variables, parts):
    """Three rows at once are what each is by itself in the model."""
    for graph in parts:
        inputs = noise(graph, 3)
        found = run(graph.name, inputs)
        one = jax.jit(graph.function)
        for row in range(3):
            expected = one(variables, {name: array[row : row + 1] for name, array in inputs.items()})
            assert found.keys() == expected.keys()
            for name, array in expected.items():
                np.testing.assert_allclose(found[name][row], array[0], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in TRACKERS]
)
def test_a_tracker_comes_back_as_it_was(tmp_path, name):
    family, fields, settings = TRACKERS[name]
    model, variables = built(family, fields)
    tracker = single_object.Tracker(model, {"search_factor": 3.9, **settings})
    parts = graphs.of_tracker(model, tracker.settings.window)
    run = written(tmp_path, tracker, variables, parts)
    check_graphs(run, variables, parts[1:] if name != "mixformer_v2" else parts)
    frames = np.random.default_rng(0).integers(0, 256, (4, 90, 120, 3), dtype=np.uint8)
    read = run.tracker()
    states = read.start(run.weights, frames[0], BOXES)
    expected = [tracker.init(variables, frames[0], box) for box in BOXES]
    for frame in frames[1:]:
        states, found = read.advance(run.weights, states, frame)
        for target, state in enumerate(expected):
            expected[target], output = tracker.step(variables, state, frame)
            np.testing.assert_allclose(found["box"][target], output.box, rtol=1e-5, atol=1e-5 * 120)
            np.testing.assert_allclose(found["score"][target], output.score, rtol=1e-5, atol=1e-5)
            assert bool(found["lost"][target]) == bool(output.lost)


def test_ikun_comes_back_in_parts(tmp_path):
    model, variables = built("ikun", {})
    parts = graphs.of_words(model, with_words.settings(families.config("ikun").tracking).samples)
    assert [graph.name for graph in parts] == ["encode_local", "encode_global", "encode_text", "fuse"]
    check_graphs(written(tmp_path, None, variables, parts), variables, parts)
