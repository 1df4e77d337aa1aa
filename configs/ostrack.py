"""OSTrack (ECCV 2022): configs/ostrack.py:VARIANT.

b256_ce  Paper: LaSOT AUC 69.1, TrackingNet AUC 83.1, GOT-10k test AO 71.0 (trained on GOT-10k alone); 21.5 G
         multiply-adds.
         python train.py --config configs/ostrack.py:b256_ce --workdir DIR
         --config.init.checkpoint=mae_pretrain_vit_base.pth --config.data.lasot=DIR --config.data.got10k=DIR
         --config.data.coco=DIR --config.data.trackingnet=DIR
         Result here: not yet run.
b256     Without candidate elimination. Result here: not yet run.
b384_ce  Paper: LaSOT AUC 71.1, TrackingNet AUC 83.9, GOT-10k test AO 73.7. Result here: not yet run.
tiny     For tests: 32/64 pixels, a few steps on procedural video.
"""

import ml_collections

from configs import sections, variants


def b256_ce():
    # The program's schedule is that of sections.run, 300 epochs of 60,000 pairs.
    c = sections.run()

    c.model = sections.vit("ostrack", template_size=128, search_size=256)
    c.model.elimination = ml_collections.ConfigDict()
    # 1-based layers in which search tokens leave; () = none (this and the next two: the published program's choice).
    c.model.elimination.layers = (4, 7, 10)
    # Share of the search tokens present that stays each time.
    c.model.elimination.keep = 0.7
    # Template tokens whose attention decides: center_point, center_box or all.
    c.model.elimination.tokens = "center_point"
    c.model.head = sections.center_head()

    c.objective = sections.center_objective()
    c.objective.name = "ostrack"
    # The keep rate is 1 before this epoch (this and the next: the program's experiment file),
    c.objective.start_epoch = 20
    # and falls along half a cosine to elimination.keep in so many epochs.
    c.objective.ramp_epochs = 80

    c.tracking = sections.tracking(window=1.0)
    c.data = sections.pairs()
    return c


def b256(c):
    c.model.elimination.layers = ()


def b384_ce(c):
    c.model.update({"template_size": 192, "search_size": 384})
    # Factor and jitter of the program's experiment file.
    c.tracking.search_factor = 5.0
    c.data.update({"search_center_jitter": 4.5, "search_scale_jitter": 0.5})


def tiny(c):
    sections.tiny_run(c)
    c.model.head.channels = 32
    c.model.elimination.layers = (2,)
    c.objective.update({"start_epoch": 1, "ramp_epochs": 1})


get_config = variants.chooser(b256_ce, b256, b384_ce, tiny)
