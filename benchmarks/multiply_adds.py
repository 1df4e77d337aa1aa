"""Multiply-adds and parameters of trackers, template and search counted apart, read off the program itself.

    python -m benchmarks.multiply_adds configs/grm.py:b256 configs/grm.py:l320 [...]

template: once a target. search: every frame, with the template's keys and values cached where no template token looks
at a search token. whole: one full forward, what papers call FLOPs. Counted are matrix products and convolutions, one
for each product that enters a sum; element-wise work is not. Nothing is computed, so any size takes seconds.
"""

import argparse
import importlib.util
from pathlib import Path

import trackers
from trackers.evaluation import tables
from trackers.training import flops

HEADS = ["config", "template G", "search G", "whole G", "parameters M"]


def get_config(name):
    """The config that FILE.py:VARIANT names.

    Raises: OSError for a file that is not there, ValueError for one that is no Python file, or another variant.
    """
    path, _, variant = name.partition(":")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None:
        raise ValueError(f"{path}: give a config file, e.g. configs/grm.py:b256")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*[variant] if variant else [])


def row(name):
    """A table row, in units of 1e9 multiply-adds and 1e6 parameters."""
    count = flops.of_tracker(trackers.build(get_config(name).model))
    numbers = [f"{count[part] / 1e9:.2f}" for part in ("template", "search", "whole")]
    return [name.removeprefix("configs/"), *numbers, f"{count['parameters'] / 1e6:.1f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", metavar="FILE.py:VARIANT")
    configs = parser.parse_args().configs
    try:
        rows = [row(name) for name in configs]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(tables.markdown(HEADS, rows))


if __name__ == "__main__":
    main()
