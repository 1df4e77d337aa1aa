"""Procedural sequences for evaluation: what training_pairs.py shows in two views, as smooth motion over many frames."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.procedural.video import leaves, sprites
from data_pipelines.procedural.video.detail import faded, flattened
from data_pipelines.procedural.video.render import compose, expose, pack
from data_pipelines.procedural.video.training_pairs import to_pixels
from trackers import progress
from trackers.errors import InputError
from trackers.io import outputs, ownership

BACKGROUND = 512
CELL = 96
OTHERS = 4  # two look-alikes and a stranger behind the target, one thing that passes in front of it


def _smooth(rng, length, *shape):
    """Smooth paths (length, *shape) of about unit deviation: a few slow waves of random phase."""
    t = np.arange(length).reshape(-1, 1, *(1,) * len(shape))
    periods = rng.uniform(30.0, 140.0, (1, 4, *shape))
    waves = np.sin(2 * np.pi * (t / periods + rng.random((1, 4, *shape))))
    return (waves / np.sqrt(2.0)).sum(1)


def _plan(rng, length, size):
    """Every number of every frame, drawn on the host: dict of (length, ...) arrays; lengths in frame heights."""
    height, width = size
    room = np.array([width / height, 1.0])
    unit = rng.uniform(0.15, 0.27) * np.exp(0.18 * _smooth(rng, length))
    target = np.clip(0.09 * room * _smooth(rng, length, 2), -0.5 * room + 0.1, 0.5 * room - 0.1)
    others = 0.28 * room * _smooth(rng, length, OTHERS, 2)
    # The one in front crosses the target now and then, off its middle.
    period, speed = rng.uniform(50, 90), rng.uniform(0.14, 0.24)
    along = ((np.arange(length) + rng.uniform(0, period)) % period - period / 2) * speed * rng.choice([-1, 1])
    others[:, -1] = target + unit[:, None] * np.stack([along, np.full(length, rng.uniform(-0.5, 0.5))], axis=1)
    return {
        "unit": unit,
        "target": target,
        "others": others,
        "other_units": unit[:, None] * rng.uniform(0.6, 1.2, OTHERS) * np.exp(0.1 * _smooth(rng, length, OTHERS)),
        "turns": np.array([0.22] + [0.2] * OTHERS) * _smooth(rng, length, OTHERS + 1),
        "stretch": np.exp(0.09 * _smooth(rng, length)),
        "poses": 0.6 * _smooth(rng, length, OTHERS + 1, sprites.PARTS, 3),
        "zoom": height * np.exp(rng.uniform(-1.2, -0.3)) * np.exp(0.12 * _smooth(rng, length)),
        "tilt": 0.05 * _smooth(rng, length),
        "pan": BACKGROUND * rng.random(2) + 60.0 * _smooth(rng, length, 2),
        "gain": np.exp(0.1 * _smooth(rng, length, 1) + 0.03 * _smooth(rng, length, 3)),
        "curve": 0.15 * _smooth(rng, length),
        "blur": np.clip(0.5 + 0.25 * np.abs(_smooth(rng, length, 2)), 0.4, 2.0),
        "noise": np.full(length, rng.uniform(0.004, 0.02)),
        "spot": rng.random((length, 2)),
    }


def _cast(key, detail, plainness):
    """What is seen: dict of packed background and noise; shapes, textures, details and colors have a row a sprite."""
    keys = jax.random.split(key, 5)
    u = jax.random.uniform(keys[4], (OTHERS + 1, 4))
    details = detail * (1 - plainness * u[:, 0])
    shapes = jax.vmap(sprites.shape)(jax.random.split(keys[0], OTHERS))
    textures = jax.vmap(sprites.texture)(jax.random.split(keys[1], OTHERS))
    # Target; another shape in its texture; its shape in another texture; a stranger; the one in front.
    shape_of, texture_of = jnp.array([0, 1, 0, 2, 3]), jnp.array([0, 0, 1, 2, 3])
    return {
        "background": pack(faded(leaves.background(keys[2], BACKGROUND), details[-1])).reshape(-1),
        "noise": leaves.fractal_noise(keys[3], BACKGROUND, [0.0, 0.0, 0.0]),
        "grain": leaves.fractal_noise(keys[3], CELL, [0.8])[0],
        "shapes": jax.tree.map(lambda v: v[shape_of], shapes),
        "textures": jax.tree.map(lambda v: v[texture_of], textures),
        "details": details[texture_of],
        "colors": u[texture_of, 1:],
    }


@functools.partial(jax.jit, static_argnames="size")
def _frame(cast, plan, size):
    """One frame from its row of the plan: (image (H, W, 3) uint8, box (4,) x, y, w, h in pixels)."""
    height, width = size
    rgba, supports, cells, _ = jax.vmap(lambda s, t, p: sprites.draw(s, t, p, cast["grain"], CELL))(
        cast["shapes"], cast["textures"], plan["poses"]
    )
    rgba = jax.vmap(flattened)(rgba, cast["colors"], cast["details"])
    cos, sin = jnp.cos(plan["turns"]), jnp.sin(plan["turns"])
    maps = jnp.stack([jnp.stack([cos, -sin], -1), jnp.stack([sin, cos], -1)], axis=1)  # (S, 2, 2)
    bend = jnp.stack([plan["stretch"], 1.0 / plan["stretch"]])
    # Sprites at rest measure about two by two in their own frames.
    maps = maps * jnp.concatenate([plan["unit"][None], plan["other_units"]])[:, None, None] / 2.0
    maps = maps.at[0].set(maps[0] * bend)
    places = jnp.concatenate([plan["target"][None], plan["others"]])

    order = jnp.array([1, 2, 3, 0, 4])  # back to front
    count = order.shape[0]
    into = (jnp.linalg.inv(maps) * (0.5 * CELL / cells)[:, :, None])[order]
    zoom, tilt = plan["zoom"], plan["tilt"]
    ground = zoom * jnp.array([[jnp.cos(tilt), -jnp.sin(tilt)], [jnp.sin(tilt), jnp.cos(tilt)]])
    back = jnp.arange(count + 1) == 0
    layers = {
        "first": jnp.concatenate([jnp.zeros(1, jnp.int32), BACKGROUND**2 + CELL**2 * order]),
        "size": jnp.where(back, BACKGROUND, CELL),
        "torus": back,
        "into": jnp.concatenate([ground[None], into]),
        "at": jnp.concatenate([plan["pan"][None], CELL / 2 - jnp.einsum("sij,sj->si", into, places[order])]),
        "shown": jnp.ones(count + 1),
        "gain": jnp.ones((count + 1, 3)),
    }
    x, y = jnp.meshgrid(jnp.arange(width) + 0.5, jnp.arange(height) + 0.5)
    texels = jnp.concatenate([cast["background"], pack(rgba).reshape(-1)])
    camera = {
        **{name: plan[name] for name in ("gain", "curve", "blur", "noise")},
        "bias": jnp.zeros(3), "slope": jnp.array([1.0, 0.0, 0.0]), "shadow": jnp.zeros(4), "grey": jnp.float32(0.0),
        "frame": jnp.array([-9.0, -9.0, 9.0, 9.0]),
    }  # fmt: skip
    middle = jnp.array([width / 2, height / 2])
    layers, camera = to_pixels(layers, camera, -middle / height, 1.0 / height)
    spot = (plan["spot"] * (BACKGROUND - jnp.array(size) + 1)).astype(jnp.int32)
    noise = jax.lax.dynamic_slice(cast["noise"], (0, spot[0], spot[1]), (3, height, width))
    box = sprites.extent(supports[0], maps[0]) + plan["target"]
    corner = box[0] * height + middle
    return expose(compose(texels, layers, x, y), camera, noise, x, y), jnp.concatenate(
        [corner, (box[1] - box[0]) * height]
    )


def _away(target, first, last, elsewhere):
    """The target's path (length, 2) in frame heights, far outside the frame from frame `first` up to before `last`.

    elsewhere: whether it comes back on the other side of the frame's middle, and not where its path goes on.
    """
    path = target.copy()
    path[first:last] += 9.0
    if elsewhere:
        path[last:] += np.float32([0.5, 0.3]) * np.where(target[first] > 0, -1, 1)
    return path


def _frames(seed, length, size, detail, plainness, absent=None):
    if max(size) > BACKGROUND:
        raise InputError(f"a synthetic frame of {size[0]}x{size[1]} is too large: at most {BACKGROUND} pixels a side")
    rng = np.random.default_rng([seed, length])
    plan = {name: np.asarray(v, np.float32) for name, v in _plan(rng, length, size).items()}
    if absent is not None:
        plan["target"] = _away(plan["target"], *absent)
    cast = jax.jit(_cast)(jax.random.key(seed, impl="threefry2x32"), detail, plainness)
    for t in range(length):
        image, box = _frame(cast, {name: v[t] for name, v in plan.items()}, tuple(size))
        yield np.asarray(image), np.asarray(box, np.float64)


def sequence(seed, length, size=(240, 320), detail=1.0, plainness=0.0, absent=None):
    """One held-out video, as a function of its arguments.

    Args:
      seed: int >= 0.
      length: frames.
      size: (height, width), at most 512 each.
      detail, plainness: as in SyntheticConfig.
      absent: (first, last, elsewhere): the target is not in the frames from `first` up to before `last`, and then comes
        back on its path or, where `elsewhere`, on the other side of the frame. None: it is always there.

    Returns:
      (frames (T, H, W, 3) uint8 RGB, boxes (T, 4) float64 x, y, w, h in pixels around the whole target, hidden parts
      too).

    Raises:
      InputError: frames larger than the scene.
    """
    frames, boxes = zip(*_frames(seed, length, size, detail, plainness, absent), strict=True)
    return np.stack(frames), np.stack(boxes)


def write_sequences(out, sequences, length, seed, size=(240, 320), detail=1.0, plainness=0.0):
    """Writes held-out videos in the GOT-10k layout: OUT/NAME/%08d.jpg from 1, groundtruth.txt with x,y,w,h a line.

    Args:
      out: folder, new or empty.
      sequences: number of videos.
      length, seed, size, detail, plainness: as in `sequence`.

    Raises:
      InputError: the folder has something in it or another program owns it, or a number is not positive.
    """
    import cv2

    out = Path(out)
    if sequences < 1 or length < 1 or seed < 0:
        raise InputError(f"{sequences} sequences of {length} frames, seed {seed}: give positive numbers")
    total = sequences * length
    with ownership.hold_new(out), outputs.unfinished(out), progress.bar(total=total, desc="synthetic") as bar:
        for number in range(sequences):
            folder = out / f"synthetic_{number + 1:04d}"
            folder.mkdir(parents=True)
            lines = []
            for t, (image, box) in enumerate(_frames(1000 * seed + number, length, size, detail, plainness)):
                path = folder / f"{t + 1:08d}.jpg"
                encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
                outputs.write_bytes(path, encoded.tobytes())
                lines.append(",".join(f"{v:.3f}" for v in box))
                bar.update()
            outputs.write_text(folder / "groundtruth.txt", "\n".join(lines) + "\n")
