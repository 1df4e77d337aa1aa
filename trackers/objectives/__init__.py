"""What training minimises. A module per objective; build(config.objective, model) makes one.

An objective is a function (params, batch_stats, batch, rngs=None, train=True) -> (loss, (metrics, batch_stats)),
pure, so that distillation or referring training are other objectives for the same loop. One that needs more names it in
its attribute `inputs` and takes it by keyword: "epoch" () int32, counted from 1; "frozen", the teacher's variables.

The loss is a mean over the batch; an objective whose loss is a sum has an attribute `reduction` = "sum".

What validation adds to the metrics is `Validation` unless the objective has a `validation` of its own.
"""

import importlib

import jax.numpy as jnp

import trackers
from trackers import errors


class Validation:
    """Of trackers with templates: how much worse is a search image with its neighbour's template?

    shown: {label: metric} of what a run prints.
    """

    shown = {"validation IoU": "iou", "wrong-template IoU": "wrong_template_iou"}

    @staticmethod
    def control(run, batch):
        """Further metrics of a batch, pure. run: function of a batch -> (loss, (metrics, batch_stats))."""
        wrong = {name: jnp.roll(batch[name], 1, axis=0) for name in ("template", "template_box")}
        _, (scalars, _) = run({**batch, **wrong})
        return {"wrong_template_iou": scalars["iou"]}

    @staticmethod
    def summary(means):
        """{metric: value} of a whole validation, from the means of all metrics."""
        return means


def validation(objective):
    """The objective's Validation, or what it has in its place."""
    return getattr(objective, "validation", Validation)


def given(objective, **inputs):
    """Those of `inputs` ("epoch", "frozen") that the objective asks for, to call it with."""
    return {name: inputs[name] for name in getattr(objective, "inputs", ())}


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
