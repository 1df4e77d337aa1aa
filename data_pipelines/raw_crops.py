"""Crops that are resized on the device (config.data.crops_on = "device"): the host decodes and draws all numbers.

What the host sends of a crop, instead of its pixels:

    pixels  (room, room, 3) uint8   the part of the image that the crop shows, at the top left
    grid    (2, 3) float32          for x and y: where the crop's first pixel lies in the part (pixel centers at whole
                                    numbers), how far the next one is, and how many pixels the part has
    shown   (2, size) float32       for columns and rows of the crop: share that is image and not black outside
    change  () float32              factor of the brightness

`finish` makes crops of them. They differ from those of crops.sample_target by rounding alone: by one grey level, and by
another where brightness changes (OpenCV rounds its weights to 11 bits); of scaled packed pictures also by OpenCV's
rounding of places to 1/32 of a pixel. A part with more pixels than there is room for is resized on the host.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines import augment, contexts, crops

# Room for the part, over the side of the crop (our choice): windows that are wider are better resized than sent.
_ROOM = 1.5
_FIELDS = ("pixels", "grid", "shown", "change")


def room(size):
    """Side in pixels of the array for the part that a crop of side `size` shows."""
    return int(_ROOM * size)


def shapes(leading, size):
    """{field: (shape, dtype)} of crops of side `size`; leading: shape in front."""
    inner = {"pixels": (room(size), room(size), 3), "grid": (2, 3), "shown": (2, size), "change": ()}
    return {name: ((*leading, *inner[name]), np.uint8 if name == "pixels" else np.float32) for name in _FIELDS}


def sample_target(image, box, factor, size, aspect=0.0):
    """As crops.sample_target, with {field: array} in place of the crop."""
    seen = crops.seen(image, box, factor, size, aspect)
    pixels, first, step = contexts.part_of(seen.image, seen)
    shown = np.stack([1 - seen.black_x, 1 - seen.black_y]).astype(np.float32)
    if max(pixels.shape[:2]) > room(size):
        pixels, first, step, shown = seen.resized(), (0, 0), (1, 1), np.ones_like(shown)
    placed = np.zeros((room(size), room(size), 3), np.uint8)
    placed[: pixels.shape[0], : pixels.shape[1]] = pixels
    grid = np.array([first, step, pixels.shape[1::-1]], np.float32).T
    raw = {"pixels": placed, "grid": grid, "shown": shown, "change": np.float32(1)}
    return raw, seen.resize_factors, seen.padding


def stack(raws):
    """{field: array} of several crops, a new axis in front."""
    return {name: np.stack([raw[name] for raw in raws]) for name in _FIELDS}


def flat(views):
    """A pair {"template": {field: array}, "template_box", ...} as one dict: template_pixels, template_grid, ..."""
    arrays = {name: value for name, value in views.items() if not isinstance(value, dict)}
    return arrays | {f"{crop}_{name}": views[crop][name] for crop in ("template", "search") for name in _FIELDS}


def flip_crops(views, template, search):
    """As augment.flip_crops."""
    views = dict(views)
    for name, chosen in (("template", template), ("search", np.bool_(search))):
        raw, chosen = views[name], np.asarray(chosen)
        (first, step, extent), shown = np.moveaxis(raw["grid"], -1, 0), raw["shown"]
        last = first + step * (shown.shape[-1] - 1)
        # Columns are read from the other end; rows stay.
        across = chosen[..., None] & np.array([True, False])
        grid = np.stack([np.where(across, last, first), np.where(across, -step, step), extent], -1)
        views[name] = raw | {"grid": grid, "shown": np.where(across[..., None], shown[..., ::-1], shown)}
        boxes = views[f"{name}_box"]
        views[f"{name}_box"] = np.where(chosen[..., None], augment.mirrored_boxes(boxes), boxes)
    return views


def brightness(views, template, search):
    """As augment.brightness."""
    changes = {"template": np.float32(template), "search": np.float32(search)}
    return views | {name: views[name] | {"change": change} for name, change in changes.items()}


def finish(batch):
    """The batch with the crops template (B, K, Hz, Wz, 3) uint8 and search in place of what the host sent; for jit."""
    made = dict(batch)
    for name, axes in (("template", 2), ("search", 1)):
        make = functools.reduce(lambda function, _: jax.vmap(function), range(axes), _crop)
        made[name] = make(*(made.pop(f"{name}_{field}") for field in _FIELDS))
    return made


def _crop(pixels, grid, shown, change):
    size = shown.shape[1]
    first, step, extent = grid.T
    place = jnp.clip(first[:, None] + step[:, None] * jnp.arange(size), 0.0, extent[:, None] - 1)
    before = jnp.floor(place)
    weight = place - before
    index = jnp.stack([before, jnp.minimum(before + 1, extent[:, None] - 1)]).astype(jnp.int32)  # (taps, axes, size)

    def across(row):  # (size,) rows of the part -> (size, size, 3)
        left, right = (pixels[row[:, None], index[tap, 0]].astype(jnp.float32) for tap in (0, 1))
        return left + (right - left) * weight[0, :, None]

    upper, lower = (across(index[tap, 1]) for tap in (0, 1))
    crop = upper + (lower - upper) * weight[1, :, None, None]
    crop = jnp.rint(crop * (shown[1, :, None] * shown[0])[..., None])
    return jnp.minimum(jnp.rint(crop * change), 255).astype(jnp.uint8)
