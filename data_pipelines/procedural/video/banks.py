"""Banks of backgrounds, sprites and noise, which pairs are composed from: pure functions of a key."""

import jax
import jax.numpy as jnp

from data_pipelines.procedural.video import extents, leaves, sprites
from data_pipelines.procedural.video.detail import faded, flattened
from data_pipelines.procedural.video.draws import draws, pick
from data_pipelines.procedural.video.render import pack, unpack

NOISES = 8
INTEREST_CELL = 8  # side in texels of what has one number of banks["interest"]
AT_ONCE = 32  # images that an accelerator draws together


def make_banks(key, config, detail=1.0):
    """Draws what pairs are composed from.

    Args:
      detail: () 0..1, see detail.py; each background and family has config.plainness of it less, at most.

    Returns:
      dict of arrays: "texels" uint32, all backgrounds (packed RGB), then all sprites (packed RGBA), pose after pose;
      "supports" (4 * families, poses, DIRECTIONS) and "cells" (4 * families, poses, 2): see sprites.draw; "noise"
      (NOISES, 3, S, S) float16 sensor noise of unit deviation, white to coarse; "change" () strength of the changes
      between views, relative to config.change; "interest" (backgrounds, S / 8, S / 8) how much can be told from the
      surroundings at a place. Sprites 4f..4f+3 are a family: shape a or b (bit 0) in texture a or b (bit 1). Where
      config.extent_probability is above 0 also "extents" (4 * families, poses, extents.KINDS, DIRECTIONS), supports of
      what a box may cover of a sprite.
    """
    keys = jax.random.split(key, 6)
    size, cell = config.background_size, config.sprite_size
    details = detail * (1 - config.plainness * jax.random.uniform(keys[4], (config.backgrounds + config.families,)))

    def background(args):
        k, detail = args
        return pack(faded(leaves.background(k, size, config.photographic), detail))

    backgrounds = _each(background, (jax.random.split(keys[0], config.backgrounds), details[: config.backgrounds]))
    grain = leaves.fractal_noise(keys[1], cell, [0.8] * 8)

    def family(args):
        k, detail = args
        parts = jax.random.split(k, 3)
        shapes = jax.vmap(sprites.shape)(jax.random.split(parts[0]))
        textures = jax.vmap(lambda k: sprites.texture(k, config.photographic))(jax.random.split(parts[1]))
        patches = jax.vmap(lambda k: _patch(k, backgrounds, cell))(jax.random.split(jax.random.fold_in(k, 0)))
        # From a sprite all of whose colors are the patch's to one that it hardly shows on.
        rare = textures["cutout"] / max(config.cutout_probability, 1e-6)
        textures["cutout"] = jnp.where(rare < 1, jnp.clip(1.5 - 1.4 * rare, 0.0, 1.0), 0.0)
        u, poses = draws(parts[2], (7,), (2, config.poses, sprites.PARTS, 3))
        chosen = None
        if config.extent_probability:
            chosen = jax.vmap(extents.choices)(jax.random.split(jax.random.fold_in(k, 1)), shapes)
        number, colors = pick(u[0], grain.shape[0]), u[1:].reshape(2, 3)

        def member(i):
            looks = jax.tree.map(lambda v: v[i % 2], shapes), jax.tree.map(lambda v: v[i // 2], textures)
            patch = patches[i // 2] if config.cutout_probability else None
            covered = jax.tree.map(lambda v: v[i % 2], chosen)
            rgba, support, half, reaches = jax.vmap(
                lambda p: sprites.draw(*looks, p, grain[number], cell, patch, covered)
            )(poses[i % 2])
            reaches = [] if reaches is None else [extents.seen_in_all(reaches, support)]
            return pack(flattened(rgba, colors[i // 2], detail)), support, half, *reaches

        return jax.lax.map(member, jnp.arange(4))

    drawn = _each(family, (jax.random.split(keys[2], config.families), details[config.backgrounds :]))
    drawn = [v.reshape(-1, *v.shape[2:]) for v in drawn]
    if config.clutter:
        cells = drawn[0].reshape(-1, cell, cell)
        strewn = jax.random.split(keys[5], config.backgrounds)
        backgrounds = _each(lambda args: _strew(*args, cells, config.clutter), (strewn, backgrounds))
    slopes = jnp.tile(jnp.array([0.0, 0.0, 0.4, 0.8]), NOISES * 3 // 4)
    noise = leaves.fractal_noise(keys[3], size, slopes).reshape(3, NOISES, size, size).swapaxes(0, 1)
    return {
        "texels": jnp.concatenate([backgrounds.reshape(-1), drawn[0].reshape(-1)]),
        "supports": drawn[1],
        "cells": drawn[2],
        "noise": noise.astype(jnp.float16),
        **({"extents": drawn[3]} if config.extent_probability else {}),
        "change": jnp.float32(0.2 + 0.8 * detail),
        "interest": _each(_interest, backgrounds),
    }


def _each(draw, what):
    """`draw` of every row of the tree `what`: one by one on a CPU, whose caches hold one; an accelerator would idle."""
    return jax.lax.map(draw, what, batch_size=None if jax.default_backend() == "cpu" else AT_ONCE)


def _patch(key, backgrounds, cell):
    """A square (cell, cell, 3), 0..1, of one of the packed backgrounds (n, S, S)."""
    u, _ = draws(key, (3,))
    room = backgrounds.shape[1] - cell + 1
    start = pick(u[0], backgrounds.shape[0]), pick(u[1], room), pick(u[2], room)
    return unpack(jax.lax.dynamic_slice(backgrounds, start, (1, cell, cell))[0], 3)


def _strew(key, background, cells, count):
    """A packed background (S, S) with `count` things on it, the first ones at half the size.

    cells: (sprites, C, C) packed RGBA.
    """
    u, n = draws(key, (4, count), (4, count))
    chosen = pick(u[0], cells.shape[0])
    tints = jnp.exp(0.15 * n[0] + 0.06 * n[1:]).T
    mirrored = u[3] < 0.5

    def lay(image, thing, small):
        number, at, tint, mirror = thing
        rgba = unpack(cells[number], 4)
        rgba = jnp.where(mirror, rgba[:, ::-1], rgba)
        color, alpha = rgba[..., :3] * rgba[..., 3:] * tint, rgba[..., 3:]
        side = cells.shape[1] // (2 if small else 1)
        if small:
            color, alpha = (v.reshape(side, 2, side, 2, -1).mean((1, 3)) for v in (color, alpha))
        start = (*pick(at, image.shape[0] - side + 1), 0)
        under = jax.lax.dynamic_slice(image, start, (side, side, 3))
        return jax.lax.dynamic_update_slice(image, under * (1 - alpha) + color, start), None

    things, far = (chosen, u[1:3].T, tints, mirrored), count // 2
    image = unpack(background, 3)
    image, _ = jax.lax.scan(lambda i, t: lay(i, t, True), image, jax.tree.map(lambda v: v[:far], things))
    image, _ = jax.lax.scan(lambda i, t: lay(i, t, False), image, jax.tree.map(lambda v: v[far:], things))
    return pack(image)


def _interest(background):
    """Contrast within and around each place of a packed background (S, S), a torus. Returns (S / 8, S / 8) float32."""
    grey = unpack(background, 3) @ jnp.array([0.299, 0.587, 0.114])
    cells = grey.shape[0] // INTEREST_CELL
    blocks = grey.reshape(cells, INTEREST_CELL, cells, INTEREST_CELL)

    def around(field, reach):
        for axis in (0, 1):
            field = sum(jnp.roll(field, k, axis) for k in range(-reach, reach + 1)) / (2 * reach + 1)
        return field

    mean, square = blocks.mean((1, 3)), (blocks**2).mean((1, 3))
    within = jnp.sqrt(jnp.maximum(around(square, 1) - around(mean, 1) ** 2, 0.0))
    return within + jnp.abs(around(mean, 1) - around(mean, 3))
