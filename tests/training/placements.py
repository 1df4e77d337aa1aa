"""Where every leaf of the published networks' training state lies on three meshes, as text; goldens in placements/.

python -m tests.training.placements rewrites them.
"""

import functools
import re
from pathlib import Path

import jax
from jax.sharding import AbstractMesh

import trackers
from tests import families
from tests.training import support
from trackers.training import sharding, state

FOLDER = Path(__file__).parent / "placements"
MESHES = ((8, 1, 1), (1, 8, 1), (2, 2, 2))
_LAYER = re.compile(r"block_?[0-9]+/")
# Parts of the state that mirror the parameters: the prefixes of their leaves' names, and how the text calls them.
_PARTS = (
    (r"^params/", "params"), (r"^opt_state/.*?/?mu/", "mu"), (r"^opt_state/.*?/?nu/", "nu"), (r"^ema/", "ema"),
    (r"^batch_stats/", "batch_stats"),
)  # fmt: skip


@functools.cache
def abstract_state(family):
    """TrainState of shapes of a family's published base size, with a moving average."""
    config = families.config(family, families.FAMILIES[family])
    # As on a pod of TPUs.
    config.model.scan_layers = True
    model, optimizer = trackers.build(config.model), support.optimizer(config)
    return jax.eval_shape(lambda key: state.create(trackers.init(model, key), optimizer, 0.999), jax.random.key(0))


def describe(family, shape):
    """The placement of every leaf of `family` on a mesh of `shape`, one line for each kind: its name without the number
    of the layer, the length of each axis with the mesh axis that it is split over, parts of the state, how many.
    """
    mesh = AbstractMesh(shape, sharding.AXES)
    found = {}
    for path, leaf in state.named_leaves(abstract_state(family)):
        part, name = _split(path)
        spec = tuple(sharding.spec(path, leaf.shape, mesh))
        spec += (None,) * (len(leaf.shape) - len(spec))
        axes = ", ".join(f"{n} {axis}" if axis else str(n) for n, axis in zip(leaf.shape, spec, strict=True))
        line = f"{_LAYER.sub('block*/', name)} ({axes})"
        found.setdefault(line, {}).setdefault(part, 0)
        found[line][part] += 1
    lines = []
    for line, parts in sorted(found.items()):
        counts = set(parts.values())
        assert len(counts) == 1, f"{line}: parts of the state differ: {parts}"
        times = f" {counts.pop()} times" if counts != {1} else ""
        lines.append(f"{line}: {' '.join(parts)}{times}")
    return "\n".join(lines) + "\n"


def _split(path):
    for pattern, part in _PARTS:
        if match := re.search(pattern, path):
            return part, path[match.end() :]
    return "state", path


def golden(family, shape):
    """Path of the recorded text."""
    return FOLDER / f"{family}_{'x'.join(map(str, shape))}.txt"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in families.FAMILIES:
        for mesh_shape in MESHES:
            golden(name, mesh_shape).write_text(describe(name, mesh_shape))
