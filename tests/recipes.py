"""Rebuilds the weights and inputs of the recorded cases in tests/reference from their salts (see its README.md)."""

import hashlib
import json
from pathlib import Path

import jax
import numpy as np

import trackers

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


def given(manifest, name):
    """An input of any of the recorded recipes: images and features float32, tokens int32."""
    spec = manifest["inputs"][name]
    g, shape = gen(manifest["salt"], "input/" + name), tuple(spec["shape"])
    if spec["recipe"] == "tokens":
        rows = np.zeros(shape, np.int32)
        for row in rows:
            n = int(g.integers(spec["lo"], spec["hi"] + 1))
            row[: n + 2] = [49406, *g.integers(1, 49406, n), 49407]
        return rows
    if spec["recipe"] == "blocky":
        cells = spec["scale"] * g.standard_normal((*shape[:-2], *(n // spec["cell"] for n in shape[-2:])))
        return cells.repeat(spec["cell"], axis=-2).repeat(spec["cell"], axis=-1).astype(np.float32)
    if spec["recipe"] == "labels01":
        return (g.random(shape) < 0.5).astype(np.float32)
    return (spec.get("scale", 1.0) * g.standard_normal(shape)).astype(np.float32)


def stored(manifest, name):
    """The index of the part of an output that is stored, from its slice such as "[:, ::32, ::4]"."""
    written = manifest["outputs"][name].get("slice", "[...]")[1:-1]
    if written == "...":
        return ...
    return tuple(slice(None, None, int(part.strip().lstrip(":") or 1)) for part in written.split(","))


def random_variables(model, seed=0):
    """Variables of a model drawn without compiling its initialization; nothing is all zeros or ones."""
    return random_values(jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0)), seed)


def random_values(like, seed=0):
    """The same for a tree of variables' shapes."""
    rng = np.random.default_rng(seed)

    def leaf(path, spec):
        name, value = path[-1].key, rng.standard_normal(spec.shape).astype(np.float32)
        if name in ("scale", "var"):
            return 1 + 0.3 * np.abs(value)
        return value / np.float32(np.prod(spec.shape[:-1]) ** 0.5) if "kernel" in name else 0.3 * value

    return jax.tree_util.tree_map_with_path(leaf, like)
