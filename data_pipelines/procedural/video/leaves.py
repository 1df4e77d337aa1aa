"""Dead-leaves images: occluding shapes of power-law sizes, whose statistics resemble those of photographs.

The model is that of Lee, Mumford & Huang, "Occlusion models for natural images" (IJCV 2001). Leaves sit in the cells of
nested grids, so a pixel meets only the leaves of the 3x3 cells around it, at every scale, and no list of hundreds.
All images are tori: they continue at the opposite border.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.procedural.video.draws import draws, pick

SMALLEST_CELL = 8
PER_CELL = 2


def palette(key, colors, photographic=False):
    """Few colors that go together. Returns (colors, 3) RGB in 0..1: mostly dull, one hue family, some vivid.

    photographic: many of them gray, the hue of the others less of one family.
    """
    u, n = draws(key, (7, colors), (colors,))
    # Light and matter favor orange-brown, green and blue; magenta and violet are rare in photographs.
    common = jnp.array([0.02, 0.08, 0.1, 0.13, 0.28, 0.33, 0.55, 0.6])
    first = common[pick(u[0, :2], common.shape[0])]
    hue = jnp.where(u[1] < 0.7, first[0], first[1]) + jnp.where(u[2] < 0.12, 0.3, 0.035) * n
    dull = jnp.where(u[6] < 0.45, 0.08, 0.45) * u[4] if photographic else 0.4 * u[4] ** 1.5
    saturation = jnp.where(u[3] < 0.2, 0.3 + 0.6 * u[4], dull)
    value = 0.04 + 0.92 * u[5]
    phase = 6.0 * (hue[:, None] + jnp.array([0.0, 4.0, 2.0]) / 6.0)
    ramp = jnp.clip(jnp.abs(jnp.mod(phase, 6.0) - 3.0) - 1.0, 0.0, 1.0)  # the three channels of a pure hue
    return value[:, None] * (1.0 - saturation[:, None] * (1.0 - ramp))


def fractal_noise(key, size, slopes):
    """Noise of amplitude spectrum f^-slope, one field a slope: (len(slopes), size, size), mean 0, deviation 1."""
    slopes = jnp.asarray(slopes, jnp.float32)
    frequency = jnp.hypot(jnp.fft.fftfreq(size)[:, None], jnp.fft.rfftfreq(size)[None])
    spectrum = jax.random.normal(key, (2, slopes.shape[0], *frequency.shape))
    fall = jnp.where(frequency > 0, jnp.maximum(frequency, 1.0 / size) ** -slopes[:, None, None], 0.0)
    field = _inverse_real_transform(*(spectrum * fall))
    return field / (jnp.std(field, axis=(1, 2), keepdims=True) + 1e-9)


def _inverse_real_transform(real, imaginary):
    """irfft2 of half spectra (..., S, S // 2 + 1), S even -> (..., S, S) float32, by matrix products.

    XLA's FFT on a CPU waits for threads of the pool that it runs in: two at once, as when banks of two streams are made
    together, wait for each other for ever on two cores.
    """
    size, half = real.shape[-2:]
    turns = np.outer(np.arange(size), np.arange(size)) % size / size
    cosine, sine = (np.asarray(f(2 * np.pi * turns) / size, np.float32) for f in (np.cos, np.sin))
    # All frequencies but the lowest and the highest stand for themselves and their negatives.
    twice = np.where(np.isin(np.arange(half), (0, size // 2)), 1, 2).astype(np.float32)[:, None]
    times = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    columns = times(cosine, real) - times(sine, imaginary), times(cosine, imaginary) + times(sine, real)
    return times(columns[0], cosine[:half] * twice) - times(columns[1], sine[:half] * twice)


def inside(kind, x, y):
    """Whether points in a leaf's own frame are in it: kind 0 ellipse, 1 rectangle, 2 triangle, each in [-1, 1]^2."""
    ellipse = x * x + y * y < 1.0
    box = jnp.maximum(jnp.abs(x), jnp.abs(y)) < 0.85
    triangle = jnp.maximum(2.0 * jnp.abs(x) + y, -y) < 0.9
    return jnp.where(kind == 0, ellipse, jnp.where(kind == 1, box, triangle))


def _leaves(key, octave, style, colors, clutter):
    """Leaves of all grids in a row. octave, clutter (n,): the grid of each and the share of its leaves that exist.

    Returns:
      (geometry: dict of (n,) arrays in units of the cell, attributes: (n, 10) for `_paint`).
    """
    n = octave.shape[0]
    u, normal = draws(key, (21, n), (2, n))
    angle = jnp.where(u[0] < style["manhattan"], jnp.round(2 * u[1]) * jnp.pi / 2 + style["tilt"], 2 * jnp.pi * u[1])
    radius = 0.2 + 0.62 * u[2]  # a rectangle's corner (1.2 radii) stays within the next cell
    # Thin ones: poles, wires, edges of things, markings.
    thin = u[20] < style["thin"]
    aspect = jnp.where(thin, 0.02 + 0.1 * jnp.abs(normal[0]), jnp.exp(-0.9 * jnp.abs(normal[0])))
    present = u[3] < style["density"][octave] * clutter
    kind = jnp.where(u[4] < style["round"], 0, jnp.where(u[4] < 0.93, 1, 2))
    geometry = {
        "x": u[5],
        "y": u[6],
        "cos_a": jnp.cos(angle) / radius,
        "sin_a": jnp.sin(angle) / radius,
        "cos_b": jnp.cos(angle) / (radius * aspect),
        "sin_b": jnp.sin(angle) / (radius * aspect),
        "kind": kind,
        "depth": jnp.where(present, u[7] + style["front"] * octave, -1.0),
        "index": jnp.arange(n),
    }
    choice = pick(u[8], jnp.where(octave < 2, 3, colors.shape[0]))  # large leaves: few colors
    tone = jnp.exp(style["tone"] * normal[1]) * (1.0 + 0.06 * (u[9:12] - 0.5))  # (3, n)
    attributes = jnp.stack(
        [
            *(colors[choice].T * tone),
            *(style["gradient"] * (u[12:14] - 0.5)),
            style["grain"] * u[14] ** 2,
            jnp.where(u[15] < style["stripes"], 0.15 + 0.5 * u[16], 0.0),
            (2.0 + 9.0 * u[17] ** 2) * jnp.pi,  # stripes across the leaf
            jnp.round(2 * u[18]) * jnp.pi / 2,
            u[19],
        ],
        axis=1,
    )
    return geometry, attributes


def _style(key, octaves, photographic):
    """What one image is like: man-made or grown, cluttered or plain, which scales it has."""
    u, _ = draws(key, (12,))
    busy = u[0] ** (1.5 if photographic else 2)  # photographs have much sky, road, wall and grass
    scales = jnp.arange(octaves)
    return {
        "manhattan": jnp.where(u[1] < 0.4, 0.9, 0.1),
        "tilt": 0.12 * (u[2] - 0.5),
        "density": jnp.where(scales < 2, 1.0, 0.06 + 0.94 * busy),
        "front": 0.35 * u[3],
        "round": 0.2 + 0.6 * u[4],
        "tone": 0.05 + 0.3 * u[5],
        "gradient": 0.2 + 0.5 * u[6],
        "thin": 0.3 * u[11] ** 2 if photographic else 0.0,
        "grain": 0.04 + 0.4 * u[7] ** 3,
        "stripes": 0.02 + 0.2 * u[8] ** 2,
        "warp": jnp.where(u[1] < 0.4, 0.15, 1.0) * u[9],
        "contrast": 0.4 + 0.6 * u[10],
    }


def background(key, size, photographic=False):
    """One dead-leaves image, a torus. Returns (size, size, 3) float32 RGB in 0..1; size is a power of two >= 16.

    photographic: gray and vivid things side by side, thin ones, plain areas beside busy ones, and exposed so that the
    picture has the contrast of a photograph; otherwise paler and of fewer hues, which is easier to learn from.
    """
    keys = jax.random.split(key, 6)
    octaves = size.bit_length() - SMALLEST_CELL.bit_length()
    style = _style(keys[0], octaves, photographic)
    colors = palette(keys[1], 7, photographic)
    spread, start = (2.2, 0.7) if photographic else (1.6, 0.2)
    clutter = jnp.clip(spread * jax.random.uniform(keys[2], (4, 4)) - start, 0.0, 1.0)
    grids = [(octave, 1 << octave, PER_CELL if octave > 1 else 1) for octave in range(octaves)]  # octave, cells, leaves
    octave_of = jnp.concatenate([jnp.full(cells * cells * k, octave) for octave, cells, k in grids])
    amount = jnp.concatenate(
        [_expand(clutter, cells, k) if octave > 1 else jnp.ones(cells * cells * k) for octave, cells, k in grids]
    )
    geometry, attributes = _leaves(keys[3], octave_of, style, colors, amount)
    state = (jnp.full((size, size), -0.5), jnp.zeros((size, size), jnp.int32), *jnp.zeros((2, size, size)))
    first = 0
    for _, cells, k in grids:
        leaves = {n: v[first : first + cells * cells * k].reshape(k, cells, cells) for n, v in geometry.items()}
        state = _scatter(state, leaves)
        first += cells * cells * k
    _, index, local_x, local_y = state
    noise = fractal_noise(keys[4], size, (0.4 if photographic else 0.9, 0.9, 1.3, 2.2, 2.2, 1.7))
    image = _paint(attributes[index], local_x, local_y, noise)
    return _finish(image, style, noise, keys[5], photographic)


def _expand(clutter, cells, k):
    """The coarse (4, 4) field at every leaf of a grid of cells x cells with k leaves a cell."""
    fine = jnp.repeat(jnp.repeat(clutter, cells // 4, 0), cells // 4, 1)
    return jnp.tile(fine.reshape(-1), k)


def _scatter(state, leaves):
    """Lays the leaves (dict of (k, cells, cells)) of one grid over the image.

    state: (depth, index, x, y), each (size, size): depth and index of the leaf seen at a pixel, and the pixel's place
    in that leaf's own frame. Leaves reach into the eight cells around their own: one turn for each of the nine.
    """
    size, cells = state[0].shape[0], leaves["x"].shape[1]
    grid = (cells, size // cells, cells, size // cells)
    within = (jnp.arange(size // cells) + 0.5) / (size // cells)

    def place(state, turn):
        depth, index, local_x, local_y = state
        layer, shift = turn[0], turn[1:]
        leaf = {name: jnp.roll(v[layer], shift, (0, 1))[:, None, :, None] for name, v in leaves.items()}
        dx = within[None, None, None, :] - leaf["x"] + shift[1]
        dy = within[None, :, None, None] - leaf["y"] + shift[0]
        x = leaf["cos_a"] * dx + leaf["sin_a"] * dy
        y = leaf["cos_b"] * dy - leaf["sin_b"] * dx
        hit = inside(leaf["kind"], x, y) & (leaf["depth"] > depth)
        return (
            jnp.where(hit, leaf["depth"], depth),
            jnp.where(hit, leaf["index"], index),
            jnp.where(hit, x, local_x),
            jnp.where(hit, y, local_y),
        ), None

    turns = jnp.array([(k, a, b) for k in range(leaves["x"].shape[0]) for a in (-1, 0, 1) for b in (-1, 0, 1)])
    state, _ = jax.lax.scan(place, tuple(v.reshape(grid) for v in state), turns)
    return tuple(v.reshape(size, size) for v in state)


def _paint(leaf, x, y, noise):
    """Colors of all pixels from the attributes (size, size, 10) of the leaf that is seen there."""
    stripes = jnp.sign(jnp.sin(leaf[..., 7] * (x * jnp.cos(leaf[..., 8]) + y * jnp.sin(leaf[..., 8]))))
    grain = jnp.where(leaf[..., 9] < 0.5, noise[0], noise[1])
    light = 1.0 + leaf[..., 3] * x + leaf[..., 4] * y + leaf[..., 5] * grain + leaf[..., 6] * stripes
    return leaf[..., :3] * jnp.maximum(light, 0.05)[..., None]


def _finish(image, style, noise, key, photographic):
    """Wavy outlines, illumination with cast shadows, defocus."""
    size = image.shape[0]
    u, _ = draws(key, (6,))
    shift = style["warp"] * size * 0.012 * noise[3:5]
    y, x = jnp.meshgrid(jnp.arange(size, dtype=jnp.float32), jnp.arange(size, dtype=jnp.float32), indexing="ij")
    image = jnp.stack(
        [
            jax.scipy.ndimage.map_coordinates(image[..., c], [y + shift[0], x + shift[1]], order=1, mode="wrap")
            for c in range(3)
        ],
        axis=-1,
    )
    field = 0.25 * u[0] * noise[2] + 0.3 * (u[1] - 0.5) * jnp.sin(2 * jnp.pi * (y / size + u[2]))
    shadow = jnp.where((u[3] < 0.4) & (noise[5] > 0.6), 0.45 + 0.4 * u[4], 1.0)
    image = jnp.clip(image * (jnp.exp(field) * shadow)[..., None], 0.0, 1.0)
    mean = image.mean((0, 1))
    if photographic:
        # Exposed as a camera does: the range of tones is used, and what is beyond it is lost.
        gain = (0.4 * style["contrast"] - 0.06) / (image.mean(-1).std() + 0.01)
        image = jnp.clip(0.5 * (mean + 0.45) + jnp.clip(gain, 0.4, 2.5) * (image - mean), 0.0, 1.0)
    else:
        image = mean + style["contrast"] * (image - mean)
    sigma = 0.35 + 0.25 * u[5] + 12.0 * jnp.maximum(u[5] - 0.85, 0.0) * u[0]
    return blur_torus(image, sigma)


def blur_torus(image, sigma):
    """Gaussian blur of an image that continues at the opposite border; sigma () in pixels, below 4. (H, W, C)."""
    reach = 6
    taps = jnp.arange(-reach, reach + 1)
    weights = jnp.exp(-0.5 * (taps / sigma) ** 2)
    weights = weights / weights.sum()
    for axis in (0, 1):
        padded = jnp.concatenate(
            [
                jax.lax.slice_in_dim(image, image.shape[axis] - reach, None, axis=axis),
                image,
                jax.lax.slice_in_dim(image, 0, reach, axis=axis),
            ],
            axis=axis,
        )
        image = sum(
            weights[k] * jax.lax.slice_in_dim(padded, k, k + image.shape[axis], axis=axis) for k in range(2 * reach + 1)
        )
    return image
