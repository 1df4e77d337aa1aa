"""SimTrack (ECCV 2022): configs/simtrack.py:VARIANT with VARIANT one of VARIANTS.

b16          Sim-B/16. Paper: LaSOT AUC 69.3, TNL2K AUC 54.8, TrackingNet AUC 82.3, UAV123 AUC 69.8, GOT-10k test
             AO 70.6 (the program's page); 25.0 GFLOPs (Table 4: 23.4).
             python train.py --config configs/simtrack.py:b16 --workdir DIR --config.init.checkpoint=ViT-B-16.pt
             --config.data.lasot=DIR --config.data.got10k=DIR --config.data.coco=DIR --config.data.trackingnet=DIR
             (the others alike).
             Result here: not yet run (no data sets and no accelerator were at hand).
b16_star     Sim-B/16*, without the last four layers. Paper: 14.7 GFLOPs. Result here: not yet run.
b32          Sim-B/32, from ViT-B-32.pt. Paper: 11.5 GFLOPs. Result here: not yet run.
l14          Sim-L/14, from ViT-L-14.pt. Paper: LaSOT AUC 70.5, TNL2K AUC 55.6, UAV123 AUC 71.2; 95.4 GFLOPs.
             Result here: not yet run.
b16_320      Input of 320 pixels (Table 11; 224 is b16). Result here: not yet run.
b16_384      Input of 384 pixels (Table 11). Result here: not yet run.
b16_interaction           Table 8: one stream alone, the exemplar's positions from a table. Result here: not yet run.
b16_position              Table 8: and positions from the box (b16 adds the foveal window). Result here: not yet run.
b16_interaction_half      Table 10: exemplar and search meet in every second block. Result here: not yet run.
b16_interaction_quarter   Table 10: in every fourth block. Result here: not yet run.
b16_decoder1, _decoder3, _decoder6
             Table 9: layers of STARK's decoder between backbone and corner head. Result here: not yet run.
stark_sv     Table 4: the baseline STARK-SV, two streams of the ViT, then STARK's encoder and decoder. Result here: not
             yet run.
swin_b       Table 7: Swin-B without its last stage, from swin_base_patch4_window7_224.pth. Result here: not yet run.
pvt_m        Table 7: PVT-Medium without its last stage, from pvt_medium.pth. Result here: not yet run.
b16_mae, b16_deit, b16_moco, b16_slip
             Table 5: other pretraining, from MAE's, DeiT's, MoCo v3's and SLIP's ViT-B/16. Result here: not yet run.
tiny_stark, tiny_swin, tiny_pvt
             For tests: the same at the size of tiny.
demo         As configs/grm.py:demo, a small SimTrack on procedural video, 80,000 pairs.
             python train.py --config configs/simtrack.py:demo --workdir DIR
             Result: validation IoU 0.57 (0.33 with the wrong template); AO 46.6 on eight procedural sequences of seed 1
             (static box 17.4), 31.3 on eight real ones (static box 17.1).
tiny         For tests: the recorded test network, 96/80 pixels, a few steps on procedural video.
"""

import ml_collections

from configs import sections


def get_config(variant="b16"):
    """The whole config of a variant, a locked ConfigDict."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/simtrack.py has no variant {variant!r}: choose one of {', '.join(VARIANTS)}")
    config = _b16()
    VARIANTS[variant](config)
    return config.lock()


def _b16():
    c = sections.run()

    c.model = ml_collections.ConfigDict()
    # Module of trackers.models.
    c.model.name = "simtrack"
    # ViT: width, layers, heads, hidden width of the MLP over width, pixels of a patch's side.
    c.model.width = 768
    c.model.depth = 12
    c.model.heads = 12
    c.model.mlp_ratio = 4.0
    c.model.patch_size = 16
    # Pixels of the sides of the crops, and of the foveal window in the exemplar (0 = no window).
    c.model.template_size = 112
    c.model.search_size = 224
    c.model.foveal_size = 64
    # Where the exemplar's positions come from: box (share of target in each patch) or grid (a table).
    c.model.template_position = "box"
    # 1-based layers in which exemplar and search tokens look at one another; None = all.
    c.model.interaction = ml_collections.config_dict.placeholder(tuple)
    # Whether exemplar tokens look at search tokens there; where not, they are computed once for all frames.
    c.model.template_looks = True
    # CLIP's ViT: QuickGELU, LayerNorm before the blocks, class token, no bias in the patch embedding, eps of LayerNorm.
    c.model.activation = "quick_gelu"
    c.model.pre_norm = True
    c.model.with_class = True
    c.model.patch_bias = False
    c.model.norm_eps = 1e-5
    # Search positions: learned, sincos, or interpolated from position_grid (rows, columns), the pretraining's.
    c.model.position = "interpolated"
    c.model.position_grid = (14, 14)
    # Random start of the attention: independent, or matched (keys equal to queries).
    c.model.attention_init = "independent"
    # Drop-path rate of the last layer.
    c.model.drop_path = 0.0
    # Stack equal layers with nn.scan: compile time does not grow with depth.
    c.model.scan_layers = True
    # Recomputation of activations in the backward pass: none, full or dots.
    c.model.remat = "none"
    # Compute dtype: float32 or bfloat16.
    c.model.dtype = "bfloat16"
    c.model.head = ml_collections.ConfigDict()
    # Channels of the corner head's first convolution, and of the projection before it (None = the same).
    c.model.head.channels = 256
    c.model.head.bottleneck = ml_collections.config_dict.placeholder(int)
    c.model.head.transformer = ml_collections.ConfigDict()
    # STARK's encoder and decoder between the two: layers (0 = none of it), heads, hidden width, dropout.
    c.model.head.transformer.encoder_layers = 0
    c.model.head.transformer.decoder_layers = 0
    c.model.head.transformer.heads = 8
    c.model.head.transformer.hidden = 2048
    c.model.head.transformer.dropout = 0.1
    c.model.backbone = ml_collections.ConfigDict()
    # vit, or swin or pvt: then width and patch_size are the width and stride of its last stage.
    c.model.backbone.kind = "vit"
    # Of each stage of swin and pvt: width, blocks, heads, hidden width of the MLP over width.
    c.model.backbone.widths = ()
    c.model.backbone.depths = ()
    c.model.backbone.heads = ()
    c.model.backbone.mlp_ratios = ()
    # Swin: sides, in tokens, of a window and of the grid that the exemplar's tokens are pooled to.
    c.model.backbone.window = 7
    c.model.backbone.pooled = 7
    # PVT: how far each stage shrinks the grid of keys and values.
    c.model.backbone.reductions = ()

    c.objective = ml_collections.ConfigDict()
    # Module of trackers.objectives.
    c.objective.name = "corners"
    # Weights of the losses (paper, Sec. 4.1).
    c.objective.giou_weight = 2.0
    c.objective.l1_weight = 5.0

    c.tracking = ml_collections.ConfigDict()
    # Side of the crops over the square root of the box's area.
    c.tracking.template_factor = 2.0
    c.tracking.search_factor = 4.0
    # Share of the new width and height that is taken over in a frame; 1 = the program (there is no window either).
    c.tracking.size_update = 1.0
    # The box keeps at least so many pixels inside the image.
    c.tracking.clip_margin = 10.0
    # The template box's corner is cut to whole pixels of the crop, as in the program; 0 = left as it is.
    c.tracking.template_box_step = 1.0

    c.data = sections.pairs()
    c.data.search_center_jitter = 3.5
    c.data.search_scale_jitter = 0.5

    # Box positions learn at the encoder's rate.
    c.train.update({"batch_size": 256, "total_epochs": 500, "drop_epoch": 400, "learning_rate": 1e-4})
    return c


def _b16_star(c):
    c.model.depth = 8


def _b32(c):
    c.model.update({"patch_size": 32, "template_size": 128, "search_size": 320, "position_grid": (7, 7)})
    c.tracking.search_factor = 5.0


def _l14(c):
    c.model.update({"width": 1024, "depth": 24, "heads": 16, "patch_size": 14, "position_grid": (16, 16)})
    c.model.update({"template_size": 84, "foveal_size": 42, "remat": "dots"})
    c.tracking.template_factor = 1.5


def _sized(search_size, foveal_size):
    """A variant of another input size; the exemplar stays half of it, the foveal window in its very middle."""

    def change(c):
        c.model.update({"search_size": search_size, "template_size": search_size // 2, "foveal_size": foveal_size})

    return change


def _b16_interaction(c):
    c.model.update({"template_position": "grid", "foveal_size": 0})


def _b16_position(c):
    c.model.foveal_size = 0


def _interacting_every(layers):
    """A variant in which exemplar and search tokens meet in every `layers`-th layer, the last one among them."""

    def change(c):
        c.model.interaction = tuple(range(layers, c.model.depth + 1, layers))

    return change


def _decoder(layers):
    """A variant with layers of STARK's decoder."""

    def change(c):
        c.model.head.transformer.decoder_layers = layers

    return change


def _stark_sv(c):
    c.model.update({"interaction": (), "template_position": "grid", "foveal_size": 0})
    c.model.head.transformer.update({"encoder_layers": 6, "decoder_layers": 6})


def _no_vit(c):
    """What of the ViT and of CLIP a hierarchical backbone has no use for."""
    c.model.update({"foveal_size": 0, "with_class": False, "pre_norm": False, "patch_bias": True, "activation": "gelu"})


def _swin_b(c):
    _no_vit(c)
    c.model.update({"width": 512, "depth": 22, "drop_path": 0.1})
    c.model.backbone.update({"kind": "swin", "widths": (128, 256, 512), "depths": (2, 2, 18), "heads": (4, 8, 16)})
    c.model.backbone.mlp_ratios = (4.0, 4.0, 4.0)


def _pvt_m(c):
    _no_vit(c)
    c.model.update({"width": 320, "depth": 25, "drop_path": 0.1, "position_grid": (56, 56)})
    c.model.backbone.update({"kind": "pvt", "widths": (64, 128, 320), "depths": (3, 4, 18), "heads": (1, 2, 5)})
    c.model.backbone.update({"mlp_ratios": (8.0, 8.0, 4.0), "reductions": (8, 4, 2)})


def _timm(c):
    """A plain ViT of MAE, DeiT, MoCo v3 or SLIP."""
    c.model.update({"activation": "gelu", "pre_norm": False, "patch_bias": True, "norm_eps": 1e-6})


def _tiny(c):
    c.model.update({"width": 128, "depth": 3, "heads": 2, "template_size": 80, "search_size": 96, "foveal_size": 32})
    c.model.update({"dtype": "float32", "scan_layers": False})
    c.model.head.channels = 32
    sections.only_synthetic(c)
    c.data.synthetic.update({"backgrounds": 8, "families": 4, "poses": 2})
    c.data.pairs_per_epoch = 64
    c.data.validation_pairs = 16
    c.data.threads = 2
    c.train.batch_size = 8
    c.train.total_epochs = 2
    c.train.drop_epoch = 1
    c.train.learning_rate = 1e-3
    c.train.encoder_multiplier = 1.0
    c.train.log_every_steps = 1
    c.train.checkpoint_every_steps = 8
    c.train.validate_every_epochs = 1


def _tiny_stark(c):
    _tiny(c)
    _stark_sv(c)
    c.model.head.transformer.update({"encoder_layers": 1, "decoder_layers": 1, "heads": 2, "hidden": 64})


def _tiny_swin(c):
    _tiny(c)
    _swin_b(c)
    c.model.update({"width": 64, "depth": 4, "template_size": 48, "search_size": 96})
    c.model.backbone.update({"widths": (16, 32, 64), "depths": (1, 1, 2), "heads": (1, 2, 4), "window": 4, "pooled": 3})


def _tiny_pvt(c):
    _tiny(c)
    _pvt_m(c)
    c.model.update({"width": 64, "depth": 4, "template_size": 48, "search_size": 96, "position_grid": (16, 16)})
    c.model.backbone.update({"widths": (16, 32, 64), "depths": (1, 1, 2), "heads": (1, 2, 4)})


def _demo(c):
    c.model.update({"width": 96, "depth": 4, "heads": 4, "patch_size": 12, "template_size": 48, "search_size": 96})
    c.model.update({"foveal_size": 12, "dtype": "float32", "scan_layers": False})
    c.model.update({"position": "sincos", "attention_init": "matched"})
    c.model.head.channels = 64
    sections.only_synthetic(c)
    c.tracking.search_factor = 3.0
    c.tracking.size_update = 0.05
    # Matching is found on flat colors among look-alikes in shape, then carried over to textures.
    c.data.synthetic.update({"detail": 0.8, "detail_steps": 1000, "renew_every_steps": 250, "change": 0.6})
    c.data.synthetic.update({"background_scale": 1.5})
    c.data.synthetic.update({"distractors": 4, "distractor_probability": 0.9, "distractor_reach": 1.4})
    c.data.synthetic.update({"look_alike_probability": 0.1, "occlusion_probability": 0.1, "region_probability": 0.05})
    c.data.search_center_jitter = 1.5
    c.data.search_scale_jitter = 0.25
    c.data.pairs_per_epoch = 10000
    c.data.validation_pairs = 512
    c.data.threads = 2
    c.train.batch_size = 32
    c.train.total_epochs = 8
    c.train.learning_rate = 1.5e-3
    c.train.encoder_multiplier = 1.0
    c.train.clip_norm = 1.0
    c.train.schedule = "cosine"
    c.train.warmup_epochs = 0.3
    c.train.ema_decay = 0.998
    c.train.checkpoint_every_steps = 1000
    c.train.keep_checkpoints = 1
    c.train.validate_every_epochs = 2


# How each variant differs from b16.
VARIANTS = {
    "b16": lambda c: None,
    "b16_star": _b16_star,
    "b32": _b32,
    "l14": _l14,
    "b16_320": _sized(320, 80),
    "b16_384": _sized(384, 112),
    "b16_interaction": _b16_interaction,
    "b16_position": _b16_position,
    "b16_interaction_half": _interacting_every(2),
    "b16_interaction_quarter": _interacting_every(4),
    **{f"b16_decoder{layers}": _decoder(layers) for layers in (1, 3, 6)},
    "stark_sv": _stark_sv,
    "swin_b": _swin_b,
    "pvt_m": _pvt_m,
    **{f"b16_{pretraining}": _timm for pretraining in ("mae", "deit", "moco", "slip")},
    "tiny": _tiny,
    "tiny_stark": _tiny_stark,
    "tiny_swin": _tiny_swin,
    "tiny_pvt": _tiny_pvt,
    "demo": _demo,
}
