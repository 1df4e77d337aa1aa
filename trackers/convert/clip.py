"""CLIP's transformers (Radford et al., ICML 2021; names of its program)."""

from trackers.convert.layouts import CONV, LINEAR, LINEAR_OF_HEADS, ROWS, VECTOR


def blocks(ours, published):
    """Rules of a stack of residual attention blocks: `ours`/block_3/... is `published`.resblocks.3...."""
    block, name = rf"{ours}/block_(\d+)", rf"{published}.resblocks.\1"
    return (
        (rf"{block}/norm([12])", rf"{name}.ln_\2", VECTOR),
        (rf"{block}/attention/qkv/kernel", rf"{name}.attn.in_proj_weight", LINEAR),
        (rf"{block}/attention/qkv/bias", rf"{name}.attn.in_proj_bias", VECTOR),
        (rf"{block}/attention/out", rf"{name}.attn.out_proj", LINEAR_OF_HEADS),
        (rf"{block}/mlp/fc1", rf"{name}.mlp.c_fc", LINEAR),
        (rf"{block}/mlp/fc2", rf"{name}.mlp.c_proj", LINEAR),
    )


# The vision transformer, as the encoder of a tracker that has a class token.
VISION = (
    (r"encoder/patch_embed", "conv1", CONV),
    (r"encoder/class_token", "class_embedding", VECTOR),
    (r"encoder/position_search", "positional_embedding", ROWS),
    (r"encoder/norm_pre", "ln_pre", VECTOR),
    *blocks("encoder", "transformer"),
    (r"encoder/norm", "ln_post", VECTOR),
)


def text(ours=""):
    """Rules of the text transformer models.text.Model, which is at the path `ours` ("text/") among the variables."""
    return (
        (rf"{ours}token_embedding", "token_embedding.weight", ROWS),
        (rf"{ours}projection", "text_projection", ROWS),
        (rf"{ours}encoder/position_text", "positional_embedding", ROWS),
        *blocks(rf"{ours}encoder", "transformer"),
        (rf"{ours}encoder/norm", "ln_final", VECTOR),
    )


def resnet(ours=""):
    """Rules of the ResNet nn.backbones.resnet.ResNet, which is at the path `ours` ("visual/") among the variables."""
    block, name = rf"{ours}stage(\d+)_block(\d+)", r"visual.layer\1.\2"
    return (
        (rf"{ours}conv([123])", r"visual.conv\1", CONV),
        (rf"{ours}norm([123])", r"visual.bn\1", VECTOR),
        (rf"{block}/conv([123])", rf"{name}.conv\3", CONV),
        (rf"{block}/norm([123])", rf"{name}.bn\3", VECTOR),
        (rf"{block}/shortcut_conv", rf"{name}.downsample.0", CONV),
        (rf"{block}/shortcut_norm", rf"{name}.downsample.1", VECTOR),
    )


# What nobody here uses of a whole CLIP: attention pooling, the logits' scale, facts about the file, PyTorch's counters.
UNUSED = r"visual\.attnpool\..*|logit_scale|input_resolution|context_length|vocab_size|.*\.num_batches_tracked"
