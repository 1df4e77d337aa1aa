"""Attention under a learned division: the fused kernel beside the plain way and beside attention without a division.

    python -m benchmarks.attention [--batch 128] [--tokens 320] [--heads 12] [--size 64] [--dtype bfloat16]
    python -m benchmarks.attention --topology v5e:2x2 [--configs grm.py:b256,mixformer_v2.py:b] [--batch 32]

Forward alone, and forward with the gradients of queries, keys, values and division. On a CPU only the plain ways run.
Prints a table; ratios are what counts. Measured: benchmarks/RESULTS.md.
The second asks TPU's compiler (requirements/plan.txt) what configs' attention costs; nothing is run: docs/scaling.md.
"""

import jax
import jax.numpy as jnp
from absl import flags

from benchmarks import attention_ahead, timing
from trackers import errors
from trackers.evaluation import tables
from trackers.nn import fused_attention, kernels, relation

FLAGS = flags.FLAGS


def ways(qkv):
    """{name: function of (qkv, division) -> (B,N,H,d)} of what can run here."""

    def plain(qkv, division):
        return relation.masked_attention(*jnp.moveaxis(qkv, 2, 0), relation.attention_mask(division))

    def fused(qkv, division):
        return fused_attention.divided_attention(qkv, relation.looks(division), division)

    def undivided(kernel):
        return lambda qkv, _: kernels.attention(*jnp.moveaxis(qkv, 2, 0), kernel=kernel)

    if not kernels.fuses_division("auto", qkv):
        return {"divided, plain": plain, "undivided, plain": undivided("plain")}
    return {
        "divided, plain": plain,
        "divided, fused": fused,
        "undivided, plain": undivided("plain"),
        "undivided, cuDNN": undivided("fused"),
    }


def define_flags():
    flags.DEFINE_integer("batch", 128, "Samples.", lower_bound=1)
    flags.DEFINE_integer("tokens", 320, "Tokens, a fifth of them of the template.", lower_bound=5)
    flags.DEFINE_integer("heads", 12, "Attention heads.", lower_bound=1)
    flags.DEFINE_integer("size", 64, "Channels of a head.", lower_bound=1)
    flags.DEFINE_enum("dtype", "bfloat16", ["bfloat16", "float32"], "What is computed in.")
    flags.DEFINE_integer("repeats", 20, "Timed calls of each row.", lower_bound=1)
    flags.DEFINE_string("topology", None, "Ask the compiler of a TPU that is not here, e.g. v5e:2x2.")
    every = ["grm.py:b256", "grm.py:l320", "simtrack.py:b16", "simtrack.py:l14", "mixformer_v2.py:b", "mixvit.py:b"]
    flags.DEFINE_list("configs", every, "With --topology: configs whose attention is compiled.")


def main(argv):
    del argv
    if FLAGS.topology:
        errors.leave_out(["tokens", "heads", "size", "dtype", "repeats"], "has no use with --topology")
        print(f"\n{attention_ahead.table(FLAGS.topology, FLAGS.configs, FLAGS.batch)}")
        return
    errors.leave_out(["configs"], "is of --topology")
    keys = jax.random.split(jax.random.key(0), 3)
    shape = FLAGS.batch, FLAGS.tokens, FLAGS.heads, FLAGS.size
    qkv = jax.random.normal(keys[0], (*shape[:2], 3, *shape[2:]), FLAGS.dtype)
    cotangent = jax.random.normal(keys[1], shape, FLAGS.dtype)
    search = jnp.where(jax.random.bernoulli(keys[2], 0.5, shape[:2]), relation.ALL, relation.SEARCH)
    category = jnp.where(jnp.arange(FLAGS.tokens) < FLAGS.tokens // 5, relation.TEMPLATE, search)
    division = jax.nn.one_hot(category, 3)
    calls = {}
    for name, attend in ways(qkv).items():
        forward = jax.jit(attend)
        both = jax.jit(lambda a, b, g, attend=attend: jax.vjp(attend, a, b)[1](g))
        calls[name, "forward"] = lambda forward=forward: forward(qkv, division)
        calls[name, "with gradients"] = lambda both=both: both(qkv, division, cotangent)
    medians = {name: timing.median(times).wall for name, times in timing.take_turns(calls, FLAGS.repeats).items()}
    base = {kind: medians["divided, plain", kind] for _, kind in calls}
    sizes = f"{FLAGS.batch} x {FLAGS.tokens} tokens, {FLAGS.heads} heads, {FLAGS.dtype}"
    print(f"{jax.devices()[0].device_kind}: {sizes}\n")
    rows = [[*name, f"{1e3 * wall:.2f}", f"{wall / base[name[1]]:.2f}"] for name, wall in medians.items()]
    print(tables.markdown(["attention", "pass", "ms", "ratio"], rows))


if __name__ == "__main__":
    define_flags()
    errors.run(main)
