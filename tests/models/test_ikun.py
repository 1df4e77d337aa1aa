"""iKUN and its parts against the numbers recorded from the authors' program.

Tolerances are the recorded ones: cosines and features of unit length 2e-6 (measured on a CPU: 2e-7), features before
pooling, of magnitudes to 18, 1e-4 (1.3e-5), maps and raw text features 3e-5 (4e-6).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from tests.recipes import given, load, random_variables, stored, weights
from trackers import convert, errors
from trackers.convert import layouts
from trackers.convert.ikun import PUBLISHED
from trackers.models import text
from trackers.models.ikun import similarity
from trackers.nn import stacking
from trackers.nn.fusion import correlate
from trackers.objectives.referring import similarity_loss

MODES = {
    "none": "none",
    "cascade": "cascade_attention",
    "xcorr": "cross_correlation",
    "textfirst": "text_first_modulation",
}
# The unused keys of the other modes that the recorded file of all four holds, too.
OTHERS = {
    "none": "fusion_(visual|fc|ffn|conv).*",
    "cascade": "fusion_conv.*",
    "xcorr": "fusion_(visual|fc|ffn).*",
    "textfirst": "fusion_(visual|fc|ffn).*",
}
SMALL = {
    "visual_width": 32,
    "visual_depths": (1,),
    "text_width": 16,
    "width": 16,
    "transformer": {"depth": 1, "width": 8},
}
TINY = {
    "name": "ikun",
    "visual_width": 32,
    "visual_depths": (1,),
    "text_width": 16,
    "width": 12,
    "local_size": 8,
    "global_size": 16,
    "truncation": 4,
    "transformer": {"vocabulary": 50, "length": 8, "width": 16, "depth": 1, "heads": 2},
}

RNGS = {"dropout": jax.random.key(0)}


def close(found, expected, atol):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=atol, rtol=0)


def last(array):
    """(..., C, h, w) -> (..., h, w, C)."""
    return jnp.asarray(np.moveaxis(array, -3, -1))


def knowledge(case, mode, **fields):
    """(manifest, outputs, model, variables of all but the encoders) of a case recorded without encoders."""
    manifest, out = load(case)
    config = {"name": "ikun", "fusion": MODES[mode], "local_grid": (7, 7), "global_grid": (21, 21), **fields}
    model = trackers.build(config)
    like = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    targets = {
        path: leaf for path, leaf in stacking.flatten(like).items() if path.split("/")[1] not in ("visual", "text")
    }
    unused = f"{OTHERS[mode]}|{PUBLISHED.unused}"
    leaves = layouts.convert(weights(manifest), targets, PUBLISHED.rules, unused, "ikun")
    variables = {"params": {}, "batch_stats": {}}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        functools.reduce(lambda tree, part: tree.setdefault(part, {}), parents, variables)[name] = jnp.asarray(leaf)
    return manifest, out, model, variables


def fused(model, variables, manifest, train=False):
    local, global_ = last(given(manifest, "local_feat")), last(given(manifest, "global_feat"))
    words = text.TextFeatures(*(jnp.asarray(given(manifest, name)) for name in ("text_hidden", "text_feat")))
    related = model.apply(variables, local, global_, method="relate")
    rngs = {"dropout": jax.random.key(0)}
    tokens = model.apply(variables, related, words, method="fused_tokens")
    if not train:
        return tokens, model.apply(variables, local, global_, words, method="fuse"), words
    args = (variables, local, global_, words, True)
    visual, updated = model.apply(*args, method="fuse", mutable=["batch_stats"], rngs=rngs)
    return visual, updated["batch_stats"], words


def check_knowledge(case, mode, **fields):
    manifest, out, model, variables = knowledge(case, mode, **fields)
    tokens, visual, _ = jax.jit(lambda v: fused(model, v, manifest))(variables)
    prepool = np.swapaxes(tokens.reshape(-1, *tokens.shape[2:]), 1, 2)
    close(prepool[stored(manifest, f"{mode}/prepool")], out[f"{mode}/prepool"], 1e-4)
    close(visual, out[f"{mode}/vis_feat"], 2e-6)


@pytest.mark.parametrize("mode", MODES)
def test_small_knowledge_equals_the_program(mode):
    check_knowledge("ikun_kum_small", mode, **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_full_knowledge_equals_the_program(mode):
    check_knowledge("ikun_kum_full", mode, visual_depths=(1,), transformer={"depth": 1})


@pytest.mark.parametrize("mode", MODES)
def test_training_pass_equals_the_program(mode):
    """Without dropout, as recorded: features, loss, gradient norms, running statistics after the step."""
    manifest, out, model, variables = knowledge("ikun_kum_small", mode, dropout=0.0, **SMALL)
    target = jnp.asarray(given(manifest, "labels"))

    def loss(params):
        visual, statistics, words = fused(model, {**variables, "params": params}, manifest, train=True)
        scores = similarity(visual, words.sentence)
        return similarity_loss(scores, target), (visual, scores, statistics)

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, (visual, scores, statistics)), gradients = run(variables["params"])
    close(visual, out[f"{mode}/train/vis_feat"], 1e-5)
    close(scores, out[f"{mode}/train/logits"], 2e-6)
    close(value, manifest["values"][f"{mode}/train/loss"], 2e-6)
    found = convert.from_variables({"params": gradients, "batch_stats": statistics}, {"name": "ikun"})
    norms = {k: n for k, n in manifest["values"][f"{mode}/train/grad_norms"].items() if n is not None}
    for key, norm in norms.items():
        # 1e-4 relative is the recorded tolerance; a bias before BatchNorm or softmax has no gradient but rounding.
        np.testing.assert_allclose(np.linalg.norm(found[key]), norm, rtol=1e-4, atol=1e-6, err_msg=key)
    for key, array in out.items():
        name = key.removeprefix(f"{mode}/train/after/")
        if name != key and name in found:
            close(found[name], array, 1e-6)
    assert len(norms) >= 8


def full_case(name):
    manifest, out = load(name)
    config = {"name": "ikun", "fusion": MODES[name.removeprefix("ikun_")], "scan_layers": True}
    return manifest, out, config, convert.to_variables(weights(manifest), config)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ikun_none", "ikun_cascade", "ikun_xcorr", "ikun_textfirst"])
def test_whole_model_equals_the_program(name):
    manifest, out, config, variables = full_case(name)
    model = trackers.build(config)
    raw_model = trackers.build({**config, "normalize_text": "never"})
    tokens = jnp.asarray(given(manifest, "exp"))

    @jax.jit
    def run(variables, local, global_):
        apply = functools.partial(model.apply, variables)
        words, raw = apply(tokens, method="encode_text"), raw_model.apply(variables, tokens, method="encode_text")
        maps = apply(local, method="encode_local"), apply(global_, method="encode_global")
        related = apply(*maps, method="relate")
        visual = apply(related, words, method="fuse_related")
        prepool = apply(related, words, method="fused_tokens")
        raw_visual = apply(related, raw, method="fuse_related")
        raw_logits = similarity(raw_visual, raw.sentence)
        return words, raw, maps, prepool, visual, similarity(visual, words.sentence), raw_visual, raw_logits

    for prefix in ("blocky_", ""):
        images = [last(given(manifest, f"{prefix}{kind}_img")) for kind in ("local", "global")]
        words, raw, maps, prepool, visual, logits, raw_visual, raw_logits = run(variables, *images)
        prefix = prefix.replace("_", "/")
        close(logits, out[f"{prefix}logits"], 2e-6)
        close(visual, out[f"{prefix}vis_feat"], 2e-6)
        prepool = np.swapaxes(prepool.reshape(-1, *prepool.shape[2:]), 1, 2)
        prepool = prepool[stored(manifest, f"{prefix}prepool")]
        close(prepool, out[f"{prefix}prepool"], 1e-4)
        if f"{prefix}rawtext_logits" in out:
            close(raw_logits, out[f"{prefix}rawtext_logits"], 2e-6)
            length = np.linalg.norm(out[f"{prefix}rawtext_raw_vis_feat"], axis=-1, keepdims=True)
            close(raw_visual, out[f"{prefix}rawtext_raw_vis_feat"] / length, 2e-6)
    close(words.sentence, out["text_feat"], 2e-6)
    close(raw.sentence, out["raw_text_feat"], 3e-5)
    close(words.tokens, out["text_hidden"], 3e-5)
    if "local_map" in out:
        flat = [np.moveaxis(np.asarray(m.reshape(-1, *m.shape[2:])), -1, 1) for m in maps]
        for name, found in zip(("local_map", "global_map"), flat, strict=True):
            close(found[stored(manifest, name)], out[name], 3e-5)


def tiny(seed=0, **fields):
    model = trackers.build(TINY | fields)
    return model, random_variables(model, seed)


def inputs(batch=2, frames=2, seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    local, global_ = (jax.random.normal(k, (batch, frames, n, n, 3)) for k, n in zip(keys, (8, 16), strict=False))
    tokens = jax.random.randint(keys[2], (batch, 8), 1, 40).at[:, 5].set(49).at[:, 6:].set(0)
    return local, global_, tokens


def maps(batch=2, frames=2, seed=1):
    """Random maps in place of the visual encoder's."""
    keys = jax.random.split(jax.random.key(seed))
    return [jax.random.normal(k, (batch, frames, n, n, 32)) for k, n in zip(keys, (2, 4), strict=True)]


@pytest.mark.parametrize("mode", ["cascade_attention", "cross_correlation", "text_first_modulation"])
def test_encoded_once_equals_every_pair(mode):
    """Tracks x phrases from features encoded once, with the related half shared, equal the model on every pair."""
    model, variables = tiny(fusion=mode)
    local, global_, tokens = inputs(batch=3)
    phrases = tokens[:2]

    @jax.jit
    def once(v):
        words = model.apply(v, phrases, method="encode_text")
        related = model.apply(
            v,
            model.apply(v, local, method="encode_local"),
            model.apply(v, global_, method="encode_global"),
            method="relate",
        )
        rows, columns = jnp.repeat(jnp.arange(3), 2), jnp.tile(jnp.arange(2), 3)
        visual = model.apply(
            v,
            jax.tree.map(lambda x: x[rows], related),
            jax.tree.map(lambda x: x[columns], words),
            method="fuse_related",
        )
        return similarity(visual, words.sentence[columns]), visual

    apply = jax.jit(model.apply)
    pairs = [
        apply(variables, local[i : i + 1], global_[i : i + 1], phrases[j : j + 1])[0]
        for i in range(3)
        for j in range(2)
    ]
    scores, visual = once(variables)
    close(scores, jnp.stack(pairs), 2e-6)
    close(jnp.linalg.norm(visual, axis=-1), np.ones(6), 1e-6)


def test_several_phrases_of_a_clip_equal_each_alone():
    model, variables = tiny(fusion="text_first_modulation")
    local, global_, tokens = inputs(batch=6)
    apply = jax.jit(model.apply)
    together = apply(variables, local[:2], global_[:2], tokens.reshape(2, 3, -1))
    rows = jnp.repeat(jnp.arange(2), 3)
    close(together.reshape(-1), apply(variables, local[rows], global_[rows], tokens), 2e-6)


def test_standardized_features_do_not_all_point_the_same_way():
    """Untrained, clips are nearly parallel; standardized over the batch they are not."""
    words, spread = text.TextFeatures(jnp.zeros((6, 1, 16)), jnp.zeros((6, 12))), {}
    for standardize in (False, True):
        model, variables = tiny(fusion="none", standardize=standardize)
        run = jax.jit(lambda v, m=model: m.apply(v, *maps(6), words, True, method="fuse", mutable=["batch_stats"])[0])
        visual = run(variables)
        visual /= jnp.linalg.norm(visual, axis=-1, keepdims=True)
        spread[standardize] = float((visual @ visual.T).mean())
    assert spread[False] > 0.5 and abs(spread[True]) < 0.3


def test_joint_statistics_are_those_of_evaluation():
    """Local and global images of unlike contrast: after training on one batch, evaluation gives that batch's scores.

    Encoded one after the other, each is normalized with statistics of its own, which evaluation does not have.
    """
    local, _, tokens = inputs(batch=8)
    images = local, 0.2 * local[::-1] - 0.5, tokens
    difference = {}
    for joint in (False, True):
        model, variables = tiny(
            fusion="cascade_attention", global_size=8, dropout=0.0, joint_statistics=joint, standardize=True
        )

        @jax.jit
        def settle(statistics, model=model, params=variables["params"]):
            given = {"params": params, "batch_stats": statistics}
            scores, updated = model.apply(given, *images, train=True, mutable=["batch_stats"], rngs=RNGS)
            return updated["batch_stats"], scores

        statistics = variables["batch_stats"]
        for _ in range(100):
            statistics, scores = settle(statistics)
        evaluated = jax.jit(model.apply)({"params": variables["params"], "batch_stats": statistics}, *images)
        difference[joint] = float(np.abs(evaluated - scores).max())
    assert 3 * difference[True] < difference[False], difference


def test_training_gradients_are_finite_and_dropout_follows_its_key():
    model, variables = tiny(fusion="cross_correlation")
    batch = inputs()

    @jax.jit
    def run(params, key):
        def loss(params):
            v = {**variables, "params": params}
            scores, updated = model.apply(v, *batch, train=True, mutable=["batch_stats"], rngs={"dropout": key})
            return similarity_loss(scores, jnp.array([1.0, 0.0])), (scores, updated["batch_stats"])

        return jax.value_and_grad(loss, has_aux=True)(params)

    (_, (one, statistics)), gradients = run(variables["params"], jax.random.key(0))
    (_, (same, _)), _ = run(variables["params"], jax.random.key(0))
    (_, (other, _)), _ = run(variables["params"], jax.random.key(1))
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients["visual"]))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-6
    assert np.abs(statistics["visual"]["norm1"]["mean"]).max() > 0


def test_the_program_trains_on_another_scale_of_text_than_it_uses():
    """normalize_text "eval" is the program: the knowledge sees raw text in training and unit text afterwards."""
    _, variables = tiny(fusion="text_first_modulation")
    # Sentences far from unit length, as trained heads give.
    variables["params"]["text_head"]["kernel"] *= 30.0

    def seen(when):
        """(shortest sentence in training, in evaluation, largest movement of the text's running mean)."""
        model = trackers.build(TINY | {"fusion": "text_first_modulation", "normalize_text": when, "dropout": 0.0})

        @jax.jit
        def run(v):
            words = [model.apply(v, inputs()[2], train, method="encode_text") for train in (True, False)]
            _, updated = model.apply(v, *maps(), words[0], True, method="fuse", mutable=["batch_stats"])
            moved = updated["batch_stats"]["knowledge"]["kernel_norm"]["mean"]
            moved -= v["batch_stats"]["knowledge"]["kernel_norm"]["mean"]
            return *(jnp.linalg.norm(w.sentence, axis=-1).min() for w in words), jnp.abs(moved).max()

        return [float(x) for x in run(variables)]

    always, program, never = (seen(when) for when in ("always", "eval", "never"))
    np.testing.assert_allclose(always[:2], 1, atol=1e-6)
    assert program[0] > 3 and abs(program[1] - 1) < 1e-6
    assert min(never[:2]) > 3
    # What that does: from the same batch the program's form keeps statistics of another scale.
    assert program[2] > 3 * always[2] and program[2] == pytest.approx(never[2])


@pytest.mark.parametrize(
    "fields, other",
    [
        ({"fusion": "cascade_attention"}, {"gate": "local"}),
        ({"fusion": "cascade_attention"}, {"query": "local"}),
        ({"fusion": "cross_correlation"}, {"fusion_residual": "cross"}),
        ({"fusion": "text_first_modulation"}, {"residual": "modulated"}),
        ({"fusion": "cascade_attention"}, {"truncation": 2}),
    ],
)
def test_options_of_the_paper_change_the_result_not_the_parameters(fields, other):
    _, variables = tiny(**fields)

    def run(model):
        words = model.apply(variables, inputs()[2], method="encode_text")
        return model.apply(variables, *maps(), words, method="fuse")

    one, two = jax.jit(lambda: [run(trackers.build(TINY | fields | changes)) for changes in ({}, other)])()
    assert np.abs(one - two).max() > 1e-5


def test_cross_correlation_with_three_taps_sees_the_neighboring_cells():
    model, variables = tiny(fusion="cross_correlation", kernel_size=3)
    assert variables["params"]["knowledge"]["kernel"]["kernel"].shape == (12, 3, 32)
    assert variables["params"]["knowledge"]["mix"]["kernel"].shape == (3, 32, 32)
    tokens = jax.random.normal(jax.random.key(0), (1, 1, 4, 2))
    kernel = jax.random.normal(jax.random.key(1), (1, 1, 3, 2))
    expected = [np.correlate(np.pad(tokens[0, 0, :, c], 1), kernel[0, 0, :, c], "valid") for c in range(2)]
    close(correlate(tokens, kernel)[0, 0], np.stack(expected, axis=-1), 1e-6)


def test_batch_permutation_frames_and_bfloat16():
    model, variables = tiny()
    local, global_, tokens = inputs(batch=3, frames=3)
    apply = jax.jit(model.apply)
    scores = apply(variables, local, global_, tokens)
    order = jnp.array([2, 0, 1])
    close(apply(variables, local[order], global_[order], tokens[order]), scores[order], 1e-6)
    # The clip's frames are averaged: their order does not matter.
    close(apply(variables, local[:, ::-1], global_[:, ::-1], tokens), scores, 1e-6)
    half = trackers.build(TINY | {"dtype": "bfloat16"})
    close(jax.jit(half.apply)(variables, local, global_, tokens), scores, 5e-2)


def test_any_size_of_image_and_map():
    fields = {"local_size": (16, 24), "global_size": (32, 40), "visual_width": 48, "heads": 3, "visual_depths": (1, 2)}
    model, variables = tiny(**fields)
    assert variables["params"]["knowledge"]["position_local"].shape == (2 * 3,)
    assert variables["params"]["knowledge"]["position_global"].shape == (4 * 5,)
    assert jax.eval_shape(model.apply, variables, *model.example_inputs(2)).shape == (2,)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"fusion": "attention"}, "model.fusion"),
        ({"gate": "all"}, "model.gate"),
        ({"query": "fused"}, "model.query must be one of .'vis', 'local'., got 'fused'"),
        ({"residual": "all"}, "model.residual"),
        ({"fusion_residual": "local"}, "model.fusion_residual must be one of .'vis', 'cross'., got 'local'"),
        ({"normalize_text": "sometimes"}, "model.normalize_text"),
        ({"heads": 5}, "model.heads"),
        ({"kernel_size": 2}, "model.kernel_size"),
        ({"kernel_size": 3}, "needs model.fusion cross_correlation"),
        ({"dropout": 1.0}, "model.dropout"),
        ({"visual_width": 36, "visual_depths": (1, 1)}, "model.visual_width 36 is not divisible by 8"),
        ({"truncation": 9}, "model.truncation"),
        ({"remat": "some"}, "model.remat"),
        (
            {"joint_statistics": True},
            "model.joint_statistics needs images of one size: local_size is 8, global_size 16",
        ),
        (
            {"joint_statistics": True, "global_size": 8, "global_grid": (3, 2)},
            "model.joint_statistics needs images of one size",
        ),
        ({"visual_depths": ()}, "model.visual_depths must name the blocks of one stage or more"),
        ({"visual_depths": (10**12,)}, "model.visual_depths must be from 1 to 1024"),
        ({"global_size": None}, "model.global_size must be a whole number or two whole numbers, got None"),
        ({"transformer": {"depht": 1}}, "model.transformer.depht"),
    ],
)
def test_wrong_configs_are_named(change, says):
    with pytest.raises(errors.InputError, match=says):
        jax.eval_shape(lambda key: trackers.init(trackers.build(TINY | change), key), jax.random.key(0))


def test_images_of_another_size_are_named():
    model, variables = tiny()
    local, global_, tokens = inputs()
    with pytest.raises(errors.InputError, match="the local map has 4x4 cells, model.local_grid says 2x2"):
        jax.eval_shape(model.apply, variables, global_, global_, tokens)
    with pytest.raises(errors.InputError, match="tokens have 5 columns"):
        jax.eval_shape(model.apply, variables, local, global_, tokens[:, :5])
