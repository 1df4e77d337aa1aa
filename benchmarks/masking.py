"""GRM's division executed as a mask against three separate attentions (paper: "Speedup by Attention Masking").

    python -m benchmarks.masking [--width 768] [--heads 12] [--template 64] [--search 256] [--batch 8] [--share 0.5]

Separate attentions have sizes that differ from sample to sample: they cannot be batched, and under jit every new count
of tokens would be compiled again. So the separate form runs sample by sample, op by op, as the authors' does; a second
row compiles it for one division that stays as it is, the best it could ever do. Prints a table; ratios are what counts.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import timing
from trackers import errors
from trackers.evaluation import tables
from trackers.nn import relation

FLAGS = flags.FLAGS


def separate_attention(q, k, v, categories, rows=relation.GRM_RELATION):
    """One attention for each category of a division that is known outside jit (GRM Eq. 2-4 executed literally).

    What masking saves us from: group sizes differ from sample to sample, so nothing can be batched or compiled once.

    Args:
      q, k, v: (1,N,H,d).
      categories: (N,) concrete ints.
      rows: which category (row) looks at which (column), zeros and ones.

    Returns: (1,N,H,d).
    """
    categories = np.asarray(categories)
    output = jnp.zeros_like(q)
    for category, row in enumerate(rows):
        queries = np.flatnonzero(categories == category)
        if queries.size:
            keys = np.flatnonzero(np.asarray(row, bool)[categories])
            attended = jax.nn.dot_product_attention(q[:, queries], k[:, keys], v[:, keys])
            output = output.at[:, queries].set(attended)
    return output


@jax.jit
def _masked(q, k, v, one_hot):
    return relation.masked_attention(q, k, v, relation.attention_mask(one_hot))


def _each(attentions, q, k, v):
    """Every sample with its own attention."""
    samples = [attend(q[i : i + 1], k[i : i + 1], v[i : i + 1]) for i, attend in enumerate(attentions)]
    return jnp.concatenate(samples)


def define_flags():
    flags.DEFINE_integer("width", 768, "Channels of a token.", lower_bound=1)
    flags.DEFINE_integer("heads", 12, "Attention heads.", lower_bound=1)
    flags.DEFINE_integer("template", 64, "Template tokens.", lower_bound=1)
    flags.DEFINE_integer("search", 256, "Search tokens.", lower_bound=1)
    flags.DEFINE_integer("batch", 8, "Samples.", lower_bound=1)
    flags.DEFINE_float("share", 0.5, "Share of the search tokens that interact.", lower_bound=0.0, upper_bound=1.0)
    flags.DEFINE_integer("repeats", 15, "Timed calls of each row.", lower_bound=1)


def main(argv):
    del argv
    if FLAGS.width % FLAGS.heads:
        raise errors.UsageError(f"--width={FLAGS.width}: give a multiple of --heads={FLAGS.heads}")
    n = FLAGS.template + FLAGS.search
    shape = FLAGS.batch, n, FLAGS.heads, FLAGS.width // FLAGS.heads
    qkv = [jax.random.normal(key, shape) for key in jax.random.split(jax.random.key(0), 3)]
    interacts = np.random.default_rng(0).random((FLAGS.batch, FLAGS.search)) < FLAGS.share
    search = np.where(interacts, relation.ALL, relation.SEARCH)
    categories = np.concatenate([np.zeros((FLAGS.batch, FLAGS.template), int), search], axis=1)
    one_hot = jax.nn.one_hot(categories, 3)
    eager = [functools.partial(separate_attention, categories=c) for c in categories]
    compiled = [jax.jit(function) for function in eager]
    plain = jax.jit(jax.nn.dot_product_attention)
    calls = {
        "masked, one batch, jitted": lambda: _masked(*qkv, one_hot),
        "separate, sample by sample": lambda: _each(eager, *qkv),
        "separate, compiled for these divisions only": lambda: _each(compiled, *qkv),
        "no division (plain attention), jitted": lambda: plain(*qkv),
    }
    difference = float(jnp.abs(_masked(*qkv, one_hot) - _each(eager, *qkv)).max())
    print(f"{jax.devices()[0].device_kind}: batch {FLAGS.batch}, {n} tokens, {FLAGS.heads} heads, width {FLAGS.width}")
    print(f"largest difference masked/separate: {difference:.1e}\n")
    medians = {name: timing.median(times).wall for name, times in timing.take_turns(calls, FLAGS.repeats).items()}
    base = next(iter(medians.values()))
    rows = [[name, f"{1e3 * wall:.1f}", f"{wall / base:.2f}"] for name, wall in medians.items()]
    print(tables.markdown(["execution", "ms", "ratio"], rows))


if __name__ == "__main__":
    define_flags()
    errors.run(main)
