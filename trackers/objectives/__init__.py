"""What training minimises. A module per objective; build(config.objective, model) makes one.

An objective is a function (params, batch_stats, batch, rngs=None, train=True) -> (loss, (metrics, batch_stats)),
pure, so that distillation or referring training are other objectives for the same loop.
"""

import importlib

import trackers
from trackers import errors


def build(config, model):
    """The objective that a config's `objective` section describes.

    Args:
      config: mapping with "name" = a module of trackers.objectives that has an Objective, and that class's fields.
      model: from trackers.build.

    Raises: InputError for an unknown name or field.
    """
    fields = trackers.to_plain(config)
    name = fields.pop("name", None)
    try:
        module = importlib.import_module(f"trackers.objectives.{name}")
        objective = module.Objective
    except (ModuleNotFoundError, AttributeError):
        raise errors.InputError(f"objective.name {name!r} is not an objective of trackers.objectives") from None
    try:
        return objective(model=model, **fields)
    except TypeError as error:
        raise errors.InputError(f"objective: {error}") from None
