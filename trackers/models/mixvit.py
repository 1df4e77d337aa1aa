"""MixViT: the tracker of MixFormer with a plain ViT (Cui et al., PAMI 2024), and MixFormerV2's dense teacher.

Templates and search tokens share one transformer under asymmetric mixed attention; a corner head reads the box off
dense maps over the search tokens.
"""

import dataclasses

import jax.numpy as jnp

from trackers.nn.corner import CornerHead, PyramidCornerHead, decode_corners
from trackers.nn.heads import Prediction
from trackers.nn.mixed_attention import MixedTracker
from trackers.nn.score_module import ScoreModule
from trackers.ops import boxes

HEADS = {"corner": CornerHead, "corner_up": PyramidCornerHead}


@dataclasses.dataclass(frozen=True)
class Head:
    """kind: "corner" (maps at the tokens' stride) or "corner_up" (pyramid, a quarter of it). channels: of its head."""

    kind: str = "corner_up"
    channels: int = 384

    def __post_init__(self):
        if self.kind not in HEADS:
            raise ValueError(f"model.head.kind must be one of {tuple(HEADS)}, got {self.kind!r}")


class Model(MixedTracker):
    """MixViT. Fields are the config's `model` section; MixedTracker and Head say what they mean.

    score_head: with the score module of the online tracker (ScoreModule); without it Prediction.score is None.
    """

    head: Head = Head()
    score_head: bool = False

    @property
    def needs_template(self):
        return self.score_head

    def setup(self):
        super().setup()
        dtype = jnp.dtype(self.dtype)
        self.corner_head = HEADS[self.head.kind](self.head.channels, dtype, name="head")
        if self.score_head:
            self.score_module = ScoreModule(self.heads, dtype=dtype, name="score")

    def locate(self, cache, search, train=False, features=False, branch_scale=None, score_box=None):
        """Finds the target in a search crop.

        Args:
          cache: from encode_template.
          search: (B,Hx,Wx,3) float32, normalised.
          train: drop-path and batch statistics; needs the key "droppath".
          features: also return the tokens after every layer, behind the templates' where the cache is joint.
          branch_scale: (L,) factors of the layers' residual branches, the encode_template's own.
          score_box: (B,4) x1,y1,x2,y2 as fractions of the crop that the score module judges, e.g. the ground truth in
            training; the predicted box when None.

        Returns: Prediction. Its score is a logit; its maps are corner.corner_maps's.
        """
        dtype = jnp.dtype(self.dtype)
        embedded = self.encoder.embed(search, "search")
        found, templates, kept = self.encode_search(
            cache, embedded, train=train, features=features, branch_scale=branch_scale
        )
        found = found.astype(dtype).reshape(search.shape[0], *self.search_grid, self.width)
        maps = self.corner_head(found, train)
        box, score = decode_corners(maps), None
        if self.score_head:
            rows, columns = self.template_grid
            static = templates[:, : rows * columns].astype(dtype)
            score = self.score_module(found, static, boxes.cxcywh_to_xyxy(box) if score_box is None else score_box)
        return Prediction(box=box, score=score, maps=maps, features=kept)

    def __call__(self, template, template_box, search, train=False, features=False, branch_scale=None, score_box=None):
        """locate(encode_template(template, template_box), search); see there. Features are of all tokens."""
        cache = self.encode_template(template, template_box, branch_scale, joint=train or features)
        return self.locate(cache, search, train, features, branch_scale, score_box)
