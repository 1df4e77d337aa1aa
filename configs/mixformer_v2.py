"""MixFormerV2 (NeurIPS 2023): configs/mixformer_v2.py:VARIANT; stages of its training are in mixformer_v2_stages.py.

b       MixFormerV2-B, 8 layers, the published online tracker. Paper (abstract): LaSOT AUC 70.6, TNL2K AUC 57.4, 165
        frames/s on a GPU.
        python eval.py --config configs/mixformer_v2.py:b --checkpoint mixformerv2_base.pth.tar
        --benchmark lasot:DIR --out DIR
        Result here: not yet run (neither weights nor data sets were at hand).
s       MixFormerV2-S, 4 layers with MLP ratio 1, crops of 112 and 224 pixels. Paper (abstract): LaSOT AUC 2.7 above
        FEAR-L's, real time on a CPU. Result here: not yet run; speed on a CPU: python -m benchmarks.mixformer_cpu.
b_star  B*, 12 layers: the network of distillation's stage 1, with a score head. Result here: not yet run.
tiny    For tests: the recorded test network, 64/32 pixels, a few steps on procedural video.
b, s and b_star train without a teacher as they stand; the paper's route is in docs/distillation.md.
"""

import ml_collections

from configs import mixvit
from configs.mixformer_v2_stages import STAGES


def get_config(variant="b"):
    """The whole config of a variant or of a stage, a locked ConfigDict."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/mixformer_v2.py has no variant {variant!r}: choose one of {', '.join(VARIANTS)}")
    config = _b()
    VARIANTS[variant](config)
    return config.lock()


def _b():
    c = mixvit.base()
    c.model.name = "mixformer_v2"
    c.model.depth = 8
    c.model.score_head = True
    c.model.head = ml_collections.ConfigDict()
    # Bins of each edge's distribution: 96 in the published online models, 72 in the paper and in distillation.
    c.model.head.bins = 96
    # Prediction tokens and MLPs: 4 and 1, or the supplement's Table 2a: 4 and 4, 1 and 4.
    c.model.head.tokens = 4
    c.model.head.mlps = 1
    # Frames after which an online template is replaced; 0 = never.
    c.tracking.update_interval = 200
    # Intervals and factors of the program's scripts.
    c.tracking.benchmarks = _by_benchmark(
        lasot={"update_interval": 200},
        got10k={"update_interval": 10},
        trackingnet={"update_interval": 25},
        vot20={"update_interval": 10},
        vot20lt={"update_interval": 200},
    )
    return c


def _by_benchmark(**settings):
    return ml_collections.ConfigDict({name: ml_collections.ConfigDict(values) for name, values in settings.items()})


def _s(c):
    c.model.update({"depth": 4, "mlp_ratio": 1.0, "template_size": 112, "search_size": 224})
    c.tracking.search_factor = 4.5
    c.tracking.benchmarks = _by_benchmark(
        lasot={"update_interval": 200, "search_factor": 4.4},
        got10k={"update_interval": 15, "search_factor": 4.55},
        trackingnet={"update_interval": 25, "search_factor": 4.55},
        vot20={"update_interval": 10},
        vot20lt={"update_interval": 200},
    )


def _b_star(c):
    c.model.depth = 12


def _tiny(c):
    mixvit.tiny_run(c)
    c.model.head.bins = 16
    c.tracking.update_interval = 10


# How each variant and each stage differs from b.
VARIANTS = {"b": lambda c: None, "s": _s, "b_star": _b_star, "tiny": _tiny, **STAGES}
