"""Published pretraining weights that can start a tracker's encoder: which family a checkpoint is of.

Each family's module lists RULES and UNUSED, `fitted` (weights as the model needs them) and `covers` (which leaves come
from them).
"""

import dataclasses
import functools
import re
from types import ModuleType

from trackers.convert import clip_vision, pvt, swin, vit
from trackers.convert.contract import Start
from trackers.errors import InputError


@dataclasses.dataclass(frozen=True)
class Family:
    """name: for messages. module: the rules. backbone: the kind of backbone (nn/backbones/stages.py) it fills.

    sign: regular expression of a key that tells the family; its group, if any, is the prefix of the encoder's keys.
    others: regular expression of the keys without that prefix, which are no part of the encoder.
    """

    name: str
    module: ModuleType
    sign: str
    backbone: str = "vit"
    others: str = ""


# The first match counts. MoCo v3 keeps the encoder twice, SLIP and CLIP beside a text transformer.
FAMILIES = (
    Family(
        "MoCo v3",
        vit,
        r"((?:module\.)?base_encoder\.)patch_embed\.proj\.weight",
        others=r"(module\.)?(momentum_encoder|predictor)\..*",
    ),
    Family(
        "SLIP",
        vit,
        r"((?:module\.)?visual\.)patch_embed\.proj\.weight",
        others=r"(module\.)?(transformer|token_embedding|ln_final|image_mlp)\..*"
        r"|(module\.)?(positional_embedding|image_projection|text_projection|logit_scale)",
    ),
    Family(
        "CLIP",
        clip_vision,
        r"(visual\.)class_embedding",
        others=r"(transformer|token_embedding|ln_final)\..*"
        r"|positional_embedding|text_projection|logit_scale|input_resolution|context_length|vocab_size",
    ),
    Family("Swin", swin, r"layers\.0\.blocks\.0\.attn\.relative_position_bias_table", "swin"),
    Family("PVT", pvt, r"patch_embed1\.proj\.weight", "pvt"),
    Family("plain ViT (MAE, DeiT)", vit, r"patch_embed\..*"),
)


def start(state_dict, model, published):
    """What a pretrained backbone gives to a tracker.

    Args:
      state_dict: {published key: array}.
      model: a OneStreamTracker, from trackers.build.
      published: the tracker's contract.Published.

    Returns: contract.Start, or None for weights of no family.

    Raises: InputError where the model's backbone is of another kind.
    """
    family, prefix = _find(state_dict)
    if family is None:
        return None
    kind = model.backbone.kind
    if kind != family.backbone:
        raise InputError(f"the checkpoint is a {family.name}, the model's backbone a {kind}: set model.backbone.kind")
    # A key without prefix that belongs to no known part keeps its name and is reported.
    weights = {
        key.removeprefix(prefix): array
        for key, array in state_dict.items()
        if not re.fullmatch(family.others, key) or (prefix and key.startswith(prefix))
    }
    weights = family.module.fitted(weights, model, published.position_grids(model), published.position_resize)
    covers = functools.partial(family.module.covers, state_dict=weights)
    return Start(weights, family.module.RULES, family.module.UNUSED, covers)


def known(state_dict):
    """Whether the weights are those of a family."""
    return _find(state_dict)[0] is not None


def _find(state_dict):
    """(Family, prefix of its keys); (None, "") for weights of no family, such as a tracker's own."""
    for family in FAMILIES:
        for key in state_dict:
            if match := re.fullmatch(family.sign, key):
                return family, match[1] if match.groups() else ""
    return None, ""
