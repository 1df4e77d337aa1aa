"""Lost and found: is the target still what the box is on, and where to look for it when it is not.

A target is lost after a few frames in a row whose score is low, and found again by one whose score is high (two
thresholds, so that it does not flicker). While it is lost the tracker looks where it was last sure, and besides through
nine windows in one batch: a block around that place that widens, then cell after cell of a grid over the whole frame.
Where one of them has a high score the box jumps there, and the next frame must confirm it. Our choice throughout: the
papers track short sequences, whose target does not leave. Pure functions of a state of fixed size, for jit, vmap and
scan.
"""

import flax
import jax
import jax.numpy as jnp

from trackers.ops import boxes

# What track.py and trackers.load(recover=True) take for tracking.lost_below and tracking.found_above, measured with the
# shipped tracker (docs/lost_and_found.md).
LOST_BELOW, FOUND_ABOVE = 0.35, 0.75
# Windows looked at in a frame: a block of so many by so many.
_BLOCK = 3
WINDOWS = _BLOCK**2
# Frames in which the block widens, by half a window each, before the frame is scanned.
_WIDENING = 2
# Distance of the scanned cells over a window's side: no place is farther than a quarter of a side from a middle.
_STRIDE = 0.5


def switched_on(config, lost_below=None, found_above=None):
    """A config's tracking section, a dict, in which a target can be lost: what is None is the config's or as above."""
    changes = {"lost_below": lost_below, "found_above": found_above}
    given = {name: value for name, value in changes.items() if value is not None}
    return {"lost_below": LOST_BELOW, "found_above": FOUND_ABOVE, **dict(config.items()), **given}


@flax.struct.dataclass
class Sighting:
    """What is remembered of a target.

    lost: () bool. count: () int32, frames in a row with a low score, or, while it is lost, since then.
    sure: (4,) float32 x, y, w, h in pixels, the last box whose score was not low. cell: () int32, where the scan is.
    """

    lost: jax.Array
    count: jax.Array
    sure: jax.Array
    cell: jax.Array


def start(box):
    """Of a target that is seen: box (4,) float32 x, y, w, h in pixels."""
    return Sighting(lost=jnp.bool_(False), count=jnp.int32(0), sure=box, cell=jnp.int32(0))


def judge(sighting, box, score, lost_below, found_above, lost_after):
    """What a frame's box and score say.

    Args:
      sighting: Sighting.
      box: (4,) x, y, w, h in pixels.
      score: () float32; NaN, of trackers that give none, says nothing.
      lost_below: scores below are low. found_above: a lost target is found by a score of at least this.
      lost_after: frames in a row of low scores that lose a target.

    Returns: Sighting.
    """
    low, high = score < lost_below, score >= found_above
    count = jnp.where(sighting.lost | low, sighting.count + 1, 0)
    lost = jnp.where(sighting.lost, ~high, count >= lost_after)
    return Sighting(
        lost=lost,
        count=jnp.where(lost != sighting.lost, 0, count),
        sure=jnp.where(lost | low, sighting.sure, box),
        cell=jnp.where(lost, sighting.cell, 0),
    )


def held(sighting, box, low=False):
    """The box (4,) that goes on: of a lost target at the size last sure, and where it was last sure if the score is low
    (low: () bool), as what is seen then is something else."""
    size = jnp.where(sighting.lost, sighting.sure[2:], box[2:])
    resized = jnp.concatenate([box[:2] + 0.5 * (box[2:] - size), size])
    return jnp.where(sighting.lost & low, sighting.sure, resized)


def places(sighting, side, height, width):
    """Where to look for a lost target in this frame.

    Args:
      sighting: Sighting.
      side: of the search window in pixels, () or (2,).
      height, width: the frame's, may be traced.

    Returns: (boxes (WINDOWS, 4) x, y, w, h in pixels of the size last sure, in the windows' middles; Sighting for the
      next frame).
    """
    step = _STRIDE * side
    number = jnp.arange(WINDOWS)
    block = jnp.stack([number % _BLOCK, number // _BLOCK], axis=1) - _BLOCK // 2
    around = boxes.xywh_to_cxcywh(sighting.sure)[:2] + block * step * (sighting.count + 1)
    # Cells of equal size that cover the frame, row by row.
    frame = jnp.stack([width, height]).astype(jnp.float32)
    grid = jnp.maximum(jnp.ceil(frame / step), 1).astype(jnp.int32)
    cell = (sighting.cell + number) % (grid[0] * grid[1])
    scanned = (jnp.stack([cell % grid[0], cell // grid[0]], axis=1) + 0.5) * frame / grid
    scanning = sighting.count >= _WIDENING
    centers = jnp.clip(jnp.where(scanning, scanned, around), 0, frame)
    sizes = jnp.broadcast_to(sighting.sure[2:], centers.shape)
    after = jnp.where(scanning, (sighting.cell + WINDOWS) % (grid[0] * grid[1]), 0)
    return boxes.cxcywh_to_xywh(jnp.concatenate([centers, sizes], axis=1)), sighting.replace(cell=after)
