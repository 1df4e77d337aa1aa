import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trackers
from trackers.nn.distribution import EDGES
from trackers.tracking.pictures import attention, maps, panels
from trackers.tracking.single_object import Tracker

CONFIG = {
    "name": "mixformer_v2", "width": 16, "depth": 2, "heads": 1, "template_size": 32, "search_size": 64,
    "head": {"bins": 16}, "scan_layers": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def network():
    model = trackers.build(CONFIG)
    return model, trackers.init(model, jax.random.key(0))


def test_attention_is_what_the_layer_computes_with():
    model = trackers.build(CONFIG | {"scan_layers": False})
    variables = trackers.init(model, jax.random.key(1))
    images = jax.random.normal(jax.random.key(2), (2, 64, 64, 3))
    cache = model.apply(variables, images.reshape(2, 4, 32, 32, 3)[:, :2], None, method="encode_template")
    weights, prediction = attention.token_attention(model, variables, cache, images, slice(-4, None))
    assert weights.shape == (2, 2, 4, 2 * 4 + 16 + 4)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-5)
    plain = model.apply(variables, cache, images, method="locate")
    np.testing.assert_array_equal(prediction.box, plain.box)
    # With one head the weighted values, projected, are the layer's own output.
    _, caught = model.apply(
        variables, cache, images, method="locate", mutable=["intermediates"],
        capture_intermediates=lambda module, _: module.name in ("qkv", "out"),
    )  # fmt: skip
    for i in range(2):
        layer = caught["intermediates"]["encoder"][f"block_{i}"]["attention"]
        values = jnp.concatenate(
            [cache["memory"][i][1], layer["qkv"]["__call__"][0].reshape(2, -1, 3, 1, 16)[:, :, 2]], axis=1
        )
        out = variables["params"]["encoder"][f"block_{i}"]["attention"]["out"]
        attended = jnp.einsum("btn,bnhd,hdc->btc", weights[:, i], values, out["kernel"]) + out["bias"]
        np.testing.assert_allclose(attended, layer["out"]["__call__"][0].reshape(2, -1, 16)[:, -4:], atol=1e-5)


def test_picture(network, tmp_path):
    model, variables = network
    tracker = Tracker(model, {"search_factor": 4.3})
    frames = np.random.default_rng(0).integers(0, 255, (2, 90, 120, 3), dtype=np.uint8)
    box = np.float32([40, 30, 20, 16])
    state = tracker.init(variables, frames[0], box)
    figure = maps.Attention(tracker, variables, (1, 2))
    figure.start(frames[0], box)
    rows = figure.rows("frame 1", state, frames[1], None)
    images = ("search", "first template", "online template 1")
    assert [label for label, _ in rows] == [f"frame 1, layer {layer}\n{name}" for layer in (1, 2) for name in images]
    assert [panel.title for panel in rows[0][1][1:]] == [f"token of {edge}" for edge in EDGES]
    assert rows[0][1][0].image.shape == (64, 64, 3) and rows[1][1][0].image.shape == (32, 32, 3)
    panels.draw(tmp_path / "p.png", rows, figure.title, figure.legend)
    assert (tmp_path / "p.png").stat().st_size > 10_000

    crop = maps.search_crop(tracker, state, frames[1])
    shown = figure._look(state, crop)
    assert shown.on_templates.shape == (2, 4, 2, 2, 2) and shown.on_search.shape == (2, 4, 4, 4)
    shares = shown.on_templates.sum(axis=(2, 3, 4)) + shown.on_search.sum(axis=(2, 3))
    assert (shares < 1).all() and (shares > 0.1).all()  # the rest is between prediction tokens
    for edge in EDGES:
        np.testing.assert_allclose(shown.edges[edge].sum(), 1.0, atol=1e-5)
