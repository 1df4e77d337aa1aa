"""The stages of MixFormerV2's training, as changes of configs/mixformer_v2.py:b; docs/distillation.md has the commands.

Each names its teacher and its first weights as workdirs under runs/, which --config.teacher.checkpoint and
--config.init.checkpoint override. Settings are those of the program's experiment files where there is one.

stage1         Dense to sparse, 12 layers, from MAE weights; teacher MixViT-B with the pyramid head. Paper, Table 2b.
prune8         Deep to shallow, first half: layers 0, 3, 6, 9 of 12 fade within m = 40 epochs. Table 2c, 2e (m by
               --config.objective.elimination_epochs=30 and --config.train.total_epochs=35).
depth8         Its second half: the 8 layers that are left. MixFormerV2-B without score.
prune4, depth4 The same from 8 to 4 layers (0, 2, 4, 6 fade): the layers 2, 5, 8, 11 of stage 1 remain.
prune12to4     The direct route from 12 to 4 layers that Table 2c compares with.
tea_fir4       4 layers that start as the teacher's first four, nothing fades (Table 2d).
tea_skip4      4 layers that start as the teacher's layers 2, 5, 8, 11 (Table 2d).
s_mlp1         MLPs of ratio 4 cut to 1 and crops of 112 and 224 pixels: MixFormerV2-S without score. The hidden units
               that remain are chosen by trackers/training/initial.py.
score_b        The score head of B, everything else frozen; pairs with and without the target.
score_s        The same of S.
tiny_*         stage1, prune, depth2, fir2, alone (no teacher's terms) and score on procedural video, for tests and
               experiments/distillation.py; what they reached: docs/distillation.md.
Result here: not yet run, but for the tiny ones.
"""

import ml_collections

from configs import mixvit

_ELIMINATED_OF_12 = (0, 3, 6, 9)
_REMAINING_OF_12 = (1, 2, 4, 5, 7, 8, 10, 11)
_ELIMINATED_OF_8 = (0, 2, 4, 6)
_REMAINING_OF_8 = (1, 3, 5, 7)
# Layers of the 12 whose tokens are imitated; 8 or 4 layers imitate the same.
_IMITATED = (2, 5, 8, 11)


def _distilled(c, teacher, checkpoint, feature_weight=0.0, student_layers=()):
    """The objective and the teacher of a distillation."""
    c.model.update({"score_head": False, "drop_path": 0.1})
    c.model.head.bins = 72
    # Without a score no template can be chosen.
    c.tracking.update_interval = 0
    c.tracking.benchmarks = ml_collections.ConfigDict()
    c.objective = ml_collections.ConfigDict()
    # Module of trackers.objectives.
    c.objective.name = "distillation"
    # Weights of the losses (program's experiment files).
    c.objective.ciou_weight = 2.0
    c.objective.l1_weight = 5.0
    c.objective.corner_weight = 5.0
    c.objective.feature_weight = feature_weight
    # 0-based layers whose tokens are compared.
    c.objective.student_layers = tuple(student_layers)
    c.objective.teacher_layers = _IMITATED if student_layers else ()
    # 0-based layers of the student that fade, and the epochs m within which they do.
    c.objective.eliminated = ()
    c.objective.elimination_epochs = 40
    c.teacher = ml_collections.ConfigDict()
    # The teacher: its model section, and its workdir or published checkpoint.
    c.teacher.model = teacher
    c.teacher.checkpoint = checkpoint
    # Fields in which the checkpoint's model differs, and parameters that are not taken from it.
    c.teacher.source = ml_collections.ConfigDict()
    c.teacher.fresh = ()
    c.train.batch_size = 256
    c.train.total_epochs = 500
    c.train.drop_epoch = 400
    c.train.learning_rate = 4e-4
    c.train.encoder_multiplier = 0.1


def _start(c, checkpoint, source=None, layers=(), fresh=()):
    """The first weights of a stage (trackers/training/initial.py)."""
    c.init = ml_collections.ConfigDict()
    # Workdir or published file.
    c.init.checkpoint = checkpoint
    # Fields of config.model in which the checkpoint's model differs.
    c.init.source = ml_collections.ConfigDict(source or {})
    # 0-based layers of the checkpoint that become the model's; () = all.
    c.init.layers = tuple(layers)
    # Regexes of the parameters that are drawn anew.
    c.init.fresh = tuple(fresh)


def _fading(c, eliminated, epochs=40):
    c.objective.eliminated = tuple(eliminated)
    c.objective.elimination_epochs = epochs
    # Patterns of the parameters that are not trained: the program freezes the layers that fade.
    c.train.frozen = (rf"encoder/block_({'|'.join(map(str, eliminated))})/",)
    # The paper's m, and a few epochs without the layers.
    c.train.total_epochs = epochs + 5


def _model_of(c, **changes):
    """A copy of this config's model section with changes, for its teacher."""
    model = ml_collections.ConfigDict(c.model.to_dict())
    model.update({"drop_path": 0.0, **changes})
    return model


def _stage1(c):
    c.model.depth = 12
    teacher = mixvit.get_config("b").model
    with teacher.unlocked():
        teacher.update({"drop_path": 0.0})
    _distilled(c, teacher, "runs/mixvit_b")
    _start(c, "mae_pretrain_vit_base.pth")


def _shallow(c, depth, student_layers):
    """A stage after stage 1, with the stage-1 network as teacher.

    The program's script names the pruned checkpoint as teacher of depth8, whose frozen layers would then be active
    again at rate 1; here the stage-1 network teaches throughout.
    """
    c.model.depth = depth
    c.model.head.bins = 72
    c.model.score_head = False
    _distilled(c, _model_of(c, depth=12), "runs/mixformer_v2_stage1", 0.2, student_layers)


def _prune8(c):
    _shallow(c, 12, _IMITATED)
    _start(c, "runs/mixformer_v2_stage1")
    _fading(c, _ELIMINATED_OF_12)


def _depth8(c):
    _shallow(c, 8, (1, 3, 5, 7))
    _start(c, "runs/mixformer_v2_prune8", {"depth": 12}, _REMAINING_OF_12)


def _prune4(c):
    _shallow(c, 8, (1, 3, 5, 7))
    _start(c, "runs/mixformer_v2_depth8")
    _fading(c, _ELIMINATED_OF_8)


def _depth4(c):
    _shallow(c, 4, (0, 1, 2, 3))
    _start(c, "runs/mixformer_v2_prune4", {"depth": 8}, _REMAINING_OF_8)


def _prune12to4(c):
    _shallow(c, 12, _IMITATED)
    _start(c, "runs/mixformer_v2_stage1")
    _fading(c, [layer for layer in range(12) if layer not in _IMITATED])


def _tea_fir4(c):
    _shallow(c, 4, (0, 1, 2, 3))
    _start(c, "runs/mixformer_v2_stage1", {"depth": 12}, (0, 1, 2, 3))


def _tea_skip4(c):
    _shallow(c, 4, (0, 1, 2, 3))
    _start(c, "runs/mixformer_v2_stage1", {"depth": 12}, _IMITATED)


_SMALL = {"template_size": 112, "search_size": 224}
_LARGE = {"template_size": 128, "search_size": 288}
# Sine-cosine tables of another crop size are computed, not taken over.
_TABLES = ("encoder/position_",)


def _s_mlp1(c):
    c.model.update({"mlp_ratio": 1.0, **_SMALL})
    _shallow(c, 4, (0, 1, 2, 3))
    c.teacher.model.mlp_ratio = 4.0
    c.teacher.source = ml_collections.ConfigDict(_LARGE)
    c.teacher.fresh = _TABLES
    _start(c, "runs/mixformer_v2_depth4", {"mlp_ratio": 4.0, **_LARGE}, fresh=_TABLES)


def _score(c, checkpoint):
    """The score head alone. The program's stage has 96 bins, whatever its static model had; here it keeps the 72."""
    c.model.score_head = True
    c.model.head.bins = 72
    _start(c, checkpoint, {"score_head": False}, fresh=(r"(^|/)score/",))
    c.objective = ml_collections.ConfigDict()
    # Module of trackers.objectives.
    c.objective.name = "confidence"
    # The score is judged at the true box instead of the predicted one (MixViT's score module).
    c.objective.judge_truth = False
    # Patterns of the parameters that are not trained: all but the score head.
    c.train.frozen = (r"^(?!score/)",)
    # Template and search frame in any order (data_pipelines/sampling.py).
    c.data.sampling = "trident"
    # Share of the pairs whose search crop shows the target.
    c.data.positive_probability = 0.5
    c.train.batch_size = 32
    c.train.total_epochs = 40
    c.train.drop_epoch = 20
    c.train.learning_rate = 1e-4


def _score_b(c):
    _score(c, "runs/mixformer_v2_depth8")


def _score_s(c):
    c.model.update({"depth": 4, "mlp_ratio": 1.0, **_SMALL})
    _score(c, "runs/mixformer_v2_s_mlp1")


# Of student and teacher of the tiny stages.
_TINY = {
    "width": 48, "depth": 4, "heads": 3, "mlp_ratio": 2.0, "patch_size": 8, "template_size": 16, "search_size": 32,
    "templates": 1, "dtype": "float32", "drop_path": 0.0, "scan_layers": False, "attention_init": "matched",
}  # fmt: skip


def _tiny_sizes(c):
    """A network that learns on procedural video within minutes on a CPU; MixViT of these sizes teaches it.

    Prediction tokens have to find out where to look before anything they read tells them so: 16 search tokens of which
    the target fills a few, few distractors, and a rate at which Adam does not first shut out the pictures.
    """
    c.model.update(_TINY)
    c.model.head.bins = 16
    c.tracking.update({"template_factor": 1.5, "search_factor": 2.5})
    c.data.ratio.update({"lasot": 0.0, "got10k": 0.0, "trackingnet": 0.0, "coco": 0.0, "synthetic": 1.0})
    c.data.synthetic.update({"detail": 0.2, "change": 0.4, "background_scale": 1.5, "backgrounds": 48, "families": 48})
    c.data.synthetic.update({"distractors": 1, "distractor_probability": 0.9, "distractor_reach": 0.9})
    c.data.synthetic.update({"look_alike_probability": 0.1, "occlusion_probability": 0.05})
    c.data.synthetic.update({"region_probability": 0.0, "border_probability": 0.1})
    c.data.update({"search_center_jitter": 1.5, "search_scale_jitter": 0.25, "validation_pairs": 512, "threads": 2})
    c.data.pairs_per_epoch = 1600
    c.train.update({"batch_size": 32, "total_epochs": 40, "learning_rate": 4e-4, "encoder_multiplier": 1.0})
    c.train.update({"clip_norm": 1.0, "drop_epoch": 32, "warmup_epochs": 2.0})
    c.train.update({"checkpoint_every_steps": 1000, "keep_checkpoints": 1, "validate_every_epochs": 20})


def _tiny_distilled(c, teacher, checkpoint, feature_weight=0.0, student_layers=(), teacher_layers=()):
    _distilled(c, teacher, checkpoint, feature_weight)
    _tiny_sizes(c)
    c.objective.student_layers, c.objective.teacher_layers = tuple(student_layers), tuple(teacher_layers)


def _tiny_stage1(c):
    teacher = mixvit.get_config("tiny").model
    with teacher.unlocked():
        teacher.update(_TINY)
    _tiny_distilled(c, teacher, "runs/tiny_teacher")
    # The teacher's encoder is the pretraining: there are no MAE weights of this size.
    of_teacher = {"name": "mixvit", "head": teacher.head.to_dict()}
    _start(c, "runs/tiny_teacher", of_teacher, fresh=("/prediction_", "params/head/"))


def _tiny_alone(c):
    _tiny_stage1(c)
    c.objective.corner_weight = 0.0


def _tiny_shallow(c, depth, student_layers, teacher_layers):
    _tiny_sizes(c)
    c.model.update({"depth": depth, "score_head": False})
    teacher = _model_of(c, depth=4)
    _tiny_distilled(c, teacher, "runs/tiny_stage1", 0.2, student_layers, teacher_layers)
    c.model.depth = depth
    c.train.update({"total_epochs": 20, "drop_epoch": 16})


def _tiny_prune(c):
    _tiny_shallow(c, 4, (1, 3), (1, 3))
    _start(c, "runs/tiny_stage1")
    _fading(c, (0, 2), 16)
    c.train.drop_epoch = c.train.total_epochs


def _tiny_depth2(c):
    _tiny_shallow(c, 2, (0, 1), (1, 3))
    _start(c, "runs/tiny_prune", {"depth": 4}, (1, 3))


def _tiny_fir2(c):
    _tiny_shallow(c, 2, (0, 1), (1, 3))
    _start(c, "runs/tiny_stage1", {"depth": 4}, (0, 1))


def _tiny_score(c):
    _tiny_sizes(c)
    c.model.depth = 2
    _score(c, "runs/tiny_depth2")
    # One online template beside the first; the weights are the same.
    c.model.templates = 2
    c.model.head.bins = 16
    c.train.update({"learning_rate": 1e-3, "total_epochs": 20, "drop_epoch": 15})
    c.tracking.update_interval = 10


STAGES = {
    "stage1": _stage1,
    "prune8": _prune8,
    "depth8": _depth8,
    "prune4": _prune4,
    "depth4": _depth4,
    "prune12to4": _prune12to4,
    "tea_fir4": _tea_fir4,
    "tea_skip4": _tea_skip4,
    "s_mlp1": _s_mlp1,
    "score_b": _score_b,
    "score_s": _score_s,
    "tiny_stage1": _tiny_stage1,
    "tiny_alone": _tiny_alone,
    "tiny_prune": _tiny_prune,
    "tiny_depth2": _tiny_depth2,
    "tiny_fir2": _tiny_fir2,
    "tiny_score": _tiny_score,
}
