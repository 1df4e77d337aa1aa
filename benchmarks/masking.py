"""GRM's division executed as a mask against three separate attentions (paper: "Speedup by Attention Masking").

    python -m benchmarks.masking [--width 768] [--heads 12] [--template 64] [--search 256] [--batch 8] [--share 0.5]

Separate attentions have sizes that differ from sample to sample: they cannot be batched, and under jit every new count
of tokens would be compiled again. So the separate form runs sample by sample, op by op, as the authors' does; a second
row compiles it for one division that stays as it is, the best it could ever do. Prints a table; ratios are what counts.
"""

import argparse
import functools
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from trackers.nn import relation


def milliseconds(run, repeats):
    """Median over runs after one to warm up, each waited for."""
    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"width": 768, "heads": 12, "template": 64, "search": 256, "batch": 8, "repeats": 15}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--share", type=float, default=0.5, help="share of the search tokens that interact")
    args = parser.parse_args()

    n = args.template + args.search
    keys = jax.random.split(jax.random.key(0), 3)
    q, k, v = (jax.random.normal(key, (args.batch, n, args.heads, args.width // args.heads)) for key in keys)
    rng = np.random.default_rng(0)
    interacts = rng.random((args.batch, args.search)) < args.share
    search = np.where(interacts, relation.ALL, relation.SEARCH)
    categories = np.concatenate([np.zeros((args.batch, args.template), int), search], axis=1)
    one_hot = jax.nn.one_hot(categories, 3)

    @jax.jit
    def masked(q, k, v, one_hot):
        return relation.masked_attention(q, k, v, relation.attention_mask(one_hot))

    def separate(attention):
        samples = [attention[i](q[i : i + 1], k[i : i + 1], v[i : i + 1]) for i in range(args.batch)]
        return jnp.concatenate(samples)

    eager = [functools.partial(relation.separate_attention, categories=c) for c in categories]
    compiled = [jax.jit(function) for function in eager]
    rows = {
        "masked, one batch, jitted": lambda: masked(q, k, v, one_hot),
        "separate, sample by sample": lambda: separate(eager),
        "separate, compiled for these divisions only": lambda: separate(compiled),
        "no division (plain attention), jitted": lambda: jax.jit(jax.nn.dot_product_attention)(q, k, v),
    }
    difference = float(jnp.abs(rows["masked, one batch, jitted"]() - separate(eager)).max())
    base = None
    print(f"{jax.devices()[0].device_kind}: batch {args.batch}, {n} tokens, {args.heads} heads, width {args.width}")
    print(f"largest difference masked/separate: {difference:.1e}\n\n| execution | ms | ratio |\n|---|---|---|")
    for name, run in rows.items():
        elapsed = milliseconds(run, args.repeats)
        base = base or elapsed
        print(f"| {name} | {elapsed:.1f} | {elapsed / base:.2f} |")


if __name__ == "__main__":
    main()
