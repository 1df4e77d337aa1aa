"""iKUN's objective: the focal similarity loss of clips and phrases (CVPR 2024, Sec. 3.2; its program)."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from trackers.objectives import base
from trackers.ops.crops import CLIP_MEAN, CLIP_STD, normalize

# Means over the clips: true positives, scores at or above 0, clips that the phrase means.
COUNTS = ("hit", "found", "meant")


class Validation(base.Validation):
    """F1 of scores at or above 0, and the same where phrases meet the neighbor's clip (base.Validation).

    Some phrases hold more often than others, so that an F1 well above chance needs no eyes. What is seen of the clip is
    worth the difference to the wrong clip.
    """

    shown = {"validation F1": "f1", "wrong-clip F1": "wrong_clip_f1"}

    @staticmethod
    def control(run, batch):
        """The counts with all clips exchanged, phrases and targets left."""
        wrong = {name: jnp.roll(batch[name], 1, axis=0) for name in ("local", "global")}
        _, (scalars, _) = run({**batch, **wrong})
        return {f"wrong_clip_{name}": scalars[name] for name in COUNTS}

    @staticmethod
    def summary(means):
        """Adds precision, recall, F1 and the share of right answers over the whole validation."""
        added = {}
        for prefix in ("", "wrong_clip_"):
            hit, found, meant = (means[prefix + name] for name in COUNTS)
            precision, recall = (hit / count if count else 0.0 for count in (found, meant))
            f1 = 2 * hit / (found + meant) if found + meant else 0.0
            added |= {f"{prefix}precision": precision, f"{prefix}recall": recall, f"{prefix}f1": f1}
            added[f"{prefix}accuracy"] = 1 - found - meant + 2 * hit
        return {**means, **added}


@dataclasses.dataclass(frozen=True)
class Objective(base.Objective):
    """Focal similarity loss, summed over the batch.

    gamma: exponent of the focal weight; 0 = none. positive_weight: rho, factor of the positive clips; 0 = none.
    reduction: "sum" (the program) or "mean".
    """

    gamma: float = 2.0
    positive_weight: float = 0.0
    reduction: str = "sum"

    validation = Validation

    def __post_init__(self):
        if self.reduction not in ("sum", "mean"):
            raise TypeError(f"reduction must be sum or mean, got {self.reduction!r}")

    def __call__(self, params, batch_stats, batch, rngs=None, train=True, **_):
        """Forward pass and loss of one batch.

        Args: as base.Objective, but for
          batch: local uint8 (B,T,Hl,Wl,3), global uint8 (B,T,Hg,Wg,3), tokens int32 (B,N), target float32 (B,), 1 where
            the phrase means the object of the clip; with Q phrases for each clip tokens (B,Q,N), target (B,Q);
            optionally weight float32 (B,), 0 for rows that do not count.
          rngs: {"dropout"} key in training, others are not used.

        Returns: (loss, (metrics, batch_stats)): () float32, dict of () float32, the updated statistics.
        """
        images = (normalize(batch[name], CLIP_MEAN, CLIP_STD) for name in ("local", "global"))
        variables = {"params": params, "batch_stats": batch_stats}
        inputs = (*images, batch["tokens"])
        if train:
            scores, updated = self.model.apply(variables, *inputs, train=True, rngs=rngs, mutable=["batch_stats"])
            batch_stats = updated["batch_stats"]
        else:
            scores = self.model.apply(variables, *inputs)
        loss, metrics = self.loss(scores, batch["target"], batch.get("weight"))
        return loss, (metrics, batch_stats)

    def loss(self, scores, target, weight=None):
        """(loss, metrics) of similarities (B,) or (B,Q) against targets of that shape; weight (B,) or None.

        The metrics are the loss and COUNTS (0 is the program's threshold in training), from whose means precision,
        recall and F1 follow over any number of batches.
        """
        if weight is not None:
            weight = jnp.broadcast_to(weight.reshape(-1, *[1] * (scores.ndim - 1)), scores.shape)
        found, meant = (scores >= 0).astype(jnp.float32), target
        metrics = {name: _mean(x, weight) for name, x in zip(COUNTS, (found * meant, found, meant), strict=True)}
        loss = similarity_loss(scores, target, self.gamma, self.positive_weight, self.reduction, weight)
        return loss, {"loss": loss, **metrics}


def similarity_loss(scores, target, gamma=2.0, positive_weight=0.0, reduction="sum", weight=None):
    """Binary cross entropy of sigmoid(score), times (1 - probability of the truth)^gamma, times rho for positives.

    The scores are cosines, used as they are: no temperature, so that the sigmoid lies in 0.27..0.73. The focal weight
    is not detached: gradients flow through it (program).

    Args:
      scores: (...) float32. target: (...) zeros and ones.
      gamma: 0 = no focal weight. positive_weight: rho; 0 = none.
      reduction: "sum" or "mean".
      weight: (...) weight of each element, e.g. 0 for padding, or None.

    Returns: () float32.
    """
    scores, target = scores.astype(jnp.float32), target.astype(jnp.float32)
    losses = optax.sigmoid_binary_cross_entropy(scores, target)
    if gamma:
        # 1 - probability of the truth, as one sigmoid so that it has a gradient where it vanishes.
        losses *= jax.nn.sigmoid(jnp.where(target > 0.5, -scores, scores)) ** gamma
    if positive_weight:
        losses *= jnp.where(target > 0.5, positive_weight, 1.0)
    if reduction == "mean":
        return _mean(losses, weight)
    return jnp.sum(losses if weight is None else losses * weight)


def _mean(x, weight):
    return jnp.mean(x) if weight is None else jnp.sum(x * weight) / jnp.maximum(jnp.sum(weight), 1e-6)
