"""SimTrack's objective: the box between two corners (STARK, Sec. 3.1; SimTrack, Sec. 3.1)."""

import dataclasses

import jax.numpy as jnp

from trackers.objectives import base
from trackers.objectives import boxes as box_losses
from trackers.ops import boxes


@dataclasses.dataclass(frozen=True)
class Objective(base.Objective):
    """giou_weight * GIoU + l1_weight * L1 of the predicted box; serves every tracker whose loss is on its box alone.

    The program gives up GIoU for the whole batch where one predicted box has its corners exchanged; here such a box
    counts as one without area.
    """

    giou_weight: float = 2.0
    l1_weight: float = 5.0

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
