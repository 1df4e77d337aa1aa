"""The stages of MixFormerV2's training, as changes of configs/mixformer_v2.py:b; docs/distillation.md has the commands.

Each names its teacher and its first weights as workdirs under runs/, which --config.teacher.checkpoint and
--config.init.checkpoint override. Settings are those of the program's experiment files where there is one.

stage1         Dense to sparse, 12 layers, from MAE weights; teacher MixViT-B with the pyramid head. Paper, Table 2b.
prune8         Deep to shallow, first half: layers 0, 3, 6, 9 of 12 fade within m = 40 epochs. Table 2c, 2e (m by
               --config.objective.elimination_epochs=30 and --config.train.total_epochs=35).
depth8         Its second half: the 8 layers that are left. MixFormerV2-B without score.
prune4, depth4
               The same from 8 to 4 layers (0, 2, 4, 6 fade): the layers 2, 5, 8, 11 of stage 1 remain.
prune12to4     The direct route from 12 to 4 layers that Table 2c compares with.
tea_fir4       4 layers that start as the teacher's first four, nothing fades (Table 2d).
tea_skip4      4 layers that start as the teacher's layers 2, 5, 8, 11 (Table 2d).
s_mlp1         MLPs of ratio 4 cut to 1 and crops of 112 and 224 pixels: MixFormerV2-S without score. The hidden units
               that remain are chosen by trackers/training/initial.py.
score_b        The score head of B, everything else frozen; pairs with and without the target.
score_s        The same of S.
tiny_stage1, tiny_alone, tiny_prune, tiny_depth2, tiny_fir2, tiny_score
               The same on procedural video (alone: without the teacher's terms), for tests and
               experiments/distillation.py; what they reached: docs/distillation.md.
Result here: not yet run, but for the tiny ones.
"""

from configs import mixvit, sections

# What of MixFormerV2-S differs from B.
S = {"depth": 4, "mlp_ratio": 1.0, "template_size": 112, "search_size": 224}
# Crops of the networks that S is made from, and what of theirs it cannot take over: sine-cosine tables of another size.
_LARGE = {"template_size": 128, "search_size": 288}
_TABLES = ("encoder/position_",)
_ELIMINATED_OF_12 = (0, 3, 6, 9)
_REMAINING_OF_12 = (1, 2, 4, 5, 7, 8, 10, 11)
_ELIMINATED_OF_8 = (0, 2, 4, 6)
_REMAINING_OF_8 = (1, 3, 5, 7)
# Layers of the 12 whose tokens are imitated; 8 or 4 layers imitate the same.
_IMITATED = (2, 5, 8, 11)


def _teaching(model, **changes):
    """A copy of a model section with changes, for a teacher."""
    teacher = model.copy_and_resolve_references()
    teacher.update({"drop_path": 0.0, **changes})
    return teacher


def _distilled(c, teacher, checkpoint, feature_weight=0.0, student_layers=(), teacher_layers=()):
    """The objective and the teacher (its model section, its weights) of a distillation."""
    c.model.score_head = False
    # Without a score no template can be chosen.
    c.tracking.update_interval = 0
    c.tracking.benchmarks = {}
    c.objective = {
        # Module of trackers.objectives.
        "name": "distillation",
        # Weight of the complete IoU loss of the box (this and the next two: program's experiment files).
        "ciou_weight": 2.0,
        # Weight of the L1 loss of the box.
        "l1_weight": 5.0,
        # Weight of the divergence from the teacher's distributions of the edges.
        "corner_weight": 5.0,
        # Weight of the distance from the teacher's tokens.
        "feature_weight": feature_weight,
        # 0-based layers of the student whose tokens are compared.
        "student_layers": student_layers,
        # 0-based layers of the teacher that they are compared with.
        "teacher_layers": teacher_layers,
        # 0-based layers of the student that fade.
        "eliminated": (),
        # Epochs m within which they do.
        "elimination_epochs": 40,
    }
    c.teacher = {
        # The teacher's model section.
        "model": teacher,
        # Its workdir or published checkpoint.
        "checkpoint": checkpoint,
        # Fields in which the checkpoint's model differs.
        "source": {},
        # Patterns of the parameters that are not taken from the checkpoint.
        "fresh": (),
    }


def _start(c, checkpoint, source=None, layers=(), fresh=()):
    """The first weights of a stage (trackers/training/initial.py)."""
    c.init = {
        # Workdir or published file.
        "checkpoint": checkpoint,
        # Fields of config.model in which the checkpoint's model differs.
        "source": source or {},
        # 0-based layers of the checkpoint that become the model's; () = all.
        "layers": layers,
        # Patterns of the parameters that are drawn anew.
        "fresh": fresh,
    }


def _fading(c, eliminated, epochs=40):
    c.objective.update({"eliminated": eliminated, "elimination_epochs": epochs})
    # The program freezes the layers that fade.
    c.train.frozen = (rf"encoder/block_({'|'.join(map(str, eliminated))})/",)
    # The paper's m, and a few epochs without the layers.
    c.train.total_epochs = epochs + 5


def _published(c):
    """Bins of the program's distillation, and its schedule where it differs from configs/mixvit.py:b."""
    c.model.head.bins = 72
    c.train.update({"batch_size": 256, "learning_rate": 4e-4})


def stage1(c):
    _published(c)
    c.model.depth = 12
    _distilled(c, _teaching(mixvit.b().model), "runs/mixvit_b")
    _start(c, "mae_pretrain_vit_base.pth")


def _shallow(c, depth, student_layers):
    """A stage after stage 1, with the stage-1 network as teacher.

    The program's script names the pruned checkpoint as teacher of depth8, whose frozen layers would then be active
    again at rate 1; here the stage-1 network teaches throughout.
    """
    _published(c)
    c.model.update({"depth": depth, "score_head": False})
    _distilled(c, _teaching(c.model, depth=12), "runs/mixformer_v2_stage1", 0.2, student_layers, _IMITATED)


def prune8(c):
    _shallow(c, 12, _IMITATED)
    _start(c, "runs/mixformer_v2_stage1")
    _fading(c, _ELIMINATED_OF_12)


def depth8(c):
    _shallow(c, 8, (1, 3, 5, 7))
    _start(c, "runs/mixformer_v2_prune8", {"depth": 12}, _REMAINING_OF_12)


def prune4(c):
    _shallow(c, 8, (1, 3, 5, 7))
    _start(c, "runs/mixformer_v2_depth8")
    _fading(c, _ELIMINATED_OF_8)


def depth4(c):
    _shallow(c, 4, (0, 1, 2, 3))
    _start(c, "runs/mixformer_v2_prune4", {"depth": 8}, _REMAINING_OF_8)


def prune12to4(c):
    _shallow(c, 12, _IMITATED)
    _start(c, "runs/mixformer_v2_stage1")
    _fading(c, tuple(layer for layer in range(12) if layer not in _IMITATED))


def tea_fir4(c):
    _shallow(c, 4, (0, 1, 2, 3))
    _start(c, "runs/mixformer_v2_stage1", {"depth": 12}, (0, 1, 2, 3))


def tea_skip4(c):
    _shallow(c, 4, (0, 1, 2, 3))
    _start(c, "runs/mixformer_v2_stage1", {"depth": 12}, _IMITATED)


def s_mlp1(c):
    c.model.update(S)
    _shallow(c, 4, (0, 1, 2, 3))
    c.teacher.model.mlp_ratio = 4.0
    c.teacher.update({"source": _LARGE, "fresh": _TABLES})
    _start(c, "runs/mixformer_v2_depth4", {"mlp_ratio": 4.0, **_LARGE}, fresh=_TABLES)


def _score(c, checkpoint):
    """The score head alone."""
    c.model.score_head = True
    _start(c, checkpoint, {"score_head": False}, fresh=(r"(^|/)score/",))
    c.objective = {
        # Module of trackers.objectives.
        "name": "confidence",
        # The score is judged at the true box instead of the predicted one (MixViT's score module).
        "judge_truth": False,
    }
    # All but the score head.
    c.train.frozen = (r"^(?!score/)",)
    # Template and search frame in any order (data_pipelines/sampling.py).
    c.data.sampling = "trident"
    # Share of the pairs whose search crop shows the target.
    c.data.positive_probability = 0.5


def score_b(c):
    _score(c, "runs/mixformer_v2_depth8")
    # The program's stage has 96 bins, whatever its static model had; here it keeps the 72.
    c.model.head.bins = 72
    c.train.update({"batch_size": 32, "total_epochs": 40, "drop_epoch": 20, "learning_rate": 1e-4})


def score_s(c):
    score_b(c)
    c.model.update(S)
    c.init.checkpoint = "runs/mixformer_v2_s_mlp1"


# Of student and teacher of the tiny stages.
_TINY = {
    "width": 48, "depth": 4, "heads": 3, "mlp_ratio": 2.0, "patch_size": 8, "template_size": 16, "search_size": 32,
    "templates": 1, "dtype": "float32", "drop_path": 0.0, "scan_layers": False, "attention_init": "matched",
}  # fmt: skip


def _tiny(c, depth):
    """A network that learns on procedural video within minutes on a CPU; MixViT of these sizes teaches it.

    Prediction tokens have to find out where to look before anything they read tells them so: 16 search tokens of which
    the target fills a few, few distractors, and a rate at which Adam does not first shut out the pictures.
    """
    sections.small_run(c)
    c.model.update({**_TINY, "depth": depth, "score_head": False})
    c.model.head.bins = 16
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


def tiny_stage1(c):
    _tiny(c, 4)
    teacher = _teaching(mixvit.b().model, **_TINY)
    teacher.head.channels = 32
    _distilled(c, teacher, "runs/tiny_teacher")
    # The teacher's encoder is the pretraining: there are no MAE weights of this size.
    of_teacher = {"name": "mixvit", "head": teacher.head.to_dict()}
    _start(c, "runs/tiny_teacher", of_teacher, fresh=("/prediction_", "params/head/"))


def tiny_alone(c):
    tiny_stage1(c)
    c.objective.corner_weight = 0.0


def _tiny_shallow(c, depth, student_layers):
    _tiny(c, depth)
    _distilled(c, _teaching(c.model, depth=4), "runs/tiny_stage1", 0.2, student_layers, (1, 3))
    c.train.update({"total_epochs": 20, "drop_epoch": 16})


def tiny_prune(c):
    _tiny_shallow(c, 4, (1, 3))
    _start(c, "runs/tiny_stage1")
    _fading(c, (0, 2), 16)
    c.train.drop_epoch = c.train.total_epochs


def tiny_depth2(c):
    _tiny_shallow(c, 2, (0, 1))
    _start(c, "runs/tiny_prune", {"depth": 4}, (1, 3))


def tiny_fir2(c):
    _tiny_shallow(c, 2, (0, 1))
    _start(c, "runs/tiny_stage1", {"depth": 4}, (0, 1))


def tiny_score(c):
    _tiny(c, 2)
    _score(c, "runs/tiny_depth2")
    # One online template beside the first; the weights are the same.
    c.model.templates = 2
    c.tracking.update_interval = 10
    c.train.update({"total_epochs": 20, "drop_epoch": 15, "learning_rate": 1e-3})


STAGES = (
    stage1, prune8, depth8, prune4, depth4, prune12to4, tea_fir4, tea_skip4, s_mlp1, score_b, score_s,
    tiny_stage1, tiny_alone, tiny_prune, tiny_depth2, tiny_fir2, tiny_score,
)  # fmt: skip
