"""Training of the neural Kalman filter on ground-truth tracks with simulated detections. Our own choice of losses."""

import dataclasses

import jax.numpy as jnp

from trackers.objectives import base
from trackers.ops import boxes, kalman_filter


class Validation(base.Validation):
    """IoU of filtered and of predicted boxes beside that of the detections themselves (base.Validation)."""

    shown = {"validation IoU": "iou", "predicted IoU": "predicted_iou", "detections' IoU": "observed_iou"}

    @staticmethod
    def control(run, batch):
        """Nothing further: the detections are the control."""
        del run, batch
        return {}


@dataclasses.dataclass(frozen=True)
class Objective(base.Objective):
    """Squared errors of the filtered and the predicted box, and how surprising the observations were.

    model: trackers.models.neural_kalman.Model.
    filtered_weight, predicted_weight: weights of the squared errors of cx, cy, a, h (pixels over the true height, a as
      it is).
    surprise_weight: weight of the negative log-likelihood of the innovations, which alone says how large the noise is
      and not only how process and observation compare.
    """

    filtered_weight: float = 1.0
    predicted_weight: float = 1.0
    surprise_weight: float = 0.001

    validation = Validation

    def __call__(self, params, batch_stats, batch, rngs=None, train=True, **_):
        """Loss of one batch; nothing in it is random.

        Args: as base.Objective, but for
          batch: observed (B,T,4) float32 cx, cy, a, h of detections; confidence (B,T); seen (B,T) bool; target (B,T,4)
            the true cx, cy, a, h.

        Returns: (loss, ({"loss", "filtered_error", "predicted_error", "surprise", "iou", "predicted_iou",
          "observed_iou"}, batch_stats)); errors in heights. The first frame, which starts the filter, does not count.
        """
        del rngs, train
        track = self.model.apply({"params": params}, batch["observed"], batch["confidence"], batch["seen"])
        target, seen = batch["target"][:, 1:], batch["seen"][:, 1:]
        height = jnp.maximum(target[..., 3:4], 1.0)
        unit = jnp.concatenate([height, height, jnp.ones_like(height), height], axis=-1)

        def error(means):
            return jnp.mean(jnp.sum(jnp.square((means[:, 1:, :4] - target) / unit), axis=-1))

        def iou(observations, counted):
            pairs = kalman_filter.to_boxes(observations), kalman_filter.to_boxes(target)
            overlaps, _ = boxes.iou(*(boxes.xywh_to_xyxy(box) for box in pairs))
            return jnp.sum(overlaps * counted) / jnp.maximum(1.0, jnp.sum(counted))

        filtered, predicted = error(track.filtered), error(track.predicted)
        surprise = jnp.sum(_surprise(track.innovation[:, 1:], track.spread[:, 1:]) * seen) / jnp.maximum(1, seen.sum())
        loss = self.filtered_weight * filtered + self.predicted_weight * predicted + self.surprise_weight * surprise
        everywhere = jnp.ones(seen.shape)
        scalars = {"loss": loss, "filtered_error": filtered, "predicted_error": predicted, "surprise": surprise}
        scalars |= {
            "iou": iou(track.filtered[:, 1:], everywhere),
            "predicted_iou": iou(track.predicted[:, 1:], everywhere),
        }
        scalars |= {"observed_iou": iou(batch["observed"][:, 1:], seen)}
        return loss, (scalars, batch_stats)


def _surprise(innovation, spread):
    """Negative log-likelihood (B,T) of innovations (B,T,4) under zero-mean normals with covariance (B,T,4,4), in nats
    less a constant."""
    _, logdet = jnp.linalg.slogdet(spread)
    solved = jnp.linalg.solve(spread, innovation[..., None])[..., 0]
    return 0.5 * (logdet + jnp.sum(innovation * solved, axis=-1))
