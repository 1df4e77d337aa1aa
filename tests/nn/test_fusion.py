"""The equations of iKUN's supplement, written out in plain numpy, as the program and as the paper have them."""

import jax
import numpy as np
import pytest

from tests.recipes import random_values
from trackers.models.text import TextFeatures
from trackers.nn.fusion import Fusion

B, T, WIDTH, HEADS, TEXT = 2, 2, 8, 2, 6
LOCAL, GLOBAL = (2, 2), (3, 3)


def made(kind, **fields):
    """(Fusion, its variables, {name: numpy array of its inputs})."""
    rng = np.random.default_rng(0)
    given = {
        "local": rng.standard_normal((B, T, *LOCAL, WIDTH)),
        "global": rng.standard_normal((B, T, *GLOBAL, WIDTH)),
        "tokens": rng.standard_normal((B, 3, TEXT)),
        "sentence": rng.standard_normal((B, TEXT)),
    }
    given = {name: array.astype(np.float32) for name, array in given.items()}
    module = Fusion(kind, WIDTH, HEADS, LOCAL, GLOBAL, **fields)
    like = jax.eval_shape(module.init, jax.random.key(0), *arguments(given))
    return module, random_values(like), given


def arguments(given):
    return given["local"], given["global"], TextFeatures(given["tokens"], given["sentence"])


def attention(p, query, key, value):
    """CrossAtt: softmax(q k^T / sqrt(d)) v of each head, within a frame; query (N,C), key and value (M,C)."""
    q, k, v = (
        np.einsum("nc,chd->nhd", x, p["qkv_kernel"][:, i]) + p["qkv_bias"][i] for i, x in enumerate((query, key, value))
    )
    heads = []
    for h in range(HEADS):
        logits = q[:, h] @ k[:, h].T / np.sqrt(WIDTH // HEADS)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        heads.append(weights / weights.sum(-1, keepdims=True) @ v[:, h])
    return np.einsum("nhd,hdc->nc", np.stack(heads, 1), p["out"]["kernel"]) + p["out"]["bias"]


def batch_norm(variables, name, x):
    """BN with the running statistics."""
    p, statistics = variables["params"][name], variables["batch_stats"][name]
    return (x - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-5) * p["scale"] + p["bias"]


def convolution(x, kernel):
    """Conv_k along cells: x (N,C), kernel (k,C,D), zeros beyond the ends -> (N,D)."""
    k = len(kernel)
    padded = np.pad(x, ((k // 2, k // 2), (0, 0)))
    return np.stack([sum(padded[n + i] @ kernel[i] for i in range(k)) for n in range(len(x))])


def positioned(variables, given, name, b, t):
    """The cells (N,C) of a frame, with the learned scalar of each."""
    return given[name][b, t].reshape(-1, WIDTH) + variables["params"][f"position_{name}"][:, None]


def f_vis(variables, given, b, t):
    """Eq. 1: f_local + CrossAtt(f_local, f_global, f_global)."""
    local, global_ = (positioned(variables, given, name, b, t) for name in ("local", "global"))
    return local + attention(variables["params"]["local_global"], local, global_, global_)


def of_every_frame(frame):
    return np.array([[frame(b, t) for t in range(T)] for b in range(B)])


def check(module, variables, given, expected):
    found = jax.jit(module.apply)(variables, *arguments(given))
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(("gate", "query"), [("fused", "vis"), ("local", "vis"), ("local", "local")])
def test_equation_2_cascade_attention(gate, query):
    """Program: f_vis * CrossAtt(f_vis, f_txt, f_txt). Paper, as printed: f_local * CrossAtt(f_local, f_txt, f_txt)."""
    module, variables, given = made("cascade_attention", gate=gate, query=query)
    p = variables["params"]

    def frame(b, t):
        words = given["tokens"][b] @ p["words"]["kernel"] + p["words"]["bias"]
        tokens = {"local": positioned(variables, given, "local", b, t), "vis": f_vis(variables, given, b, t)}
        asked = attention(p["visual_textual"], tokens[query], words, words)
        return tokens["vis" if gate == "fused" else "local"] * asked

    check(module, variables, given, of_every_frame(frame))


def kernel(variables, given, b):
    """Eq. 5: BN(Conv_k(Repeat(f_t))): k taps (k,C), the same in every frame."""
    return batch_norm(
        variables, "kernel_norm", np.einsum("e,ekc->kc", given["sentence"][b], variables["params"]["kernel"]["kernel"])
    )


def f_cross(variables, given, b, t):
    """Eq. 6: DepthConv(f_vis; kernel): each channel with taps of its own."""
    taps = kernel(variables, given, b)
    return convolution(f_vis(variables, given, b, t), np.stack([np.diag(tap) for tap in taps]))


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("residual", ["vis", "cross"])
def test_equations_5_to_8_cross_correlation(residual, k):
    """Eq. 7: f_cross + Drop(f_cross) in the paper ("cross"), f_vis + Drop(f_cross) in the program ("vis"), which
    drops nothing here. Eq. 8: BN(Conv_k(f_drop))."""
    module, variables, given = made("cross_correlation", fusion_residual=residual, kernel_size=k)

    def frame(b, t):
        cross = f_cross(variables, given, b, t)
        f_drop = (cross if residual == "cross" else f_vis(variables, given, b, t)) + cross
        return batch_norm(variables, "mix_norm", convolution(f_drop, variables["params"]["mix"]["kernel"]))

    assert variables["params"]["mix"]["kernel"].shape == (k, WIDTH, WIDTH)
    check(module, variables, given, of_every_frame(frame))


def test_equations_10_to_13_text_first_modulation():
    """Both maps times BN(Conv_k(f_t)) (Eq. 10-12); f_local + CrossAtt(f'_local, f'_global, f_global) (Eq. 13)."""
    module, variables, given = made("text_first_modulation")

    def frame(b, t):
        local, global_ = (positioned(variables, given, name, b, t) for name in ("local", "global"))
        factor = kernel(variables, given, b)[0]
        asked = attention(variables["params"]["local_global"], local * factor, global_ * factor, global_)
        return local + asked

    check(module, variables, given, of_every_frame(frame))


def trained(module, variables, given):
    """(output, what `drop` and `mix` returned) of a training pass, {name: {"__call__": (array of each call, ...)}}."""

    @jax.jit
    def run(variables):
        return module.apply(
            variables, *arguments(given), train=True, rngs={"dropout": jax.random.key(1)},
            mutable=["batch_stats", "intermediates"], capture_intermediates=lambda m, _: m.name in ("drop", "mix"),
        )  # fmt: skip

    output, updated = run(variables)
    return output, updated["intermediates"]


def trained_kernel(variables, given):
    """Eq. 5 with the statistics of the batch: (B,C), of one tap."""
    raw = given["sentence"] @ variables["params"]["kernel"]["kernel"][:, 0]
    p = variables["params"]["kernel_norm"]
    return (raw - raw.mean(0)) / np.sqrt(raw.var(0) + 1e-5) * p["scale"] + p["bias"]


def check_mask(dropped, whole):
    """Whether `dropped` is `whole` with about half of its values 0 and the others doubled; the mask."""
    mask = dropped != 0
    assert 0.3 < mask.mean() < 0.7
    np.testing.assert_allclose(dropped, mask * whole / 0.5, atol=2e-5)
    return mask


@pytest.mark.parametrize("residual", ["vis", "cross"])
def test_equation_7_drops_the_correlation_alone(residual):
    """With the recorded mask m: f_drop = f_vis (program) or f_cross (paper), whole, + m f_cross / (1 - p)."""
    module, variables, given = made("cross_correlation", fusion_residual=residual, dropout=0.5)
    _, recorded = trained(module, variables, given)
    vis = of_every_frame(lambda b, t: f_vis(variables, given, b, t))
    cross = vis * trained_kernel(variables, given)[:, None, None]
    mask = check_mask(recorded["drop"]["__call__"][0], cross)
    f_drop = (vis if residual == "vis" else cross) + mask * cross / 0.5
    mixed = f_drop @ variables["params"]["mix"]["kernel"][0]
    np.testing.assert_allclose(recorded["mix"]["__call__"][0], mixed, atol=5e-5)


def test_equations_10_to_12_drop_the_factors():
    """Drop(BN(Conv_k(f_t))): each cell of each map loses factors of its own, and no residual keeps them."""
    module, variables, given = made("text_first_modulation", dropout=0.5)
    output, recorded = trained(module, variables, given)
    factor = trained_kernel(variables, given)[:, None, None]
    of_local, of_global = recorded["drop"]["__call__"]
    for dropped in (of_local, of_global):
        check_mask(dropped, np.broadcast_to(factor, dropped.shape))

    def frame(b, t):
        local, global_ = (positioned(variables, given, name, b, t) for name in ("local", "global"))
        p = variables["params"]["local_global"]
        return local + attention(p, local * of_local[b, t], global_ * of_global[b, t], global_)

    np.testing.assert_allclose(output, of_every_frame(frame), atol=2e-5)
