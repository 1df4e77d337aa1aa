"""MixViT: the tracker of MixFormer with a plain ViT (Cui et al., PAMI 2024), and MixFormerV2's dense teacher.

Templates and search tokens share one transformer under asymmetric mixed attention; a corner head reads the box off
dense maps over the search tokens.
"""

import dataclasses

from trackers.nn.corner import CornerHead, PyramidCornerHead, decode_corners
from trackers.nn.heads import scored
from trackers.nn.mixed_attention import MixedTracker
from trackers.nn.score_module import ScoreModule
from trackers.ops import boxes

HEADS = {"corner": CornerHead, "corner_up": PyramidCornerHead}


@dataclasses.dataclass(frozen=True)
class Head:
    """kind: "corner" (maps at the tokens' stride) or "corner_up" (pyramid, a quarter of it).

    channels: output channels of its first convolution.
    """

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
        dtype = self.compute_dtype
        self.corner_head = HEADS[self.head.kind](self.head.channels, dtype, name="head")
        if self.score_head:
            self.score_module = ScoreModule(self.heads, dtype=dtype, name="score")

    def locate(self, cache, search, train=False, features=False, branch_scale=None, score_box=None):
        """Finds the target in a search crop: see OneStreamTracker.

        Args:
          score_box: (B,4) x1,y1,x2,y2 as fractions of the crop that the score module judges, e.g. the ground truth in
            training; the predicted box when None.

        Returns: Prediction; its maps are corner.corner_maps's, and score_logits.
        """
        encoded = self.encode_search(cache, search, train=train, features=features, branch_scale=branch_scale)
        search_map = self.search_map(encoded)
        maps = self.corner_head(search_map, train)
        box, logits = decode_corners(maps), None
        if self.score_head:
            static = self.template_tokens(cache, encoded)[:, : self.template_grid[0] * self.template_grid[1]]
            logits = self.score_module(
                search_map, static, boxes.cxcywh_to_xyxy(box) if score_box is None else score_box
            )
        return scored(box, maps, logits, self.features_of(encoded))
