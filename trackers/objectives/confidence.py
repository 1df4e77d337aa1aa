"""What a tracker's score is trained with: does the search crop show the target? (MixFormer, Sec. 3.3)."""

import dataclasses

import jax.numpy as jnp
import optax

from trackers.errors import InputError
from trackers.objectives import base, forward
from trackers.ops import boxes


@dataclasses.dataclass(frozen=True)
class Objective(base.Objective):
    """Binary cross-entropy of the score alone, on pairs with and without the target (config.data.positive_probability).

    The program computes the losses of the box too and throws them away; its training of scores does not run as
    published. Everything but the score head is meant to be frozen (config.train.frozen).

    judge_truth: the score module looks at the true box instead of the predicted one (MixViT).
    """

    judge_truth: bool = False

    def __post_init__(self):
        if not self.model.score_head:
            raise InputError("objective confidence trains a score head: set config.model.score_head=true")

    def __call__(self, params, batch_stats, batch, rngs=None, train=True, **_):
        """Forward pass in inference mode, so that what is frozen is all that the score sees, and the loss of one batch.

        Args: as base.Objective; the batch also has label (B,) float32, 1 where the target is in the search crop.

        Returns: (loss, (metrics, batch_stats)); "iou" is the mean over pairs with the target, "accuracy" the share of
          scores on the right side of one half.
        """
        del rngs, train
        truth = jnp.clip(boxes.xywh_to_xyxy(batch["search_box"]), 0.0, 1.0)
        options = {"score_box": truth} if self.judge_truth else {}
        prediction, _ = forward.predict(self.model, params, batch_stats, batch, train=False, **options)
        label = batch["label"]
        logits = prediction.maps["score_logits"]
        loss = score_loss(logits, label)
        overlap = boxes.iou(boxes.cxcywh_to_xyxy(prediction.box), truth)[0]
        metrics = {
            "loss": loss,
            "accuracy": jnp.mean((logits > 0) == (label > 0.5)),
            "iou": jnp.sum(overlap * label) / jnp.maximum(jnp.sum(label), 1.0),
        }
        return loss, (metrics, batch_stats)


def score_loss(logits, labels):
    """Mean binary cross-entropy of logits (B,) and labels (B,) in 0..1: () float32."""
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits.astype(jnp.float32), labels))
