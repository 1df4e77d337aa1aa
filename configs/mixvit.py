"""MixViT (MixFormer, PAMI 2024), the dense teacher of MixFormerV2: configs/mixvit.py:VARIANT.

b     MixViT-B with the pyramid corner head: MixFormerV2's teacher. The program trains 500 epochs of 60000 pairs.
      python train.py --config configs/mixvit.py:b --workdir DIR --config.init.checkpoint=mae_pretrain_vit_base.pth
      --config.data.lasot=DIR --config.data.got10k=DIR --config.data.coco=DIR --config.data.trackingnet=DIR
      Result here: not yet run.
l     MixViT-L, templates of 192 and search crops of 384 pixels, plain corner head. Result here: not yet run.
tiny  For tests: the recorded test network, 64/32 pixels, 16 steps on procedural video, which show that the loop runs.
      Result: validation IoU 0.006, nothing learned; the teacher of experiments/distillation.py does learn.
The plain head is --config.model.head.kind=corner; the online tracker's score module --config.model.score_head=True.
"""

import ml_collections

from configs import sections, variants


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

    c.train.update({"total_epochs": 500, "drop_epoch": 400, "learning_rate": 1e-4})
    return c


def _large(c):
    c.model.update({**sections.VIT_L, "template_size": 192, "search_size": 384})
    c.model.head.kind = "corner"


def tiny(c):
    sections.tiny_run(c)
    c.model.head.channels = 32


get_config = variants.chooser(b, tiny, l=_large)
