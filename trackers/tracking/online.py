"""Online templates: the crops of past frames that serve beside the first frame's (MixFormerV2's tracker).

Within an interval of frames the best-scored crop is remembered; at its end that crop replaces an online template and
the search for the next one begins. Pure functions of a state of fixed size, for jit, vmap and scan.
"""

import flax
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Online:
    """Templates and the candidate for the next one.

    templates: (K,S,S,3) uint8, the first frame's and then the online ones; boxes: (K,4) x,y,w,h fractions of the crops.
    best: (S,S,3) uint8 and best_box: (4,), the candidate; best_score: () float32, -1 where there is none yet.
    frames: () int32 tracked so far. slot: () int32, 1..K-1, the template that is replaced next.
    """

    templates: jax.Array
    boxes: jax.Array
    best: jax.Array
    best_box: jax.Array
    best_score: jax.Array
    frames: jax.Array
    slot: jax.Array


def start(crop, box, count):
    """All `count` templates are the first frame's: crop (S,S,3) of whole levels, box (4,) fractions of it.

    The program instead begins with one online template and appends others; its loop breaks when it does. Here sizes
    stay fixed: a template that is there twice weighs more in the attention until it is replaced.
    """
    crop = crop.astype(jnp.uint8)
    return Online(
        templates=jnp.broadcast_to(crop, (count, *crop.shape)),
        boxes=jnp.broadcast_to(box, (count, 4)),
        best=crop,
        best_box=box,
        best_score=jnp.float32(-1),
        frames=jnp.int32(0),
        slot=jnp.int32(1),
    )


def judge(online, score, cut, threshold=0.5, decay=1.0):
    """Takes a frame for candidate where its score is above the threshold and the best of the interval so far.

    Args:
      online: Online.
      score: () float32 of the frame; NaN is never taken.
      cut: () -> (crop (S,S,3) of whole levels around the new box, box (4,) in it); only called where it is needed.
      threshold: smallest score, exclusive. decay: factor of the best score before each comparison.

    Returns: Online.
    """
    best_score = online.best_score * decay

    def take():
        crop, box = cut()
        return crop.astype(jnp.uint8), box, score.astype(jnp.float32)

    taken = (score > threshold) & (score > best_score)
    best, box, best_score = jax.lax.cond(taken, take, lambda: (online.best, online.best_box, best_score))
    return online.replace(best=best, best_box=box, best_score=best_score, frames=online.frames + 1)


def is_due(frames, interval):
    """Whether so many frames tracked end an interval."""
    return frames % interval == 0


def renew(online, interval):
    """At the end of an interval the candidate replaces the oldest online template and is forgotten.

    The next candidate starts as the first frame's crop, so that an interval without a good frame puts that one back.

    Returns: (Online, due): due () bool, whether the templates were replaced.
    """
    due = is_due(online.frames, interval)
    count = online.templates.shape[0]
    replaced = online.replace(
        templates=online.templates.at[online.slot].set(online.best),
        boxes=online.boxes.at[online.slot].set(online.best_box),
        best=online.templates[0],
        best_box=online.boxes[0],
        best_score=jnp.float32(-1),
        slot=1 + online.slot % (count - 1),
    )
    return jax.tree.map(lambda new, old: jnp.where(due, new, old), replaced, online), due
