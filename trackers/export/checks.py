"""What was written is run beside the model: how far apart the boxes are, and what each costs.

A tracker follows a sequence twice: one step at a time from where the model is, which shows what the artefact does to a
frame, and on its own way, where differences may add up. iKUN's parts are given the same pictures and phrases.
"""

import dataclasses
import functools
import time

import jax
import numpy as np

from trackers.evaluation import tables
from trackers.export.graphs import named
from trackers.nn.heads import Prediction
from trackers.ops import boxes
from trackers.tracking import single_object

# Calls that are timed; the first one, which compiles, is not.
_REPEATS = 7
# iKUN's encoders of pictures.
_IMAGES = ("encode_local", "encode_global")
_HEADS = ("format", "one step", "own way", "mean IoU", "MB", "CPU ms", "JAX, CPU ms")


@dataclasses.dataclass(frozen=True)
class Found:
    """How an artefact compares with the model.

    step, way: the largest difference of a box, pixels, in one step from the model's state, and on its own way; of iKUN
      the largest difference of a similarity, and of a similarity from the artefact's own features.
    overlap: mean IoU of both boxes on the own way, None of iKUN.
    milliseconds, of_jax: CPU time of a frame (of a similarity).
    """

    step: float
    way: float
    overlap: float | None
    milliseconds: float
    of_jax: float

    def row(self, name, size):
        """The row of the table; size: bytes of the artefact."""
        overlap = "-" if self.overlap is None else f"{self.overlap:.4f}"
        times = (f"{value:.1f}" for value in (self.milliseconds, self.of_jax))
        return [name, f"{self.step:.2g}", f"{self.way:.2g}", overlap, f"{size / 1e6:.1f}", *times]


def table(rows):
    """Of rows of Found."""
    return tables.markdown(_HEADS, rows)


class Network:
    """Stands for a model in a single_object.Tracker: its graphs run somewhere else, op by op (jax.disable_jit).

    Args: model: whose sizes it has. run: (graph, {name: array}) -> {name: array}.
    """

    def __init__(self, model, run):
        self.template_size, self.search_size, self.templates = model.template_size, model.search_size, model.templates
        self._run, self.seen = run, None

    def apply(self, variables, *inputs, method):
        """As that of a flax module, for the methods encode_template and locate."""
        del variables
        if method == "encode_template":
            return self._run("template", dict(zip(("template", "template_box"), inputs, strict=True)))
        cache, search = inputs
        self.seen = {**cache, "search": search}
        found = self._run("search", self.seen)
        return Prediction(box=found["box"], score=found.get("score"), maps={})

    def decode(self, prediction, window):
        """The window is in the graph."""
        del window
        return prediction.box, prediction.score


def whole(tracker, variables, theirs, weights, frames, box):
    """Found of programs `init` and `step`.

    Args: theirs: exported.Tracker, whose states are the tracker's by name. weights: its own. frames: list. box: of the
      first.
    """

    def one_step(state, frame):
        return theirs.step(weights, {name: leaf[None] for name, leaf in named(state).items()}, frame)[1].box

    start = theirs.init(weights, frames[0], box)
    own = functools.partial(theirs.step, weights)
    found = _follow(tracker, variables, frames, box, one_step, start, own)
    state = tracker.init(variables, frames[0], box)
    costs = (
        _cpu_ms(lambda: theirs.step(weights, start, frames[1])),
        _cpu_ms(lambda: jax.device_get(tracker.step(variables, state, frames[1])[1].box)),
    )
    return Found(*found, *costs)


def network(model, config, variables, graphs, run, frames, box):
    """Found of the graphs `template` and `search`; the time is that of `search` alone.

    Args: model, config: a model and its tracking section. run: as of Network. The others as of `whole`.
    """
    # Whether a target is lost is not for the network to say; looking for it is `search` over and over.
    config = {**config, "lost_below": 0.0}
    tracker, theirs = single_object.Tracker(model, config), single_object.Tracker(Network(model, run), config)

    def one_step(state, frame):
        with jax.disable_jit():
            kept = state.replace(cache=theirs.encode(None, state.online))
            return theirs.step(None, kept, frame)[1].box

    def own(state, frame):
        with jax.disable_jit():
            return theirs.step(None, state, frame)

    with jax.disable_jit():
        start = theirs.init(None, frames[0], box)
    found = _follow(tracker, variables, frames, box, one_step, start, own)
    search = next(graph for graph in graphs if graph.name == "search")
    compiled = jax.jit(search.function)
    seen = jax.device_get(theirs.model.seen)
    costs = _cpu_ms(lambda: run("search", seen)), _cpu_ms(lambda: jax.device_get(compiled(variables, seen)))
    return Found(*found, *costs)


def _follow(tracker, variables, frames, box, one_step, state, own):
    """(largest difference in a step, on the own way, mean IoU there)."""
    model_state = tracker.init(variables, frames[0], box)
    steps, ways, overlaps = [], [], []
    for frame in frames[1:]:
        before = model_state
        model_state, output = tracker.step(variables, model_state, frame)
        state, mine = own(state, frame)
        expected, found = np.asarray(output.box), np.asarray(mine.box)
        steps.append(np.abs(np.asarray(one_step(before, frame)) - expected).max())
        ways.append(np.abs(found - expected).max())
        overlaps.append(float(boxes.iou(boxes.xywh_to_xyxy(found), boxes.xywh_to_xyxy(expected))[0]))
    return float(np.max(steps)), float(np.max(ways)), float(np.mean(overlaps))


def words(model, variables, graphs, run, seed=0):
    """Found of iKUN's graphs, for noise as pictures and random ids as a phrase; the time is that of all four.

    Args: model: whose vocabulary the ids are of. run: as of Network.
    """
    draw = np.random.default_rng(seed)
    shapes = {graph.name: graph.inputs for graph in graphs}
    samples = shapes["fuse"]["local_maps"].shape[1]
    images = {name: draw.standard_normal((samples, *shapes[name]["image"].shape), np.float32) for name in _IMAGES}
    ids = draw.integers(1, model.transformer.vocabulary, shapes["encode_text"]["ids"].shape, np.int32)
    compiled = {graph.name: jax.jit(graph.function) for graph in graphs}

    def of_model(name, inputs):
        return jax.device_get(compiled[name](variables, inputs))

    def features(call):
        maps = [np.stack([call(name, {"image": image})["maps"] for image in images[name]], axis=1) for name in _IMAGES]
        return {"local_maps": maps[0], "global_maps": maps[1], **call("encode_text", {"ids": ids})}

    expected = features(of_model)
    similarity = of_model("fuse", expected)["similarity"]
    step = np.abs(run("fuse", expected)["similarity"] - similarity).max()
    way = np.abs(run("fuse", features(run))["similarity"] - similarity).max()
    costs = (_cpu_ms(lambda call=call: call("fuse", features(call))) for call in (run, of_model))
    return Found(float(step), float(way), None, *costs)


def _cpu_ms(call):
    """Median CPU time of a call, of all threads of this process."""
    call()
    times = []
    for _ in range(_REPEATS):
        before = time.process_time()
        call()
        times.append(time.process_time() - before)
    return 1e3 * float(np.median(times))
