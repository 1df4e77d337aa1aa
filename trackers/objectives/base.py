"""What every objective is, and the defaults that most of them keep."""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from trackers.objectives import forward

# What models draw from, each from a key of its own; a step's keys are split in this order.
RNG_NAMES = ("gumbel", "dropout", "droppath")


class Validation:
    """What validation adds for a tracker with templates: how much worse is it with its neighbor's template?

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


@dataclasses.dataclass(frozen=True)
class Objective:
    """What training minimizes: a pure function of a model's variables and a batch.

    An objective of a tracker that finds a box defines loss(prediction, search_box) -> (loss, metrics), of a Prediction
    against boxes (B,4) x,y,w,h, fractions of the search crop: () float32, and a dict of those with "loss" and "iou".
    Where something changes from epoch to epoch it overrides `schedule`. An objective of anything else overrides
    `__call__`. Both may override the class attributes:

    reduction: "mean", or "sum" where the loss is a sum over the batch.
    validation: the Validation, what is measured beside the metrics.

    model: from trackers.build. What a subclass has as fields are the keys of config.objective.
    """

    model: nn.Module

    reduction = "mean"
    validation = Validation

    def __call__(self, params, batch_stats, batch, rngs=None, train=True, epoch=1, teacher_variables=None):
        """Forward pass and loss of one batch.

        Args:
          params, batch_stats: the model's variables.
          batch: template uint8 (B,K,Hz,Wz,3), template_box (B,K,4), search uint8 (B,Hx,Wx,3), search_box (B,4); boxes
            x,y,w,h as fractions of the crops, float32.
          rngs: {name of RNG_NAMES: key} in training.
          train: training mode, with noise and updated statistics.
          epoch: () int32, counted from 1.
          teacher_variables: those of config.teacher's model; {} or None where there is no teacher.

        Returns: (loss, (metrics, batch_stats)): () float32, dict of () float32, the updated statistics.
        """
        del teacher_variables
        scheduled = self.schedule(epoch, train)
        prediction, batch_stats = forward.predict(self.model, params, batch_stats, batch, rngs, train, **scheduled)
        loss, metrics = self.loss(prediction, batch["search_box"])
        return loss, ({**metrics, **scheduled}, batch_stats)

    def schedule(self, epoch, train):
        """{name: () float32} that the model takes by keyword and that depends on the epoch; logged with the metrics.

        Args: epoch: () int32, counted from 1. train: whether the pass is one of training.
        """
        del epoch, train
        return {}
