"""PVT's ImageNet checkpoints (names of its program) as the start of a tracker's PVT backbone."""

import re

from trackers.convert import vit
from trackers.convert.layouts import CONV, LINEAR, LINEAR_OF_HEADS, TABLE, VECTOR
from trackers.convert.swin import covers

__all__ = ["RULES", "UNUSED", "covers", "fitted"]


def _stage(i):
    """Our stage i, which the program counts from 1."""
    block, name, n = rf"encoder/stage_{i}/block_(\d+)", rf"block{i + 1}.\1", i + 1
    return (
        (rf"encoder/embed_{i}/conv", f"patch_embed{n}.proj", CONV),
        (rf"encoder/embed_{i}/norm", f"patch_embed{n}.norm", VECTOR),
        (rf"encoder/embed_{i}/position_(\w+)", rf"pos_embed{n}[\1]", TABLE),
        (rf"{block}/norm([12])", rf"{name}.norm\2", VECTOR),
        (rf"{block}/attention/(q|kv)", rf"{name}.attn.\2", LINEAR),
        (rf"{block}/attention/reduction", rf"{name}.attn.sr", CONV),
        (rf"{block}/attention/norm", rf"{name}.attn.norm", VECTOR),
        (rf"{block}/attention/out", rf"{name}.attn.proj", LINEAR_OF_HEADS),
        (rf"{block}/mlp/fc([12])", rf"{name}.mlp.fc\2", LINEAR),
    )


RULES = (*(rule for i in range(4) for rule in _stage(i)), (r"encoder/norm", "norm", VECTOR))

# Classifier and class token, which the program adds in the last stage, and the tables at their own size.
UNUSED = r"cls_token|pos_embed\d|head\..*"


def fitted(state_dict, model, grids, method):
    """The weights of the stages that the model has, position tables resized; the last LayerNorm as in swin.fitted.

    Args: as vit.fitted; `grids` are those of the first stage, each further stage has half as many cells on a side.

    Returns: state_dict with pos_embed1[name], pos_embed2[name], ... added.
    """
    stages = len(model.backbone.widths)
    if f"pos_embed{stages + 1}" in state_dict:
        beyond = rf"norm\..*|(block|patch_embed|pos_embed)([{stages + 1}-9]|\d\d)(\..*)?"
        state_dict = {key: array for key, array in state_dict.items() if not re.fullmatch(beyond, key)}
    for i in range(stages):
        halved = {name: tuple(-(-side // 2**i) for side in grid) for name, grid in grids.items()}
        extra = int(i == 3)
        state_dict = vit.with_positions(state_dict, f"pos_embed{i + 1}", halved, method, extra)
    return state_dict
