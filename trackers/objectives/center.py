"""GRM's objective: boxes and score map of a center head, and the terms on the division (Sec. 3.4; appendix C)."""

import dataclasses

import jax
import jax.numpy as jnp

from trackers import errors
from trackers.nn import relation
from trackers.objectives import base, scores
from trackers.objectives import boxes as box_losses
from trackers.ops import boxes


@dataclasses.dataclass(frozen=True)
class Objective(base.Objective):
    """giou_weight * GIoU + l1_weight * L1 + focal_weight * focal loss, plus two optional terms on the division.

    box_spread: where on the map the box is learned: at the best cell (0, as in the program), or at all cells around the
      true center, under a Gaussian of this deviation in cells. Then a cell beside the best one knows the box as well,
      which matters on coarse maps and where the Hann window has its say.
    heatmap_overlap: a center counts as near in the score's target as long as a box there overlaps the true box by this
      much (scores.gaussian_heatmap); on a coarse map the program's 0.7 leaves the center's cell alone.
    entropy_weight: weight of 1 - H2(share of interacting tokens), averaged over samples and layers, H2 in bits; the
      program's `entropy` option has weight 1. It pulls the division ratio toward one half.
    division_weight: weight of the negative log-likelihood of "interacts" for the tokens in the ground-truth box and
      "search only" for the others (appendix C.1). In a learned mode it is the auxiliary loss beside the tracking loss;
      in the mode "prototype" all that the layers' classifiers learn from (nn/division.py).
    """

    giou_weight: float = 2.0
    l1_weight: float = 5.0
    focal_weight: float = 1.0
    box_spread: float = 0.0
    heatmap_overlap: float = 0.7
    entropy_weight: float = 0.0
    division_weight: float = 0.0

    def __post_init__(self):
        mode = getattr(getattr(self.model, "division", None), "mode", None)
        if mode == "prototype" and (self.entropy_weight or not self.division_weight):
            raise errors.InputError(
                "the classifiers of model.division.mode 'prototype' learn from the box alone: set"
                " objective.division_weight to 1 and objective.entropy_weight to 0"
            )

    def loss(self, prediction, search_box):
        """(loss, metrics) of a Prediction against (B,4) x,y,w,h fractions."""
        predicted = boxes.cxcywh_to_xyxy(prediction.box)
        truth = jnp.clip(boxes.xywh_to_xyxy(search_box), 0.0, 1.0)
        score = prediction.maps["score_map"][..., 0]
        target = scores.gaussian_heatmap(search_box, score.shape[1:], self.heatmap_overlap)
        if self.box_spread:
            giou, l1 = around_center_losses(prediction.maps, search_box, truth, self.box_spread)
        else:
            giou, l1 = box_losses.giou_loss(predicted, truth), box_losses.l1_loss(predicted, truth)
        metrics = {
            "giou": giou,
            "l1": l1,
            "focal": scores.focal_loss(score, target),
            "iou": jnp.mean(boxes.iou(predicted, truth)[0]),
        }
        loss = sum(getattr(self, f"{name}_weight") * metrics[name] for name in ("giou", "l1", "focal"))
        if prediction.division_share is not None:
            shares = jnp.mean(prediction.division_share, axis=0)
            relations = self.model.division.layer_relations(self.model.depth)
            layers = [i for i, kind in enumerate(relations, start=1) if kind == "learned"]
            metrics |= {f"division_share/layer_{layer}": shares[i] for i, layer in enumerate(layers)}
            metrics["division_share"] = jnp.mean(shares)
        elif self.entropy_weight or self.division_weight:
            raise errors.InputError(
                "objective.entropy_weight and division_weight need a model that divides its search tokens"
            )
        if self.entropy_weight:
            metrics["entropy"] = entropy_regularization(prediction.division_share)
            loss += self.entropy_weight * metrics["entropy"]
        if self.division_weight:
            metrics["division"] = division_loss(prediction.division_log_probs, search_box, self.model.search_grid)
            loss += self.division_weight * metrics["division"]
        return loss, {"loss": loss, **metrics}


def around_center_losses(maps, search_box, truth, deviation):
    """GIoU and L1 losses of the boxes of all cells, weighted by a Gaussian around the true center.

    Args:
      maps: size_map and offset_map (B,h,w,2) of heads.decode_center.
      search_box: (B,4) x,y,w,h fractions. truth: (B,4) x1,y1,x2,y2 fractions, inside the crop.
      deviation: standard deviation of the Gaussian, in cells.

    Returns: (giou, l1): () float32, means over the samples.
    """
    rows, columns = maps["size_map"].shape[1:3]
    cells = jnp.array([columns, rows], jnp.float32)
    places = jnp.stack(jnp.meshgrid(*(jnp.arange(n, dtype=jnp.float32) for n in (columns, rows))), axis=-1)
    away = places - ((search_box[:, :2] + search_box[:, 2:] / 2) * cells)[:, None, None]
    # A softmax: the weights of a sample add up to 1, wherever its center is.
    weights = jax.nn.softmax(-jnp.sum(away**2, -1).reshape(away.shape[0], -1) / (2 * deviation**2), axis=-1)
    predicted = jnp.concatenate([(places + maps["offset_map"]) / cells, maps["size_map"]], axis=-1)
    predicted = boxes.cxcywh_to_xyxy(predicted.reshape(weights.shape[0], -1, 4))
    truth = truth[:, None]
    giou, l1 = 1.0 - boxes.giou(predicted, truth), jnp.mean(jnp.abs(predicted - truth), axis=-1)
    return tuple(jnp.mean(jnp.sum(weights * loss, axis=-1)) for loss in (giou, l1))


def entropy_regularization(share, eps=1e-5):
    """Mean over samples and layers of 1 - H2(share), in bits. share: (B,L') in [0, 1]."""
    other = 1.0 - share
    return jnp.mean(1.0 + share * jnp.log2(share + eps) + other * jnp.log2(other + eps))


def division_loss(log_probs, search_box, grid):
    """Negative log-likelihood of the division that the ground-truth box suggests (GRM appendix C.1): of two choices the
    two-class cross entropy of foreground and background (the paper names no loss, so our choice).

    Args:
      log_probs: (B,L',Nx,C), S first. search_box: (B,4) x,y,w,h fractions. grid: (rows, columns) of the search tokens.

    Returns: () float32, the mean over samples, layers and tokens.
    """
    in_box = relation.box_token_mask(search_box[:, None], grid)[:, None]
    interacts = jax.nn.logsumexp(log_probs[..., 1:], axis=-1)
    return -jnp.mean(jnp.where(in_box > 0, interacts, log_probs[..., 0]))
