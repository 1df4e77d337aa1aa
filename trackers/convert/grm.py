"""GRM's published checkpoints."""

from trackers.convert import heads, vit
from trackers.convert.contract import Published
from trackers.convert.layouts import LINEAR, TABLE, prefixed

_DIVISION = (
    (r"encoder/block_(\d+)/division/hidden1", r"blocks.\1.attn.divide_predict.0", LINEAR),
    (r"encoder/block_(\d+)/division/hidden2", r"blocks.\1.attn.divide_predict.2", LINEAR),
    (r"encoder/block_(\d+)/division/logits", r"blocks.\1.attn.divide_predict.4", LINEAR),
    (r"encoder/block_(\d+)/division/local", r"blocks.\1.attn.divide_local_transform.0", LINEAR),
    (r"encoder/block_(\d+)/division/target", r"blocks.\1.attn.divide_global_transform.0", LINEAR),
)

_RULES = (
    *prefixed("backbone.", vit.ENCODER),
    (r"encoder/position_template", "backbone.pos_embed_z", TABLE),
    (r"encoder/position_search", "backbone.pos_embed_x", TABLE),
    *prefixed("backbone.", _DIVISION),
    *heads.branch("score", "ctr"),
    *heads.branch("offset", "offset"),
    *heads.branch("size", "size"),
)

# The program keeps the backbone's class token and first position table without using them; PyTorch counts batches.
# The fixed divide_gaussian_filter is not among these on purpose: ours smooths differently (division.py), so such
# weights must not load silently.
_UNUSED = r"backbone\.(cls_token|pos_embed)|.*\.num_batches_tracked"

PUBLISHED = Published(_RULES, _UNUSED)
