"""SimTrack (ECCV 2022): configs/simtrack.py:VARIANT.

Numbers are the paper's, in per cent: AUC of LaSOT and TrackingNet with Pn, of TNL2K and UAV123 with P, AO of GOT-10k's
test with SR0.5 and SR0.75; and multiply-adds (G), which the paper calls FLOPs and counts without the corner head:
python -m benchmarks.multiply_adds --papers has ours beside them. All train as b16 does unless said.
Result here: not yet run, but for demo.

b16          Sim-B/16. Table 1: 25.0 G (Table 4: 23.4); LaSOT 69.3, 78.5; TNL2K 54.8, 53.8; TrackingNet 82.3, 86.5.
             Table 2: UAV123 69.8, 89.6. GOT-10k: b16_got10k. It is also CLIP's row of Table 5, row (4) of Table 8 (+FW,
             the foveal window: TNL2K 54.8, 53.8), the row without decoder of Table 9, the full row of Table 10 and the
             224 pixels of Table 11. --config.model.template_looks=False leaves the search tokens out of the exemplar's
             attention, as in Swin: LaSOT 69.1 (Table 7's text).
             python train.py --config configs/simtrack.py:b16 --workdir DIR --config.init.checkpoint=ViT-B-16.pt
             --config.data.lasot=DIR --config.data.got10k=DIR --config.data.coco=DIR --config.data.trackingnet=DIR
             (the others likewise). "Table 6", a figure, also has it after 200 epochs, LaSOT 66.8, where STARK-SV is
             after 500: --config.train.total_epochs=200 --config.train.drop_epoch=160 (160 is our choice);
             python -m benchmarks.curves draws such a figure.
b16_star     Sim-B/16*, without the last four layers. Table 1: 14.7 G; LaSOT 68.7, 77.5; TNL2K 53.7, 52.6; TrackingNet
             81.5, 86.0.
b32          Sim-B/32, from ViT-B-32.pt. Table 1: 11.5 G; LaSOT 66.2, 76.1; TNL2K 51.1, 48.1; TrackingNet 79.1, 83.9.
l14          Sim-L/14, from ViT-L-14.pt. Table 1: 95.4 G; LaSOT 70.5, 79.7; TNL2K 55.6, 55.7; TrackingNet 83.4, 87.4.
             Table 2: UAV123 71.2, 91.6.
b16_got10k   Table 3, trained on GOT-10k's train split alone: AO 68.6, SR0.5 78.9, SR0.75 62.4. The program's page has
             AO 70.6. The schedule stays (the paper gives no other).
l14_got10k   Table 3: AO 69.8, SR0.5 78.8, SR0.75 66.0.
stark_sv     Table 4, STARK-SV of B/16, and row (1) of Table 8, Base: two streams of the ViT, then STARK's encoder and
             decoder. 25.6 G; LaSOT 66.8, 75.7; TNL2K 52.2, 51.1. Six layers of each, 8 heads, MLPs of 2048 and dropout
             0.1 are those of STARK's program; the class token in the exemplar's stream is our choice.
stark_sv_b32
             Table 4, STARK-SV of B/32: 13.3 G; LaSOT 62.5, 72.1; TNL2K 48.0, 44.0.
stark_sv_l14
             Table 4, STARK-SV of L/14: 95.6 G; LaSOT 69.2, 78.2; TNL2K 54.0, 54.1.
b16_mae, b16_deit, b16_moco, b16_slip
             Table 5, other pretraining, from MAE's, DeiT's, MoCo v3's and SLIP's ViT-B/16. LaSOT AUC, P; TNL2K AUC, P.
             MAE 70.3, 75.5; 55.7, 55.8. DeiT 66.9, 70.3; 51.9, 49.6. MoCo v3 66.4, 69.4; 51.9, 49.4. SLIP 67.6, 71.0;
             53.4, 51.8 (CLIP, which is b16: 69.3, 74.0; 54.8, 53.8).
pvt_m        Table 7, PVT-Medium, from pvt_medium.pth: 8.9 G; LaSOT 66.6, UAV123 68.5. The paper does not say which
             stages are kept: without the last one is our choice.
swin_b       Table 7, Swin-B, from swin_base_patch4_window7_224.pth: 15.0 G; LaSOT 68.3, UAV123 69.4. Without the last
             stage: our choice, as for PVT.
b16_interaction
             Table 8, row (2), +Sim: one stream alone, the exemplar's positions from a table. TNL2K 53.5, 52.5.
b16_position
             Table 8, row (3), +PosEm: and positions from the box. TNL2K 54.0, 53.1. b16, row (4), adds the window.
b16_decoder1, b16_decoder3, b16_decoder6
             Table 9, so many decoder layers between backbone and corner head, queries from the search tokens, keys and
             values from the exemplar's. TNL2K 54.8, 54.2; 54.6, 54.0; 54.7, 54.3 (without: 54.8, 53.8). What a layer
             is, and that it stands behind the projection to 256 channels, is our choice (trackers/nn/cross_decoder.py).
b16_interaction_half
             Table 10, exemplar and search meet in blocks 2, 4, 6, 8, 10, 12 only. TNL2K 52.3, 50.4 (all: 54.8, 53.8).
b16_interaction_quarter
             Table 10, in half of those again. TNL2K 49.8, 46.2. Which three is not given: 4, 8, 12 is our choice.
b16_320      Table 11, search crop of 320 pixels. LaSOT 70.0, 79.2; TNL2K 54.8, 54.2. Exemplar (160), foveal window (80)
             and crop factors (2 and 4) are not given: our choice.
b16_384      Table 11, 384 pixels. LaSOT 70.4, 79.3; TNL2K 55.2, 55.2. Exemplar 192, window 112, factors: our choice.
tiny_stark, tiny_decoder, tiny_swin, tiny_pvt
             For tests: the same at the size of tiny.
demo         As configs/grm.py:demo, a small SimTrack on procedural video, 80,000 pairs.
             python train.py --config configs/simtrack.py:demo --workdir DIR
             Result: validation IoU 0.57 (0.33 with the wrong template); AO 46.6 on eight procedural sequences of seed 1
             (static box 17.4), 31.3 on eight real ones (static box 17.1).
tiny         For tests: the recorded test network, 96/80 pixels, a few steps on procedural video.
"""

import functools

import ml_collections

from configs import sections, variants


def b16():
    c = sections.run()

    c.model = sections.vit("simtrack", template_size=112, search_size=224, position="interpolated", drop_path=0.0)
    # Pixels of the foveal window's side in the exemplar; 0 = no window.
    c.model.foveal_size = 64
    # Where it is cut: half_patch (half a patch off the exemplar's lines, as in the paper) or program, another for B/32.
    c.model.foveal_cut = "half_patch"
    # Where the exemplar's positions come from: box (share of target in each patch) or grid (a table).
    c.model.template_position = "box"
    # 1-based layers in which exemplar and search tokens look at one another; None = all.
    c.model.interaction = ml_collections.config_dict.placeholder(tuple)
    # Whether exemplar tokens look at search tokens there; where not, they are computed once for all frames.
    c.model.template_looks = True
    # Activation of the MLPs: quick_gelu (CLIP's) or gelu.
    c.model.activation = "quick_gelu"
    # A LayerNorm before the blocks (CLIP).
    c.model.pre_norm = True
    # A class token (CLIP).
    c.model.with_class = True
    # A bias in the patch embedding; CLIP has none.
    c.model.patch_bias = False
    # Epsilon of the LayerNorms.
    c.model.norm_eps = 1e-5
    c.model.head = ml_collections.ConfigDict()
    # Channels of the corner head's first convolution.
    c.model.head.channels = 256
    # Channels of the projection before it; None = the same.
    c.model.head.bottleneck = ml_collections.config_dict.placeholder(int)
    c.model.head.transformer = ml_collections.ConfigDict()
    # STARK's transformer (the baseline STARK-SV): layers of its encoder between the two; 0 = none of it.
    c.model.head.transformer.encoder_layers = 0
    # Layers of STARK's decoder after it; 0 = none of it.
    c.model.head.transformer.decoder_layers = 0
    # Heads of their attentions.
    c.model.head.transformer.heads = 8
    # Hidden width of their MLPs.
    c.model.head.transformer.hidden = 2048
    # Dropout in both.
    c.model.head.transformer.dropout = 0.1
    c.model.head.decoder = ml_collections.ConfigDict()
    # Layers in which the projected search tokens look at the exemplar's, before the corner head; 0 = none.
    c.model.head.decoder.layers = 0
    # Heads of their attentions; this and the next two are our choice.
    c.model.head.decoder.heads = 8
    # Hidden width of their MLPs.
    c.model.head.decoder.hidden = 2048
    # Dropout in them.
    c.model.head.decoder.dropout = 0.1
    c.model.backbone = ml_collections.ConfigDict()
    # vit, or swin or pvt: then width and patch_size are the width and stride of its last stage.
    c.model.backbone.kind = "vit"
    # Width of each stage of swin and pvt.
    c.model.backbone.widths = ()
    # Blocks of each stage.
    c.model.backbone.depths = ()
    # Heads of each stage.
    c.model.backbone.heads = ()
    # Hidden width of each stage's MLPs over its width.
    c.model.backbone.mlp_ratios = ()
    # Swin: tokens on a window's side.
    c.model.backbone.window = 7
    # Swin: side, in tokens, of the grid that the exemplar's tokens are pooled to.
    c.model.backbone.pooled = 7
    # PVT: how far each stage shrinks the grid of keys and values.
    c.model.backbone.reductions = ()

    # The paper's weights (appendix): GIoU 2, L1 5.
    c.objective = sections.corners_objective()

    c.tracking = sections.tracking()
    # The template box's corner is cut to whole pixels of the crop, as in the program; 0 = left as it is.
    c.tracking.template_box_step = 1.0

    c.data = sections.pairs()
    c.data.search_center_jitter = 3.5
    c.data.search_scale_jitter = 0.5

    # Published schedule (appendix): 500 epochs of 60,000 pairs; box positions learn at the encoder's rate.
    c.train.update({"batch_size": 256, "total_epochs": 500, "drop_epoch": 400, "learning_rate": 1e-4})
    return c


def b16_star(c):
    c.model.depth = 8


def b32(c):
    c.model.update({"patch_size": 32, "template_size": 128, "search_size": 320, "position_grid": (7, 7)})
    c.tracking.search_factor = 5.0


def l14(c):
    c.model.update({**sections.VIT_L, "patch_size": 14, "position_grid": (16, 16)})
    c.model.update({"template_size": 84, "foveal_size": 42})
    c.tracking.template_factor = 1.5


def b16_got10k(c):
    c.data.ratio.update({"lasot": 0.0, "got10k": 1.0, "trackingnet": 0.0, "coco": 0.0})


def l14_got10k(c):
    l14(c)
    b16_got10k(c)


def _sized(c, search_size, foveal_size):
    """Another input size; the exemplar stays half of it, the foveal window in its very middle (our choice)."""
    c.model.update({"search_size": search_size, "template_size": search_size // 2, "foveal_size": foveal_size})


def b16_interaction(c):
    c.model.update({"template_position": "grid", "foveal_size": 0})


def b16_position(c):
    c.model.foveal_size = 0


def _interacting(c, every):
    """Exemplar and search tokens meet in every `every`-th layer, the last one among them."""
    c.model.interaction = tuple(range(every, c.model.depth + 1, every))


def _decoding(c, layers):
    """Layers of the decoder before the corner head."""
    c.model.head.decoder.layers = layers


def stark_sv(c):
    c.model.update({"interaction": (), "template_position": "grid", "foveal_size": 0})
    c.model.head.transformer.update({"encoder_layers": 6, "decoder_layers": 6})


def stark_sv_b32(c):
    b32(c)
    stark_sv(c)


def stark_sv_l14(c):
    l14(c)
    stark_sv(c)


def _no_vit(c):
    """What of the ViT and of CLIP a hierarchical backbone has no use for."""
    c.model.update({"foveal_size": 0, "with_class": False, "pre_norm": False, "patch_bias": True, "activation": "gelu"})


def swin_b(c):
    _no_vit(c)
    c.model.update({"width": 512, "depth": 22, "drop_path": 0.1})
    c.model.backbone.update({"kind": "swin", "widths": (128, 256, 512), "depths": (2, 2, 18), "heads": (4, 8, 16)})
    c.model.backbone.mlp_ratios = (4.0, 4.0, 4.0)


def pvt_m(c):
    _no_vit(c)
    c.model.update({"width": 320, "depth": 25, "drop_path": 0.1, "position_grid": (56, 56)})
    c.model.backbone.update({"kind": "pvt", "widths": (64, 128, 320), "depths": (3, 4, 18), "heads": (1, 2, 5)})
    c.model.backbone.update({"mlp_ratios": (8.0, 8.0, 4.0), "reductions": (8, 4, 2)})


def _timm(c):
    """A plain ViT of MAE, DeiT, MoCo v3 or SLIP."""
    c.model.update({"activation": "gelu", "pre_norm": False, "patch_bias": True, "norm_eps": 1e-6})


def tiny(c):
    sections.tiny_run(c)
    c.model.update({"width": 128, "heads": 2, "template_size": 80, "search_size": 96, "foveal_size": 32})
    c.model.head.channels = 32


def tiny_stark(c):
    tiny(c)
    stark_sv(c)
    c.model.head.transformer.update({"encoder_layers": 1, "decoder_layers": 1, "heads": 2, "hidden": 64})


def tiny_decoder(c):
    tiny(c)
    c.model.head.decoder.update({"layers": 2, "heads": 2, "hidden": 64})


def tiny_swin(c):
    tiny(c)
    swin_b(c)
    c.model.update({"width": 64, "depth": 4, "template_size": 48, "search_size": 96})
    c.model.backbone.update({"widths": (16, 32, 64), "depths": (1, 1, 2), "heads": (1, 2, 4), "window": 4, "pooled": 3})


def tiny_pvt(c):
    tiny(c)
    pvt_m(c)
    c.model.update({"width": 64, "depth": 4, "template_size": 48, "search_size": 96, "position_grid": (16, 16)})
    c.model.backbone.update({"widths": (16, 32, 64), "depths": (1, 1, 2), "heads": (1, 2, 4)})


def demo(c):
    sections.demo_run(c)
    c.model.foveal_size = 12
    c.tracking.search_factor = 3.0
    c.tracking.size_update = 0.05
    c.data.synthetic.update({"detail": 0.8, "detail_steps": 1000, "renew_every_steps": 250})
    c.data.search_center_jitter = 1.5
    c.data.search_scale_jitter = 0.25
    c.train.update({"batch_size": 32, "learning_rate": 1.5e-3, "ema_decay": 0.998})


get_config = variants.chooser(
    b16, b16_star, b32, l14, b16_got10k, l14_got10k, stark_sv, stark_sv_b32, stark_sv_l14,
    b16_interaction, b16_position, swin_b, pvt_m, tiny, tiny_stark, tiny_decoder, tiny_swin, tiny_pvt, demo,
    b16_320=functools.partial(_sized, search_size=320, foveal_size=80),
    b16_384=functools.partial(_sized, search_size=384, foveal_size=112),
    b16_interaction_half=functools.partial(_interacting, every=2),
    b16_interaction_quarter=functools.partial(_interacting, every=4),
    b16_decoder1=functools.partial(_decoding, layers=1),
    b16_decoder3=functools.partial(_decoding, layers=3),
    b16_decoder6=functools.partial(_decoding, layers=6),
    b16_mae=_timm, b16_deit=_timm, b16_moco=_timm, b16_slip=_timm,
)  # fmt: skip
