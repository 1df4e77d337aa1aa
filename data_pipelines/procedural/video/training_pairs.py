"""Training pairs composed from banks: pure functions of a key."""

import jax
import jax.numpy as jnp

from data_pipelines.procedural.video import extents, neighbors, sprites
from data_pipelines.procedural.video.banks import NOISES
from data_pipelines.procedural.video.draws import draws, pick
from data_pipelines.procedural.video.render import LONGEST_STREAK, compose_all, expose


def _rotation(angle):
    return jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])


def _scene(key, banks, config):
    """What template and search views share: dict of numbers."""
    total, others = 4 * config.families, config.distractors + 1
    u, n = draws(key, (15 + 3 * others,), (8,))
    picks = u[15:].reshape(3, others)
    target = pick(u[0], total)
    # A look-alike differs from the target in shape, in texture or in both: never in neither.
    relative = (target // 4) * 4 + (target % 4 ^ (1 + pick(picks[1], 3)))
    stranger = pick(picks[0], total)
    region = u[1] < config.region_probability
    background = pick(u[2], config.backgrounds)
    at = u[3:5]
    if config.region_candidates > 1:
        # Of a region in the middle of a plain wall there is nothing to find.
        more = draws(jax.random.fold_in(key, 0), (config.region_candidates - 1, 2))[0]
        places = jnp.concatenate([at[None], more])
        column, row = pick(places, banks["interest"].shape[-1]).T
        at = jnp.where(region, places[jnp.argmax(banks["interest"][background, row, column])], at)
    # A camera balances its colors, less so its exposure.
    cast, exposure = (0.04, 0.15) if config.photographic else (0.1, 0.06)
    adjacent = u[13] < config.adjacent_probability
    (jpeg, strength, coarse, resolution), _ = draws(jax.random.fold_in(key, 1), (4,))
    others, numbers = jnp.where(picks[2] < config.look_alike_probability, relative, stranger), {}
    if config.extent_probability:
        numbers["extent"] = extents.chosen_kind(jax.random.fold_in(key, 2), config.extent_probability)
    if config.companion_probability or config.twin_probability:
        numbers |= neighbors.scene_numbers(jax.random.fold_in(key, 3), config)
        others = others.at[neighbors.TWIN].set(
            jnp.where(numbers["twin"], relative[neighbors.TWIN], others[neighbors.TWIN])
        )
    return {
        **numbers,
        "jpeg": jnp.where(jpeg < config.jpeg_probability, 0.1 + 1.4 * strength**2, 0.0),
        # Pixels of the video to a unit, where these are fewer than those of the crops.
        "resolution": jnp.where(
            coarse < config.low_resolution_probability, config.unit_pixels * (0.3 + 0.6 * resolution), 1e6
        ),
        "background": background,
        "at": at * config.background_size,
        "pixels": config.unit_pixels / config.background_scale * jnp.exp(0.3 * n[0] + 0.3),  # to the unit
        "spin": 0.12 * n[1] + jnp.where(u[5] < 0.06, 2 * jnp.pi * u[6], 0.0),
        "mirror": jnp.where(u[7] < 0.5, -1.0, 1.0),
        "aspect": jnp.exp(0.5 * n[2]),
        "region": region,
        "target": target,
        "others": others,
        "size": jnp.exp(0.25 * n[3]),
        "light": cast * n[4:7] + exposure * n[7],
        "noise": 0.003 + config.sensor_noise * u[8] ** 4,
        "softness": 0.25 + 1.0 * u[9] ** 4,
        "haze": config.haze * u[11] ** 1.5,
        "grey": (u[10] < config.grey_probability).astype(jnp.float32),
        "adjacent": adjacent,
        "pose": u[14],
        # How far apart in time the views are.
        "change": config.change * banks["change"] * jnp.where(adjacent, 0.05 + 0.25 * u[12], 0.35 + 1.1 * u[12]),
    }


def _view(key, scene, banks, config, is_search):
    """The numbers of one view: (layers for `compose`, camera for `expose`, size (2,) of the target's box)."""
    others = config.distractors + 1  # the last one comes in front of the target
    u, n = draws(key, (20 + 6 * others,), (26 + 6 * others,))
    o, g = u[20:].reshape(others, 6), n[26:].reshape(others, 6)
    change = scene["change"] * jnp.where(is_search, 1.0, 0.25)

    # The target: turned, stretched and sheared, then scaled so that its box measures one unit.
    turn = scene["spin"] + change * (0.12 * n[0] + jnp.where(u[0] < 0.12, 1.2 * n[1], 0.0))
    if config.turn_probability:
        turn = turn + jnp.where(is_search, _turn(jax.random.fold_in(key, 4), config), 0.0)
    stretch = jnp.exp(change * 0.13 * n[2])
    shape = (
        _rotation(turn)
        @ jnp.array([[1.0, change * 0.1 * n[3]], [0.0, 1.0]])
        @ jnp.diag(jnp.stack([stretch * scene["mirror"], 1.0 / stretch]))
    )
    pose = pick(jnp.where(scene["adjacent"], scene["pose"], u[1]), config.poses)
    whole = box = sprites.extent(banks["supports"][scene["target"], pose], shape)
    if config.extent_probability:
        box = sprites.extent(banks["extents"][scene["target"], pose, scene["extent"]], shape)
    half = jnp.stack([jnp.sqrt(scene["aspect"]), 1.0 / jnp.sqrt(scene["aspect"])])
    oval = jnp.sqrt((shape**2) @ half**2)  # a region's box is that of the ellipse in it
    poses = pick(o[:, 2], config.poses)
    if config.companion_probability:
        support = banks["supports"][scene["others"][neighbors.COMPANION], poses[neighbors.COMPANION]]
        beside = neighbors.companion(jax.random.fold_in(key, 0), scene, support, whole, change)
        both = jnp.stack([jnp.minimum(whole[0], beside[2][0]), jnp.maximum(whole[1], beside[2][1])])
        box = jnp.where(scene["company"] == 2, both, box)
    box = jnp.where(scene["region"], jnp.stack([-oval, oval]), box)
    ended = jnp.zeros(4, bool)
    if config.partial_probability:
        box, ended = _cut(jax.random.fold_in(key, 1), box, config.partial_probability * is_search)
    unit = jnp.sqrt(jnp.prod(box[1] - box[0]))
    box, into = box / unit, jnp.linalg.inv(shape) * unit
    size = box[1] - box[0]

    # The background: fixed to a region target, else moving, zooming and turning on its own.
    region_ground = into * scene["pixels"] / jnp.sqrt(4.0)
    zoom = jnp.exp(change * 0.25 * n[4])
    free_ground = _rotation(change * 0.08 * n[5]) * scene["pixels"] * zoom
    shift = jnp.where((u[2] < 0.25) & ~scene["adjacent"], 100.0, 1.5) * change * n[6:8] * is_search
    at = scene["at"] + jnp.where(scene["region"], 0.0, shift * scene["pixels"])
    if config.partial_probability:
        at = at + jnp.where(scene["region"], region_ground @ (box[0] + box[1]) / 2, 0.0)

    # The others: scattered around the target; the last one partly over it.
    covering = jnp.arange(others) == others - 1
    reach = 0.5 * size.max()
    bearing = 2 * jnp.pi * o[:, 0]
    other_size = scene["size"] * jnp.exp(0.3 * g[:, 0])
    around = (reach + 0.25) + config.distractor_reach * o[:, 1]
    span = jnp.where(covering, (0.15 + 0.3 * o[:, 1]) + 0.5 * other_size, around)
    places = span[:, None] * jnp.stack([jnp.cos(bearing), jnp.sin(bearing)], axis=1)
    chance = jnp.where(
        covering, config.occlusion_probability * jnp.where(is_search, 1.0, 0.2), config.distractor_probability
    )
    turns = jax.vmap(_rotation)(0.15 * g[:, 1] + jnp.where(o[:, 3] < 0.1, 6.28 * o[:, 4], 0.0))
    areas = jax.vmap(lambda s, p, m: jnp.prod(jnp.diff(sprites.extent(banks["supports"][s, p], m), axis=0)))(
        scene["others"], poses, turns
    )
    maps = jnp.swapaxes(turns, 1, 2) * (jnp.sqrt(areas) / other_size)[:, None, None]
    tints = jnp.exp(0.15 * g[:, 2:3] + 0.08 * g[:, 3:6])
    rows = maps, places, (o[:, 5] < chance).astype(jnp.float32)
    if config.companion_probability:
        own = jnp.linalg.inv(beside[0]) * unit, beside[1] / unit - (box[0] + box[1]) / 2, 1.0
        rows = _with_row(rows, neighbors.COMPANION, (scene["company"] > 0) & ~scene["region"], own)
    if config.twin_probability:
        support = banks["supports"][scene["others"][neighbors.TWIN], poses[neighbors.TWIN]]
        own = *neighbors.twin(jax.random.fold_in(key, 2), scene, support, size, unit), 1.0
        rows = _with_row(rows, neighbors.TWIN, scene["twin"] & is_search & ~scene["region"], own)
    maps, places, shown = rows

    # From units to the pixels of each image: the background, the others, the target, the one in front.
    def stack(ground, rest, own):
        rest = jnp.asarray(rest)
        return jnp.concatenate([jnp.asarray(v, rest.dtype) for v in (ground[None], rest[:-1], own[None], rest[-1:])])

    area, cell = config.background_size**2, config.sprite_size
    numbers = stack(jnp.int32(0), scene["others"], scene["target"])
    poses = stack(jnp.int32(0), poses, pose)
    scale = 0.5 * cell / banks["cells"][numbers, poses]
    into_sprites = stack(jnp.eye(2), maps, into) * scale[:, :, None]
    centers = stack(jnp.zeros(2), places, -(box[0] + box[1]) / 2)
    into_sprites_at = cell / 2 - jnp.einsum("lij,lj->li", into_sprites, centers)
    back = jnp.arange(others + 2) == 0
    ground = jnp.where(scene["region"], region_ground, free_ground)
    layers = {
        "first": jnp.where(
            back, scene["background"] * area, config.backgrounds * area + (numbers * config.poses + poses) * cell**2
        ),
        "size": jnp.where(back, config.background_size, cell),
        "torus": back,
        "into": jnp.where(back[:, None, None], ground, into_sprites),
        "at": jnp.where(back[:, None], at, into_sprites_at),
        "shown": stack(jnp.float32(1.0), shown, 1.0 - scene["region"]),
        "gain": stack(jnp.ones(3), tints, jnp.exp(change * (0.12 * n[8] + 0.04 * n[9:12]))),
    }
    motion = change * 0.9 * u[3:5] * (u[5] < 0.25) + 0.1 * change * u[6]
    side = jnp.array([-1.0, -1.0, 1.0, 1.0])
    ends = jnp.tile(size, 2) * 0.45 + 3.0 * u[8:12] ** 1.5
    cut = (u[12:16] < 0.35) & (u[16] < config.border_probability)
    angle = 2 * jnp.pi * u[17]
    camera = {
        "gain": (1.0 - scene["haze"]) * jnp.exp(scene["light"] + change * (0.12 * n[12] + 0.06 * n[13:16])),
        "bias": 0.5 * scene["haze"] + change * (0.04 * n[16] + 0.015 * n[17:20]),
        "curve": jnp.clip(change * 0.2 * n[20], -0.6, 0.6),
        "slope": jnp.concatenate([jnp.ones(1), change * 0.08 * n[21:23]]),
        "shadow": jnp.stack([8.0 * n[23], 7.0 * jnp.cos(angle), 7.0 * jnp.sin(angle), 0.6 * u[18] * (u[19] < 0.15)]),
        "blur": jnp.clip(scene["softness"] * jnp.exp(0.2 * change * n[24]) + motion, 0.25, 2.0),
        "noise": scene["noise"] * jnp.exp(0.3 * n[25]),
        "grey": scene["grey"],
        "frame": jnp.where(ended, side * jnp.tile(size, 2) / 2, jnp.where(cut, side * ends, side * 100.0)),
    }
    if config.relight_probability:
        relit = _relit(jax.random.fold_in(key, 5), camera, config)
        camera |= {name: jnp.where(is_search, new, camera[name]) for name, new in relit.items()}
    if config.jpeg_probability:
        camera["jpeg"] = scene["jpeg"]
    if config.motion_blur_probability:
        camera["streak"] = _streak(jax.random.fold_in(key, 3), config) * jnp.where(is_search, 1.0, 0.0)
    return layers, camera, size


def _with_row(arrays, row, here, own):
    """Arrays with a row a sprite, one row of each replaced by that of `own` where `here`."""
    return tuple(v.at[row].set(jnp.where(here, mine, v[row])) for v, mine in zip(arrays, own, strict=True))


def _cut(key, box, probability):
    """A box (2, 2) of which the picture's border cuts up to 0.6 on one side, and (4,) bool which side that is."""
    u, _ = draws(key, (3,))
    share = jnp.where(u[0] < probability, 0.15 + 0.45 * u[1], 0.0)
    ended = (jnp.arange(4) == pick(u[2], 4)) & (share > 0)
    kept = jnp.where(ended.reshape(2, 2), share, 0.0) * (box[1] - box[0])
    return box + kept * jnp.array([[1.0], [-1.0]]), ended


def _streak(key, config):
    """The line (2,) in pixels along which a view is blurred, 0 0 for most."""
    u, _ = draws(key, (3,))
    angle = 2 * jnp.pi * u[1]
    length = jnp.where(u[0] < config.motion_blur_probability, (0.1 + 0.3 * u[2]) * config.unit_pixels, 0.0)
    return jnp.minimum(length, LONGEST_STREAK) * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def _turn(key, config):
    """The angle () by which the target has turned, 0 for most."""
    u, _ = draws(key, (2,))
    return jnp.where(u[0] < config.turn_probability, jnp.pi * (2.0 * u[1] - 1.0), 0.0)


def _relit(key, camera, config):
    """What of a camera is another once the light has changed: {name: array as in `camera`}, the same for most.

    camera: as of render.expose, lengths in units.

    Half of the changes are of exposure and color: a picture of 0.3 to 1.7 times the brightness, as what a camera does
    before it has adapted. The others are a shadow whose edge lies across or near the target.
    """
    u, n = draws(key, (4,), (5,))
    changed = u[0] < config.relight_probability
    whole, cast = changed & (u[1] < 0.5), changed & (u[1] >= 0.5)
    exposure, shadow = jnp.exp(-1.2 + 1.7 * u[2] + 0.08 * n[:3]), camera["shadow"]
    near = jnp.stack([4.0 * n[4], shadow[1], shadow[2], 0.35 + 0.45 * u[3]])
    return {
        "gain": camera["gain"] * jnp.where(whole, exposure, 1.0),
        "curve": jnp.where(whole, jnp.clip(0.4 * n[3], -0.6, 0.6), camera["curve"]),
        "shadow": jnp.where(cast, near, shadow),
    }


def _window(key, size, is_search, crop_aspect, config):
    """Where the crop lies, jittered as the field does: (center (2,) from the center of the box, side () or, with the
    logarithm of a crop's aspect, (2,)), in units."""
    u, n = draws(key, (2,), (2,))
    center_jitter, scale_jitter, factor = (
        jnp.where(is_search, getattr(config, f"search_{name}"), getattr(config, f"template_{name}"))
        for name in ("center_jitter", "scale_jitter", "factor")
    )
    unit = jnp.sqrt(jnp.prod(size * jnp.exp(scale_jitter * n)))
    side = unit * factor
    if crop_aspect is not None:
        side = side * jnp.exp(jnp.stack([0.5 * crop_aspect, -0.5 * crop_aspect]))
    return unit * center_jitter * (u - 0.5), side


def to_pixels(layers, camera, corner, scale):
    """Layers and camera given in units, for points in pixels: units = corner + scale * pixels; scale () or (2,)."""
    slope, shadow = camera["slope"], camera["shadow"]
    return (
        {**layers, "at": layers["at"] + layers["into"] @ corner, "into": layers["into"] * scale},
        {
            **camera,
            "slope": jnp.concatenate([slope[:1] + slope[1:] @ corner, slope[1:] * scale]),
            "shadow": jnp.concatenate([shadow[:1] + shadow[1:3] @ corner, shadow[1:3] * scale, shadow[3:]]),
            "frame": (camera["frame"] - jnp.tile(corner, 2)) / jnp.tile(jnp.broadcast_to(scale, 2), 2),
        },
    )


def _numbers(key, scene, is_search, banks, config, crop_aspect=None):
    """All numbers of one crop, for points in its pixels: dict for `_render`.

    crop_aspect: () logarithm of the crop's width over its height, NaN where the target's box here decides; None is a
    square.
    """
    keys = jax.random.split(key, 3)
    layers, camera, size = _view(keys[0], scene, banks, config, is_search)
    stretched = {}
    if crop_aspect is not None:
        own = config.crop_aspect * jnp.log(size[0] / size[1])
        crop_aspect = stretched["crop_aspect"] = jnp.where(jnp.isnan(crop_aspect), own, crop_aspect)
    center, side = _window(keys[1], size, is_search, crop_aspect, config)
    pixels = jnp.where(is_search, config.search_size, config.template_size)
    layers, camera = to_pixels(layers, camera, center - side / 2, side / pixels)
    coarse = {}
    if config.low_resolution_probability:
        # Pixels of the crop to one of the video. What lies between them is interpolated: smooth.
        seen = side if crop_aspect is None else jnp.sqrt(jnp.prod(side))
        factor = jnp.clip(pixels / seen / scene["resolution"], 1.0, 4.0)
        camera["blur"] = jnp.clip(jnp.hypot(camera["blur"], 0.45 * (factor - 1)), 0.25, 2.0)
        camera["noise"] = camera["noise"] / factor
        coarse = {"coarse": factor}
    box = jnp.concatenate([(-center - size / 2) / side + 0.5, size / side])
    return {"layers": layers, "camera": camera, "box": box, **coarse, **stretched, "spot": draws(keys[2], (3,))[0]}


def _with_arrays(numbers, banks, config, pixels):
    """The numbers of one crop with its sensor noise, (3, pixels, pixels) float16, and where its pixels look, (pixels,).

    Made before rendering: XLA would copy the bank for every turn of a loop that slices it, and divide for every sample.
    """
    spot = numbers["spot"]
    place = pick(spot[1:], config.background_size - pixels + 1)
    noise = jax.lax.dynamic_slice(banks["noise"], (pick(spot[0], NOISES), 0, *place), (1, 3, pixels, pixels))[0]
    ticks = jnp.arange(pixels) + 0.5
    if config.low_resolution_probability:
        ticks = (jnp.floor(ticks / numbers["coarse"]) + 0.5) * numbers["coarse"]
    return {**numbers, "noise": noise, "ticks": ticks}


def _render(numbers, texels, pixels):
    """Crops (N, pixels, pixels, 3) uint8 from their numbers, with a leading axis N."""
    x, y = jax.vmap(lambda ticks: tuple(jnp.meshgrid(ticks, ticks)))(numbers["ticks"])
    images = compose_all(texels, numbers["layers"], x, y)
    x, y = jnp.meshgrid(jnp.arange(pixels) + 0.5, jnp.arange(pixels) + 0.5)
    noise = numbers["noise"].astype(jnp.float32)
    return jax.vmap(lambda *view: expose(*view, x, y))(images, numbers["camera"], noise)


def _plan(key, banks, config):
    """All numbers of a pair: (of the template crops, with a leading axis, of the search crop, dict of the label)."""
    keys = jax.random.split(key)
    scene = searched = _scene(keys[0], banks, config)
    views, label = config.templates + 1, {}
    if config.positive_probability < 1:
        # Keys of their own: the pairs that stay positive are those of positive_probability 1.
        positive = draws(jax.random.fold_in(key, 0), (1,))[0][0] < config.positive_probability
        other = _scene(jax.random.fold_in(key, 1), banks, config)
        searched = jax.tree.map(lambda own, others: jnp.where(positive, own, others), scene, other)
        label = {"label": positive.astype(jnp.float32)}

    # A loop, so that XLA stores these numbers: it would fuse them into the rendering and draw them for every pixel.
    # The first template's box decides the aspect of all crops.
    def of_view(crop_aspect, view):
        key, is_search = view
        seen = jax.tree.map(lambda own, search: jnp.where(is_search, search, own), scene, searched)
        numbers = _numbers(key, seen if label else scene, is_search, banks, config, crop_aspect)
        return numbers.get("crop_aspect"), numbers

    undecided = jnp.float32(jnp.nan) if config.crop_aspect else None
    of_each = jax.random.split(keys[1], views), jnp.arange(views) == views - 1
    numbers = jax.lax.scan(of_view, undecided, of_each)[1]
    of_template, of_search = jax.tree.map(lambda v: v[:-1], numbers), jax.tree.map(lambda v: v[-1], numbers)
    return (
        jax.vmap(lambda n: _with_arrays(n, banks, config, config.template_size))(of_template),
        _with_arrays(of_search, banks, config, config.search_size),
        label,
    )


def pairs(keys, banks, config):
    """Training pairs, each a pure function of its key; for jit.

    Args:
      keys: (n,) keys.

    Returns:
      dict: "template" (n, K, Hz, Wz, 3) uint8 RGB, "template_box" (n, K, 4) float32, "search" (n, Hx, Wx, 3) uint8,
      "search_box" (n, 4) float32; boxes are x, y, w, h fractions of the crop and cover the whole target, hidden parts
      included; with positive_probability below 1 also "label" (n,) float32, 0 where the search view is of another
      scene.
    """
    of_template, of_search, label = jax.vmap(lambda key: _plan(key, banks, config))(keys)
    flat = jax.tree.map(lambda v: v.reshape(-1, *v.shape[2:]), of_template)
    template = _render(flat, banks["texels"], config.template_size)
    return {
        "template": template.reshape(-1, config.templates, *template.shape[1:]),
        "template_box": of_template["box"],
        "search": _render(of_search, banks["texels"], config.search_size),
        "search_box": of_search["box"],
        **label,
    }


def pair(key, banks, config):
    """One training pair: `pairs` of one key, without the leading axis."""
    return jax.tree.map(lambda v: v[0], pairs(key[None], banks, config))
