"""What a frame costs on a processor in networks of other shapes than the shipped tracker's, with random weights.

    python -m benchmarks.network_shapes [--threads 1] [--frames 30] [--shapes t128,asymmetric]

Rows are variants of configs/grm.py, and t128 with other fields of config.model (SHAPES below). In all but t128 and
one_stream template tokens never look at search tokens, so that their keys and values are computed once for a target and
kept. Multiply-adds and time are those of one frame with the template kept. "network": the forward pass. "frame": a
frame of 640 x 480 in memory to a box in pixels: crop, normalization, network, box (no image decoding). "core ms" is
processor time of all threads, which other work on the machine distorts less than the clock ("ms"). Rows take turns;
medians. --threads is of one run, as JAX's thread pool is made once. Random weights: speed does not depend on them, and
what a shape can learn is another question.
"""

import functools

import jax
import numpy as np
from absl import flags

import trackers
from benchmarks import timing
from benchmarks.mixformer_cpu import BOX, FRAME
from configs import grm
from trackers import errors
from trackers.evaluation import tables
from trackers.tracking import single_object
from trackers.training import flops

FLAGS = flags.FLAGS
ROUNDS = 5
_FIXED = {"division": {"mode": "asymmetric", "layers": ()}}
_NARROW = {**_FIXED, "width": 128, "heads": 2}
_COARSE = {**_FIXED, "patch_size": 16, "search_size": 192, "template_size": 96}
_STEM = {"stem": "convolutions"}
# Widths of 128 have 2 heads, of 256 have 4: heads of 64, as t128's.
VARIANTS = ("t128", "fast128", "fast192")
SHAPES = {
    "one_stream": {"division": {"mode": "one_stream", "layers": ()}},
    "asymmetric": _FIXED,
    "asymmetric_head32": {**_FIXED, "head": {"channels": 32}},
    "asymmetric_mlp2": {**_FIXED, "mlp_ratio": 2.0},
    "asymmetric_stem": {**_FIXED, **_STEM},
    "depth4": {**_FIXED, "depth": 4},
    "depth4_width256": {**_FIXED, "depth": 4, "width": 256, "heads": 4},
    "depth8_width128": {**_NARROW, "depth": 8},
    "width128": _NARROW,
    "width128_stem": {**_NARROW, **_STEM},
    "width128_160px": {**_NARROW, "search_size": 160, "template_size": 80},
    "width128_256px": {**_NARROW, "patch_size": 16, "search_size": 256, "template_size": 128},
    "patch16_192px": _COARSE,
    "patch16_192px_stem": {**_COARSE, **_STEM},
    "patch16_256px": {**_COARSE, "search_size": 256, "template_size": 128},
}
HEADS = ["", "tokens", "pixels", "M parameters", "M multiply-adds", "network, core ms", "frame, core ms", "frame, ms"]


def define_flags():
    flags.DEFINE_list("shapes", [*VARIANTS, *SHAPES], f"Rows among {', '.join((*VARIANTS, *SHAPES))}.")
    flags.DEFINE_integer("frames", 30, "Frames of each row, over all rounds.", lower_bound=1)
    flags.DEFINE_integer("threads", 1, "Cores that are used.", lower_bound=1)


def main(argv):
    del argv
    models = {name: trackers.build(_section(name)) for name in FLAGS.shapes}
    timing.keep_to_cores(FLAGS.threads)
    calls = {}
    for name, model in models.items():
        calls |= {(name, what): call for what, call in _calls(model).items()}
    times = timing.take_turns(calls, ROUNDS, max(1, FLAGS.frames // ROUNDS))
    rows = [[name, *_facts(model), *_cells(times, name)] for name, model in models.items()]
    print(f"batch 1, float32, {FLAGS.threads} threads\n\n{tables.markdown(HEADS, rows)}")


def _section(name):
    """The model section of a row. Raises: UsageError where there is none of this name."""
    if name not in (*VARIANTS, *SHAPES):
        raise errors.UsageError(f"--shapes: there is no {name!r}; choose among {', '.join((*VARIANTS, *SHAPES))}")
    variant, changes = (name, {}) if name in VARIANTS else ("t128", SHAPES[name])
    section = trackers.to_plain(grm.get_config(variant).model)
    return trackers.merged({**section, "dtype": "float32"}, changes)


def _calls(model):
    """{"network", "frame"}: a forward pass on a search crop, and a step of the tracker."""
    variables = trackers.init(model, jax.random.key(0))
    template, box, search = trackers.example_inputs(model)
    search = jax.random.normal(jax.random.key(1), search.shape)
    cache = jax.jit(functools.partial(model.apply, method="encode_template"))(variables, template, box)
    locate = jax.jit(functools.partial(model.apply, method="locate"))
    tracker = single_object.Tracker(model, grm.get_config("t128").tracking)
    frame = np.random.default_rng(0).integers(0, 256, FRAME, np.uint8)
    state = tracker.init(variables, frame, np.float32(BOX))
    return {
        "network": lambda: locate(variables, cache, search).box,
        "frame": lambda: np.asarray(tracker.step(variables, state, frame)[1].box),
    }


def _facts(model):
    count = flops.of_tracker(model)
    tokens = "x".join(map(str, model.search_grid))
    return [tokens, str(model.search_size), f"{count['parameters'] / 1e6:.2f}", f"{count['search'] / 1e6:.0f}"]


def _cells(times, name):
    network, frame = (timing.median(times[name, what]) for what in ("network", "frame"))
    return [f"{1e3 * value:.1f}" for value in (network.cores, frame.cores, frame.wall)]


if __name__ == "__main__":
    define_flags()
    errors.run(main)
