"""What training minimizes. A module for each objective; build(config.objective, model) makes one.

Every module has a class Objective, a subclass of the one in base.py, whose fields are the keys of config.objective.
Distillation and the training of scores or of referring are other objectives for the same loop.
"""

import importlib

import trackers
from trackers import errors
from trackers.objectives.base import RNG_NAMES, Objective, Validation

__all__ = ["RNG_NAMES", "Objective", "Validation", "build"]


def build(config, model, teacher=None):
    """The objective that a config's `objective` section describes.

    Args:
      config: mapping with "name" = a module of trackers.objectives that has an Objective, and that class's fields.
      model: from trackers.build.
      teacher: from trackers.build, for objectives that have a field `teacher`; None where the config has no teacher.

    Raises: InputError for an unknown name or field.
    """
    fields = trackers.to_plain(config)
    name = fields.pop("name", None)
    try:
        module = importlib.import_module(f"trackers.objectives.{name}")
        objective = module.Objective
    except (ModuleNotFoundError, AttributeError):
        raise errors.InputError(f"objective.name {name!r} is not an objective of trackers.objectives") from None
    if teacher is not None:
        fields["teacher"] = teacher
    try:
        return objective(model=model, **fields)
    except TypeError as error:
        raise errors.InputError(f"objective: {error}") from None
