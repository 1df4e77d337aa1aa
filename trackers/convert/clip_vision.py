"""CLIP's vision transformers (ViT-B/32, B/16, L/14; names of its program) as the start of a tracker's encoder."""

import re

from trackers.convert import clip, vit
from trackers.convert.layouts import ROWS

# The blocks as `clip` names them; here each position table is one that `fitted` has resized.
RULES = (
    *(rule for rule in clip.VISION if "position" not in rule[0]),
    (r"encoder/position_(\w+)", r"positional_embedding[\1]", ROWS),
)

# The table at its own size, the projection to the space of texts, and the class token where the model has none.
UNUSED = r"positional_embedding|proj|class_embedding"

covers = vit.covers


def fitted(state_dict, model, grids, method):
    """The weights as a model's encoder needs them: position tables resized, layers beyond the model's depth dropped.

    (Sim-B/16* is a CLIP ViT without its last four layers.)

    Args: as vit.fitted. Returns: state_dict with positional_embedding[name] (N, D) added.
    """
    layers = {key: re.fullmatch(r"transformer\.resblocks\.(\d+)\..*", key) for key in state_dict}
    kept = {key: array for key, array in state_dict.items() if not layers[key] or int(layers[key][1]) < model.depth}
    return vit.with_positions(kept, "positional_embedding", grids, method, 1, vit.class_grid(model))
