"""GRM's published checkpoints."""

from trackers.convert import vit
from trackers.convert.layouts import CONV, LINEAR, TABLE, VECTOR, prefixed


def _branch(ours, published):
    """One branch of the centre head: four (convolution, BatchNorm) pairs and a bare convolution."""
    return (
        (rf"head/{ours}/conv([1-4])", rf"box_head.conv\1_{published}.0", CONV),
        (rf"head/{ours}/norm([1-4])", rf"box_head.conv\1_{published}.1", VECTOR),
        (rf"head/{ours}/conv5", f"box_head.conv5_{published}", CONV),
    )


_DIVISION = (
    (r"encoder/block_(\d+)/division/hidden1", r"blocks.\1.attn.divide_predict.0", LINEAR),
    (r"encoder/block_(\d+)/division/hidden2", r"blocks.\1.attn.divide_predict.2", LINEAR),
    (r"encoder/block_(\d+)/division/logits", r"blocks.\1.attn.divide_predict.4", LINEAR),
    (r"encoder/block_(\d+)/division/local", r"blocks.\1.attn.divide_local_transform.0", LINEAR),
    (r"encoder/block_(\d+)/division/target", r"blocks.\1.attn.divide_global_transform.0", LINEAR),
)

RULES = (
    *prefixed("backbone.", vit.ENCODER),
    (r"encoder/position_template", "backbone.pos_embed_z", TABLE),
    (r"encoder/position_search", "backbone.pos_embed_x", TABLE),
    *prefixed("backbone.", _DIVISION),
    *_branch("score", "ctr"),
    *_branch("offset", "offset"),
    *_branch("size", "size"),
)

# The program keeps the backbone's class token and first position table without using them; PyTorch counts batches.
# The fixed divide_gaussian_filter is not among these on purpose: ours smooths differently (relation.py), so such
# weights must not load silently.
UNUSED = r"backbone\.(cls_token|pos_embed)|.*\.num_batches_tracked"


def position_grids(model):
    """{name: (rows, columns)} of the position tables among the model's parameters."""
    if model.position == "sincos":
        return {}
    if model.position == "interpolated":
        return {"template": tuple(model.position_grid), "search": tuple(model.position_grid)}
    return {"template": model.template_grid, "search": model.search_grid}
