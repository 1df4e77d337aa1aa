"""Plain vision transformers (MAE, DeiT, MoCo v3, SLIP; timm's names) as the start of a tracker's encoder."""

import math

import numpy as np

from trackers.convert.layouts import CONV, LINEAR, LINEAR_OF_HEADS, TABLE, TOKEN, VECTOR
from trackers.errors import InputError
from trackers.nn.tokens import resize_grid

# The encoder without positions; also what the trackers' own checkpoints call it, behind a prefix.
ENCODER = (
    (r"encoder/patch_embed", "patch_embed.proj", CONV),
    # Of a stem of convolutions (nn/stems.py), which no published weights have.
    (r"encoder/patch_embed/conv(\d+)", r"patch_embed.conv\1", CONV),
    (r"encoder/patch_embed/norm(\d+)", r"patch_embed.norm\1", VECTOR),
    (r"encoder/block_(\d+)/norm([12])", r"blocks.\1.norm\2", VECTOR),
    (r"encoder/block_(\d+)/attention/qkv", r"blocks.\1.attn.qkv", LINEAR),
    (r"encoder/block_(\d+)/attention/out", r"blocks.\1.attn.proj", LINEAR_OF_HEADS),
    (r"encoder/block_(\d+)/mlp/fc([12])", r"blocks.\1.mlp.fc\2", LINEAR),
    (r"encoder/norm", "norm", VECTOR),
)
RULES = (*ENCODER, (r"encoder/class_token", "cls_token", TOKEN), (r"encoder/position_(\w+)", r"pos_embed[\1]", TABLE))

# Class and distillation tokens, classifiers, the decoder of a full MAE, and a last LayerNorm the model does not have.
UNUSED = r"(cls|dist|mask)_token|pos_embed|(norm|head|head_dist|decoder_\w+)(\..*)?"


def covers(path, state_dict):
    """Whether a leaf of a tracker's variables comes from the backbone: the encoder but for its division modules."""
    del state_dict
    return path.startswith("params/encoder/") and "/division/" not in path


def fitted(state_dict, model, grids, method):
    """The weights as a model's encoder needs them.

    Args:
      state_dict: {published key: array}.
      model: from trackers.build.
      grids: {name: (rows, columns)} of its position tables.
      method: of resizing, "bicubic" or "bilinear".

    Returns: state_dict with pos_embed[name] (1, N, D) added.
    """
    extra = sum(name in state_dict for name in ("cls_token", "dist_token"))
    return with_positions(state_dict, "pos_embed", grids, method, extra, class_grid(model))


def class_grid(model):
    """The position table that also has the class token's row, None where the model has no class token."""
    return "search" if model.with_class else None


def with_positions(state_dict, key, grids, method, extra=0, class_grid=None):
    """Adds a position table resized to each grid.

    Args:
      state_dict: with `key` of shape (extra + n*n, D) or (1, extra + n*n, D); the extra tokens (class, distillation)
        come first.
      key: the table's.
      grids: {name: (rows, columns)}.
      method: of resizing, see tokens.resize_grid.
      extra: tokens before the grid's.
      class_grid: name of the grid that keeps the first of the extra tokens, or None.

    Returns: state_dict with key[name] (rows*columns, D), or (1, rows*columns, D), added; unchanged without `key`.
    """
    table = state_dict.get(key)
    if table is None or not grids:
        return state_dict
    rows = np.asarray(table, np.float32)
    lead = rows.shape[:-2]
    n_cells = rows.shape[-2] - extra if rows.ndim in (2, 3) else 0
    side = math.isqrt(max(n_cells, 0))
    if not side or side * side != n_cells or lead not in ((), (1,)):
        raise InputError(f"{key} {tuple(table.shape)} is not {extra} tokens and a square grid")
    rows = rows.reshape(-1, rows.shape[-1])
    added = {}
    for name, grid in grids.items():
        resized = resize_grid(rows[extra:].reshape(side, side, -1), grid, method).reshape(-1, rows.shape[-1])
        first = rows[: 1 if name == class_grid else 0]
        added[f"{key}[{name}]"] = np.concatenate([first, resized]).reshape(*lead, -1, rows.shape[-1])
    return {**state_dict, **added}
