"""Multiply-adds and parameters of trackers, template and search counted apart, read off the program itself.

    python -m benchmarks.multiply_adds configs/grm.py:b256 configs/grm.py:l320 [...]

template: once a target. search: every frame, with the template's keys and values cached where no template token looks
at a search token. whole: one full forward, what papers call FLOPs. Counted are matrix products and convolutions, one
for each product that enters a sum; element-wise work is not. Nothing is computed, so any size takes seconds.
"""

import trackers
from configs import variants
from trackers import errors
from trackers.evaluation import tables
from trackers.training import flops

HEADS = ["config", "template G", "search G", "whole G", "parameters M"]


def row(name):
    """A table row of a config FILE.py:VARIANT, in units of 1e9 multiply-adds and 1e6 parameters."""
    count = flops.of_tracker(trackers.build(variants.load(name).model))
    numbers = [f"{count[part] / 1e9:.2f}" for part in ("template", "search", "whole")]
    return [name.removeprefix("configs/"), *numbers, f"{count['parameters'] / 1e6:.1f}"]


def main(argv):
    if len(argv) < 2:
        raise errors.UsageError("name the configs, e.g. configs/grm.py:b256 configs/simtrack.py:b16")
    print(tables.markdown(HEADS, [row(name) for name in argv[1:]]))


if __name__ == "__main__":
    errors.run(main, positional=True)
