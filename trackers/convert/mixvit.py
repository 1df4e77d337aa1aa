"""MixViT's published checkpoints: offline trackers (MixFormerV2's teacher), and online ones with the score module."""

from trackers.convert import heads, vit
from trackers.convert.contract import Published
from trackers.convert.layouts import CONV, LINEAR, LINEAR_OF_HEADS, TABLE, VECTOR, prefixed


def _convolution(ours, i, published):
    """A convolution of a ConvChain or ConvBranch and its BatchNorm."""
    return (
        (rf"head/{ours}/conv{i}", f"box_head.{published}.0", CONV),
        (rf"head/{ours}/norm{i}", f"box_head.{published}.1", VECTOR),
    )


def _corner(ours, published):
    """One corner's branch of the plain and of the pyramid head."""
    return (
        *heads.branch(ours, published),
        (rf"head/{ours}/low/conv([12])", rf"box_head.conv\1_{published}.0", CONV),
        (rf"head/{ours}/low/norm([12])", rf"box_head.conv\1_{published}.1", VECTOR),
        *_convolution(f"{ours}/middle", 1, f"conv3_{published}"),
        *_convolution(f"{ours}/high", 1, f"conv4_{published}"),
        *(rule for i in (1, 2) for rule in _convolution(f"{ours}/adjust{i}", 1, f"adjust{i}_{published}")),
        *(rule for i in (1, 2, 3) for rule in _convolution(f"{ours}/adjust3", i, f"adjust3_{published}.{i - 1}")),
        *(rule for i in (1, 2) for rule in _convolution(f"{ours}/adjust4", i, f"adjust4_{published}.{i - 1}")),
    )


def _score(i):
    """The i-th attention of the score module and the layer of its MLP; published lists count from 0."""
    projections = {"query": "q", "key": "k", "value": "v"}
    return (
        *((rf"score/attention{i}/{ours}", f"proj_{name}.{i - 1}", LINEAR) for ours, name in projections.items()),
        (rf"score/attention{i}/out", f"proj.{i - 1}", LINEAR_OF_HEADS),
        (rf"score/norm{i}", f"norm2.{i - 1}", VECTOR),
        (rf"score/fc{i}", f"score_head.layers.{i - 1}", LINEAR),
    )


_RULES = (
    *prefixed("backbone.", vit.ENCODER),
    (r"encoder/position_template", "backbone.pos_embed_t", TABLE),
    (r"encoder/position_search", "backbone.pos_embed_s", TABLE),
    *_corner("top_left", "tl"),
    *_corner("bottom_right", "br"),
    *prefixed("score_branch.", (rule for i in (1, 2, 3) for rule in _score(i))),
    (r"score/norm", "score_branch.norm1", VECTOR),
    (r"score/token", "score_branch.score_token", TABLE),
)

# What the program inherits from timm's transformer without using it, and PyTorch's counts of batches.
_UNUSED = r"backbone\.(cls_token|pos_embed|(norm|fc_norm|head)\..*)|.*\.num_batches_tracked"

PUBLISHED = Published(_RULES, _UNUSED)
