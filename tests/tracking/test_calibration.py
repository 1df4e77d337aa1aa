"""Similarity calibration against the recorded case; both are float64."""

import numpy as np
import pytest

from tests.recipes import gen, load
from trackers.tracking.calibration import calibrate, pseudo_frequency


@pytest.fixture(scope="module")
def recorded():
    manifest, _ = load("ikun_losses")
    features = {}
    for name in ("test_feat", "train_feat"):
        drawn = gen(manifest["salt"], f"input/{name}").standard_normal(manifest["inputs"][name]["shape"])
        # The recorded features are the float32 inputs, normalized in float64.
        drawn = drawn.astype(np.float32).astype(np.float64)
        features[name] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return manifest["values"], features


@pytest.mark.parametrize("tau", [100, 10, 1])
def test_pseudo_frequency_equals_the_program(recorded, tau):
    values, features = recorded
    given = values["calibration_input"]
    found = pseudo_frequency(features["test_feat"], features["train_feat"], given["train_probability"], tau)
    expected = [values["calibration_pseudo_frequency"][f"{text}/tau={tau}"] for text in given["test_expressions"]]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_scores_equal_the_program(recorded):
    values, features = recorded
    given = values["calibration_input"]
    conversion = values["expression_conversion"]
    for name, expected in values["calibration_output"].items():
        a, b, tau = (float(part.split("=")[1]) for part in name.split(","))
        found = pseudo_frequency(features["test_feat"], features["train_feat"], given["train_probability"], tau)
        frequency = dict(zip(given["test_expressions"], found, strict=True))
        for track, frames in given["cls_dict"]["0005"].items():
            for frame, phrases in frames.items():
                for phrase, scores in phrases.items():
                    text = conversion.get(phrase, " ".join(phrase.split("-")))
                    text = {"cars in red": "car in red", "persons in the left": "pedestrian in the left"}.get(
                        text, text
                    )
                    text = {"females in the right": "women in the right"}.get(text, text)
                    shown = expected["0005"][track][frame][phrase]
                    np.testing.assert_allclose(calibrate(scores, frequency[text], a, b), shown, rtol=1e-9)


def test_defaults_and_equal_likeness():
    assert calibrate(0.2, 0.1) == pytest.approx(0.2 + 0.8 - 0.1)
    same = np.ones((3, 2)) / np.sqrt(2)
    np.testing.assert_allclose(pseudo_frequency(same[:1], same, [0.1, 0.2, 0.6]), [0.3])
    # A rare phrase's like lifts less than a frequent one's.
    frequency = pseudo_frequency(np.eye(2), np.eye(2), [0.9, 0.1])
    np.testing.assert_allclose(frequency, [0.9, 0.1])
