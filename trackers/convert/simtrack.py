"""SimTrack's published checkpoints."""

from trackers.convert import clip, heads
from trackers.convert.contract import Published
from trackers.convert.layouts import LINEAR, prefixed

_RULES = (
    *prefixed("backbone.visual.", clip.VISION),
    (r"box_position/fc1", "backbone.pos_fc.0", LINEAR),
    (r"box_position/fc2", "backbone.pos_fc.2", LINEAR),
    (r"bottleneck", "bottleneck", LINEAR),
    *heads.branch("top_left", "tl"),
    *heads.branch("bottom_right", "br"),
)

# CLIP's projection to the space of texts; PyTorch counts batches.
_UNUSED = r"backbone\.visual\.proj|.*\.num_batches_tracked"


def _position_grids(model):
    """See Published.position_grids."""
    if model.position == "sincos" or model.backbone.kind == "swin":
        return {}
    grids = {"search": model.search_grid}
    if model.template_position == "grid":
        grids["template"] = model.template_grid
    if model.backbone.kind == "pvt":
        sizes = {"template": model.template_size, "search": model.search_size}
        grids = {name: model.backbone.grids(size)[0] for name, size in sizes.items()}
    return dict.fromkeys(grids, tuple(model.position_grid)) if model.position == "interpolated" else grids


PUBLISHED = Published(_RULES, _UNUSED, position_grids=_position_grids, position_resize="bilinear")
