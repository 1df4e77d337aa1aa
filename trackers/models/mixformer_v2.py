"""MixFormerV2: Efficient Fully Transformer Tracking (Cui, Song, Wu, Wang; NeurIPS 2023).

MixViT's transformer with four learnable prediction tokens among the search tokens. The box is read off them by a small
MLP as four distributions, the score by another: there is no convolution, and templates never look at the search crop.
"""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from trackers.nn.distribution import SCORE_ORDERS, DistributionHead, ScoreHead, decode_edges
from trackers.nn.heads import scored
from trackers.nn.mixed_attention import MixedTracker


@dataclasses.dataclass(frozen=True)
class Head:
    """The box head; the supplement's Table 2a compares tokens and MLPs 1 and 4, 4 and 4, 4 and 1 (the method).

    bins: positions in each edge's distribution over a side of the search crop: 72 in the paper and in distillation (the
      teacher's corner maps have 288 / 4), 96 in the published online models. It need not divide the crop's pixels.
    tokens: prediction tokens, one for each edge (4) or one for all (1).
    mlps: one shared by all edges (1) or one for each (4).
    """

    bins: int = 96
    tokens: int = 4
    mlps: int = 1

    def __post_init__(self):
        if self.bins < 2:
            raise ValueError(f"model.head.bins must be at least 2, got {self.bins}")
        if (self.tokens, self.mlps) not in ((4, 1), (4, 4), (1, 4)):
            raise ValueError(
                f"model.head.tokens and mlps must be 4 and 1, 4 and 4, or 1 and 4, got {self.tokens} and {self.mlps}"
            )


class Model(MixedTracker):
    """MixFormerV2. Fields are the config's `model` section; MixedTracker, Head and ScoreHead say what they mean.

    score_head: with the head that says whether the target is in the crop; without it Prediction.score is None.
    score_order: whether it takes the mean of the prediction tokens last ("mlp_then_mean", the program and the published
      weights) or first ("mean_then_mlp", the supplement).
    """

    depth: int = 8
    head: Head = Head()
    score_head: bool = True
    score_order: str = SCORE_ORDERS[0]

    def __post_init__(self):
        if self.score_order not in SCORE_ORDERS:
            raise ValueError(f"model.score_order must be one of {SCORE_ORDERS}, got {self.score_order!r}")
        super().__post_init__()

    def setup(self):
        super().setup()
        dtype = self.compute_dtype
        table = (self.head.tokens, self.width)
        self.prediction_tokens = self.param("prediction_tokens", nn.initializers.truncated_normal(0.02), table)
        self.prediction_positions = self.param("prediction_positions", nn.initializers.zeros_init(), table)
        self.box_module = DistributionHead(self.head.bins, self.head.mlps, dtype, name="head")
        if self.score_head:
            self.score_module = ScoreHead(dtype, self.score_order, name="score")

    @property
    def n_prediction_tokens(self):
        return self.head.tokens

    @property
    def lengths(self):
        template, search = super().lengths
        return template, search + self.n_prediction_tokens

    def embed_search(self, search):
        """The tokens of the search image, then the prediction tokens."""
        tokens = (self.prediction_tokens + self.prediction_positions).astype(self.compute_dtype)
        tokens = jnp.broadcast_to(tokens, (search.shape[0], *tokens.shape))
        return jnp.concatenate([super().embed_search(search), tokens], axis=1)

    def locate(self, cache, search, train=False, features=False, branch_scale=None):
        """Finds the target in a search crop: see OneStreamTracker. branch_scale: the elimination rates.

        Returns: Prediction; its maps are decode_edges's, and score_logits (see ScoreHead).
        """
        encoded = self.encode_search(cache, search, train=train, features=features, branch_scale=branch_scale)
        of_edges = encoded.tokens[:, -self.head.tokens :].astype(self.compute_dtype)
        box, maps = decode_edges(self.box_module(of_edges))
        logits = self.score_module(of_edges) if self.score_head else None
        return scored(box, maps, logits, self.features_of(encoded))
