"""GRM (CVPR 2023): configs/grm.py:VARIANT.

b256         Paper: LaSOT AUC 69.9, TrackingNet AUC 84.0, NfS30 65.6, UAV123 70.2, AVisT 54.5; 8 RTX 3090, half a day.
             python train.py --config configs/grm.py:b256 --workdir DIR
             --config.init.checkpoint=mae_pretrain_vit_base.pth --config.data.lasot=DIR --config.data.got10k=DIR
             --config.data.coco=DIR --config.data.trackingnet=DIR
             Result here: not yet run.
             Sizes, rates and epochs are the paper's. It gives no loss weights, weight decay, pairs an epoch, batch and
             crop jitter: these are its program's. Mesh, precision and logging are ours.
b256_got10k  Paper: GOT-10k test AO 73.4, SR0.5 82.9, SR0.75 70.4, trained on its train split alone, 100 epochs, the
             rates a tenth after 80. Result here: not yet run. The paper's ablations are this variant with
               Table 4            AO    SR0.5  SR0.75  frames/s
               #1                 64.7  73.3   60.2    60        --config.model.division.mode=two_stream
               #2, Table 5 a      71.0  80.3   68.2    51        --config.model.division.mode=one_stream
               #3                 71.5  80.6   68.3    45        --config.model.division.mode=learned_template_search
               #4                 71.9  81.3   69.0    44        --config.model.division.mode=learned_three
               #5, Table 5 e      73.4  82.9   70.4    45        as it is (33 frames/s with separate attentions)
               Table 5 b          71.2  80.6   67.8
               Table 5 c          72.3  81.6   69.3
               Table 5 d          71.8  81.1   68.9
             b to d are --config.model.division.layers="(1,2,3,4,5,6,7,8,9,10,11,12)", the same from 5 on, and
             --config.model.division.pool=average; which is which is not known here.
             Appendix C.1, box supervision as an auxiliary loss: --config.objective.division_weight=1.0 (weight: ours).
             Appendix C.3: --config.model.division.mode=continuous; by region also --config.model.division.regions=4
             (number: ours). The paper's figures for these three are not known here.
b256_prototype  Appendix C.1, the prototype: classifiers of foreground that leave training's attention alone, and at
             inference put search tokens in groups. Not the paper's: the loss (two-class cross entropy, weight 1), no
             gradient into the backbone, the number of shared tokens, one half as the portion of every layer. The paper
             tunes the portion of each layer, as experiments/portions.py does: no other training is needed. All programs
             take --config.model.division.portions=0.3 or a tuple of eleven, one for each of layers 2 to 12.
             Result here: not yet run.
l320         Paper: LaSOT AUC 71.4, Pnorm 81.2, P 77.9; TrackingNet AUC 84.4, Pnorm 88.9, P 84.0; all but network and
             size as b256. Search factor, crop jitter and batch are the program's. Result here: not yet run.
tiny         For tests: the recorded test network, 64/32 pixels, a few steps on procedural video.
tiny_prototype  The same with the prototype's division.
demo         The main job: `make demo`, 11 minutes on 2 CPU cores. Result: validation IoU 0.59 (0.29 with the wrong
             template); AO 51.3 (55.1 in a later run), 60.6 and 59.5 on procedural sequences of seeds 1, 4 and 5 (static
             box 17.4, 14.9 and 17.1), 23.4 on eight real ones (17.1).
pocket       For real video, learned from procedural video on a CPU:
             GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python train.py --config configs/grm.py:pocket --workdir DIR
             Result here, 1,216,000 pairs in about three and a half hours on 2 CPU cores, the jitter of the search crop
             raised during the run (docs/shipped_tracker.md): validation IoU 0.72 (0.26 with the wrong
             template), AO 45.7 on eight real sequences (static box 17.1, KCF 22.1, MIL 29.2, CSRT 44.1).
t128         The same on a GPU, three times as large.
             python train.py --config configs/grm.py:t128 --workdir DIR --config.model.dtype=bfloat16
             Result here, 3,590,000 pairs in eleven minutes on one H100 (docs/shipped_tracker.md): validation IoU 0.79
             (0.23 with the wrong template), AO 56.2 on the eight real sequences, 75.3, 76.1 and 79.5 on procedural ones
             of seeds 1, 4 and 5.
t128_tuned   t128's weights, fine-tuned on 2 CPU cores on pairs in which the box alone tells what the target is, in
             crops of the first box's aspect (docs/shipped_tracker.md).
             GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python train.py --config configs/grm.py:t128_tuned --workdir DIR
             --config.init.checkpoint=T128
             Result here, 80,000 pairs in about 54 minutes: validation IoU 0.76 (0.15 with the wrong template); AO
             58.1 on the eight real sequences, 61.9 as the mean.
t128_relit   A second fine-tuning, on pairs whose target also turns, and whose light changes.
             GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python train.py --config configs/grm.py:t128_relit --workdir DIR
             --config.init.checkpoint=MEAN
             Result here, 64,000 pairs at 25 pairs/s, from the mean above, its cosine at first a longer one: validation
             IoU 0.71 (0.14 with the wrong template); as the mean with what it began from AO 64.8.
shipped      What weights/grm_t128, that mean, is run as. In every frame of the eight sequences its division lets all
             search tokens of layer 4 interact and none of layers 5 and 6, so these have no module (appendix C.2).
t128_extents  The same from the start, on a GPU (docs/training.md). In pieces of ten minutes; the same command goes on
             where the last piece was stopped, until it returns 0:
             timeout 580 python train.py --config configs/grm.py:t128_extents --workdir DIR
             --config.model.dtype=bfloat16
             12.8 million pairs. Result here: not yet run.
tiny_extents  The same at the sizes of tiny.
fast128      t128's recipe for half its time a frame: a relation whose template part is kept, width 128, a smaller head
             (docs/shipped_tracker.md, "Faster networks").
             python train.py --config configs/grm.py:fast128 --workdir DIR --config.model.dtype=bfloat16
             Result here: not yet run.
fast192      The same at 192 pixels for 0.6 of t128's time: patches of 16 from a stem of convolutions, width 192.
             python train.py --config configs/grm.py:fast192 --workdir DIR --config.model.dtype=bfloat16
             Result here: not yet run.
fast192_extents  fast192 that is told what the box covers, on t128_extents' pairs and for as long; in pieces likewise.
             timeout 580 python train.py --config configs/grm.py:fast192_extents --workdir DIR
             --config.model.dtype=bfloat16
             Result here: not yet run.
"""

import ml_collections

from configs import sections, variants


def b256():
    c = sections.run()

    c.model = sections.vit("grm", template_size=128, search_size=256)
    # What embeds a patch: patches (one convolution of its size) or convolutions (several of 3x3, ours; nn/stems.py).
    c.model.stem = "patches"
    c.model.division = ml_collections.ConfigDict()
    # 1-based layers that divide their search tokens; None = 2..depth, () = none.
    c.model.division.layers = ml_collections.config_dict.placeholder(tuple)
    # learned, learned_template_search, learned_three, continuous, prototype, two_stream, one_stream or asymmetric.
    c.model.division.mode = "learned"
    # 1-based layers that are one-stream without a division module, whatever the two above say (appendix C.2).
    c.model.division.one_stream_layers = ()
    # The same for two-stream layers: template and search tokens don't look at one another.
    c.model.division.two_stream_layers = ()
    # How those are computed: split (cheapest), or masked (as with a module that keeps all tokens apart).
    c.model.division.two_stream_form = "split"
    # Target representation: max, average, box_max, box_average or none.
    c.model.division.pool = "max"
    # Where target and search token meet in the division module: early or late.
    c.model.division.fusion = "early"
    # Gaussian smoothing of the division logits, standard deviation in cells; 0 = off.
    c.model.division.smoothing = 0.0
    # Inference: search-only from this probability on; 0 = the likelier category.
    c.model.division.threshold = 0.0
    # Inference: at least this share of the tokens interacts with the template; 0 = off.
    c.model.division.ratio = 0.0
    # Hidden sizes of the division module's MLP.
    c.model.division.hidden = (384, 192)
    # Temperature of the Gumbel-softmax.
    c.model.division.temperature = 1.0
    # Mode continuous: the map is cut into regions x regions, each divided as one; 0 = token by token.
    c.model.division.regions = 0
    # Mode prototype, inference: share of the search tokens joined with the template, for each dividing layer, or one.
    c.model.division.portions = (0.5,)
    # Mode prototype, inference: search tokens around the boundary that both groups share.
    c.model.division.shared_boundary = 0
    c.model.head = sections.center_head()

    c.objective = sections.center_objective()
    # Weight of the entropy regularization of the division ratio; the program's option is 1.
    c.objective.entropy_weight = 0.0
    # Weight of the division's supervision by the box (appendix C.1): an auxiliary loss, or all of mode prototype's.
    c.objective.division_weight = 0.0

    c.tracking = sections.tracking(window=1.0)
    # Settings by benchmark: the program's division thresholds.
    thresholds = {"lasot": 0.4, "avist": 0.4, "uav": 0.55, "uav123": 0.55, "nfs": 0.6}
    c.tracking.benchmarks = {name: {"model": {"division": {"threshold": t}}} for name, t in thresholds.items()}

    c.data = sections.pairs()

    # 300 epochs, rates 4e-4 and, for the pretrained layers, 4e-5 (paper, Sec. 4.1); batch and pairs are the program's.
    c.train.update({"batch_size": 128, "total_epochs": 300, "drop_epoch": 240, "learning_rate": 4e-4})
    return c


def b256_got10k(c):
    c.data.ratio.update({"lasot": 0.0, "got10k": 1.0, "trackingnet": 0.0, "coco": 0.0})
    c.train.total_epochs = 100
    c.train.drop_epoch = 80
    # The program's experiment file of this training sets no thresholds.
    c.tracking.benchmarks = {}


def b256_prototype(c):
    c.model.division.update({"mode": "prototype", "shared_boundary": 16})
    c.objective.division_weight = 1.0
    # The thresholds are the learned division's.
    c.tracking.benchmarks = {}


def l320(c):
    c.model.update({**sections.VIT_L, "search_size": 320})
    c.tracking.search_factor = 5.0
    # The program's experiment file of this size sets no thresholds.
    c.tracking.benchmarks = {}
    c.data.search_center_jitter = 4.5
    c.data.search_scale_jitter = 0.5
    c.train.batch_size = 80


def tiny(c):
    sections.tiny_run(c)
    c.model.head.channels = 32


def tiny_prototype(c):
    tiny(c)
    b256_prototype(c)
    c.model.division.shared_boundary = 2


def demo(c):
    sections.demo_run(c)
    c.model.division.update({"layers": (3, 4), "hidden": (96, 48)})
    c.model.head.score_prior = 0.1
    # A map of 8 x 8 cells is coarse: what is learned at the one right cell only leaves its neighbors ignorant.
    c.objective.update({"box_spread": 0.7, "heatmap_overlap": 0.3})
    c.tracking.size_update = 0.2
    c.data.synthetic.update({"detail": 1.0, "plainness": 1.0, "detail_steps": 1500, "renew_every_steps": 500})
    c.data.search_center_jitter = 2.0
    c.train.update({"batch_size": 16, "learning_rate": 1e-3, "ema_decay": 0.999})


def pocket(c):
    demo(c)
    # Template and search crop at one scale: the same thing measures the same in both.
    c.model.update({"width": 128, "depth": 4, "heads": 4, "template_size": 60})
    c.model.division.hidden = (128, 64)
    c.tracking.search_factor = 3.2
    # From flat colors, where matching is found, to full textures in detail_steps.
    c.data.synthetic.update({"photographic": True, "cutout_probability": 0.1, "clutter": 3, "plainness": 0.8})
    c.data.synthetic.update({"backgrounds": 128, "families": 96, "renew_every_steps": 1000, "detail_steps": 6000})
    c.data.synthetic.update({"background_scale": 1.5, "change": 0.7, "adjacent_probability": 0.3})
    c.data.synthetic.update({"region_probability": 0.1, "region_candidates": 4})
    c.data.synthetic.update({"distractors": 3, "distractor_probability": 0.7, "distractor_reach": 1.4})
    c.data.synthetic.update({"look_alike_probability": 0.3, "occlusion_probability": 0.15})
    c.data.synthetic.update({"jpeg_probability": 0.3, "low_resolution_probability": 0.2})
    c.data.synthetic.update({"sensor_noise": 0.02, "haze": 0.25})
    # Crops of a wrong scale are what a tracker sees once its box has grown: it has to find its way back.
    c.data.search_scale_jitter = 0.5
    c.data.search_center_jitter = 1.8
    c.data.pairs_per_epoch = 32000
    c.train.update({"total_epochs": 38, "schedule": "step", "drop_epoch": 35, "warmup_epochs": 0.25})
    c.train.update({"ema_decay": 0.9995, "keep_checkpoints": 100})


def t128(c):
    pocket(c)
    # ViT-Ti's width, and the published geometry at half the resolution: 8 x 8 and 16 x 16 tokens.
    c.model.update({"width": 192, "depth": 6, "heads": 3, "patch_size": 8, "template_size": 64, "search_size": 128})
    c.model.division.update({"layers": (4, 5, 6), "hidden": (192, 96)})
    c.tracking.search_factor = 4.0
    c.tracking.size_update = 0.1
    c.tracking.least_contrast = 30.0
    c.objective.box_spread = 1.0
    c.data.search_scale_jitter = 0.6
    c.data.search_center_jitter = 2.4
    c.data.synthetic.update({"backgrounds": 256, "families": 192, "renew_every_steps": 100, "detail_steps": 4000})
    c.data.synthetic.update({"change": 0.8, "low_resolution_probability": 0.3, "grey_probability": 0.2})
    c.data.synthetic.update({"region_probability": 0.2, "distractor_reach": 1.8})
    c.data.pairs_per_epoch = 128000
    c.train.update({"batch_size": 128, "total_epochs": 29, "schedule": "cosine", "warmup_epochs": 1.0})
    c.train.update({"log_every_steps": 200, "checkpoint_every_steps": 2000, "validate_every_epochs": 8})
    c.train.steps_per_dispatch = 10


def told_extents(c):
    """The crop tells the template's box, and pairs in which one appearance has many boxes."""
    c.tracking.crop_aspect = 1.0
    c.data.synthetic.update({"extent_probability": 0.5, "companion_probability": 0.25, "twin_probability": 0.4})
    c.data.synthetic.update({"partial_probability": 0.15, "motion_blur_probability": 0.15})


def t128_extents(c):
    t128(c)
    told_extents(c)
    c.train.total_epochs = 100


def t128_tuned(c):
    t128(c)
    told_extents(c)
    c.data.synthetic.update({"backgrounds": 128, "families": 96, "renew_every_steps": 500})
    c.data.synthetic.update({"detail_steps": 0, "plainness": 0.5})
    c.data.pairs_per_epoch = 16000
    c.train.update({"batch_size": 32, "total_epochs": 5, "learning_rate": 3e-4, "warmup_epochs": 0.4})
    c.train.update({"ema_decay": 0.998, "log_every_steps": 50, "checkpoint_every_steps": 250})
    c.train.update({"validate_every_epochs": 2, "steps_per_dispatch": 1})


def t128_relit(c):
    t128_tuned(c)
    c.data.synthetic.update({"turn_probability": 0.2, "relight_probability": 0.4})
    c.train.update({"total_epochs": 4, "learning_rate": 2e-4})


def shipped(c):
    t128_tuned(c)
    c.model.division.update({"one_stream_layers": (4,), "two_stream_layers": (5, 6)})


def tiny_extents(c):
    tiny(c)
    told_extents(c)


def fast128(c):
    t128(c)
    # The template never looks at the search crop: its keys and values are kept, and a frame costs its 256 tokens alone.
    c.model.division.update({"mode": "asymmetric", "layers": ()})
    c.model.update({"width": 128, "heads": 2})
    c.model.head.channels = 32


def fast192(c):
    fast128(c)
    # More pixels on fewer tokens: 12 x 12 patches of 16 pixels, which convolutions embed.
    c.model.update({"width": 192, "heads": 3, "patch_size": 16, "template_size": 96, "search_size": 192})
    c.model.stem = "convolutions"
    # As wide in pixels of the target as t128's, in wider cells.
    c.objective.box_spread = 0.75


def fast192_extents(c):
    fast192(c)
    told_extents(c)
    c.train.total_epochs = 100


get_config = variants.chooser(
    *(b256, b256_got10k, b256_prototype, l320, tiny, tiny_prototype, tiny_extents, demo, pocket),
    *(t128, t128_extents, t128_tuned, t128_relit, shipped, fast128, fast192, fast192_extents),
)
