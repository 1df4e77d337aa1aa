"""One view of a scene: background, sprites in front of it, then what a camera does to the picture.

Points are in whatever coordinates the maps of layers and camera take; pixels are fastest, the grid then is a constant.
Pictures are sampled by inverse maps, straight at the resolution asked for, and kept channels first until the end.
"""

import jax
import jax.numpy as jnp

BLUR_REACH = 3


def pack(rgba):
    """(..., 3 or 4) floats in 0..1 -> (...) uint32, one word a pixel: a bilinear sample costs four reads."""
    words = (jnp.clip(rgba, 0.0, 1.0) * 255.0 + 0.5).astype(jnp.uint32)
    return sum(words[..., c] << (8 * c) for c in range(rgba.shape[-1]))


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

    even = odd = jnp.uint32(0x00800080)
    for row, row_weight in ((inside(y0), 16 - dy), (inside(y0 + 1), dy)):
        for column, weight in ((inside(x0), 16 - dx), (inside(x0 + 1), dx)):
            word = texels.at[layer["first"] + row * size + column].get(mode="promise_in_bounds")
            weight = row_weight * weight
            even = even + (word & 0x00FF00FF) * weight
            odd = odd + ((word >> 8) & 0x00FF00FF) * weight
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


def expose(image, camera, noise, x, y):
    """What light and camera do to (3, H, W) colors in 0..255. Returns (H, W, 3) uint8.

    camera: dict of
      "gain", "bias" (3,); "curve" () lifts (> 0) or lowers the middle tones;
      "slope" (3,): the light is slope . (1, x, y); "shadow" (4,): what is cast, of darkness shadow[3], where
      shadow[:3] . (1, x, y) > 0, in full from 1 on;
      "blur" (2,): deviations across columns and rows in pixels, motion blur included; "noise" (); "grey" () 0 or 1;
      "frame" (4,): left, top, right, bottom border of the picture.
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
    image = jax.lax.map(lambda plane: _blur(plane, camera["blur"][0], 1), image)
    image = jax.lax.map(lambda plane: _blur(plane, camera["blur"][1], 0), image)
    grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    speck = camera["noise"] * noise
    image = jnp.where(camera["grey"] > 0.5, grey + speck[:1], image + speck)
    left, top, right, bottom = camera["frame"]
    seen = (x > left) & (x < right) & (y > top) & (y < bottom)
    return jnp.moveaxis((jnp.clip(image * seen, 0.0, 1.0) * 255.0 + 0.5).astype(jnp.uint8), 0, -1)


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
