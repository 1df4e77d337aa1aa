"""StableHLO by jax.export: a tracker's `init` and `step`, whole, and the graphs of the network.

The weights are an argument of every program, so that all share one file. The number of targets, the frame's height and
its width are symbols: one file serves all, and whoever runs it compiles once for each size that it asks for.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import export

from trackers.export.graphs import named
from trackers.tracking import exported


def programs(tracker, variables, graphs, platforms):
    """{name: jax.export.Exported} of all that can be exported.

    Args:
      tracker: single_object.Tracker, or None for a model that tracks nothing by itself.
      variables: the model's, layers not stacked.
      graphs: [graphs.Graph] of the network.
      platforms: of jax.export: "cpu", "cuda", "rocm", "tpu".
    """
    flat = traverse_util.flatten_dict(variables, sep="/")
    weights = jax.tree.map(_shape, flat)
    batch, height, width = export.symbolic_shape("b, h, w")
    written = functools.partial(_exported, platforms)
    found = {}
    if tracker is not None:
        frame = jax.ShapeDtypeStruct((height, width, 3), np.uint8), jax.ShapeDtypeStruct((2,), np.int32)
        boxes = jax.ShapeDtypeStruct((batch, 4), np.float32)
        found["init"] = written(functools.partial(_init, tracker), weights, *frame, boxes)
        states = _states(tracker, variables)
        keep = {name: jax.ShapeDtypeStruct((batch, *leaf.shape), leaf.dtype) for name, leaf in named(states).items()}
        step = functools.partial(_step, tracker, jax.tree.structure(states), list(named(states)))
        found["step"] = written(step, weights, keep, *frame)
    for graph in graphs:
        rows = {name: jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype) for name, x in graph.inputs.items()}
        found[graph.name] = written(functools.partial(_rows, graph), weights, rows)
    return found


def _exported(platforms, function, *arguments):
    return export.export(jax.jit(function), platforms=platforms)(*arguments)


def _shape(leaf):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _states(tracker, variables):
    """The State of one target, shapes alone."""
    frame, box = jax.ShapeDtypeStruct((8, 8, 3), np.uint8), jax.ShapeDtypeStruct((4,), np.float32)
    return jax.eval_shape(tracker.init, variables, frame, box)


def _rows(graph, weights, inputs):
    """Row by row: a batch whose size is a symbol goes through no reshape of the model's."""
    return jax.vmap(functools.partial(graph.row, _tree(weights)))(inputs)


def _tree(weights):
    return traverse_util.unflatten_dict(weights, sep="/")


def _init(tracker, weights, frame, size, boxes):
    start = functools.partial(tracker.init, _tree(weights), frame, frame_size=size)
    return named(jax.vmap(lambda box: start(box=box))(boxes))


def _step(tracker, structure, names, weights, states, frame, size):
    """Tracker.step of several targets in one frame; templates are encoded and lost targets searched where needed."""
    variables = _tree(weights)
    states = jax.tree.unflatten(structure, [states[name] for name in names])
    find = functools.partial(tracker.find, variables, frame=frame, frame_size=size)
    states, output, due = jax.vmap(lambda state: find(state=state))(states)
    if due is not None:

        def renewed():
            fresh = jax.vmap(functools.partial(tracker.encode, variables))(states.online)

            def chosen(new, old):
                return jnp.where(due.reshape(-1, *[1] * (new.ndim - 1)), new, old)

            return jax.tree.map(chosen, fresh, states.cache)

        states = states.replace(cache=jax.lax.cond(jnp.any(due), renewed, lambda: states.cache))
    if states.sighting is not None:

        def searched(pair):
            search = functools.partial(tracker.search, variables, frame=frame, frame_size=size)
            return jax.lax.cond(pair[1].lost, lambda: search(state=pair[0], output=pair[1]), lambda: pair)

        states, output = jax.lax.map(searched, (states, output))
    lost = jnp.zeros_like(output.score, bool) if output.lost is None else output.lost
    return named(states), {"box": output.box, "score": output.score, "lost": lost}


def files(found):
    """{file name: bytes} of `programs`."""
    return {exported.file_of(name): bytes(program.serialize()) for name, program in found.items()}


def described(found):
    """The manifest's part: {program: {"file", "calling_convention", "inputs", "outputs"}}, both [[name, shape, dtype]]
    in the order in which the arrays are passed, the weights before the inputs."""
    facts = {}
    for name, program in found.items():
        (_, *given), _ = jax.tree.unflatten(program.in_tree, program.in_avals)
        facts[name] = {
            "file": exported.file_of(name),
            "calling_convention": program.calling_convention_version,
            "inputs": _rows_of(given, _INPUTS.get(name, ("",))),
            "outputs": _rows_of(jax.tree.unflatten(program.out_tree, program.out_avals), _OUTPUTS.get(name)),
        }
    return facts


# What the positional arguments after the weights are called, and the parts of a result that is a tuple.
_INPUTS = {"init": ("frame", "size", "boxes"), "step": ("states", "frame", "size")}
_OUTPUTS = {"step": ("states", "found")}


def _rows_of(arrays, names):
    """[[name, shape, dtype]] of a pytree; names: of its parts where it is a sequence."""
    parts = [("", arrays)] if names is None else zip(names, arrays, strict=True)
    return [
        [".".join(filter(None, (part, name))), [_extent(side) for side in array.shape], array.dtype.name]
        for part, tree in parts
        for name, array in named(tree).items()
    ]


def _extent(side):
    return side if isinstance(side, int) else str(side)


class Runner:
    """Runs graphs that were written to a folder.

    Args: folder: path. found: of `programs`. weights: {name: array}.
    """

    def __init__(self, folder, found, weights):
        self.weights = jax.device_put(weights)
        self._calls = {
            name: exported.program(folder / exported.file_of(name), program.calling_convention_version, jax.__version__)
            for name, program in found.items()
        }

    def __call__(self, name, inputs):
        """{name: array} of a graph's outputs."""
        return jax.device_get(self._calls[name](self.weights, inputs))

    def tracker(self):
        """The exported.Tracker of `init` and `step`."""
        return exported.Tracker(self._calls["init"], self._calls["step"])
