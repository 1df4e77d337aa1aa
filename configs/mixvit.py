"""MixViT (MixFormer, PAMI 2024), the dense teacher of MixFormerV2: configs/mixvit.py:VARIANT.

b     MixViT-B with the pyramid corner head: MixFormerV2's teacher. The program trains 500 epochs of 60000 pairs.
      python train.py --config configs/mixvit.py:b --workdir DIR --config.init.checkpoint=mae_pretrain_vit_base.pth
      --config.data.lasot=DIR --config.data.got10k=DIR --config.data.coco=DIR --config.data.trackingnet=DIR
      Result here: not yet run (no data sets and no accelerator were at hand).
l     MixViT-L, templates of 192 and search crops of 384 pixels, plain corner head. Result here: not yet run.
tiny  For tests: the recorded test network, 64/32 pixels, 16 steps on procedural video, which show that the loop runs.
      Result: validation IoU 0.006, nothing learned; the teacher of experiments/distillation.py does learn.
The plain head is --config.model.head.kind=corner; the online tracker's score module --config.model.score_head=True.
"""

import ml_collections

from configs import sections


def get_config(variant="b"):
    """The whole config of a variant, a locked ConfigDict."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/mixvit.py has no variant {variant!r}: choose one of {', '.join(VARIANTS)}")
    config = base()
    VARIANTS[variant](config)
    return config.lock()


def base():
    """Variant b, unlocked: what the trackers with asymmetric mixed attention have in common."""
    c = sections.run()

    c.model = ml_collections.ConfigDict()
    # Module of trackers.models.
    c.model.name = "mixvit"
    # ViT: width, layers, heads, hidden width of the MLP over width, pixels of a patch's side.
    c.model.width = 768
    c.model.depth = 12
    c.model.heads = 12
    c.model.mlp_ratio = 4.0
    c.model.patch_size = 16
    # Pixels of the sides of the crops.
    c.model.template_size = 128
    c.model.search_size = 288
    # Templates: the static one and the online ones.
    c.model.templates = 2
    # Position embedding: fixed (sine-cosine tables kept with the weights), sincos (computed), learned, or interpolated
    # from position_grid (rows, columns).
    c.model.position = "fixed"
    c.model.position_grid = (14, 14)
    # Random start of the attention: independent, or matched (keys equal to queries).
    c.model.attention_init = "independent"
    # Drop-path rate of the last layer.
    c.model.drop_path = 0.1
    # Stack equal layers with nn.scan: compile time does not grow with depth.
    c.model.scan_layers = True
    # Recomputation of activations in the backward pass: none, full or dots.
    c.model.remat = "none"
    # Compute dtype: float32 or bfloat16.
    c.model.dtype = "bfloat16"
    # A score of whether the target is in the crop, by which online templates are chosen.
    c.model.score_head = False
    c.model.head = ml_collections.ConfigDict()
    # corner (maps at the tokens' stride) or corner_up (pyramid, a quarter of it).
    c.model.head.kind = "corner_up"
    # Channels of the head's first convolution.
    c.model.head.channels = 384

    c.objective = ml_collections.ConfigDict()
    # Module of trackers.objectives.
    c.objective.name = "corners"
    # Weights of the losses (program's experiment files).
    c.objective.giou_weight = 2.0
    c.objective.l1_weight = 5.0

    c.tracking = ml_collections.ConfigDict()
    # Side of the crops over the square root of the box's area.
    c.tracking.template_factor = 2.0
    c.tracking.search_factor = 5.0
    # Share of the new width and height that is taken over in a frame; 1 = the program (there is no window either).
    c.tracking.size_update = 1.0
    # The box keeps at least so many pixels inside the image.
    c.tracking.clip_margin = 10.0
    # Frames after which an online template is replaced; 0 = never, as without a score head.
    c.tracking.update_interval = 0
    # Score above which a frame may become an online template.
    c.tracking.update_threshold = 0.5
    # Factor of the best score so far in each frame of an interval; 1 = the program.
    c.tracking.score_decay = 1.0
    # Other settings by benchmark.
    c.tracking.benchmarks = ml_collections.ConfigDict()

    c.data = sections.pairs()
    c.data.search_center_jitter = 4.5
    c.data.search_scale_jitter = 0.5
    # Which frames make a pair: causal, or trident (data_pipelines/sampling.py).
    c.data.sampling = "causal"
    # Share of the pairs whose search crop shows the target; below 1 for training a score.
    c.data.positive_probability = 1.0

    c.train.update({"total_epochs": 500, "drop_epoch": 400, "learning_rate": 1e-4})
    return c


def _l(c):
    c.model.update({"width": 1024, "depth": 24, "heads": 16, "remat": "dots"})
    c.model.update({"template_size": 192, "search_size": 384})
    c.model.head.kind = "corner"


def tiny_run(c):
    """A small network and a few steps on procedural video, for tests."""
    c.model.update({"width": 96, "depth": 3, "heads": 3, "template_size": 32, "search_size": 64})
    c.model.update({"dtype": "float32", "drop_path": 0.0, "scan_layers": False})
    c.data.ratio.update({"lasot": 0.0, "got10k": 0.0, "trackingnet": 0.0, "coco": 0.0, "synthetic": 1.0})
    c.data.synthetic.update({"backgrounds": 8, "families": 4, "poses": 2})
    c.data.update({"pairs_per_epoch": 64, "validation_pairs": 16, "threads": 2})
    c.train.update({"batch_size": 8, "total_epochs": 2, "drop_epoch": 1, "learning_rate": 1e-3})
    c.train.update({"encoder_multiplier": 1.0, "log_every_steps": 1, "checkpoint_every_steps": 8})
    c.train.validate_every_epochs = 1


def _tiny(c):
    tiny_run(c)
    c.model.head.channels = 32


# How each variant differs from b.
VARIANTS = {"b": lambda c: None, "l": _l, "tiny": _tiny}
