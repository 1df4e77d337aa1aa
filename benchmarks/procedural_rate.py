"""Pairs a second that the procedural video gives, by batch size: what a training step may take before it has to wait.

    python -m benchmarks.procedural_rate --config configs/grm.py:demo          (prefix taskset -c 0 for one core)

Wall time of the compiled program on the default device, without the copy to the host, and processor time of all cores
together, which a busy machine does not distort. "with banks" counts the bank's renewal; streams make 8 at a time.
"""

import jax
import numpy as np
from absl import flags

from benchmarks import timing
from data_pipelines.procedural.video import SyntheticConfig, banks_at, make_batch
from trackers import errors

FLAGS = flags.FLAGS


def define_flags():
    errors.define_config("Experiment, as configs/grm.py:demo.")
    flags.DEFINE_list("batch_sizes", ["4", "8", "32", "128"], "Pairs made by one call.")
    flags.DEFINE_float("seconds", 3.0, "Time to spend on each batch size.", lower_bound=0.1)


def main(argv):
    del argv
    config = FLAGS.config
    settings = SyntheticConfig() if config is None else SyntheticConfig.from_config(config)
    sizes = timing.counts("batch_sizes", FLAGS.batch_sizes)
    kind = jax.devices()[0].device_kind
    print(f"{settings.search_size}/{settings.template_size} px, {settings.distractors} distractors; {kind}")
    compiled = timing.once(lambda: banks_at(0, 0, settings))
    bank = timing.once(lambda: banks_at(0, settings.renew_every_steps, settings))
    print(f"bank of {settings.backgrounds} backgrounds, {4 * settings.families} sprites: {bank.wall:.2f} s,"
          f" of cores {bank.cores:.2f} s (first {compiled.wall:.1f} s, compiling)")  # fmt: skip
    banks = banks_at(0, 0, settings)
    head = f"{'batch':>6} {'compile s':>10} {'pairs/s':>8} {'with banks':>11} {'core ms/pair':>13}"
    print(head, f"{'pairs/s of a core':>18}")
    for size in sizes:
        rows = np.arange(size)
        compiled = timing.once(lambda rows=rows: make_batch(0, 0, rows, banks, settings)).wall
        times = []
        while sum(wall for wall, _ in times) < FLAGS.seconds:
            step = len(times)
            times.append(timing.once(lambda rows=rows, step=step: make_batch(0, step, rows, banks, settings)))
        wall, cores = np.mean(times, axis=0)
        renewed = wall + bank.wall / settings.renew_every_steps
        print(f"{size:6d} {compiled:10.1f} {size / wall:8.0f} {size / renewed:11.0f} {cores / size * 1e3:13.3f}"
              f" {size / cores:18.0f}")  # fmt: skip


if __name__ == "__main__":
    define_flags()
    errors.run(main)
