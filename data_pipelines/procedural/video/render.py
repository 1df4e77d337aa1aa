"""One view of a scene: background, sprites in front of it, then what a camera does to the picture.

Points are in whatever coordinates the maps of layers and camera take; pixels are fastest, the grid then is a constant.
Pictures are sampled by inverse maps, straight at the resolution asked for, and kept channels first until the end.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

BLUR_REACH = 3
STREAK_TAPS = 7
LONGEST_STREAK = 14  # pixels
BLOCK = 8
TILE = 8  # rows of a tile
MARGIN = 3  # pixels that a cell may reach beyond its corners: interpolation, and an uneven grid
# The luminance table of the JPEG standard (annex K, table K.1), over 255.
_QUANTA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
) / 255.0  # fmt: skip


def pack(rgba):
    """(..., 3 or 4) floats in 0..1 -> (...) uint32, one word a pixel: a bilinear sample costs four reads."""
    words = (jnp.clip(rgba, 0.0, 1.0) * 255.0 + 0.5).astype(jnp.uint32)
    return sum(words[..., c] << (8 * c) for c in range(rgba.shape[-1]))


def unpack(words, channels):
    """The inverse of `pack`: (...) uint32 -> (..., channels) float32 in 0..1."""
    return jnp.stack([(words >> (8 * c)) & 255 for c in range(channels)], axis=-1).astype(jnp.float32) / 255.0


def _sample(texels, layer, x, y):
    """Bilinear samples of one packed image at the points x, y, at 1/16 pixel, two channels in one integer.

    Returns:
      (2, ...) uint32: channels 0 and 2, channels 1 and 3, in the low and high halves, 0..255 each.
    """
    into, at, size = layer["into"], layer["at"], layer["size"]
    x, y = into[0, 0] * x + into[0, 1] * y + at[0] - 0.5, into[1, 0] * x + into[1, 1] * y + at[1] - 0.5
    x0, y0 = jnp.floor(x), jnp.floor(y)
    dx = ((x - x0) * 16.0 + 0.5).astype(jnp.uint32)
    dy = ((y - y0) * 16.0 + 0.5).astype(jnp.uint32)
    x0, y0 = x0.astype(jnp.int32), y0.astype(jnp.int32)

    def inside(v):
        return jnp.where(layer["torus"], v & (size - 1), jnp.clip(v, 0, size - 1))

    def read(tap):
        place = layer["first"] + inside(y0 + tap // 2) * size + inside(x0 + tap % 2)
        return texels.at[place].get(mode="promise_in_bounds")

    # A loop, so that XLA stores the words: it would fuse the reads into their users and read again for every channel.
    words = jax.lax.map(read, jnp.arange(4))
    even = odd = jnp.uint32(0x00800080)
    for tap in range(4):
        weight = (dy if tap // 2 else 16 - dy) * (dx if tap % 2 else 16 - dx)
        even = even + (words[tap] & 0x00FF00FF) * weight
        odd = odd + ((words[tap] >> 8) & 0x00FF00FF) * weight
    return jnp.stack([even >> 8, odd >> 8]) & 0x00FF00FF


def compose(texels, layers, x, y):
    """Lays images over each other.

    Args:
      texels: (n,) uint32, packed square images one after the other.
      layers: dict of arrays with one row a layer, back to front: "first" where its image starts in `texels`, "size" its
        side, "torus" whether it continues at the opposite border (then its size is a power of two and it is opaque),
        "into" (2, 2) and "at" (2,) the map from points to its pixels (centers at .5), "shown" 0 or 1, "gain" (3,).
      x, y: (H, W) the points to see.

    Returns:
      (3, H, W) float32, 0..255.
    """
    samples = jax.vmap(lambda layer: _sample(texels, layer, x, y))(layers)  # (L, 2, H, W)

    def blend(channel):
        image = 0.0
        for s in range(samples.shape[0]):
            shift = (16 * (channel // 2)).astype(jnp.uint32)
            color = ((samples[s, channel % 2] >> shift) & 255).astype(jnp.float32)
            color = jnp.minimum(color * layers["gain"][s, channel], 255.0)
            alpha = jnp.where(layers["torus"][s], 255, samples[s, 1] >> 16).astype(jnp.float32)
            image = image + alpha * (layers["shown"][s] / 255.0) * (color - image)
        return image

    # A loop, so that XLA stores the samples: it would fuse them into their users and sample again for every channel.
    return jax.lax.map(blend, jnp.arange(3))


def compose_all(texels, layers, x, y):
    """`compose` of many views: layers, x, y with a leading axis N. Returns (N, 3, H, W) float32, 0..255.

    The first layer of each is its only torus. x, y: grids, even if uneven ones, of pixels with centers at .5.
    """
    # An accelerator draws every layer everywhere, all views at once; a CPU only the part that is seen.
    return jax.lax.platform_dependent(
        texels,
        layers,
        x,
        y,
        cpu=compose_by_tiles,
        default=lambda texels, *views: jax.vmap(lambda *view: compose(texels, *view))(*views),
    )


def compose_by_tiles(texels, layers, x, y):
    """As `compose_all`, one view after another, and of its sprites one tile after another, where they are shown."""
    ground = jax.vmap(lambda *view: compose(texels, *view))(jax.tree.map(lambda v: v[:, :1], layers), x, y)
    sprites = jax.tree.map(lambda v: v[:, 1:], layers)
    return jax.lax.map(lambda view: _lay_tiles(texels, *view), (ground, sprites, x, y))


def _lay_tiles(texels, image, layers, x, y):
    """Lays sprites over the picture (3, H, W) of one view."""
    height, width = x.shape
    rows, columns = math.gcd(height, TILE), width // 2 if width % 2 == 0 else width

    def lay(image, layer):
        # The cell's corners on the grid, and how many tiles lie between them: none where the layer is not shown.
        cell = layer["size"] * jnp.array([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
        determinant = layer["into"][0, 0] * layer["into"][1, 1] - layer["into"][0, 1] * layer["into"][1, 0]
        back = jnp.array([[1.0, -1.0], [-1.0, 1.0]]) * layer["into"][::-1, ::-1].T / determinant
        corners = back @ (cell - layer["at"][:, None])
        low = jnp.clip(jnp.floor(corners.min(1)) - MARGIN, 0, jnp.array([width, height])).astype(jnp.int32)
        high = jnp.clip(jnp.ceil(corners.max(1)) + MARGIN, 0, jnp.array([width, height])).astype(jnp.int32)
        narrow = high[0] - low[0] <= columns
        across = jnp.where(narrow, 1, width // columns)
        left = jnp.where(narrow, jnp.minimum(low[0], width - columns), 0)
        top, down = low[1] // rows, -(-high[1] // rows) - low[1] // rows
        count = jnp.where((layer["shown"] > 0) & (high > low).all(), down * across, 0)

        def tile(k, image):
            at = (top + k // across) * rows, left + k % across * columns
            here = [jax.lax.dynamic_slice(v, at, (rows, columns)) for v in (x, y)]
            even, odd = _sample(texels, layer, *here)
            under = jax.lax.dynamic_slice(image, (0, *at), (3, rows, columns))
            color = jnp.stack([even & 255, odd & 255, even >> 16]).astype(jnp.float32)
            color = jnp.minimum(color * layer["gain"][:, None, None], 255.0)
            alpha = (odd >> 16).astype(jnp.float32) * (layer["shown"] / 255.0)
            return jax.lax.dynamic_update_slice(image, under + alpha * (color - under), (0, *at))

        return jax.lax.fori_loop(0, count, tile, image), None

    return jax.lax.scan(lay, image, layers)[0]


def expose(image, camera, noise, x, y):
    """What light and camera do to (3, H, W) colors in 0..255. Returns (H, W, 3) uint8.

    camera: dict of
      "gain", "bias" (3,); "curve" () lifts (> 0) or lowers the middle tones;
      "slope" (3,): the light is slope . (1, x, y); "shadow" (4,): what is cast, of darkness shadow[3], where
      shadow[:3] . (1, x, y) > 0, in full from 1 on;
      "blur" (2,): deviations across columns and rows in pixels, motion blur included; "noise" (); "grey" () 0 or 1;
      "streak" (2,), may be missing: the line in pixels, up to LONGEST_STREAK, along which everything moved;
      "frame" (4,): left, top, right, bottom border of the picture;
      "jpeg" (), may be missing: quantization of the 8x8 blocks, 1 as of quality 50, 0 none.
    noise: (3, H, W) unit deviation.
    x, y: (H, W) the points that are seen.
    """
    slope, shadow = camera["slope"], camera["shadow"]
    light = slope[0] + slope[1] * x + slope[2] * y
    edge = jnp.clip(shadow[0] + shadow[1] * x + shadow[2] * y, 0.0, 1.0)
    light = jnp.maximum(light * (1.0 - shadow[3] * edge), 0.2) / 255.0

    def develop(plane):
        color, gain, bias = plane
        color = jnp.minimum(color * light, 1.0)
        return (color + camera["curve"] * color * (1.0 - color)) * gain + bias

    # Loops over channels, so that XLA stores each stage instead of computing it anew for every tap of the next.
    image = jax.lax.map(develop, (image, camera["gain"], camera["bias"]))
    if "streak" in camera:
        image = _smear(image, camera["streak"])
    image = jax.lax.map(lambda plane: _blur(plane, camera["blur"][0], 1), image)
    image = jax.lax.map(lambda plane: _blur(plane, camera["blur"][1], 0), image)
    grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    speck = camera["noise"] * noise
    image = jnp.where(camera["grey"] > 0.5, grey + speck[:1], image + speck)
    if "jpeg" in camera:
        image = image + _jpeg_error(image, camera["jpeg"])
    left, top, right, bottom = camera["frame"]
    seen = (x > left) & (x < right) & (y > top) & (y < bottom)
    return jnp.moveaxis((jnp.clip(image * seen, 0.0, 1.0) * 255.0 + 0.5).astype(jnp.uint8), 0, -1)


def _jpeg_error(image, strength):
    """What JPEG adds to the luminance of (3, H, W) colors in 0..1: (H, W). Incomplete blocks at the border stay."""
    rows, columns = (extent // BLOCK for extent in image.shape[1:])
    grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    blocks = grey[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    k = np.arange(BLOCK)
    basis = np.sqrt(np.where(k == 0, 1.0, 2.0)[:, None] / BLOCK) * np.cos(np.pi * k[:, None] * (k + 0.5) / BLOCK)
    basis = basis.astype(np.float32)  # (frequency, place)
    waves = jnp.einsum("rycx,fy,gx->rcfg", blocks, basis, basis)
    quanta = jnp.maximum(strength, 1e-3) * _QUANTA
    error = jnp.einsum("rcfg,fy,gx->rycx", quanta * jnp.round(waves / quanta) - waves, basis, basis)
    error = jnp.where(strength > 0, error, 0.0).reshape(rows * BLOCK, columns * BLOCK)
    return jnp.pad(error, ((0, image.shape[1] - rows * BLOCK), (0, image.shape[2] - columns * BLOCK)))


def _smear(image, streak):
    """The mean of (3, H, W) shifted along a line (2,) x, y in pixels, in whole pixels; borders repeated."""
    reach = LONGEST_STREAK // 2
    padded = jnp.pad(image, [(0, 0), (reach, reach), (reach, reach)], mode="edge")
    share = jnp.arange(STREAK_TAPS) / (STREAK_TAPS - 1) - 0.5
    starts = reach + jnp.round(share[:, None] * streak[::-1]).astype(jnp.int32)
    return sum(jax.lax.dynamic_slice(padded, (0, *start), image.shape) for start in starts) / STREAK_TAPS


def _blur(plane, sigma, axis):
    """Gaussian blur of (H, W) along one axis, borders repeated; sigma in pixels, up to 2."""
    taps = jnp.arange(-BLUR_REACH, BLUR_REACH + 1)
    weights = jnp.exp(-0.5 * (taps / sigma) ** 2)
    weights = weights / weights.sum()
    pad = [(0, 0), (0, 0)]
    pad[axis] = (BLUR_REACH, BLUR_REACH)
    padded = jnp.pad(plane, pad, mode="edge")
    length = plane.shape[axis]
    return sum(weights[k] * jax.lax.slice_in_dim(padded, k, k + length, axis=axis) for k in range(2 * BLUR_REACH + 1))
