"""SimTrack's objective: the box between two corners (STARK, Sec. 3.1; SimTrack, Sec. 3.1)."""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from trackers.objectives import boxes as box_losses
from trackers.objectives import forward
from trackers.ops import boxes


@dataclasses.dataclass(frozen=True)
class Objective:
    """giou_weight * GIoU + l1_weight * L1 of the predicted box; serves every tracker whose loss is on its box alone.

    The program gives up GIoU for the whole batch where one predicted box has its corners exchanged; here such a box
    counts as one without area.
    """

    model: nn.Module
    giou_weight: float = 2.0
    l1_weight: float = 5.0

    def __call__(self, params, batch_stats, batch, rngs=None, train=True):
        """Forward pass and loss of one batch.

        Args:
          params, batch_stats: the model's variables.
          batch: template uint8 (B,K,Hz,Wz,3), template_box (B,K,4), search uint8 (B,Hx,Wx,3), search_box (B,4); boxes
            x,y,w,h as fractions of the crops, float32.
          rngs: {"gumbel", "droppath", "dropout"} keys in training.

        Returns: (loss, (metrics, batch_stats)): () float32, dict of () float32, the updated statistics.
        """
        prediction, batch_stats = forward.predict(self.model, params, batch_stats, batch, rngs, train)
        loss, metrics = self.loss(prediction, batch["search_box"])
        return loss, (metrics, batch_stats)

    def loss(self, prediction, search_box):
        """(loss, metrics) of a Prediction against (B,4) x,y,w,h fractions."""
        predicted = boxes.cxcywh_to_xyxy(prediction.box)
        truth = jnp.clip(boxes.xywh_to_xyxy(search_box), 0.0, 1.0)
        metrics = {
            "giou": box_losses.giou_loss(predicted, truth),
            "l1": box_losses.l1_loss(predicted, truth),
            "iou": jnp.mean(boxes.iou(predicted, truth)[0]),
        }
        loss = self.giou_weight * metrics["giou"] + self.l1_weight * metrics["l1"]
        return loss, {"loss": loss, **metrics}
