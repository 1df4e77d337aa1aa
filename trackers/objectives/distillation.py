"""MixFormerV2's distillations (Cui et al., NeurIPS 2023, Sec. 3.3 and 3.4): a student learns from a trained teacher.

Dense to sparse: the teacher's corner maps are summed to distributions of the four edges, which the student's prediction
tokens imitate (interpolated where the student has other bins). Deep to shallow: the teacher has such distributions
itself, and the tokens after chosen layers are imitated too, while the student's superfluous layers fade out.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.scipy.special import xlogy

from trackers.errors import InputError
from trackers.nn.distribution import BOX_EDGES
from trackers.objectives import base, forward
from trackers.objectives import boxes as box_losses
from trackers.ops import boxes


@dataclasses.dataclass(frozen=True)
class Objective(base.Objective):
    """ciou_weight * CIoU + l1_weight * L1 + corner_weight * KL of the edges + feature_weight * MSE of the tokens.

    teacher: the module of config.teacher.model; its variables are given with each batch.
    student_layers, teacher_layers: 0-based layers whose tokens are compared, pair by pair.
    eliminated: 0-based layers of the student whose residual branches fade by elimination_rate over
      `elimination_epochs` (the paper's m; 0: they are gone from the start).
    """

    teacher: nn.Module | None = None
    ciou_weight: float = 2.0
    l1_weight: float = 5.0
    corner_weight: float = 5.0
    feature_weight: float = 0.0
    student_layers: tuple = ()
    teacher_layers: tuple = ()
    eliminated: tuple = ()
    elimination_epochs: int = 40

    def __post_init__(self):
        if self.teacher is None:
            raise InputError("objective distillation needs a teacher: set config.teacher.model and .checkpoint")
        if len(self.student_layers) != len(self.teacher_layers):
            raise InputError(
                f"objective.student_layers {self.student_layers} and teacher_layers {self.teacher_layers} are compared"
                " pair by pair: give equally many"
            )
        if self.feature_weight and not self.student_layers:
            raise InputError("objective.feature_weight needs objective.student_layers and teacher_layers")
        if self.elimination_epochs < 0:
            raise InputError(f"objective.elimination_epochs must be at least 0, got {self.elimination_epochs}")
        for name, layers, depth in (
            ("student_layers", self.student_layers, self.model.depth),
            ("eliminated", self.eliminated, self.model.depth),
            ("teacher_layers", self.teacher_layers, self.teacher.depth),
        ):
            if any(not 0 <= layer < depth for layer in layers):
                raise InputError(f"objective.{name} {tuple(layers)}: layers count from 0 to {depth - 1}")

    def __call__(self, params, batch_stats, batch, rngs=None, train=True, epoch=1, teacher_variables=None):
        """Forward passes of student and teacher, and the loss of one batch.

        Args: as base.Objective; params and batch_stats are the student's, no gradient flows to the teacher's variables.

        Returns: (loss, (metrics, batch_stats)): () float32, dict of () float32, the student's statistics.
        """
        compare = bool(self.student_layers)
        variables = teacher_variables["params"], teacher_variables.get("batch_stats", {})
        teacher, _ = forward.predict(self.teacher, *variables, batch, train=False, features=compare)
        teacher = jax.lax.stop_gradient(teacher)
        options = {"features": compare, "branch_scale": self.branch_scale(epoch)}
        student, batch_stats = forward.predict(self.model, params, batch_stats, batch, rngs, train, **options)
        loss, metrics = self.loss(student, teacher, batch["search_box"])
        if self.eliminated:
            metrics["elimination_rate"] = elimination_rate(epoch, self.elimination_epochs)
        return loss, (metrics, batch_stats)

    def branch_scale(self, epoch):
        """(L,) float32 factor of each student layer's residual branches, or None where no layer is eliminated."""
        if not self.eliminated:
            return None
        rate = elimination_rate(epoch, self.elimination_epochs)
        fades = np.isin(np.arange(self.model.depth), self.eliminated)
        return jnp.where(fades, rate, 1.0)

    def loss(self, student, teacher, search_box):
        """(loss, metrics) of the student's and the teacher's Prediction; search_box (B,4) x,y,w,h fractions."""
        truth = jnp.clip(boxes.xywh_to_xyxy(search_box), 0.0, 1.0)
        predicted, teachers = (boxes.cxcywh_to_xyxy(prediction.box) for prediction in (student, teacher))
        logits = {edge: student.maps[f"{edge}_logits"] for edge in BOX_EDGES}
        metrics = {
            "ciou": box_losses.ciou_loss(predicted, truth),
            "l1": box_losses.l1_loss(predicted, truth),
            "corner": edge_divergence(logits, edge_distributions(teacher.maps)),
            "iou": jnp.mean(boxes.iou(predicted, truth)[0]),
            "teacher_iou": jnp.mean(boxes.iou(teachers, truth)[0]),
        }
        loss = sum(getattr(self, f"{name}_weight") * metrics[name] for name in ("ciou", "l1", "corner"))
        if self.student_layers:
            metrics["feature"] = feature_distance(
                student.features["layers"], teacher.features["layers"], self.student_layers, self.teacher_layers
            )
            loss += self.feature_weight * metrics["feature"]
        return loss, {"loss": loss, **metrics}


def elimination_rate(epoch, epochs):
    """r = (1 + cos(pi min(epoch + 1, m) / m)) / 2 (Eq. 8 as programmed): exactly 0 from epoch m - 1 on.

    Args: epoch: () int, counted from 1; epochs: m, at least 0 (always 0). Returns: () float32.
    """
    reached = jnp.minimum(jnp.asarray(epoch) + 1, epochs)
    rate = 0.5 * (1.0 + jnp.cos(jnp.pi * reached.astype(jnp.float32) / max(1, epochs)))
    return jnp.where(reached == epochs, 0.0, rate)


def corner_marginals(top_left, bottom_right):
    """Distributions of the four edges from those of two corners (Sec. 3.3).

    Args: top_left, bottom_right: (B,h,w) probabilities, rows y and columns x.

    Returns: {"left": (B,w), "top": (B,h), "right": (B,w), "bottom": (B,h)}.
    """
    return {
        "left": jnp.sum(top_left, axis=1),
        "top": jnp.sum(top_left, axis=2),
        "right": jnp.sum(bottom_right, axis=1),
        "bottom": jnp.sum(bottom_right, axis=2),
    }


def edge_distributions(maps):
    """{edge: (B,cells) probabilities} of a teacher's maps, be they edges or corners."""
    if "corner_top_left" in maps:
        return corner_marginals(maps["corner_top_left"], maps["corner_bottom_right"])
    return {edge: maps[edge] for edge in BOX_EDGES}


def resampled(probabilities, bins):
    """A distribution of an edge on another number of bins, by linear interpolation.

    Cell i of n stands for the coordinate i / n of the crop, in corner maps and in a student's bins alike. The
    probabilities are interpolated linearly on the coarsest grid that has all cells and all bins (their least common
    multiple), as a density that falls to 0 one cell beyond the first and the last cell. Each value then goes to the two
    bins around its coordinate, in inverse proportion to the distances; what lies beyond the first or last bin goes to
    that bin. Both steps keep the mass, and the expected coordinate but for two things: the first and the last cell move
    inward by at most 1 / (6 n) of the crop, and with fewer bins than cells what lies beyond the last bin moves onto it.
    (Our choice: the paper does not say how the plain corner head, whose maps are coarse, teaches S.)

    Args: probabilities: (...,cells) float32. bins: at least 1.

    Returns: (...,bins) float32, linear in `probabilities`; `probabilities` itself where cells == bins.
    """
    cells = probabilities.shape[-1]
    if cells == bins:
        return probabilities
    return jnp.matmul(probabilities, _interpolation(cells, bins), precision=jax.lax.Precision.HIGHEST)


def _interpolation(cells, bins):
    """(cells,bins) float32: where the probability of each cell goes; each row sums to 1. See `resampled`."""
    fine = math.lcm(cells, bins)
    offsets = np.arange(1 - fine // cells, fine // cells)
    hat = (1 - np.abs(offsets) * cells / fine) * cells / fine
    # In bins, of every point of the fine grid that a cell reaches.
    points = (np.arange(cells)[:, None] * (fine // cells) + offsets) / (fine // bins)
    points = np.clip(points, 0, bins - 1)
    shares = np.maximum(0, 1 - np.abs(points[..., None] - np.arange(bins)))
    return np.einsum("o,cob->cb", hat, shares).astype(np.float32)


def edge_divergence(logits, targets):
    """KL(target || softmax(logits)) summed over bins, averaged over samples and the four edges (Eq. 5).

    Args: logits, targets: {edge: (B,bins)}; targets are probabilities, of other bins too (`resampled`).

    Returns: () float32.
    """
    divergences = []
    for edge in BOX_EDGES:
        logit = logits[edge].astype(jnp.float32)
        target = resampled(targets[edge].astype(jnp.float32), logit.shape[-1])
        divergence = xlogy(target, target) - target * jax.nn.log_softmax(logit)
        divergences.append(jnp.mean(jnp.sum(divergence, axis=-1)))
    return sum(divergences) / len(BOX_EDGES)


def feature_distance(student, teacher, student_layers, teacher_layers):
    """Mean squared difference of all tokens after paired layers (Sec. 3.4, feature mimicking).

    Args:
      student, teacher: (B,L,N,D) and (B,L',N,D) after each layer.
      student_layers, teacher_layers: equally many 0-based layers.

    Returns: () float32.

    Raises: InputError where tokens or widths differ; there is no projection between them.
    """
    if student.shape[2:] != teacher.shape[2:]:
        raise InputError(
            f"student and teacher compare tokens: they have {student.shape[2:]} and {teacher.shape[2:]} (tokens,"
            " width); give both the same sizes, or objective.feature_weight=0 and no student_layers"
        )
    chosen = student[:, np.array(student_layers)], teacher[:, np.array(teacher_layers)]
    return jnp.mean(jnp.square(chosen[0].astype(jnp.float32) - chosen[1].astype(jnp.float32)))
