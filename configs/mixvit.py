"""MixViT (MixFormer, PAMI 2024), the dense teacher of MixFormerV2: configs/mixvit.py:VARIANT.

Tables are those of MixFormerV2's supplement, LaSOT AUC, all without the score module. The paper gives neither epochs
nor rates nor weights of the losses: those here are of the program's teacher_mixvit_b.yaml (500 epochs of 60,000 pairs,
drop after 400, rate 4e-4, GIoU 2, L1 5, crop factors 2 and 5, jitter 4.5 and 0.5). The batch of 128 is our choice; the
program's is 15 a GPU.

b       MixViT-B with the pyramid corner head, crops of 128 and 288 pixels (program). Table 2b, row 1: 69.0; the teacher
        of MixFormerV2-B and of Table 2d.
        python train.py --config configs/mixvit.py:b --workdir DIR --config.init.checkpoint=mae_pretrain_vit_base.pth
        --config.data.lasot=DIR --config.data.got10k=DIR --config.data.coco=DIR --config.data.trackingnet=DIR
        Result here: not yet run.
b_corner
        The same with the plain corner head. Table 2c, row 1: 68.2; the teacher of MixFormerV2-S. The paper gives no
        crop sizes: our choice are those of S, 112 and 224 pixels with a factor of 4.5, which the program has for a
        student of 12 layers (224-b-12-kd_logits.yaml). Result here: not yet run.
l       MixViT-L, templates of 192 and search crops of 384 pixels (program). In no table of MixFormerV2. The plain
        corner head is our choice: the program's teacher_mixvit_l.yaml has the pyramid
        (--config.model.head.kind=corner_up). Result here: not yet run.
tiny    For tests: the recorded test network, 64/32 pixels, 16 steps on procedural video, which show that the loop runs.
        Result: validation IoU 0.006, nothing learned.
tiny_teacher
        Ours, the teacher of MixFormerV2's tiny stages, which does learn on procedural video: validation IoU 0.683 after
        1400 steps, mean of three seeds (experiments/distillation.py; docs/distillation.md).
The plain head is --config.model.head.kind=corner; the online tracker's score module --config.model.score_head=True.
"""

import ml_collections

from configs import sections, variants

# Sizes of the networks that learn on procedural video within minutes, MixViT's and MixFormerV2's.
_TINY = {
    "width": 48, "depth": 4, "heads": 3, "mlp_ratio": 2.0, "patch_size": 8, "template_size": 16, "search_size": 32,
    "templates": 1, "attention_init": "matched",
}  # fmt: skip


def b():
    c = sections.run()

    c.model = sections.vit("mixvit", template_size=128, search_size=288, position="fixed")
    # Templates: the static one and the online ones.
    c.model.templates = 2
    # A score of whether the target is in the crop, by which online templates are chosen.
    c.model.score_head = False
    c.model.head = ml_collections.ConfigDict()
    # corner (maps at the tokens' stride) or corner_up (pyramid, a quarter of it).
    c.model.head.kind = "corner_up"
    # Channels of the head's first convolution.
    c.model.head.channels = 384

    # The weights of the program's experiment files.
    c.objective = sections.corners_objective()

    c.tracking = sections.tracking(search_factor=5.0)
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

    c.train.update({"total_epochs": 500, "drop_epoch": 400, "learning_rate": 4e-4})
    return c


def b_corner(c):
    c.model.update({"template_size": 112, "search_size": 224})
    c.model.head.kind = "corner"
    c.tracking.search_factor = 4.5


def _large(c):
    c.model.update({**sections.VIT_L, "template_size": 192, "search_size": 384})
    c.model.head.kind = "corner"


def tiny(c):
    sections.tiny_run(c)
    c.model.head.channels = 32


def procedural_run(c):
    """A network that learns on procedural video within minutes on a CPU, MixViT or MixFormerV2.

    Prediction tokens have to find out where to look before anything they read tells them so: 16 search tokens of which
    the target fills a few, few distractors, and a rate at which Adam does not first shut out the pictures.
    """
    sections.small_run(c)
    c.model.update(_TINY)
    c.tracking.update({"template_factor": 1.5, "search_factor": 2.5})
    c.data.synthetic.update({"detail": 0.2, "change": 0.4, "background_scale": 1.5, "backgrounds": 48, "families": 48})
    c.data.synthetic.update({"distractors": 1, "distractor_probability": 0.9, "distractor_reach": 0.9})
    c.data.synthetic.update({"look_alike_probability": 0.1, "occlusion_probability": 0.05})
    c.data.synthetic.update({"region_probability": 0.0, "border_probability": 0.1})
    c.data.update({"search_center_jitter": 1.5, "search_scale_jitter": 0.25})
    c.data.update({"pairs_per_epoch": 1600, "validation_pairs": 512})
    c.train.update({"batch_size": 32, "total_epochs": 40, "drop_epoch": 32, "learning_rate": 4e-4})
    c.train.update({"clip_norm": 1.0, "warmup_epochs": 2.0})
    c.train.update({"checkpoint_every_steps": 1000, "keep_checkpoints": 1, "validate_every_epochs": 20})


def tiny_teacher(c):
    procedural_run(c)
    c.model.head.channels = 32
    # Convolutions over the search tokens bear more than prediction tokens do.
    c.train.learning_rate = 1.5e-3


get_config = variants.chooser(b, b_corner, tiny, tiny_teacher, l=_large)
