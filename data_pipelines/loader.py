"""Batches for training and validation: those of the data kind that config.data.name names.

A data kind is a module of data_pipelines (KINDS) with `shapes(config)`, `on_device(config, seed)`, `finish(config)` and
`batches(config, start_step, rows, seed, split)`; the batch of a step is a pure function of (seed, split, step, rows).
"""

import importlib

from trackers import errors

KINDS = ("pairs", "clips", "trajectories")
SPLITS = ("train", "validation")


def batches(config, start_step, rows, seed=None, split="train"):
    """Endless batches from step `start_step` on; the batch of a step does not depend on where one starts.

    Args:
      config: whole config (configs/*.py): data, tracking, model, seed.
      start_step: first step, >= 0.
      rows: range of the rows of the global batch that this process makes.
      seed: integer >= 0; config.seed when None.
      split: "train" or "validation" (the published validation split of each data set that has one, else its training
        split, saying so).

    Yields: dict of numpy arrays of `shapes`, each with an axis of len(rows) in front; what they are stands at `batches`
      of the kind's module.

    Raises: InputError (also later, while iterating) naming what is wrong on disk or in the config.
    """
    if split not in SPLITS:
        raise errors.InputError(f"no split {split!r}: {' or '.join(SPLITS)}")
    if finish(config) is not None:
        config = config.copy_and_resolve_references()
        config.data.crops_on = "host"
    return unfinished_batches(config, start_step, rows, seed, split)


def unfinished_batches(config, start_step, rows, seed=None, split="train"):
    """As `batches`, but where the config leaves work to the device (`finish`) that is still to be done."""
    seed = _checked(config.seed if seed is None else seed)
    return kind(config.data.name).batches(config, start_step, rows, seed, split)


def on_device(config):
    """What makes a config's training batches inside a training step; None where only the host can.

    Returns: object with
      renew_every_steps: steps that one set of facts serves, those from a multiple of it on.
      facts(step, place): what the batches of a step (integer, from 0) are made of, a tree of arrays with the placement
        `place` (jax.sharding.Sharding, whole on every device). Does not wait for the device.
      make(facts, step, rows): rows (n,) int32 of the global batch of a step () int32, as `batches` yields them up to
        rounding; pure, for jit.
    Raises: InputError naming what is wrong in the config.
    """
    return kind(config.data.name).on_device(config, _checked(config.seed))


def finish(config):
    """What is left to do with batches on the device; None for nothing.

    Returns: pure function, for jit, from `unfinished_batches` to those of `shapes`; row by row.
    """
    return kind(config.data.name).finish(config)


def _checked(seed):
    if seed < 0:
        raise errors.InputError(f"seed {seed}: must be 0 or larger")
    return seed


def shapes(config):
    """{name: (shape, dtype)} of one row of the training batches of a whole config; nothing is read."""
    return kind(config.data.name).shapes(config)


def kind(name):
    """The module of the data kind `name`.

    Raises: InputError where there is none.
    """
    if name not in KINDS:
        raise errors.InputError(f"config.data.name {name!r}: use {', '.join(KINDS)}")
    return importlib.import_module(f"data_pipelines.{name}")
