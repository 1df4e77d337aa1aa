"""Sprites: things made of several parts, each part with its own texture, drawn in any pose.

A sprite is a shape (which parts, where) in a texture (palette, marks, shading). Its own frame has x to the right and y
down; at rest the parts fill about [-1, 1] x [-1, 1] times (sqrt(aspect), 1 / sqrt(aspect)); the cell drawn is larger,
for limbs to swing in. `support` gives the exact bounding box of the painted outline under any linear map.
"""

import jax
import jax.numpy as jnp

from data_pipelines.procedural.video import extents, leaves
from data_pipelines.procedural.video.draws import draws, pick

PARTS = 7
MARKS = 20
REACH = 1.3
DIRECTIONS = 64


def shape(key):
    """Draws a shape: a compact thing, an upright figure with limbs, or a vehicle.

    Returns:
      dict: "aspect" (); "center", "half" (PARTS, 2) and "angle", "anchor" (PARTS,): the joint a part turns about, in
      half heights from its center; "kind" (PARTS,) 0 ellipse, 1 rounded box; "present" (PARTS,); "swing" () of the
      joints; "color" (PARTS,) index of the palette.
    """
    u, n = draws(key, (8, PARTS), (6, PARTS))
    s = u[7]
    blank = jnp.zeros(PARTS)
    first = jnp.arange(PARTS) == 0
    compact = {
        "aspect": jnp.exp(0.4 * n[5, 0]),
        "center": jnp.where(first, 0.0, 1.3 * (u[0:2] - 0.5)).T,
        "half": jnp.where(first, 0.75 + 0.25 * u[2:4], 0.15 + 0.4 * u[2:4] ** 1.5).T,
        "angle": jnp.where(first, 0.15, 0.8) * n[0],
        "anchor": blank,
        "kind": u[4] < 0.45,
        "present": first | (u[5] < s[1]),
        "swing": 0.4 * s[2],
        "color": jnp.floor(6 * u[6]),
    }
    # Back to front: two legs, far arm, torso, head, near arm, something carried.
    wide, hip = 0.35 + 0.25 * s[3], 0.05 + 0.2 * s[4]
    leg = 0.5 * (0.98 - hip)
    upright = {
        "aspect": 0.28 + 0.45 * s[5] ** 1.5,
        "center": jnp.stack(
            [
                jnp.array([-0.4, 0.4, -1.0, 0.0, 0.0, 1.0, 1.2]) * wide + 0.08 * n[0],
                jnp.array([hip + leg, hip + leg, -0.2, (hip - 0.55) / 2, -0.78, -0.2, -0.1]) + 0.03 * n[1],
            ],
            axis=1,
        ),
        "half": jnp.stack(
            [
                jnp.array([0.45, 0.45, 0.28, 1.0, 0.55, 0.28, 0.7]) * wide,
                jnp.array([leg, leg, 0.36, (hip + 0.62) / 2, 0.2, 0.36, 0.25]),
            ],
            axis=1,
        )
        * jnp.exp(0.12 * n[2:4].T),
        "angle": jnp.array([0.25, 0.25, 0.3, 0.05, 0.0, 0.3, 0.4]) * n[4],
        "anchor": jnp.array([-1.0, -1.0, -0.9, 1.0, 1.0, -0.9, 0.0]),
        "kind": jnp.array([1, 1, 1, 1, 0, 1, 1]).astype(bool) & (u[4] < 0.8),
        "present": jnp.array([1, 1, 1, 1, 1, 1, 0]).astype(bool) | (u[5] < 0.4),
        "swing": 0.2 + 0.5 * s[2],
        "color": jnp.array([0, 0, 1, 1, 2, 1, 3]),
    }
    # Body, cabin, two wheels or lights, window, plate, load.
    vehicle = {
        "aspect": 0.9 + 1.6 * s[5],
        "center": jnp.stack(
            [
                jnp.array([0, 0, -0.65, 0.65, 0, 0, 0]) + jnp.array([0, 0.1, 0.04, 0.04, 0.1, 0.2, 0.4]) * n[0],
                jnp.array([0.3, -0.4, 0.7, 0.7, -0.4, 0.4, -0.1]) + 0.05 * n[1],
            ],
            axis=1,
        ),
        "half": jnp.stack(
            [jnp.array([0.95, 0.7, 0.18, 0.18, 0.55, 0.3, 0.25]), jnp.array([0.5, 0.5, 0.28, 0.28, 0.3, 0.12, 0.2])],
            axis=1,
        )
        * jnp.exp(0.15 * n[2:4].T),
        "angle": 0.03 * n[4],
        "anchor": blank,
        "kind": jnp.array([1, 1, 0, 0, 1, 1, 1]).astype(bool),
        "present": jnp.array([1, 1, 1, 1, 1, 0, 0]).astype(bool) | (u[5] < 0.5),
        "swing": 0.08,
        "color": jnp.array([1, 1, 0, 0, 2, 3, 4]),
    }
    family = jnp.where(s[0] < 0.42, 0, jnp.where(s[0] < 0.8, 1, 2))
    return jax.tree.map(
        lambda *kinds: jnp.stack([jnp.asarray(k, jnp.float32) for k in kinds])[family], compact, upright, vehicle
    )


def texture(key, photographic=False):
    """Draws a texture: dict of "colors" (6, 3), "marks" (MARKS, 10), "shade" (3,), "stripes" (4,), "cutout" ().

    photographic: as of leaves.palette.
    """
    keys = jax.random.split(key)
    colors = leaves.palette(keys[0], 6, photographic)
    u, _ = draws(keys[1], (10, MARKS))
    s = u[9]
    radius = 0.09 * (1.0 + 7.0 * u[0] ** 3)  # many small marks, few large
    angle = jnp.where(s[0] < 0.5, jnp.round(2 * u[1]) * jnp.pi / 2, 2 * jnp.pi * u[1])
    choice = colors[pick(u[2], 6)] * (0.7 + 0.6 * u[3])[:, None]
    marks = jnp.stack(
        [
            2.4 * (u[4] - 0.5),
            2.4 * (u[5] - 0.5),
            jnp.cos(angle) / radius,
            jnp.sin(angle) / radius,
            jnp.exp(1.2 * u[6]),
            jnp.floor(3 * u[7] ** 1.5),
            jnp.where(u[8] < 0.1 + 0.85 * s[1], 1.0, 0.0),
            *choice.T,
        ],
        axis=1,
    )
    stripes = jnp.stack(
        [
            jnp.where(s[2] < 0.25, 0.1 + 0.4 * s[3], 0.0),
            6.0 + 14.0 * s[4],
            jnp.cos(2 * jnp.pi * s[5]),
            jnp.sin(2 * jnp.pi * s[5]),
        ]
    )
    shade = jnp.stack([0.7 * (s[6] - 0.5), 0.7 * (s[7] - 0.5), 0.5 * s[8] ** 2])
    return {"colors": colors, "marks": marks, "shade": shade, "stripes": stripes, "cutout": s[9]}


def draw(shape_, texture_, pose, noise, size, patch=None, chosen=None):
    """Paints one sprite.

    Args:
      shape_, texture_: from `shape` and `texture`.
      pose: (PARTS, 3) numbers of about unit deviation: how far each part is turned and shifted from rest.
      noise: (size, size) mean 0: fine grain.
      size: side of the cell in texels.
      patch: (size, size, 3) 0..1, what the parts are cut from, or None; it shows with weight texture_["cutout"].
      chosen: from extents.choices, or None.

    Returns:
      (rgba (size, size, 4) float32 in 0..1; support (DIRECTIONS,): for direction k at angle 2 pi k / DIRECTIONS, how
      far the outline reaches in it, in the sprite's frame; cell (2,): half width and height of the cell, in it too; of
      extents.supports, None where none are chosen).
    """
    stretch = jnp.stack([jnp.sqrt(shape_["aspect"]), 1.0 / jnp.sqrt(shape_["aspect"])])
    cell = REACH * jnp.maximum(stretch, 0.6 * stretch[::-1])
    ticks = (jnp.arange(size) + 0.5) / size * 2.0 - 1.0
    x, y = jnp.meshgrid(ticks * cell[0], ticks * cell[1])
    texel = 2.0 / size * cell.max()

    half = shape_["half"] * stretch
    rest = shape_["center"] * stretch
    turn = shape_["angle"] + shape_["swing"] * pose[:, 0]
    joint = rest + jnp.stack([jnp.zeros(PARTS), shape_["anchor"] * half[:, 1]], axis=1)
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    arm = rest - joint
    center = joint + jnp.stack([cos * arm[:, 0] - sin * arm[:, 1], sin * arm[:, 0] + cos * arm[:, 1]], axis=1)
    center = center + 0.1 * shape_["swing"] * pose[:, 1:]

    def part(state, p):
        alpha, color, at_x, at_y, shine, owner = state
        dx, dy = x - p["center"][0], y - p["center"][1]
        u, v = p["cos"] * dx + p["sin"] * dy, p["cos"] * dy - p["sin"] * dx
        small = jnp.minimum(p["half"][0], p["half"][1])
        ellipse = (jnp.hypot(u / p["half"][0], v / p["half"][1]) - 1.0) * small
        corner = 0.35 * small
        qx, qy = jnp.abs(u) - p["half"][0] + corner, jnp.abs(v) - p["half"][1] + corner
        box = jnp.hypot(jnp.maximum(qx, 0.0), jnp.maximum(qy, 0.0)) + jnp.minimum(jnp.maximum(qx, qy), 0.0) - corner
        distance = jnp.where(p["kind"] > 0.5, box, ellipse)
        cover = jnp.clip(0.5 - distance / texel, 0.0, 1.0) * p["present"]
        front = cover > 0.5
        return (
            jnp.maximum(alpha, cover),
            jnp.where(front[..., None], texture_["colors"][p["color"].astype(jnp.int32)], color),
            jnp.where(front, u + p["rest"][0], at_x),  # where this point of the part is at rest: texture moves along
            jnp.where(front, v + p["rest"][1], at_y),
            jnp.where(front, u / p["half"][0], shine),
            jnp.where(front | (cover > alpha), p["number"], owner),
        ), None

    parts = {
        "center": center,
        "half": half,
        "rest": rest,
        "cos": cos,
        "sin": sin,
        "number": jnp.arange(PARTS),
        **{k: shape_[k] for k in ("kind", "present", "color")},
    }
    empty = jnp.zeros((size, size))
    ground = jnp.broadcast_to(texture_["colors"][shape_["color"][0].astype(jnp.int32)], (size, size, 3))
    state = empty, ground, x, y, empty, jnp.zeros((size, size), jnp.int32)
    (alpha, color, at_x, at_y, shine, owner), _ = jax.lax.scan(part, state, parts)

    def mark(color, m):
        dx, dy = at_x - m[0] * stretch[0], at_y - m[1] * stretch[1]
        hit = leaves.inside(m[5], m[2] * dx + m[3] * dy, m[4] * (m[2] * dy - m[3] * dx)) & (m[6] > 0.5)
        return jnp.where(hit[..., None], m[7:10], color), None

    color, _ = jax.lax.scan(mark, color, texture_["marks"])
    if patch is not None:
        row, column = (
            jnp.mod((at / half + 1.0) * size / 2, size).astype(jnp.int32)
            for at, half in ((at_y, cell[1]), (at_x, cell[0]))
        )
        color = color + texture_["cutout"] * (patch[row, column] - color)
    s, t = texture_["shade"], texture_["stripes"]
    light = 1.0 + s[0] * x / stretch[0] + s[1] * y / stretch[1] - s[2] * shine**2 + 0.06 * noise
    light = light * (1.0 + t[0] * jnp.sign(jnp.sin(t[1] * (t[2] * at_x + t[3] * at_y))))
    color = jnp.clip(color * jnp.maximum(light, 0.1)[..., None], 0.0, 1.0)
    edge = jnp.minimum(jnp.arange(size), size - 1 - jnp.arange(size)) > 0
    alpha = alpha * edge[:, None] * edge[None]
    reaches = None
    if chosen is not None:
        reaches = extents.supports(chosen, alpha, owner, (at_x, at_y), x, y, texel, _angles())
    return jnp.concatenate([color, alpha[..., None]], axis=-1), _support(alpha, x, y, texel), cell, reaches


def _angles():
    return 2.0 * jnp.pi * jnp.arange(DIRECTIONS) / DIRECTIONS


def _support(alpha, x, y, texel):
    """Reach of the painted texels in each direction, () -> (DIRECTIONS,)."""
    # A texel covered by the share a reaches a - 1/2 texels beyond its center.
    reach = jnp.where(alpha > 0.05, (alpha - 0.5) * texel, -jnp.inf)
    return jax.lax.map(lambda a: jnp.max(x * jnp.cos(a) + y * jnp.sin(a) + reach), _angles())


def extent(support, matrix):
    """Bounding box of an outline after a linear map.

    Args:
      support: (DIRECTIONS,) of `draw`.
      matrix: (2, 2), from the sprite's frame to the picture.

    Returns:
      (2, 2): [[left, top], [right, bottom]] relative to where the frame's origin goes.
    """

    def reach(row):
        place = jnp.mod(jnp.arctan2(row[1], row[0]) / (2.0 * jnp.pi) * DIRECTIONS, DIRECTIONS)
        low = jnp.floor(place).astype(jnp.int32)
        share = place - low
        value = (1.0 - share) * support[low % DIRECTIONS] + share * support[(low + 1) % DIRECTIONS]
        return value * jnp.hypot(row[0], row[1])

    return jnp.stack([-jnp.stack([reach(-row) for row in matrix]), jnp.stack([reach(row) for row in matrix])])
