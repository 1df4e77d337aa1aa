"""What of a sprite a box covers: all of it, or a part of it that the template's box alone tells.

An extent is a set of parts and a rectangle on them at rest; it moves along with the parts, whose visible texels in it
are what the box covers.
"""

import jax
import jax.numpy as jnp

from data_pipelines.procedural.video.draws import draws, pick

WHOLE, HALF, PART, TWO_PARTS, WINDOW = range(5)
KINDS = 5
# Parts smaller than this (in areas of the sprite's own frame, where a sprite measures about 4) are not taken alone.
SMALLEST = 0.15
# Share of a sprite's texels that an extent shows in every pose; one that does not gives way to the whole.
LEAST_SEEN = 0.05
_FAR = 9.0


def choices(key, shape):
    """Draws one extent of each kind for a shape.

    Args:
      shape: from sprites.shape.

    Returns:
      dict: "parts" (KINDS, PARTS) bool; "low", "high" (KINDS, 2) corners of the rectangle, in the sprite's frame.
    """
    present = shape["present"] > 0.5
    parts = present.shape[0]
    u, n = draws(key, (10,), (2 * parts + 2,))
    stretch = jnp.stack([jnp.sqrt(shape["aspect"]), 1.0 / jnp.sqrt(shape["aspect"])])
    half, center = shape["half"] * stretch, shape["center"] * stretch
    area = jnp.where(present, 4 * half.prod(1), 0.0)

    # One part, large ones more often, and the one that is nearest to it, give or take.
    weight = jnp.where(area >= jnp.minimum(SMALLEST, area.max()), jnp.log(jnp.maximum(area, 1e-6)), -1e9)
    one = jax.nn.one_hot(jnp.argmax(weight + 0.8 * n[:parts]), parts) > 0.5
    away = jnp.linalg.norm((center - center[jnp.argmax(one)]), axis=1) + 0.15 * n[parts : 2 * parts]
    two = one | (jax.nn.one_hot(jnp.argmin(jnp.where(present & ~one, away, 1e9)), parts) > 0.5)

    # A half: mostly the upper one; the cut lies somewhere in the middle.
    side = jnp.searchsorted(jnp.array([0.6, 0.75, 0.875]), u[0])  # 0 upper, 1 lower, 2 left, 3 right
    axis, beyond = jnp.where(side < 2, 1, 0), side % 2 == 1
    cut = (0.8 * u[1] - 0.4) * stretch[axis]
    on_axis = jnp.arange(2) == axis
    half_low = jnp.where(on_axis & beyond, cut, -_FAR)
    half_high = jnp.where(on_axis & ~beyond, cut, _FAR)

    # A window around a point of a part, whose sides tell nothing of what lies in it.
    middle = center[pick(u[2], parts)] * 0.7
    sides = (0.35 + 0.5 * u[3]) * jnp.exp(0.35 * n[-1] * jnp.array([1.0, -1.0]))
    far = jnp.full(2, _FAR)
    return {
        "parts": jnp.stack([present, present, one, two & present, present]),
        "low": jnp.stack([-far, half_low, -far, -far, middle - sides]),
        "high": jnp.stack([far, half_high, far, far, middle + sides]),
    }


def supports(chosen, alpha, owner, at_rest, x, y, texel, directions):
    """How far what is seen of each extent reaches in each direction.

    Args:
      chosen: from `choices`.
      alpha: (H, W) cover of the texels; owner: (H, W) int32, the part that is seen there; at_rest: pair of (H, W),
        where that point of the part is at rest.
      x, y: (H, W) the texels' centers in the sprite's frame; texel: () their side.
      directions: (D,) angles.

    Returns: (KINDS, D), as sprites.draw's support; -inf throughout for extents of which too little is seen.
    """
    point = jnp.stack(at_rest, axis=-1)

    def of_one(extent):
        inside = ((point > extent["low"]) & (point < extent["high"])).all(-1) & extent["parts"][owner]
        seen = inside & (alpha > 0.05)
        # A texel covered by the share a reaches a - 1/2 texels beyond its center. Of a row or column its ends tell.
        reach, ends = (alpha - 0.5) * texel, []
        for axis, along in ((1, x), (0, y)):
            for sign in (1.0, -1.0):
                place = jnp.argmax(jnp.where(seen, sign * along + reach, -_FAR), axis=axis, keepdims=True)
                ends.append([jnp.take_along_axis(v, place, axis=axis).reshape(-1) for v in (x, y, reach, seen)])
        at_x, at_y, beyond, there = (jnp.concatenate(v) for v in zip(*ends, strict=True))
        far = jnp.cos(directions)[:, None] * at_x + jnp.sin(directions)[:, None] * at_y + beyond
        enough = jnp.sum(jnp.where(seen, alpha, 0.0)) > LEAST_SEEN * jnp.sum(alpha)
        return jnp.where(enough, jnp.max(jnp.where(there, far, -jnp.inf), axis=1), -jnp.inf)

    return jax.lax.map(of_one, chosen)


def seen_in_all(reaches, whole):
    """(poses, KINDS, D) of `supports`, with the whole's (poses, D) where an extent is not seen in every pose."""
    seen = jnp.isfinite(reaches).all((0, 2)).at[WHOLE].set(False)
    return jnp.where(seen[None, :, None], reaches, whole[:, None])


def chosen_kind(key, probability):
    """Which extent a scene's box covers, () int32: one other than the whole with `probability`, each as often."""
    u, _ = draws(key, (2,))
    return jnp.where(u[0] < probability, 1 + pick(u[1], KINDS - 1), WHOLE)
