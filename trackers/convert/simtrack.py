"""SimTrack's published checkpoints."""

from trackers.convert import clip
from trackers.convert.layouts import CONV, LINEAR, VECTOR, prefixed


def _branch(ours, published):
    """One branch of the corner head: four (convolution, BatchNorm) pairs and a bare convolution."""
    return (
        (rf"head/{ours}/conv([1-4])", rf"box_head.conv\1_{published}.0", CONV),
        (rf"head/{ours}/norm([1-4])", rf"box_head.conv\1_{published}.1", VECTOR),
        (rf"head/{ours}/conv5", f"box_head.conv5_{published}", CONV),
    )


RULES = (
    *prefixed("backbone.visual.", clip.VISION),
    (r"box_position/fc1", "backbone.pos_fc.0", LINEAR),
    (r"box_position/fc2", "backbone.pos_fc.2", LINEAR),
    (r"bottleneck", "bottleneck", LINEAR),
    *_branch("top_left", "tl"),
    *_branch("bottom_right", "br"),
)

# How the program resizes the pretraining's position table.
POSITION_RESIZE = "bilinear"

# CLIP's projection to the space of texts; PyTorch counts batches.
UNUSED = r"backbone\.visual\.proj|.*\.num_batches_tracked"


def position_grids(model):
    """{name: (rows, columns)} of the position tables among the model's parameters; of PVT the first stage's."""
    if model.position == "sincos" or model.backbone.kind == "swin":
        return {}
    grids = {"search": model.search_grid}
    if model.template_position == "grid":
        grids["template"] = model.template_grid
    if model.backbone.kind == "pvt":
        sizes = {"template": model.template_size, "search": model.search_size}
        grids = {name: model.backbone.grids(size)[0] for name, size in sizes.items()}
    return dict.fromkeys(grids, tuple(model.position_grid)) if model.position == "interpolated" else grids
