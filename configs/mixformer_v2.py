"""MixFormerV2 (NeurIPS 2023): configs/mixformer_v2.py:VARIANT; stages of its training are in mixformer_v2_stages.py.

b       MixFormerV2-B, 8 layers, the published online tracker with 96 bins (program). Paper: LaSOT AUC 70.6, TNL2K AUC
        57.4, 165 frames/s on a GPU (abstract); VOT2020 EAO 0.322, GOT-10k test AO 73.9 when trained on all four sets
        (supplement, Table 1).
        python eval.py --config configs/mixformer_v2.py:b --checkpoint mixformerv2_base.pth.tar
        --benchmark lasot:DIR --out DIR
        Result here: not yet run.
s       MixFormerV2-S, 4 layers with MLP ratio 1, crops of 112 and 224 pixels (program). Paper: LaSOT AUC 2.7 above
        FEAR-L's, real time on a CPU (abstract); VOT2020 EAO 0.258, GOT-10k test AO 62.1 (supplement, Table 1).
        Result here: not yet run; speed on a CPU: python -m benchmarks.mixformer_cpu.
b_star  Ours: 12 layers, the network of distillation's stage 1, with a score head. In no table of the supplement.
        Result here: not yet run.
tiny    Ours, for tests: the recorded test network, 64/32 pixels, a few steps on procedural video.
b, s and b_star train without a teacher as they stand, with the losses and the schedule of configs/mixvit.py (our
choice); the paper's route is in docs/distillation.md.
"""

import ml_collections

from configs import mixformer_v2_stages, mixvit, sections, variants


def b():
    c = mixvit.b()
    c.model.name = "mixformer_v2"
    c.model.depth = 8
    c.model.score_head = True
    # The score head's mean over the prediction tokens: mlp_then_mean (the program) or mean_then_mlp (the supplement).
    c.model.score_order = "mlp_then_mean"
    c.model.head = ml_collections.ConfigDict()
    # Bins of each edge's distribution: 96 in the published online models, 72 in the paper and in distillation.
    c.model.head.bins = 96
    # Prediction tokens: 4, or 1 with 4 MLPs (supplement, Table 2a).
    c.model.head.tokens = 4
    # MLPs: 1 for all edges, or 4 (supplement, Table 2a).
    c.model.head.mlps = 1
    # Frames after which an online template is replaced; 0 = never.
    c.tracking.update_interval = 200
    # Intervals of the program's scripts; vot22stb's stands in its defaults.
    c.tracking.benchmarks = {
        "lasot": {"update_interval": 200},
        "got10k": {"update_interval": 10},
        "trackingnet": {"update_interval": 25},
        "vot20": {"update_interval": 10},
        "vot20lt": {"update_interval": 200},
        "vot22stb": {"update_interval": 10},
    }
    return c


def s(c):
    mixformer_v2_stages.small(c)


def b_star(c):
    c.model.depth = 12


def tiny(c):
    sections.tiny_run(c)
    c.model.head.bins = 16
    c.tracking.update_interval = 10


get_config = variants.chooser(b, s, b_star, tiny, *mixformer_v2_stages.STAGES)
