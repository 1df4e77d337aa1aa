"""Plain vision transformers (MAE, DeiT, timm's names) as the start of a tracker's encoder."""

import math

import numpy as np

from trackers.convert.layouts import CONV, LINEAR, LINEAR_OF_HEADS, TABLE, VECTOR
from trackers.errors import InputError
from trackers.models.tokens import resize_grid

# The encoder without positions; also what the trackers' own checkpoints call it, behind a prefix.
ENCODER = (
    (r"encoder/patch_embed", "patch_embed.proj", CONV),
    (r"encoder/block_(\d+)/norm([12])", r"blocks.\1.norm\2", VECTOR),
    (r"encoder/block_(\d+)/attention/qkv", r"blocks.\1.attn.qkv", LINEAR),
    (r"encoder/block_(\d+)/attention/out", r"blocks.\1.attn.proj", LINEAR_OF_HEADS),
    (r"encoder/block_(\d+)/mlp/fc([12])", r"blocks.\1.mlp.fc\2", LINEAR),
    (r"encoder/norm", "norm", VECTOR),
)
RULES = (*ENCODER, (r"encoder/position_(\w+)", r"pos_embed[\1]", TABLE))

# Class and distillation tokens, classifiers, and the decoder of a full MAE.
UNUSED = r"(cls|dist|mask)_token|pos_embed|(head|head_dist|decoder_\w+)(\..*)?"


def is_backbone(state_dict):
    """Whether these are a plain transformer's weights, not a tracker's."""
    return any(key.startswith("patch_embed.") for key in state_dict)


def covers(path):
    """Whether a leaf of a tracker's variables comes from the backbone: the encoder but for its division modules."""
    return path.startswith("params/encoder/") and "/division/" not in path


def with_positions(state_dict, grids):
    """Adds the position embedding resized to each grid, bicubically as GRM's program does.

    Args:
      state_dict: with pos_embed (1, extra + n*n, D); the extra tokens (class, distillation) come first.
      grids: {name: (rows, columns)}.

    Returns: state_dict with pos_embed[name] (1, rows*columns, D) added.
    """
    table = state_dict.get("pos_embed")
    if table is None or not grids:
        return state_dict
    extra = sum(name in state_dict for name in ("cls_token", "dist_token"))
    side = math.isqrt(max(table.shape[1] - extra, 0)) if table.ndim == 3 else 0
    if table.ndim != 3 or not side or side * side + extra != table.shape[1]:
        raise InputError(f"pos_embed {tuple(table.shape)} is not {extra} tokens and a square grid")
    patches = np.asarray(table[0, extra:], np.float32).reshape(side, side, -1)
    resized = {f"pos_embed[{name}]": resize_grid(patches, grid) for name, grid in grids.items()}
    return {**state_dict, **{key: grid.reshape(1, -1, grid.shape[-1]) for key, grid in resized.items()}}
