"""What MixViT and MixFormerV2 share: one ViT over templates and a search crop, under asymmetric mixed attention.

Templates look at templates only; everything else looks at everything (MixFormer, Cui et al., CVPR 2022, Sec. 3.2). So
the templates' keys and values are computed once for each change of a template, and a frame costs its own tokens only.
"""

from trackers.nn import relation
from trackers.nn.one_stream import OneStreamTracker


class MixedTracker(OneStreamTracker):
    """A tracker whose spans are (all templates, search and what goes with it), without LayerNorm after the last layer.

    templates: K that tracking and training use, the static one first, then the online ones; encode_template takes any
      number. All have the same positions, so that their order does not matter.
    position: "fixed" (sine-cosine tables that are part of a checkpoint and not trained, as in the program), or another
      kind of tokens.position_table.
    """

    search_size: int | tuple[int, int] = 288
    templates: int = 2
    position: str = "fixed"

    def layer_relations(self):
        return (relation.ASYMMETRIC,) * self.depth

    def encoder_fields(self):
        return {"final_norm": False}
