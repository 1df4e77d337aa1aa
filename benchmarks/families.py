"""Forward pass and training step of every family on the CPU, ours beside the same network in PyTorch.

    python -m benchmarks.families [--families grm,simtrack] [--batch 1] [--rounds 5] [--threads 2] [--tiny]

families: grm (b256), simtrack (b16), mixformer_v2 (b), mixvit (b), ostrack (b256) and ikun (cascade_attention, clips of
one frame), at the published sizes; --tiny takes their variants for tests. Both compute in float32 on the same cores
from the same weights: random ones, every one of them drawn, since speed does not depend on them. Ours is compiled,
PyTorch runs eagerly (torch_*.py of this folder).

forward: the full network in inference mode, template and search; of ikun crop, frame and phrase. encode-once: a clip
with several phrases (--phrases), crop and frame encoded once; encode-anew: for each phrase, as iKUN's program does.
step: in training mode forward, the sum of the mean squares of all outputs in place of a loss, backward, clipping of the
gradient's norm, AdamW (PyTorch's fused one) of all parameters. Drop-path and dropout are off, so that both can be
compared. What is timed is compared first: the outputs (their largest difference over their largest value, 1 at least),
and of a first step the scalar and the gradient's norm, except where a tracker draws noise in training (grm). Networks
that differ are not timed; the exit code is then 1.

The rows of a family take turns; medians. "core ms" is processor time of all threads, which other work on the machine
distorts less than the clock ("ms"), though threads that wait busily count. Without PyTorch there is one line that says
so, and exit code 0.
"""

import copy
import functools
import importlib
import importlib.util
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

import trackers
from benchmarks import timing
from configs import variants
from trackers import convert, errors
from trackers.evaluation import tables
from trackers.ops import boxes

FLAGS = flags.FLAGS
HEADS = ["", "ours ms", "range", "PyTorch ms", "range", "ours, core ms", "PyTorch, core ms", "ours is faster by"]
HEADS += ["by core ms", "difference"]
# Seconds after each turn, so that one library's waiting threads do not spin on the cores of the other.
PAUSE = 0.05
# Of AdamW, and the largest norm of the gradient: SimTrack's appendix has the decay, the programs the norm.
RATE, DECAY, NORM = 1e-4, 1e-4, 0.1
# Largest differences that rounding explains: of outputs, over their largest value, and of a first step, where the
# gradient's norm of iKUN's 50 layers of convolutions differs by 7e-4.
OUTPUTS, FIRST_STEP = 3e-5, 5e-3


class Family(NamedTuple):
    """config: of published size; its file has a variant `tiny`. network: FILE.CLASS of this folder, in PyTorch.

    maps: of Prediction.maps, what the network in PyTorch returns after the box. settings: of config.model, what is
    changed. noise: whether a training step draws random numbers. words: whether the last input is a phrase.
    """

    config: str
    network: str
    maps: tuple = ()
    settings: dict = {"drop_path": 0.0}
    noise: bool = False
    words: bool = False


_CORNERS = ("corner_top_left_logits", "corner_bottom_right_logits")
_NO_ELIMINATION = {"drop_path": 0.0, "elimination.layers": ()}
_STILL_WORDS = {"dropout": 0.0, "standardize": False, "joint_statistics": False}
FAMILIES = {
    "grm": Family("configs/grm.py:b256", "torch_grm.Grm", ("score_map",), noise=True),
    "simtrack": Family("configs/simtrack.py:b16", "torch_simtrack.SimTrack", _CORNERS),
    "mixformer_v2": Family("configs/mixformer_v2.py:b", "torch_mixformer.MixFormerV2", ("score_logits",)),
    "mixvit": Family("configs/mixvit.py:b", "torch_mixvit.MixVit", _CORNERS),
    "ostrack": Family("configs/ostrack.py:b256", "torch_grm.Grm", ("score_map",), _NO_ELIMINATION),
    "ikun": Family("configs/ikun.py:cascade_attention", "torch_ikun.Ikun", (), _STILL_WORDS, words=True),
}


def settings(family, tiny):
    """(FILE:VARIANT, the `model` section that both run)."""
    name = f"{family.config.partition(':')[0]}:tiny" if tiny else family.config
    config = variants.load(name)
    with config.unlocked():
        config.model.dtype = "float32"
        config.model.update_from_flattened_dict(family.settings)
    return name.removeprefix("configs/"), config.model


def drawn(model, batch):
    """(variables, inputs): random weights, biases and norms too, so that none can be left out unseen; random images and
    phrases.
    """
    rng = np.random.default_rng(0)

    def noisy(array):
        return array + 0.02 * rng.standard_normal(array.shape, np.float32)

    variables = jax.tree.map(noisy, jax.device_get(trackers.init(model, jax.random.key(0))))
    inputs = [np.asarray(x) for x in trackers.example_inputs(model, batch)]
    for i, x in enumerate(inputs):
        if x.shape[-1] == 3:
            inputs[i] = rng.standard_normal(x.shape, np.float32)
        elif x.dtype == np.int32:
            inputs[i] = rng.integers(0, model.transformer.vocabulary, x.shape, np.int32)
    return variables, inputs


def outputs(prediction, maps):
    """What the network in PyTorch returns, too: a tuple of arrays, the box (B,4) xyxy first; of iKUN similarities."""
    if isinstance(prediction, jax.Array):
        return (prediction,)
    return boxes.cxcywh_to_xyxy(prediction.box), *(prediction.maps[name] for name in maps)


def calls_of(predict, inputs, words):
    """{row: function} of forward passes.

    predict: function (*inputs) -> tuple of arrays. words: whether the last of the inputs is a phrase (B,N), of which so
    many others are made here as --phrases says.
    """
    calls = {"forward": lambda: predict(*inputs)}
    if words:
        *images, phrase = inputs
        others = phrase[:, (np.arange(phrase.shape[1]) + np.arange(FLAGS.phrases)[:, None]) % phrase.shape[1]]
        calls[f"encode-once, {FLAGS.phrases} phrases"] = lambda: predict(*images, others)
        anew = [others[:, i] for i in range(FLAGS.phrases)]
        calls[f"encode-anew, {FLAGS.phrases} phrases"] = lambda: [predict(*images, one)[0] for one in anew]
    return calls


def ours(family, section, batch):
    """({row: function}, weights under their published names, inputs).

    "step" returns the scalar and the gradient's norm, after which it moves the weights; the others are calls_of's.
    """
    model = trackers.build(section)
    variables, inputs = drawn(model, batch)
    weights = convert.from_variables(variables, section)
    copied = functools.partial(jax.tree.map, jnp.array)
    variables, arrays = copied(variables), copied(inputs)
    optimizer = optax.chain(optax.clip_by_global_norm(NORM), optax.adamw(RATE, weight_decay=DECAY))
    rngs = {name: jax.random.key(i) for i, name in enumerate(("gumbel", "dropout", "droppath"))}

    @jax.jit
    def predict(variables, *inputs):
        return outputs(model.apply(variables, *inputs), family.maps)

    @functools.partial(jax.jit, donate_argnums=0)
    def take_step(state, inputs):
        params, others, moments = state

        def scalar(params):
            call = functools.partial(model.apply, train=True, rngs=rngs, mutable=["batch_stats"])
            prediction, updated = call({"params": params, **others}, *inputs)
            return sum(jnp.mean(jnp.square(x)) for x in outputs(prediction, family.maps)), updated

        (value, updated), gradients = jax.value_and_grad(scalar, has_aux=True)(params)
        updates, moments = optimizer.update(gradients, moments, params)
        state = optax.apply_updates(params, updates), {**others, **updated}, moments
        return state, (value, optax.global_norm(gradients))

    params, others = copied(variables["params"]), copied({k: v for k, v in variables.items() if k != "params"})
    state = params, others, jax.jit(optimizer.init)(params)

    def step():
        nonlocal state
        state, found = take_step(state, arrays)
        return found

    calls = calls_of(functools.partial(predict, variables), arrays, family.words)
    return {**calls, "step": step}, weights, inputs


def in_pytorch(family, section, weights, inputs, threads):
    """The same functions in eager PyTorch."""
    import torch

    torch.set_num_threads(threads)
    file, _, name = family.network.partition(".")
    network = getattr(importlib.import_module(f"benchmarks.{file}"), name)(section)
    counts = {key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
    network.load_state_dict(counts | {key: torch.from_numpy(value.copy()) for key, value in weights.items()})
    arrays = [np.moveaxis(x, -1, -3) if x.shape[-1] == 3 else x for x in inputs]
    tensors = [torch.from_numpy(np.array(x, order="C")) for x in arrays]
    still = copy.deepcopy(network).eval()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY, fused=True)

    @torch.inference_mode()
    def predict(*tensors):
        return still(*tensors)

    def step():
        optimizer.zero_grad()
        value = sum(x.square().mean() for x in network(*tensors))
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), NORM)
        optimizer.step()
        return value.detach(), norm

    return {**calls_of(predict, tensors, family.words), "step": step}


def difference(found, other):
    """The largest difference of two tuples of arrays, each over the largest value of the first one's, 1 at least."""
    pairs = [(np.asarray(a), np.asarray(b).reshape(np.shape(a))) for a, b in zip(found, other, strict=True)]
    return max(float(np.abs(a - b).max() / max(1.0, np.abs(a).max())) for a, b in pairs)


def compared(name, family, mine, theirs):
    """{row: difference in words}. Raises SystemExit where it is no rounding."""
    found = {what: difference(mine[what](), theirs[what]()) for what in mine if what != "step"}
    for what, by in found.items():
        if not by < OUTPUTS:
            raise SystemExit(f"{name}, {what}: the networks differ by {by:.1e} in their outputs, and are not timed")
    first = [[float(x) for x in calls["step"]()] for calls in (mine, theirs)]
    if not family.noise:
        found["step"] = max(abs(a / b - 1) for a, b in zip(*first, strict=True))
        if not found["step"] < FIRST_STEP:
            raise SystemExit(f"{name}: a training step differs by {found['step']:.1e}, and is not timed")
    return {what: f"{found[what]:.0e}" if what in found else "(noise)" for what in mine}


def measure(name):
    """The rows of a family's table."""
    family = FAMILIES[name]
    variant, section = settings(family, FLAGS.tiny)
    mine, weights, inputs = ours(family, section, FLAGS.batch)
    theirs = in_pytorch(family, section, weights, inputs, FLAGS.threads)
    differences = compared(variant, family, mine, theirs)
    calls = {(what, i): side[what] for what in mine for i, side in enumerate((mine, theirs))}
    times = timing.take_turns(calls, FLAGS.rounds, pause=PAUSE)
    return [[f"{variant}, {what}", *_cells(times[what, 0], times[what, 1]), differences[what]] for what in mine]


def _cells(mine, theirs):
    middles = [timing.median(side) for side in (mine, theirs)]
    walls = [f"{1e3 * middle.wall:.1f}" for middle in middles]
    ends = [f"{1e3 * min(e.wall for e in side):.0f}-{1e3 * max(e.wall for e in side):.0f}" for side in (mine, theirs)]
    cores = [f"{1e3 * middle.cores:.1f}" for middle in middles]
    ratios = [f"{b / a:.2f} x" for a, b in zip(*middles, strict=True)]
    return [walls[0], ends[0], walls[1], ends[1], *cores, *ratios]


def define_flags():
    flags.DEFINE_list("families", list(FAMILIES), f"Rows among {', '.join(FAMILIES)}.")
    flags.DEFINE_integer("batch", 1, "Pairs in a call.", lower_bound=1)
    flags.DEFINE_integer("phrases", 4, "Phrases that a clip is compared with (ikun).", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "Timed calls of each row.", lower_bound=1)
    flags.DEFINE_integer("threads", len(os.sched_getaffinity(0)), "CPU cores that are used.", lower_bound=1)
    flags.DEFINE_bool("tiny", False, "Networks of the tests in place of the published ones.")


def main(argv):
    del argv
    for name in FLAGS.families:
        if name not in FAMILIES:
            raise errors.UsageError(f"--families: there is no {name!r}; choose among {', '.join(FAMILIES)}")
    if importlib.util.find_spec("torch") is None:
        print("skipped: PyTorch is not installed (pip install torch)")
        return
    timing.keep_to_cores(FLAGS.threads)
    rows = [row for name in FLAGS.families for row in measure(name)]
    print(f"batch {FLAGS.batch}, float32, CPU cores: {FLAGS.threads}\n\n{tables.markdown(HEADS, rows)}")


if __name__ == "__main__":
    define_flags()
    errors.run(main)
