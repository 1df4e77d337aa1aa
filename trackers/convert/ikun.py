"""iKUN's published checkpoints, and CLIP's RN50.pt as a start for its encoders."""

import numpy as np

from trackers.convert import clip
from trackers.convert.contract import Published, Start
from trackers.convert.layouts import LINEAR, LINEAR_OF_HEADS, ROWS, VECTOR, Layout, prefixed
from trackers.errors import InputError

# (C, E, k) <-> (E, k, C): the convolution of a text of one position.
_KERNEL_OF_TEXT = Layout(lambda a, shape: a.transpose(1, 2, 0), lambda a: a.transpose(2, 0, 1))
# (out, in, k) <-> (k, in, out).
_CONV1D = Layout(lambda a, shape: a.transpose(2, 1, 0), lambda a: a.transpose(2, 1, 0))

# CLIP's own names; iKUN has them behind "clip.".
_CLIP_RULES = (*clip.text("text/"), *clip.resnet("visual/"))


def _attention(name):
    return (
        (rf"knowledge/{name}/qkv_kernel", rf"fusion_{name}.in_proj_weight", LINEAR),
        (rf"knowledge/{name}/qkv_bias", rf"fusion_{name}.in_proj_bias", VECTOR),
        (rf"knowledge/{name}/out", rf"fusion_{name}.out_proj", LINEAR_OF_HEADS),
    )


_RULES = (
    *prefixed("clip.", _CLIP_RULES),
    (r"visual_head", "img_fc", LINEAR),
    (r"text_hidden", "text_fc.0", LINEAR),
    (r"text_head", "text_fc.2", LINEAR),
    (r"knowledge/position_(local|global)", r"pos_emb_\1", ROWS),
    *_attention("local_global"),
    *_attention("visual_textual"),
    (r"knowledge/words", "fusion_fc", LINEAR),
    (r"knowledge/kernel/kernel", "fusion_conv1.0.weight", _KERNEL_OF_TEXT),
    (r"knowledge/kernel_norm", "fusion_conv1.1", VECTOR),
    (r"knowledge/mix/kernel", "fusion_conv2.0.weight", _CONV1D),
    (r"knowledge/mix_norm", "fusion_conv2.1", VECTOR),
)

# The program builds a feed-forward layer and, for text-first modulation, a second convolution that it never uses.
_UNUSED = rf"clip\.({clip.UNUSED})|fusion_(ffn|conv2)\..*|.*\.num_batches_tracked"

# Batches that the normalizations behind the two convolutions have seen.
_SEEN_TEXT, _SEEN_MIX = (f"fusion_conv{i}.1.num_batches_tracked" for i in (1, 2))


def _check(state_dict, model):
    """Files of cross correlation and of text-first modulation have the same keys; which one was trained shows in what
    the second convolution has seen. Without these counters, or where nothing was trained, the config is believed.

    Raises: InputError where the file is of the other design than `model`.
    """
    seen = [np.any(state_dict.get(name, 0)) for name in (_SEEN_TEXT, _SEEN_MIX)]
    if model.fusion not in ("cross_correlation", "text_first_modulation") or not seen[0]:
        return
    trained = "cross_correlation" if seen[1] else "text_first_modulation"
    if model.fusion != trained:
        raise InputError(
            f"the checkpoint was trained as {trained} (by its {_SEEN_MIX}), model.fusion is {model.fusion}: use"
            f" --config=configs/ikun.py:{trained}"
        )


def _start(state_dict):
    """A Start where the weights are CLIP's alone (RN50.pt), else None.

    What they do not cover, the knowledge unification module and the heads, is drawn at random.
    """
    if "visual.conv1.weight" not in state_dict:
        return None
    return Start(state_dict, _CLIP_RULES, clip.UNUSED, _is_encoder)


def _is_encoder(path):
    return path.split("/")[1] in ("text", "visual")


PUBLISHED = Published(_RULES, _UNUSED, check=_check, start=_start)
