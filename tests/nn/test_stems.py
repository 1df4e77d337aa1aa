import jax
import numpy as np
import pytest

import trackers
from tests import families
from trackers import convert
from trackers.errors import InputError
from trackers.nn import stems


def _model(**changes):
    config = trackers.to_plain(families.config("grm").model)
    return {**config, "dtype": "float32", "stem": "convolutions", **changes}


def _convolved(x, kernel, bias):
    """3x3, stride 2, zeros around: (H,W,C) -> (H/2,W/2,F)."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    rows, columns = x.shape[0] // 2, x.shape[1] // 2
    out = np.zeros((rows, columns, kernel.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            out[i, j] = np.einsum("abc,abcf->f", padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3], kernel)
    return out + bias


def test_a_stem_is_what_it_says():
    stem = stems.make("convolutions", 8, 4, bias=True, dtype=np.float32)
    image = np.random.default_rng(0).standard_normal((1, 10, 13, 3)).astype(np.float32)
    variables = stem.init(jax.random.key(0), image)
    weights = jax.tree.map(np.asarray, variables["params"])
    assert weights["conv1"]["kernel"].shape == (3, 3, 3, 4) and weights["conv2"]["kernel"].shape == (3, 3, 4, 8)
    # What is beyond the last whole patch of 4 is not seen.
    x = _convolved(image[0, :8, :12], **weights["conv1"])
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    x = np.asarray(jax.nn.gelu(x * weights["norm1"]["scale"] + weights["norm1"]["bias"], approximate=False))
    np.testing.assert_allclose(stem.apply(variables, image)[0], _convolved(x, **weights["conv2"]), atol=1e-4)


@pytest.mark.slow
def test_a_tracker_has_it_for_both_crops_and_keeps_it():
    config = _model()
    model = trackers.build(config)
    variables = trackers.init(model, jax.random.key(0))
    assert set(variables["params"]["encoder"]["patch_embed"]) == {f"conv{i}" for i in range(1, 5)} | {
        f"norm{i}" for i in range(1, 4)
    }
    prediction = model.apply(variables, *trackers.example_inputs(model))
    assert prediction.maps["score_map"].shape[1:3] == model.search_grid
    again = convert.to_variables(convert.from_variables(variables, config), config)
    jax.tree.map(np.testing.assert_array_equal, variables, again)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stem": "conv"}, "model.stem"),
        ({"patch_size": 12}, "model.patch_size 12"),
        ({"width": 12, "heads": 3}, "width 12"),
    ],
)
def test_what_it_cannot_be(change, says):
    with pytest.raises(InputError, match=says):
        trackers.init(trackers.build(_model(**change)), jax.random.key(0))
