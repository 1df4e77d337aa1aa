"""The distillation losses, against numbers recorded from the authors' program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from tests import recipes
from trackers import convert, objectives
from trackers.errors import InputError
from trackers.nn import stacking
from trackers.nn.distribution import BOX_EDGES
from trackers.objectives import boxes as box_losses
from trackers.objectives import distillation, forward
from trackers.ops import boxes
from trackers.training import initial


@pytest.fixture(scope="module")
def stage1():
    return recipes.load("distill_stage1")


def _boxes(manifest, name):
    shape = manifest["inputs"][name]["shape"]
    u = recipes.gen(manifest["salt"], f"input/{name}").random(shape)
    return np.concatenate([0.1 + 0.3 * u[..., :2], 0.2 + 0.3 * u[..., 2:]], axis=-1).astype(np.float32)


def _softmax_last(manifest, name):
    spec = manifest["inputs"][name]
    logits = spec["scale"] * recipes.gen(manifest["salt"], f"input/{name}").standard_normal(spec["shape"])
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype(np.float32)


def test_edge_divergence_and_its_gradients(stage1):
    # Loss 2e-5 relative, as recorded; gradients (to 1.5e-2) are equal to rounding.
    manifest, outputs = stage1
    top_left, bottom_right = (
        _softmax_last(manifest, f"rand/teacher_{corner}").reshape(4, 72, 72) for corner in ("tl", "br")
    )
    logits = {edge: recipes.image(manifest, f"rand/logit_{edge[0]}") for edge in BOX_EDGES}
    targets = distillation.corner_marginals(top_left, bottom_right)
    value, grads = jax.value_and_grad(distillation.edge_divergence)(logits, targets)
    np.testing.assert_allclose(value, manifest["values"]["rand/kl64"], rtol=2e-5)
    for edge in BOX_EDGES:
        np.testing.assert_allclose(grads[edge], outputs[f"rand/grad_logit_{edge[0]}"], atol=1e-8, rtol=1e-4)


def test_divergence_is_zero_only_for_equal_distributions_and_finite_for_hard_ones():
    logits = {edge: jax.random.normal(jax.random.key(i), (2, 8)) for i, edge in enumerate(BOX_EDGES)}
    same = {edge: jax.nn.softmax(value) for edge, value in logits.items()}
    np.testing.assert_allclose(distillation.edge_divergence(logits, same), 0.0, atol=1e-6)
    hard = {edge: jax.nn.one_hot(jnp.array([0, 7]), 8) for edge in BOX_EDGES}
    value, grads = jax.value_and_grad(distillation.edge_divergence)(logits, hard)
    expected = np.mean([-jax.nn.log_softmax(v)[(0, 1), (0, 7)].mean() for v in logits.values()])
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def _distributions(cells, count=64, seed=0):
    """(count,cells) float32, from nearly even to nearly certain, and the certain ones."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((count, cells)) * np.geomspace(0.1, 30, count)[:, None]
    even = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.concatenate([even / even.sum(axis=-1, keepdims=True), np.eye(cells)]).astype(np.float32)


def _expected(probabilities):
    """Expected coordinate in float64, a cell standing for its index over their number."""
    cells = probabilities.shape[-1]
    return np.asarray(probabilities, np.float64) @ np.arange(cells) / cells


# Plain corner head of 224 and 288 pixels, the program's 72 and 96, fewer and odd ones.
GRIDS = [(14, 72), (18, 72), (72, 96), (96, 72), (72, 97), (16, 4), (5, 7), (1, 3), (3, 1)]


@pytest.mark.parametrize(("cells", "bins"), GRIDS)
def test_interpolated_distributions_point_by_point(cells, bins):
    """Cell by cell and point by point: interpolation on the common grid, then the two bins around each point."""
    given = _distributions(cells, 4)
    fine = np.lcm(cells, bins)
    expected = np.zeros((len(given), bins))
    for point in range(1 - fine // cells, fine):
        # Between two cells, of which there is none before the first and after the last.
        left, part = divmod(point / (fine // cells), 1.0)
        value = sum(
            share * given[:, int(cell)].astype(np.float64)
            for cell, share in ((left, 1 - part), (left + 1, part))
            if 0 <= cell < cells
        )
        at = min(max(point / (fine // bins), 0.0), bins - 1.0)
        lower = int(at)
        expected[:, lower] += (1 - (at - lower)) * value * cells / fine
        if at > lower:
            expected[:, lower + 1] += (at - lower) * value * cells / fine
    np.testing.assert_allclose(jax.jit(distillation.resampled, static_argnums=1)(given, bins), expected, atol=1e-6)


@pytest.mark.parametrize(("cells", "bins"), GRIDS)
def test_interpolation_keeps_the_mass_and_the_coordinate(cells, bins):
    """Measured of 14 cells and 72 bins: 2.3e-8 of the crop inside; 0.0119 = 0.1665 / 14 where cell 0 is certain, and
    -8.6e-5 where cell 13 is."""
    given = _distributions(cells)
    found = np.asarray(distillation.resampled(given, bins), np.float64)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, atol=1e-6)
    moved = _expected(found) - _expected(given)
    # Inside, where the triangle of a cell lies between the first and the last bin, nothing moves.
    inside = given.copy()
    inside[:, 0] = 0
    inside[:, (np.arange(cells) + 1) / cells > (bins - 1) / bins] = 0
    centered = _expected(distillation.resampled(inside, bins)) - _expected(inside)
    assert np.abs(centered).max() < 1e-7
    beyond = np.maximum(np.arange(cells) / cells - (bins - 1) / bins, 0)
    bound = (given[:, 0] + given[:, -1]) / (6 * cells) + given @ (beyond + (beyond > 0) / (6 * cells))
    if bins > cells:
        assert np.all(np.abs(moved) <= bound + 1e-7)
    if cells > 1 and bins > 4 * cells:
        # The bound is reached by a target at the crop's left or upper border.
        assert moved[-cells] > 0.9 / (6 * cells)


def test_as_many_bins_are_left_as_they_are_bit_for_bit():
    given = _distributions(72)
    assert np.asarray(distillation.resampled(jnp.asarray(given), 72)).tobytes() == given.tobytes()


def test_gradients_of_interpolated_targets():
    """Against differences, which of a square are exact."""
    given, weight = jnp.asarray(_distributions(5, 2)), jax.random.normal(jax.random.key(0), (8,))
    run = jax.jit(lambda p: jnp.sum(jnp.square(distillation.resampled(p, 8) @ weight)))
    gradient = jax.grad(run)(given)
    for row, cell in np.ndindex(given.shape):
        step = np.zeros(given.shape, np.float32)
        step[row, cell] = 0.05
        np.testing.assert_allclose((run(given + step) - run(given - step)) / 0.1, gradient[row, cell], atol=1e-4)


def test_a_plain_corner_head_teaches_more_bins_than_it_has_cells():
    """14 x 14 maps, 72 bins: the divergence of the interpolated marginals; a student that equals them has none."""
    corners = [_distributions(14 * 14, 2, seed)[:2].reshape(2, 14, 14) for seed in (1, 2)]
    maps = dict(zip(("corner_top_left", "corner_bottom_right"), map(jnp.asarray, corners), strict=True))
    targets = distillation.edge_distributions(maps)
    logits = {edge: jax.random.normal(jax.random.key(i), (2, 72)) for i, edge in enumerate(BOX_EDGES)}
    by_hand = 0.0
    for edge, (corner, axis) in {"left": (0, 1), "top": (0, 2), "right": (1, 1), "bottom": (1, 2)}.items():
        target = np.float64(distillation.resampled(jnp.asarray(corners[corner].sum(axis=axis)), 72))
        student = np.float64(logits[edge])
        log_p = student - np.log(np.exp(student).sum(axis=-1, keepdims=True))
        by_hand += (
            np.mean(np.sum(np.where(target > 0, target * (np.log(np.maximum(target, 1e-30)) - log_p), 0), -1)) / 4
        )
    np.testing.assert_allclose(distillation.edge_divergence(logits, targets), by_hand, rtol=1e-5)
    same = {edge: jnp.log(distillation.resampled(target, 72) + 1e-30) for edge, target in targets.items()}
    np.testing.assert_allclose(distillation.edge_divergence(same, targets), 0.0, atol=1e-5)


@pytest.mark.parametrize("case", ["far", "near"])
def test_ciou_and_its_gradients(stage1, case):
    manifest, outputs = stage1
    a, b = (boxes.xywh_to_xyxy(_boxes(manifest, f"rand/boxes_{name}_xywh")) for name in "ab")
    a = b + 0.1 * (a - b) if case == "near" else a
    value, grads = jax.value_and_grad(box_losses.ciou_loss)(a, b)
    np.testing.assert_allclose(value, manifest["values"][f"rand/ciou_{case}"], rtol=2e-5)
    np.testing.assert_allclose(box_losses.l1_loss(a, b), manifest["values"][f"rand/l1_{case}"], rtol=2e-5)
    np.testing.assert_allclose(boxes.iou(a, b)[0], outputs[f"rand/ciou_{case}_iou"], rtol=2e-5)
    # 1e-4 of the largest, which float32 allows where 1 - IoU is small.
    np.testing.assert_allclose(grads, outputs[f"rand/ciou_{case}_grad"], atol=1e-4 * np.abs(grads).max())


def test_ciou_edge_cases_are_finite_where_the_program_is_not(stage1):
    for name, case in stage1[0]["values"]["ciou_edge_cases"].items():
        value, grads = jax.value_and_grad(box_losses.ciou_loss)(jnp.array(case["box_xyxy"]), jnp.array(case["gt_xyxy"]))
        assert np.isfinite(value) and np.isfinite(grads).all(), name
        recorded = float(case["loss"])
        np.testing.assert_allclose(value, 0.0 if name == "identical" else recorded, rtol=1e-4, atol=1e-6, err_msg=name)


def test_elimination_rate_by_number():
    recorded = recipes.load("distill_stage2")[0]["values"]["elimination_rate_by_epoch"]
    for epoch, rate in recorded.items():
        np.testing.assert_allclose(distillation.elimination_rate(int(epoch), 40), rate, atol=1e-6)
    zero = [float(distillation.elimination_rate(epoch, 40)) == 0.0 for epoch in (38, 39, 40, 500)]
    assert zero == [False, True, True, True]
    assert all(float(distillation.elimination_rate(epoch, 0)) == 0.0 for epoch in (1, 2, 500))
    assert float(distillation.elimination_rate(29, 30)) == 0.0 < float(distillation.elimination_rate(28, 30))


def test_feature_distance_compares_the_chosen_layers():
    student, teacher = np.zeros((1, 2, 3, 4), np.float32), np.zeros((1, 4, 3, 4), np.float32)
    teacher[:, 3], student[:, 1] = 3.0, 1.0
    np.testing.assert_allclose(distillation.feature_distance(student, teacher, (0, 1), (0, 3)), (0 + 4) / 2)
    with pytest.raises(InputError, match="student and teacher compare tokens"):
        distillation.feature_distance(student, teacher[:, :, :2], (0,), (0,))


# The recorded passes of both nets: loss values 2e-5 relative; gradient norms 1e-4 relative to the norm, or for leaves
# whose gradient all but cancels 1e-6 of the total.
TINY = {"width": 96, "heads": 3, "template_size": 32, "search_size": 64}
STUDENT = TINY | {"name": "mixformer_v2", "score_head": False, "head": {"bins": 16}}


def _net(state, prefix, config):
    published = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return trackers.build(config), convert.to_variables(published, config)


def _batch(manifest):
    """The recorded, already normalized images in the place of uint8 crops (see `raw_images`)."""
    template, search = (recipes.image(manifest, name).transpose(0, 1, 3, 4, 2) for name in IMAGES)
    return {
        "template": template.swapaxes(0, 1),
        "template_box": np.full((2, 2, 4), 0.25, np.float32),
        "search": search[0],
        "search_box": _boxes(manifest, "search_anno")[0],
    }


IMAGES = ("template_images", "search_images")


@pytest.fixture
def raw_images(monkeypatch):
    monkeypatch.setattr(forward, "normalize", jnp.asarray)


def _compiled(objective, variables, teacher_variables, batch):
    """(params, epoch) -> ((loss, (metrics, statistics)), gradients)."""

    def run(params, epoch):
        statistics = variables.get("batch_stats", {})
        return objective(params, statistics, batch, train=False, epoch=epoch, teacher_variables=teacher_variables)

    return jax.jit(jax.value_and_grad(run, has_aux=True))


def _check(result, recorded, norms, depth):
    (loss, (metrics, _)), grads = result
    np.testing.assert_allclose(loss, recorded["Loss/total"], rtol=2e-5)
    for ours, theirs in LOSSES.items():
        if ours in metrics:
            expected = next(recorded[f"Loss/{name}"] for name in theirs if f"Loss/{name}" in recorded)
            np.testing.assert_allclose(metrics[ours], expected, rtol=2e-5)
    np.testing.assert_allclose(metrics["iou"], recorded["IoU"], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(metrics["teacher_iou"], recorded["IoU_teacher"], rtol=1e-4, atol=1e-7)
    total = np.sqrt(sum(norm**2 for norm in norms.values() if norm is not None))
    ours = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(grads)))
    np.testing.assert_allclose(ours, total, rtol=1e-4)
    found = {name: float(np.linalg.norm(leaf)) for name, leaf in stacking.flatten({"p": grads}).items()}
    expected = {
        ours.format(layer): norms[theirs.format(layer)]
        for ours, theirs in GRADIENTS.items()
        for layer in range(depth if "{}" in ours else 1)
    }
    assert found.keys() == {f"p/{name}" for name in expected}
    for name, norm in expected.items():
        np.testing.assert_allclose(found[f"p/{name}"], norm, rtol=1e-4, atol=1e-6 * total, err_msg=name)


LOSSES = {
    "ciou": ["ciou"],
    "l1": ["l1"],
    "corner": ["distill_logits", "distill_corner_kl"],
    "feature": ["distill_feat"],
}
GRADIENTS = {
    "prediction_tokens": "backbone.reg_tokens",
    "prediction_positions": "backbone.pos_embed_reg",
    "encoder/patch_embed/kernel": "backbone.patch_embed.proj.weight",
    "encoder/patch_embed/bias": "backbone.patch_embed.proj.bias",
    "encoder/block_{}/norm1/scale": "backbone.blocks.{}.norm1.weight",
    "encoder/block_{}/norm1/bias": "backbone.blocks.{}.norm1.bias",
    "encoder/block_{}/attention/qkv/kernel": "backbone.blocks.{}.attn.qkv.weight",
    "encoder/block_{}/attention/qkv/bias": "backbone.blocks.{}.attn.qkv.bias",
    "encoder/block_{}/attention/out/kernel": "backbone.blocks.{}.attn.proj.weight",
    "encoder/block_{}/attention/out/bias": "backbone.blocks.{}.attn.proj.bias",
    "encoder/block_{}/norm2/scale": "backbone.blocks.{}.norm2.weight",
    "encoder/block_{}/norm2/bias": "backbone.blocks.{}.norm2.bias",
    "encoder/block_{}/mlp/fc1/kernel": "backbone.blocks.{}.mlp.fc1.weight",
    "encoder/block_{}/mlp/fc1/bias": "backbone.blocks.{}.mlp.fc1.bias",
    "encoder/block_{}/mlp/fc2/kernel": "backbone.blocks.{}.mlp.fc2.weight",
    "encoder/block_{}/mlp/fc2/bias": "backbone.blocks.{}.mlp.fc2.bias",
    "head/shared/fc1/kernel": "box_head.layers.0.0.weight",
    "head/shared/fc1/bias": "box_head.layers.0.0.bias",
    "head/shared/norm1/scale": "box_head.layers.0.1.weight",
    "head/shared/norm1/bias": "box_head.layers.0.1.bias",
    "head/shared/fc2/kernel": "box_head.layers.1.0.weight",
    "head/shared/fc2/bias": "box_head.layers.1.0.bias",
    "head/shared/norm2/scale": "box_head.layers.1.1.weight",
    "head/shared/norm2/bias": "box_head.layers.1.1.bias",
}


def test_dense_to_sparse_equals_the_program(stage1, raw_images):
    manifest, outputs = stage1
    state, values = recipes.weights(manifest), manifest["values"]
    student, variables = _net(state, "student.", STUDENT | {"depth": 3})
    head = {"kind": "corner_up", "channels": 32}
    teacher, teacher_variables = _net(state, "teacher.", TINY | {"name": "mixvit", "depth": 3, "head": head})
    objective = objectives.build({"name": "distillation"}, student, teacher)
    result = _compiled(objective, variables, teacher_variables, _batch(manifest))(variables["params"], 1)
    _check(result, values["tiny/status64"], values["tiny/grad_norms"], 3)
    # Elementwise, 1e-4 of the largest.
    for theirs, ours in (
        ("box_head.layers.1.0.weight", result[1]["head"]["shared"]["fc2"]["kernel"].T),
        ("backbone.reg_tokens", result[1]["prediction_tokens"][None]),
    ):
        expected = outputs[f"tiny/grad/{theirs}"]
        np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def stage2():
    manifest, _ = recipes.load("distill_stage2")
    return manifest, recipes.weights(manifest), _net(recipes.weights(manifest), "teacher.", STUDENT | {"depth": 4})


# Epochs at which the rates are the recorded ones; no epoch has rate 1, which the formula gives before the first.
RATES = {"1.000000": -1, "0.993844": 1, "0.500000": 19, "0.000000": 39}


@pytest.mark.parametrize(("scan", "rates"), [(False, RATES), (True, ("0.500000",))])
def test_deep_to_shallow_equals_the_program(stage2, raw_images, scan, rates):
    manifest, state, (teacher, teacher_variables) = stage2
    student, variables = _net(state, "student.", STUDENT | {"depth": 4, "scan_layers": scan})
    layers = {"student_layers": (1, 3), "teacher_layers": (1, 3), "eliminated": (0, 2)}
    objective = objectives.build({"name": "distillation", "feature_weight": 0.2} | layers, student, teacher)
    run = _compiled(objective, variables, teacher_variables, _batch(manifest))
    for rate in rates:
        recorded = {kind: manifest["values"][f"phase1/rate{rate}/{kind}"] for kind in ("status64", "grad_norms")}
        _check(run(variables["params"], RATES[rate]), *recorded.values(), 4)


def test_student_of_the_remaining_layers_equals_the_program(stage2, raw_images):
    manifest, _, (teacher, teacher_variables) = stage2
    student = trackers.build(STUDENT | {"depth": 2, "position": "sincos"})
    variables = initial.fit(teacher_variables, trackers.init(student, jax.random.key(0)), layers=(1, 3))
    layers = {"student_layers": (0, 1), "teacher_layers": (1, 3)}
    objective = objectives.build({"name": "distillation", "feature_weight": 0.2} | layers, student, teacher)
    result = _compiled(objective, variables, teacher_variables, _batch(manifest))(variables["params"], 1)
    _check(result, manifest["values"]["phase2/status"], manifest["values"]["phase2/grad_norms"], 2)


def test_at_rate_zero_the_network_is_that_without_the_blocks(stage2):
    manifest, state, _ = stage2
    student, variables = _net(state, "student.", STUDENT | {"depth": 4})
    shallow = trackers.build(STUDENT | {"depth": 2})
    remaining = initial.fit(variables, jax.eval_shape(lambda: trackers.init(shallow, jax.random.key(0))), (1, 3))
    batch = _batch(manifest)
    inputs = batch["template"], batch["template_box"], batch["search"]
    scale = objectives.build({"name": "distillation", "eliminated": (0, 2)}, student, student).branch_scale(39)
    np.testing.assert_array_equal(scale, [0, 1, 0, 1])
    # Op by op, as two compiled programs may round differently.
    faded, removed = student.apply(variables, *inputs, branch_scale=scale), shallow.apply(remaining, *inputs)
    np.testing.assert_array_equal(faded.box, removed.box)
    for name in faded.maps:
        np.testing.assert_array_equal(faded.maps[name], removed.maps[name])


def test_what_does_not_fit_is_refused():
    student = trackers.build(STUDENT | {"depth": 4})
    for fields, message in (
        ({"student_layers": (1, 3), "teacher_layers": (1,)}, "pair by pair"),
        ({"feature_weight": 0.2}, "needs objective.student_layers"),
        ({"eliminated": (4,)}, "objective.eliminated .4,.: layers count from 0 to 3"),
        ({"elimination_epochs": -1}, "elimination_epochs must be at least 0"),
    ):
        with pytest.raises(InputError, match=message):
            objectives.build({"name": "distillation"} | fields, student, student)
    with pytest.raises(InputError, match="needs a teacher"):
        objectives.build({"name": "distillation"}, student)
