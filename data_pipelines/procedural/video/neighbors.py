"""Sprites whose place depends on the target's: a companion that moves along with it, and a look-alike beside it.

"Raw" lengths are those of the target's own map from its sprite's frame, before its box is scaled to one unit.
"""

import jax.numpy as jnp

from data_pipelines.procedural.video import sprites
from data_pipelines.procedural.video.draws import draws

# Rows of a scene's other sprites that these two take.
COMPANION, TWIN = 0, 1


def touching(direction, sizes):
    """How far apart along `direction` (2,) the centers of two boxes of sizes (2, 2) are where they touch: ()."""
    return jnp.min(sizes.sum(0) / 2 / jnp.maximum(jnp.abs(direction), 1e-4))


def scene_numbers(key, config):
    """What the views share of both: dict of numbers. "company" 0 none, 1 not in the box, 2 in it."""
    u, n = draws(key, (6,), (4,))
    company = jnp.where(u[0] < config.companion_probability, jnp.where(u[1] < 0.5, 2, 1), 0)
    return {
        "company": company,
        "bearing": jnp.pi * (u[2] < 0.5) + 0.3 * n[0],
        "gap": 0.6 + 0.5 * u[3],
        "company_size": jnp.exp(0.2 * n[1]),
        "twin": u[4] < config.twin_probability,
    }


def _turned(angle, mirror, size):
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return size * jnp.stack([jnp.stack([mirror * cos, -sin]), jnp.stack([mirror * sin, cos])])


def companion(key, scene, support, target, change):
    """The companion in one view: beside the target, at its scale, with little motion of its own.

    Args:
      support: (DIRECTIONS,) of the companion's sprite. target: (2, 2) raw box of the whole target. change: ().

    Returns: (map (2, 2) from its sprite's frame to raw lengths, origin (2,) of that frame, box (2, 2)).
    """
    _, n = draws(key, (0,), (4,))
    size = target[1] - target[0]
    turn = _turned(scene["spin"] + 0.12 * change * n[0], scene["mirror"], 1.0)
    own = jnp.diff(sprites.extent(support, turn), axis=0)[0]
    turn = turn * scene["company_size"] * jnp.sqrt(size.prod() / own.prod())
    box = sprites.extent(support, turn)
    direction = jnp.stack([jnp.cos(scene["bearing"]), jnp.sin(scene["bearing"])])
    away = scene["gap"] * touching(direction, jnp.stack([size, box[1] - box[0]])) * direction
    away = away + 0.06 * change * n[1:3] * size
    origin = (target[0] + target[1]) / 2 + away - (box[0] + box[1]) / 2
    return turn, origin, box + origin


def twin(key, scene, support, size, unit):
    """The look-alike in one view: as large as the target, and beside its box.

    Args:
      support: (DIRECTIONS,) of its sprite. size: (2,) of the target's box in units, around 0. unit: () in raw lengths.

    Returns: (map (2, 2) from units to its sprite's frame, origin (2,) of that frame in units).
    """
    u, n = draws(key, (2,), (2,))
    turn = _turned(scene["spin"] + 0.15 * n[0], scene["mirror"], jnp.exp(0.08 * n[1]) / unit)
    box = sprites.extent(support, turn)
    bearing = 2 * jnp.pi * u[0]
    direction = jnp.stack([jnp.cos(bearing), jnp.sin(bearing)])
    away = touching(direction, jnp.stack([size, box[1] - box[0]])) + 0.02 + 0.5 * u[1]
    return jnp.linalg.inv(turn), away * direction - (box[0] + box[1]) / 2
