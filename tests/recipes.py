"""Rebuilds the weights and inputs of the recorded cases in tests/reference from their salts (see its README.md)."""

import hashlib
import json
from pathlib import Path

import numpy as np

REFERENCE = Path(__file__).parent / "reference"


def gen(salt, key):
    """The generator of one named array of a case."""
    digest = hashlib.sha256(f"{salt}:{key}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))


def draw(salt, key, spec):
    """One weight, float32 (int64 for counters), in PyTorch's layout."""
    g, shape, rule = gen(salt, key), tuple(spec["shape"]), spec["rule"]
    if rule == "counter":
        return np.zeros(shape, np.int64)
    if rule == "bn_var":
        value = 1.0 + 0.1 * g.random(shape)
    elif rule == "bn_mean":
        value = 0.1 * g.standard_normal(shape)
    elif rule == "norm_scale":
        value = 1.0 + 0.1 * g.standard_normal(shape)
    elif rule in ("bias", "embed"):
        value = 0.02 * g.standard_normal(shape)
    else:
        value = g.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return (value * spec.get("scale", 1.0) + np.asarray(spec.get("offset", 0.0))).astype(np.float32)


def load(case):
    """(manifest dict, outputs {name: array}) of a recorded case."""
    folder = REFERENCE / case
    with np.load(folder / "outputs.npz") as outputs:
        return json.loads((folder / "manifest.json").read_text()), {k: outputs[k] for k in outputs.files}


def weights(manifest):
    """{published key: array} of a case."""
    return {key: draw(manifest["salt"], key, spec) for key, spec in manifest["keys"].items()}


def image(manifest, name):
    """A standard-normal image input, float32, as recorded (NCHW)."""
    shape = tuple(manifest["inputs"][name]["shape"])
    return gen(manifest["salt"], "input/" + name).standard_normal(shape).astype(np.float32)
