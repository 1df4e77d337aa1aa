"""Swin's ImageNet checkpoints (names of its program) as the start of a tracker's Swin backbone."""

import re

from trackers.convert.layouts import CONV, LINEAR, LINEAR_OF_HEADS, ROWS, VECTOR


def _stage(i):
    block, name = rf"encoder/stage_{i}/block_(\d+)", rf"layers.{i}.blocks.\1"
    return (
        (rf"{block}/norm([12])", rf"{name}.norm\2", VECTOR),
        (rf"{block}/attention/qkv", rf"{name}.attn.qkv", LINEAR),
        (rf"{block}/attention/out", rf"{name}.attn.proj", LINEAR_OF_HEADS),
        (rf"{block}/attention/position_bias", rf"{name}.attn.relative_position_bias_table", ROWS),
        (rf"{block}/mlp/fc([12])", rf"{name}.mlp.fc\2", LINEAR),
        (rf"encoder/merge_{i}/norm", f"layers.{i}.downsample.norm", VECTOR),
        (rf"encoder/merge_{i}/reduction", f"layers.{i}.downsample.reduction", LINEAR),
    )


RULES = (
    (r"encoder/patch_embed", "patch_embed.proj", CONV),
    (r"encoder/patch_norm", "patch_embed.norm", VECTOR),
    *(rule for i in range(4) for rule in _stage(i)),
    (r"encoder/norm", "norm", VECTOR),
)

# Classifier, and what the program computes from the sizes alone.
UNUSED = r"head\..*|layers\.\d+\.blocks\.\d+\.(attn\.relative_position_index|attn_mask)"


def fitted(state_dict, model, grids, method):
    """The weights of the stages that the model has; a network cut short has its own last LayerNorm.

    Args: as vit.fitted. Returns: state_dict without the other stages, the merging before them and the last LayerNorm.
    """
    del grids, method
    stages = len(model.backbone.widths)
    if f"layers.{stages}.blocks.0.norm1.weight" not in state_dict:
        return state_dict
    beyond = rf"norm\..*|layers\.{stages - 1}\.downsample\..*|layers\.([{stages}-9]|\d\d)\..*"
    return {key: array for key, array in state_dict.items() if not re.fullmatch(beyond, key)}


def covers(path, state_dict):
    """Whether a leaf of a tracker's variables comes from the backbone."""
    return path.startswith("params/encoder/") and ("norm.weight" in state_dict or not _is_last_norm(path))


def _is_last_norm(path):
    return path.startswith("params/encoder/norm/")
