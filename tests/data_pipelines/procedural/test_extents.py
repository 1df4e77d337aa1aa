"""Pairs whose box the template's box alone tells: parts of sprites, companions, look-alikes, cut targets, blur."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.procedural import video
from data_pipelines.procedural.video import extents, neighbors, render, sprites, training_pairs
from data_pipelines.procedural.video.stream import OnDevice
from trackers.errors import UsageError

SMALL = video.SyntheticConfig(template_size=24, search_size=48, backgrounds=2, families=3, poses=2)
TOLD = dataclasses.replace(
    SMALL, extent_probability=0.6, companion_probability=0.4, twin_probability=0.5, partial_probability=0.4,
    motion_blur_probability=0.5, region_probability=0.1,
)  # fmt: skip
ANGLES = 2 * np.pi * np.arange(sprites.DIRECTIONS) / sprites.DIRECTIONS


@pytest.fixture(scope="module")
def banks():
    return video.banks_at(3, 0, TOLD)


def iou(a, b):
    """Of boxes (..., 2, 2), corners."""
    inner = np.clip(np.minimum(a[..., 1, :], b[..., 1, :]) - np.maximum(a[..., 0, :], b[..., 0, :]), 0, None).prod(-1)
    areas = [np.prod(v[..., 1, :] - v[..., 0, :], axis=-1) for v in (a, b)]
    return inner / (areas[0] + areas[1] - inner)


def boxes_of(support):
    """Boxes (..., 2, 2) of supports (..., DIRECTIONS) in the sprite's own frame."""
    quarter = sprites.DIRECTIONS // 4
    right, down, left, up = (support[..., k * quarter] for k in range(4))
    return np.stack([np.stack([-left, -up], -1), np.stack([right, down], -1)], -2)


def test_supports_are_those_of_the_texels_that_are_seen():
    rng = np.random.default_rng(0)
    size = 20
    x, y = np.meshgrid(np.arange(size) - 9.5, np.arange(size) - 9.5)
    alpha = np.where(np.hypot(x, y) < 8, rng.uniform(0.3, 1, (size, size)), 0).astype(np.float32)
    owner = ((x > 1) + 2 * (y > -2)).astype(np.int32)
    rest = x + 0.5, y - 0.5
    chosen = {
        "parts": np.array([[True] * 4, [False, True, False, False], [True, True, False, False], [False] * 4]),
        "low": np.array([[-99.0, -3.0], [-99, -99], [-99, -99], [-99, -99]]),
        "high": np.array([[99.0, 4.0], [99, 99], [99, 99], [99, 99]]),
    }
    found = np.asarray(jax.jit(extents.supports)(chosen, alpha, owner, rest, x, y, 1.0, ANGLES))
    for n in range(3):
        inside = (rest[1] > chosen["low"][n, 1]) & (rest[1] < chosen["high"][n, 1]) & chosen["parts"][n][owner]
        seen = inside & (alpha > 0.05)
        exact = [(np.cos(a) * x + np.sin(a) * y + alpha - 0.5)[seen].max() for a in ANGLES]
        np.testing.assert_allclose(found[n][::16], exact[::16], atol=1e-5)
        np.testing.assert_allclose(found[n], exact, atol=0.3)
    assert np.isneginf(found[3]).all(), "nothing of it is seen"


def test_a_part_alone_is_boxed_as_if_it_were_painted_alone():
    shape = {
        "aspect": jnp.float32(0.7), "center": jnp.array([[0.1, 0.2], [-0.2, -0.4], [0.3, 0.1]]),
        "half": jnp.array([[0.8, 0.7], [0.3, 0.4], [0.35, 0.25]]), "angle": jnp.array([0.1, 0.4, -0.3]),
        "anchor": jnp.array([0.0, -1.0, 0.5]), "kind": jnp.array([0.0, 1.0, 1.0]), "present": jnp.ones(3),
        "swing": jnp.float32(0.4), "color": jnp.arange(3.0),
    }  # fmt: skip
    few = sprites.PARTS - 3
    shape = {k: jnp.pad(v, [(0, few)] + [(0, 0)] * (v.ndim - 1)) if v.ndim else v for k, v in shape.items()}
    shape["half"] = shape["half"].at[3:].set(0.1)
    texture = sprites.texture(jax.random.key(0))
    chosen = extents.choices(jax.random.key(1), shape)
    front = jnp.arange(sprites.PARTS) == 2
    chosen["parts"] = chosen["parts"].at[extents.PART].set(front)
    noise = jnp.zeros((48, 48))

    @jax.jit
    def both(pose):
        _, whole, _, reaches = sprites.draw(shape, texture, pose, noise, 48, None, chosen)
        _, alone, _, _ = sprites.draw({**shape, "present": front * 1.0}, texture, pose, noise, 48)
        return whole, reaches, alone

    texel = 2.0 / 48 * sprites.REACH / 0.7**0.5
    for pose in jax.random.normal(jax.random.key(2), (3, sprites.PARTS, 3)):
        whole, reaches, alone = both(pose)
        np.testing.assert_allclose(reaches[extents.PART], alone, atol=texel)
        np.testing.assert_allclose(reaches[extents.WHOLE], whole, atol=0.3 * texel)
        assert np.all(np.asarray(reaches[extents.TWO_PARTS]) <= np.asarray(whole) + texel / 3)


def best_single_box(boxes):
    """Mean IoU of the one box that is best for all of (K, 2, 2): between the edges of the boxes the mean is convex in
    every edge, so the best has edges of theirs."""
    edges = [np.unique(boxes[:, i, j]) for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))]
    every = np.array(list(itertools.product(*edges))).reshape(-1, 1, 2, 2)
    every = every[(every[:, 0, 1] > every[:, 0, 0]).all(-1)]
    return iou(every, boxes[None]).mean(1).max()


def bounds(supports):
    """What IoU is left to a predictor that is not told the extent, from banks["extents"] (n, KINDS, DIRECTIONS).

    Returns: (the best single box of each sprite; its best single aspect, where center and area are told as the template
      crop tells them; told the aspect too), means.
    """
    boxes = boxes_of(np.asarray(supports, np.float64))
    single = [best_single_box(own) for own in boxes]
    center, size = boxes.mean(-2), boxes[..., 1, :] - boxes[..., 0, :]
    root = np.sqrt(size.prod(-1))

    def of_aspect(aspect):
        half = root[..., None] * np.stack(np.broadcast_arrays(np.sqrt(aspect), 1 / np.sqrt(aspect)), -1) / 2
        return iou(np.stack([center - half, center + half], -2), boxes)

    tried = np.stack([of_aspect(a).mean(1) for a in np.exp(np.linspace(-1.5, 1.5, 61))])
    return np.mean(single), tried.max(0).mean(), of_aspect(size[..., 0] / size[..., 1]).mean()


def test_one_appearance_has_many_boxes(banks):
    """Of the same pixels the five extents are five boxes: no single one fits, nor one aspect at the true center."""
    supports = np.asarray(banks["extents"])
    assert np.isfinite(supports).all()
    np.testing.assert_array_equal(supports[:, :, extents.WHOLE], banks["supports"])
    single, aspect, told = bounds(supports.reshape(-1, extents.KINDS, sprites.DIRECTIONS))
    assert single < 0.7 and aspect < 0.85 and told > 0.999
    # Another texture of the same shape has the same extents.
    assert np.abs(supports[0::4] - supports[2::4]).max() < 0.1


@pytest.fixture(scope="module")
def views(banks):
    """Search views of 64 scenes: (scene, numbers of the crop), and the supports of what is shown."""

    @jax.jit
    @jax.vmap
    def run(key):
        keys = jax.random.split(key)
        scene = training_pairs._scene(keys[0], banks, TOLD)
        return scene, training_pairs._numbers(keys[1], scene, True, banks, TOLD)

    return jax.tree.map(np.asarray, run(jax.random.split(jax.random.key(9), 64)))


def test_a_cut_target_ends_where_the_picture_does(views):
    _, numbers = views
    box = numbers["box"] * TOLD.search_size
    edges = np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)
    on_edge = np.abs(numbers["camera"]["frame"] - edges) < 1e-3
    assert 0.2 < on_edge.any(1).mean() < 0.6 and on_edge.sum(1).max() == 1
    # The crop lies around what is left, as around any box.
    center = numbers["box"][:, :2] + numbers["box"][:, 2:] / 2
    assert np.abs(center - 0.5).max() <= TOLD.search_center_jitter / TOLD.search_factor / 2 + 1e-5
    box, ended = jax.jit(jax.vmap(lambda key: training_pairs._cut(key, jnp.array([[-2.0, -1], [2, 1]]), 1.0)))(
        jax.random.split(jax.random.key(1), 50)
    )
    lost = 1 - np.prod(np.diff(box, axis=1), axis=-1)[:, 0] / 8
    assert lost.min() >= 0.15 and lost.max() <= 0.6 and np.asarray(ended).sum(0).min() > 3


def test_the_look_alike_lies_beside_the_box_and_is_as_large(banks, views):
    scene, numbers = views
    layers, row = numbers["layers"], 1 + neighbors.TWIN
    shown = scene["twin"] & ~scene["region"]
    assert shown.sum() > 15 and (layers["shown"][shown, row] == 1).all()
    target, other = scene["target"][shown], scene["others"][shown, neighbors.TWIN]
    assert (target // 4 == other // 4).all() and (target != other).all()
    cells, area = np.asarray(banks["cells"]), TOLD.backgrounds * TOLD.background_size**2

    def outline(layer):
        """Boxes of whole sprites in pixels of the crop, and their magnifications, from their rows of the layers."""
        first, into, at = (layers[k][shown, layer].astype(float) for k in ("first", "into", "at"))
        number = (first - area).astype(int) // TOLD.sprite_size**2
        frame = cells.reshape(-1, 2)[number] * 2 / TOLD.sprite_size  # of the sprite's frame to a texel
        matrix = np.linalg.inv(into * frame[:, :, None])
        origin = np.linalg.solve(into, (TOLD.sprite_size / 2 - at)[..., None])[..., 0]
        supports = np.asarray(banks["supports"]).reshape(-1, sprites.DIRECTIONS)[number]
        return jax.vmap(sprites.extent)(supports, matrix) + origin[:, None], np.abs(np.linalg.det(matrix))

    found, scale = outline(row)
    _, own_scale = outline(1 + TOLD.distractors)  # the target's row
    box = numbers["box"][shown] * TOLD.search_size
    corners = np.stack([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)
    assert iou(np.asarray(found), corners).max() < 1e-3
    assert np.abs(np.log(scale / own_scale)).max() < 0.6


def test_a_companion_in_the_box_widens_it_to_both(banks):
    """In silhouette: both together fill the box where they are one target; else the box is the target's alone."""
    config = dataclasses.replace(
        SMALL, companion_probability=1.0, region_probability=0.0, distractor_probability=0.0, occlusion_probability=0.0
    )
    ground, pixels = config.backgrounds * config.background_size**2, 128
    flat = {**banks, "texels": (banks["texels"] | jnp.uint32(0x00FFFFFF)).at[:ground].set(0)}
    ticks = (jnp.arange(pixels) + 0.5 - pixels / 2) / config.unit_pixels
    x, y = jnp.meshgrid(ticks, ticks)

    @jax.jit
    def silhouette(key):
        keys = jax.random.split(key)
        scene = training_pairs._scene(keys[0], flat, config)
        layers, _, size = training_pairs._view(keys[1], scene, flat, config, True)
        layers["gain"] = jnp.ones_like(layers["gain"])
        return render.compose(flat["texels"], layers, x, y)[0] > 127.5, size, scene["company"]

    alone = 0
    for key in jax.random.split(jax.random.key(2), 12):
        seen, size, company = jax.tree.map(np.asarray, silhouette(key))
        columns, rows = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
        extent = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) - pixels / 2
        box = np.array([*-size, *size]) / 2 * config.unit_pixels
        if company == 2:
            np.testing.assert_allclose(extent, box, atol=1.5)
        else:
            alone += 1
            assert np.abs(extent - box).max() > 3
    assert 1 < alone < 11


def test_motion_blur_is_the_mean_along_a_line():
    image = np.random.default_rng(0).random((3, 12, 15)).astype(np.float32)
    streak = np.array([8.0, -4.4], np.float32)
    padded = np.pad(image, [(0, 0), (7, 7), (7, 7)], mode="edge")
    expected = 0
    for k in range(7):
        dx, dy = (int(np.round((k / 6 - 0.5) * v)) for v in streak)
        expected = expected + padded[:, 7 + dy : 19 + dy, 7 + dx : 22 + dx] / 7
    np.testing.assert_allclose(render._smear(jnp.asarray(image), jnp.asarray(streak)), expected, atol=1e-6)
    np.testing.assert_allclose(render._smear(jnp.asarray(image), jnp.zeros(2)), image, atol=1e-6)


@pytest.mark.slow
def test_pairs_with_all_of_it_are_the_same_on_the_device(banks):
    streamed = [video.make_batch(3, step, np.arange(8), banks, TOLD) for step in (0, 1)]
    assert {k: (v.shape, v.dtype.name) for k, v in streamed[0].items()} == {
        "template": ((8, 1, 24, 24, 3), "uint8"),
        "template_box": ((8, 1, 4), "float32"),
        "search": ((8, 48, 48, 3), "uint8"),
        "search_box": ((8, 4), "float32"),
    }
    made = OnDevice(TOLD, 3)
    facts = made.facts(0, jax.sharding.SingleDeviceSharding(jax.devices()[0]))
    again = jax.jit(made.make)(facts, 1, jnp.arange(8))
    for name, value in streamed[1].items():
        np.testing.assert_allclose(again[name].astype(jnp.float32), value.astype(np.float32), atol=2)
    box = np.concatenate([v["template_box"] for v in streamed]).reshape(-1, 4)
    np.testing.assert_allclose(box[:, :2] + box[:, 2:] / 2, 0.5, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(box[:, 2] * box[:, 3]) * TOLD.template_factor, 1.0, atol=1e-5)


def test_companions_and_look_alikes_need_others():
    with pytest.raises(UsageError, match="distractors is 1, .*give at least 2"):
        dataclasses.replace(SMALL, distractors=1, twin_probability=0.1)
    assert dataclasses.replace(SMALL, distractors=1).twin_probability == 0


def test_crops_take_the_template_box_s_aspect_where_asked(banks):
    keys = jax.random.split(jax.random.key(5), 12)
    made = {}
    for share in (0.0, 1.0):
        config = dataclasses.replace(TOLD, crop_aspect=share, low_resolution_probability=0.5, templates=2)
        made[share] = jax.jit(lambda keys, config=config: training_pairs.pairs(keys, banks, config))(keys)
    square, stretched = made[0.0], made[1.0]
    first = np.log(square["template_box"][:, 0, 2] / square["template_box"][:, 0, 3])
    assert np.abs(first).max() > 0.5
    for name in ("template_box", "search_box"):
        before, after = np.asarray(square[name]), np.asarray(stretched[name])
        shift = first[:, None] if name == "template_box" else first
        # The same views: centers and areas stay, widths over heights lose the first template's.
        np.testing.assert_allclose(
            np.log(after[..., 2] / after[..., 3]), np.log(before[..., 2] / before[..., 3]) - shift, atol=1e-4
        )
        np.testing.assert_allclose(after[..., 2] * after[..., 3], before[..., 2] * before[..., 3], rtol=1e-4)
    np.testing.assert_allclose(stretched["template_box"][:, 0, 2:], 0.5, atol=1e-4)
    # A crop shows what the square one does, at other places: its middle is the same point.
    middle = np.abs(
        stretched["search"][:, 23:25, 23:25].astype(float).mean((1, 2))
        - square["search"][:, 23:25, 23:25].astype(float).mean((1, 2))
    )
    assert np.median(middle) < 8
