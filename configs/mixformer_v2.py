"""MixFormerV2 (NeurIPS 2023): configs/mixformer_v2.py:VARIANT; stages of its training are in mixformer_v2_stages.py.

b       MixFormerV2-B, 8 layers, the published online tracker. Paper (abstract): LaSOT AUC 70.6, TNL2K AUC 57.4, 165
        frames/s on a GPU.
        python eval.py --config configs/mixformer_v2.py:b --checkpoint mixformerv2_base.pth.tar
        --benchmark lasot:DIR --out DIR
        Result here: not yet run.
s       MixFormerV2-S, 4 layers with MLP ratio 1, crops of 112 and 224 pixels. Paper (abstract): LaSOT AUC 2.7 above
        FEAR-L's, real time on a CPU. Result here: not yet run; speed on a CPU: python -m benchmarks.mixformer_cpu.
b_star  B*, 12 layers: the network of distillation's stage 1, with a score head. Result here: not yet run.
tiny    For tests: the recorded test network, 64/32 pixels, a few steps on procedural video.
b, s and b_star train without a teacher as they stand; the paper's route is in docs/distillation.md.
"""

import ml_collections

from configs import mixformer_v2_stages, mixvit, sections, variants


def b():
    c = mixvit.b()
    c.model.name = "mixformer_v2"
    c.model.depth = 8
    c.model.score_head = True
    c.model.head = ml_collections.ConfigDict()
    # Bins of each edge's distribution: 96 in the published online models, 72 in the paper and in distillation.
    c.model.head.bins = 96
    # Prediction tokens: 4, or 1 with 4 MLPs (supplement, Table 2a).
    c.model.head.tokens = 4
    # MLPs: 1 for all edges, or 4 (supplement, Table 2a).
    c.model.head.mlps = 1
    # Frames after which an online template is replaced; 0 = never.
    c.tracking.update_interval = 200
    # Intervals of the program's scripts.
    c.tracking.benchmarks = {
        "lasot": {"update_interval": 200},
        "got10k": {"update_interval": 10},
        "trackingnet": {"update_interval": 25},
        "vot20": {"update_interval": 10},
        "vot20lt": {"update_interval": 200},
    }
    return c


def s(c):
    c.model.update(mixformer_v2_stages.S)
    c.tracking.search_factor = 4.5
    # Intervals and factors of the program's scripts.
    c.tracking.benchmarks.lasot.search_factor = 4.4
    c.tracking.benchmarks.got10k.update({"update_interval": 15, "search_factor": 4.55})
    c.tracking.benchmarks.trackingnet.search_factor = 4.55


def b_star(c):
    c.model.depth = 12


def tiny(c):
    sections.tiny_run(c)
    c.model.head.bins = 16
    c.tracking.update_interval = 10


get_config = variants.chooser(b, s, b_star, tiny, *mixformer_v2_stages.STAGES)
