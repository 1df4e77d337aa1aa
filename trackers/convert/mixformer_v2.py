"""MixFormerV2's published checkpoints: students without, online models with the score head."""

from trackers.convert import vit
from trackers.convert.contract import Published
from trackers.convert.layouts import LINEAR, TABLE, VECTOR, prefixed

_RULES = (
    *prefixed("backbone.", vit.ENCODER),
    (r"encoder/position_template", "backbone.pos_embed_t", TABLE),
    (r"encoder/position_search", "backbone.pos_embed_s", TABLE),
    (r"prediction_tokens", "backbone.reg_tokens", TABLE),
    (r"prediction_positions", "backbone.pos_embed_reg", TABLE),
    (r"head/shared/fc1", "box_head.layers.0.0", LINEAR),
    (r"head/shared/norm1", "box_head.layers.0.1", VECTOR),
    (r"head/shared/fc2", "box_head.layers.1.0", LINEAR),
    (r"head/shared/norm2", "box_head.layers.1.1", VECTOR),
    (r"score/fc1", "score_head.layers.0.0", LINEAR),
    (r"score/fc2", "score_head.layers.1", LINEAR),
)

# Everything that such a checkpoint holds is used.
PUBLISHED = Published(_RULES)
