"""The stages of MixFormerV2's training, as changes of configs/mixformer_v2.py:b; docs/distillation.md has the commands.

Each names its teacher and its first weights as workdirs under runs/, which --config.teacher.checkpoint and
--config.init.checkpoint override, and refuses runs of other variants. Tables are those of the supplement, LaSOT AUC
unless said, all without score. Settings are those of the program's experiment files where there is one: 72 bins, batch
256, rate 4e-4, 500 epochs with the drop after 400 (the paper: 500 epochs a step), CIoU 2, L1 5, edges 5, features 0.2.

t1_mlp4, t4_mlp4, t4_mlp1
               Table 2a: 1 prediction token and 4 MLPs 67.1, 4 and 4 67.3, 4 and 1 67.5. Without distillation. Of the
               rest the paper gives nothing; our choice: 12 layers from MAE weights, the crops of B, losses as MixViT.
stage1         Dense to sparse, 12 layers, from MAE weights; teacher MixViT-B with the pyramid head. Table 2b, row 2:
               68.9.
prune8         Deep to shallow, first half: layers 0, 3, 6, 9 of 12 fade within m = 40 epochs, and are away for 5 more
               (program). Tables 2b and 2e.
prune8_m30, prune8_m50
               The same with m = 30 and 50 for Table 2e; 35 and 55 epochs by our choice.
depth8         Its second half: the 8 layers that are left. MixFormerV2-B without score. Table 2b, row 3, and Table 2e,
               m = 40: 68.5. Table 2e, m = 30 and m = 50 (--config.init.checkpoint=runs/mixformer_v2_prune8_m30): 68.3
               and 68.5.
tea_fir4, tea_skip4
               Table 2d, LaSOT, LaSOT_ext, UAV123: 4 layers that start as layers 0, 1, 2, 3 of the teacher MixViT-B (its
               first four) 62.9, 45.2, 65.7, or as its layers 2, 5, 8, 11 (its 3rd, 6th, 9th, 12th) 64.4, 46.1, 66.6.
               Nothing fades. Our choice, as the paper does not say: losses, bins, crops and epochs of stage 1.
pmdp_prune4, pmdp_depth4
               Table 2d, PMDP 64.8, 47.1, 67.5: the network starts as all of MixViT-B, the layers other than 2, 5, 8, 11
               fade within m = 40 epochs (our choice, as in Table 2e); then the 4 layers that are left. With
               --config.objective.elimination_epochs=0 it is tea_skip4.
s_stage1       The first step of S, dense to sparse: 12 layers, from MAE weights; teacher MixViT with the plain corner
               head, whose distributions are interpolated (objectives/distillation.py, our choice). Table 2c, row 2:
               67.7. On the whole route of S the paper gives no crop sizes: 112 and 224 pixels with a factor of 4.5, as
               in the program's 224-b-12-kd_logits.yaml.
s_prune8, s_depth8
               The second step, 8 layers, as prune8 and depth8; the teacher is s_stage1 from here on (our choice).
               Table 2c, row 3: 66.6.
prune4, depth4
               The third step, from 8 to 4 layers: 0, 2, 4, 6 of the 8 fade (our choice), so that the layers 2, 5, 8, 11
               of s_stage1 remain. Table 2c, row 4: 61.0.
s_mlp1         The last step, MLPs of ratio 4 cut to 1: MixFormerV2-S without score. Table 2c, row 5: 59.4. The hidden
               units that remain are chosen by trackers/training/initial.py (our choice).
score_b        The score head of B, everything else frozen; pairs with and without the target. 40 epochs, drop after 20,
               rate 1e-4, batch 32 (program, which has 32 a GPU).
score_s        The same of S.
tiny_stage1, tiny_alone, tiny_prune, tiny_depth2, tiny_fir2, tiny_mlp1, tiny_score
               Ours, the same on procedural video (alone: without the teacher's terms; fir2: two layers that start as
               the first two of tiny_stage1), for tests and experiments/distillation.py; what they reached:
               docs/distillation.md.
Result here: not yet run, but for the tiny ones.
"""

from configs import mixvit

# Crops of MixFormerV2-S, and what else of it differs from B.
_SMALL_CROPS = {"template_size": 112, "search_size": 224}
_SMALL = {"depth": 4, "mlp_ratio": 1.0, **_SMALL_CROPS}
_ELIMINATED_OF_12 = (0, 3, 6, 9)
_REMAINING_OF_12 = (1, 2, 4, 5, 7, 8, 10, 11)
_ELIMINATED_OF_8 = (0, 2, 4, 6)
_REMAINING_OF_8 = (1, 3, 5, 7)
# Layers of the 12 whose tokens are imitated; 8 or 4 layers imitate the same.
_IMITATED = (2, 5, 8, 11)
_MAE = "mae_pretrain_vit_base.pth"


def small(c):
    """MixFormerV2-S: sizes, and how it tracks."""
    c.model.update(_SMALL)
    c.tracking.search_factor = 4.5
    # Intervals and factors of the program's scripts.
    c.tracking.benchmarks.lasot.search_factor = 4.4
    c.tracking.benchmarks.got10k.update({"update_interval": 15, "search_factor": 4.55})
    c.tracking.benchmarks.trackingnet.search_factor = 4.55


def _of(*names, family="mixformer_v2"):
    """The run that a stage starts from or is taught by: the first of these variants; it may be any of them."""
    workdir = names[0] if names[0].startswith("tiny") else f"{family}_{names[0]}"
    return {"checkpoint": f"runs/{workdir}", "variants": tuple(f"configs/{family}.py:{name}" for name in names)}


def _teaching(model, **changes):
    """A copy of a model section with changes, for a teacher."""
    teacher = model.copy_and_resolve_references()
    teacher.update({"drop_path": 0.0, **changes})
    return teacher


def _without_score(c):
    c.model.score_head = False
    # Without a score no template can be chosen.
    c.tracking.update_interval = 0
    c.tracking.benchmarks = {}


def _distilled(c, teacher, run, feature_weight=0.0, student_layers=(), teacher_layers=()):
    """The objective and the teacher (its model section, its run) of a distillation."""
    _without_score(c)
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
        "checkpoint": run["checkpoint"],
        # Fields in which the checkpoint's model differs.
        "source": {},
        # Patterns of the parameters that are not taken from the checkpoint.
        "fresh": (),
        # Configs of whose runs it may be; () = any.
        "variants": run["variants"],
    }


def _start(c, checkpoint, variants=(), source=None, layers=(), fresh=()):
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
        # Configs of whose runs it may be; () = any.
        "variants": variants,
    }


def _start_as_teacher(c, run, layers=()):
    """The first weights are those of the teacher's encoder, all layers or some."""
    teacher = c.teacher.model
    source = {"name": teacher.name, "depth": teacher.depth, "head": teacher.head.to_dict()}
    _start(c, **run, source=source, layers=layers, fresh=("/prediction_", "params/head/"))


def _fading(c, eliminated, epochs=40):
    c.objective.update({"eliminated": eliminated, "elimination_epochs": epochs})
    # The program freezes the layers that fade.
    c.train.frozen = (rf"encoder/block_({'|'.join(map(str, eliminated))})/",)
    # The paper's m, and a few epochs without the layers; the rate stays.
    c.train.update({"total_epochs": epochs + 5, "drop_factor": 1.0})


def _published(c):
    """Bins of the program's distillation, and its schedule where it differs from configs/mixvit.py:b."""
    c.model.head.bins = 72
    c.train.update({"batch_size": 256, "learning_rate": 4e-4})


def _small_crops(c):
    c.model.update(_SMALL_CROPS)
    c.tracking.search_factor = 4.5


def _table_2a(c, tokens, mlps):
    _published(c)
    _without_score(c)
    c.model.depth = 12
    c.model.head.update({"tokens": tokens, "mlps": mlps})
    _start(c, _MAE)


def t1_mlp4(c):
    _table_2a(c, 1, 4)


def t4_mlp4(c):
    _table_2a(c, 4, 4)


def t4_mlp1(c):
    _table_2a(c, 4, 1)


def _taught_by_mixvit(c, depth, variant):
    """A student whose teacher is MixViT; its tokens are not imitated, as it has no prediction tokens."""
    _published(c)
    c.model.depth = depth
    _distilled(c, _teaching(mixvit.get_config(variant).model), _of(variant, family="mixvit"))


def stage1(c):
    _taught_by_mixvit(c, 12, "b")
    _start(c, _MAE)


def tea_fir4(c):
    _taught_by_mixvit(c, 4, "b")
    _start_as_teacher(c, _of("b", family="mixvit"), (0, 1, 2, 3))


def tea_skip4(c):
    _taught_by_mixvit(c, 4, "b")
    _start_as_teacher(c, _of("b", family="mixvit"), _IMITATED)


def pmdp_prune4(c):
    _taught_by_mixvit(c, 12, "b")
    _start_as_teacher(c, _of("b", family="mixvit"))
    _fading(c, tuple(layer for layer in range(12) if layer not in _IMITATED))


def pmdp_depth4(c):
    _taught_by_mixvit(c, 4, "b")
    _start(c, **_of("pmdp_prune4"), source={"depth": 12}, layers=_IMITATED)


def _shallow(c, depth, student_layers, teacher="stage1"):
    """A stage after the first, whose network of 12 layers teaches.

    The program's script names the pruned checkpoint as teacher of depth8, whose frozen layers would then be active
    again at rate 1; here the first stage's network teaches throughout.
    """
    _published(c)
    c.model.update({"depth": depth, "score_head": False})
    of_teacher = _teaching(c.model, depth=12, mlp_ratio=4.0)
    _distilled(c, of_teacher, _of(teacher), 0.2, student_layers, _IMITATED)


def prune8(c):
    _shallow(c, 12, _IMITATED)
    _start(c, **_of("stage1"))
    _fading(c, _ELIMINATED_OF_12)


def prune8_m30(c):
    prune8(c)
    _fading(c, _ELIMINATED_OF_12, 30)


def prune8_m50(c):
    prune8(c)
    _fading(c, _ELIMINATED_OF_12, 50)


def depth8(c):
    _shallow(c, 8, (1, 3, 5, 7))
    _start(c, **_of("prune8", "prune8_m30", "prune8_m50"), source={"depth": 12}, layers=_REMAINING_OF_12)


def s_stage1(c):
    _small_crops(c)
    _taught_by_mixvit(c, 12, "b_corner")
    _start(c, _MAE)


def _step_of_s(c, depth, student_layers):
    _small_crops(c)
    _shallow(c, depth, student_layers, "s_stage1")


def s_prune8(c):
    _step_of_s(c, 12, _IMITATED)
    _start(c, **_of("s_stage1"))
    _fading(c, _ELIMINATED_OF_12)


def s_depth8(c):
    _step_of_s(c, 8, (1, 3, 5, 7))
    _start(c, **_of("s_prune8"), source={"depth": 12}, layers=_REMAINING_OF_12)


def prune4(c):
    _step_of_s(c, 8, (1, 3, 5, 7))
    _start(c, **_of("s_depth8"))
    _fading(c, _ELIMINATED_OF_8)


def depth4(c):
    _step_of_s(c, 4, (0, 1, 2, 3))
    _start(c, **_of("prune4"), source={"depth": 8}, layers=_REMAINING_OF_8)


def s_mlp1(c):
    c.model.mlp_ratio = 1.0
    _step_of_s(c, 4, (0, 1, 2, 3))
    _start(c, **_of("depth4"), source={"mlp_ratio": 4.0})


def _score(c, run):
    """The score head alone."""
    c.model.score_head = True
    _start(c, **run, source={"score_head": False}, fresh=(r"(^|/)score/",))
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


def _published_score(c, run):
    _score(c, run)
    # The program's stage has 96 bins, whatever its static model had; here it keeps the 72.
    c.model.head.bins = 72
    c.train.update({"batch_size": 32, "total_epochs": 40, "drop_epoch": 20, "learning_rate": 1e-4})


def score_b(c):
    _published_score(c, _of("depth8"))


def score_s(c):
    small(c)
    _published_score(c, _of("s_mlp1"))


def _tiny(c, depth):
    mixvit.procedural_run(c)
    c.model.update({"depth": depth, "score_head": False})
    c.model.head.bins = 16


def tiny_stage1(c):
    _tiny(c, 4)
    teacher = _of("tiny_teacher", family="mixvit")
    _distilled(c, _teaching(mixvit.get_config("tiny_teacher").model), teacher)
    # The teacher's encoder is the pretraining: there are no MAE weights of this size.
    _start_as_teacher(c, teacher)


def tiny_alone(c):
    tiny_stage1(c)
    c.objective.corner_weight = 0.0


def _tiny_shallow(c, depth, student_layers):
    _tiny(c, depth)
    teacher = _teaching(c.model, depth=4)
    _distilled(c, teacher, _of("tiny_stage1"), 0.2, student_layers, (1, 3))
    c.train.update({"total_epochs": 20, "drop_epoch": 16})


def tiny_prune(c):
    _tiny_shallow(c, 4, (1, 3))
    _start(c, **_of("tiny_stage1"))
    _fading(c, (0, 2), 16)


def tiny_depth2(c):
    _tiny_shallow(c, 2, (0, 1))
    _start(c, **_of("tiny_prune"), source={"depth": 4}, layers=(1, 3))


def tiny_fir2(c):
    _tiny_shallow(c, 2, (0, 1))
    _start(c, **_of("tiny_stage1"), source={"depth": 4}, layers=(0, 1))


def tiny_mlp1(c):
    tiny_depth2(c)
    c.model.mlp_ratio = 1.0
    _start(c, **_of("tiny_depth2"), source={"mlp_ratio": 2.0})


def tiny_score(c):
    _tiny(c, 2)
    _score(c, _of("tiny_depth2"))
    # One online template beside the first; the weights are the same.
    c.model.templates = 2
    c.tracking.update_interval = 10
    c.train.update({"total_epochs": 20, "drop_epoch": 15, "learning_rate": 1e-3})


STAGES = (
    t1_mlp4, t4_mlp4, t4_mlp1,
    stage1, prune8, prune8_m30, prune8_m50, depth8,
    tea_fir4, tea_skip4, pmdp_prune4, pmdp_depth4,
    s_stage1, s_prune8, s_depth8, prune4, depth4, s_mlp1,
    score_b, score_s,
    tiny_stage1, tiny_alone, tiny_prune, tiny_depth2, tiny_fir2, tiny_mlp1, tiny_score,
)  # fmt: skip
