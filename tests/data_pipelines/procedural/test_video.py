import dataclasses
import itertools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import sections
from data_pipelines.procedural import video
from data_pipelines.procedural.video import banks as banks_module
from data_pipelines.procedural.video import (
    detail,
    evaluation_sequences,
    leaves,
    render,
    sprites,
    stream,
    training_pairs,
)
from trackers.errors import InputError, UsageError
from trackers.io import image_files


def _config(**own):
    return ConfigDict(
        {
            "seed": 3,
            "model": {"template_size": 24, "search_size": 48, "templates": 2},
            "tracking": {"template_factor": 2.0, "search_factor": 4.0, "window": 1.0},
            "data": {
                "search_center_jitter": 3.0,
                "search_scale_jitter": 0.25,
                "synthetic": {"backgrounds": 2, "families": 3, "poses": 2, "renew_every_steps": 2, **own},
            },
        }
    )


SMALL = video.SyntheticConfig.from_config(_config())


@pytest.fixture(scope="module")
def banks():
    return video.banks_at(3, 0, SMALL)


def _pairs(banks, config, steps, seed=3):
    """8 pairs a step, as one batch: by the program that streams are made with, compiled once."""
    examples = [video.make_batch(seed, step, np.arange(8), banks, config) for step in range(steps)]
    return jax.tree.map(lambda *parts: np.concatenate(parts), *examples)


@pytest.fixture(scope="module")
def examples(banks):
    return _pairs(banks, SMALL, 8)


def _equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_pairs_have_the_shapes_of_a_batch(examples):
    assert {k: (v.shape, v.dtype.name) for k, v in examples.items()} == {
        "template": ((64, 2, 24, 24, 3), "uint8"),
        "template_box": ((64, 2, 4), "float32"),
        "search": ((64, 48, 48, 3), "uint8"),
        "search_box": ((64, 4), "float32"),
    }


def test_same_key_same_bytes_and_other_key_other_pair(banks, examples):
    assert _equal(examples, _pairs(banks, SMALL, 8))
    assert len({image.tobytes() for image in examples["search"]}) == 64


def test_template_is_centered_and_measured_by_its_box(examples):
    box = examples["template_box"].reshape(-1, 4)
    np.testing.assert_allclose(box[:, :2] + box[:, 2:] / 2, 0.5, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(box[:, 2] * box[:, 3]) * SMALL.template_factor, 1.0, atol=1e-5)


def test_search_box_is_jittered_as_the_field_does(examples):
    box = examples["search_box"]
    center = box[:, :2] + box[:, 2:] / 2
    reach = SMALL.search_center_jitter / SMALL.search_factor / 2
    assert np.abs(center - 0.5).max() <= reach
    assert np.abs(center - 0.5).max() > 0.9 * reach
    log_scale = np.log(np.sqrt(box[:, 2] * box[:, 3]) * SMALL.search_factor)
    # The window's side follows the root of two jittered sides, so the deviation is 0.25 / sqrt(2).
    assert 0.11 < log_scale.std() < 0.25


@pytest.mark.parametrize("rich", [False, True])
@pytest.mark.parametrize("is_search", [False, True])
def test_painted_extent_is_the_box(banks, rich_banks, is_search, rich):
    banks = rich_banks if rich else banks
    config = video.SyntheticConfig(
        **{
            **vars(RICH if rich else SMALL),
            "region_probability": 0.0,
            "distractor_probability": 0.0,
            "occlusion_probability": 0.0,
        }
    )
    ground = config.backgrounds * config.background_size**2
    white = banks["texels"] | jnp.uint32(0x00FFFFFF)
    flat = {**banks, "texels": white.at[:ground].set(0)}
    per_unit, pixels = config.unit_pixels, 96
    ticks = (jnp.arange(pixels) + 0.5 - pixels / 2) / per_unit
    x, y = jnp.meshgrid(ticks, ticks)

    @jax.jit
    def silhouette(key):
        keys = jax.random.split(key)
        layers, _, size = training_pairs._view(
            keys[0], training_pairs._scene(keys[1], flat, config), flat, config, is_search
        )
        layers["gain"] = jnp.ones_like(layers["gain"])
        return render.compose(flat["texels"], layers, x, y)[0] > 127.5, size

    for key in jax.random.split(jax.random.key(2), 12):
        seen, size = jax.tree.map(np.asarray, silhouette(key))
        columns, rows = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
        extent = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) - pixels / 2
        np.testing.assert_allclose(extent, np.array([*-size, *size]) / 2 * per_unit, atol=1.5)


def test_detail_goes_from_flat_to_full_texture():
    """Banks without detail: sprites of one color each, backgrounds of a quarter of the contrast; plainness: between."""
    config = dataclasses.replace(SMALL, plainness=1.0)
    make = jax.jit(video.make_banks, static_argnums=1)

    def textured(strength):
        texels = np.asarray(make(jax.random.key(3), config, strength)["texels"])
        backgrounds, cells = np.split(texels, [SMALL.backgrounds * SMALL.background_size**2])
        rgb = np.stack([backgrounds >> shift & 255 for shift in (0, 8, 16)]).astype(float)
        colors = [len(np.unique(cell & 0xFFFFFF)) for cell in cells.reshape(4 * SMALL.families, -1)]
        return rgb.reshape(3, SMALL.backgrounds, -1).std(2).mean(0), colors

    (plain, flat), (some, colored) = textured(0.0), textured(1.0)
    assert max(flat) == 1 < min(colored)
    # Each background has its own share of what is missing.
    assert (some >= plain).all() and (some < plain / detail.FAINT).all() and np.ptp(some / plain) > 0.1
    image = jax.random.uniform(jax.random.key(0), (8, 8, 4))
    np.testing.assert_allclose(detail.faded(image, 1.0), image, atol=1e-6)
    np.testing.assert_allclose(detail.faded(image, 0.0).std(), detail.FAINT * image.std(), rtol=0.1)
    np.testing.assert_array_equal(detail.flattened(image, jnp.arange(3.0), 0.0)[..., 3], image[..., 3])
    np.testing.assert_array_equal(
        detail.flattened(image, jnp.arange(3.0), 0.0)[..., :3], np.broadcast_to(np.arange(3.0), (8, 8, 3))
    )


def test_region_target_keeps_to_the_background(banks):
    """Without change between the views a region target shows the same pixels in both."""
    config = video.SyntheticConfig(
        **{**vars(SMALL), "template_size": 48, "template_factor": 4.0, "search_center_jitter": 0.0,
           "search_scale_jitter": 0.0, "region_probability": 1.0, "change": 0.0, "distractor_probability": 0.0,
           "occlusion_probability": 0.0, "border_probability": 0.0}
    )  # fmt: skip
    examples = _pairs(banks, config, 1)
    np.testing.assert_allclose(examples["template_box"][:, 0], examples["search_box"], atol=1e-5)
    inner = (slice(None), slice(12, 36), slice(12, 36))
    difference = np.abs(examples["template"][:, 0][inner].astype(float) - examples["search"][inner])
    other = np.abs(examples["template"][:, 0][inner].astype(float) - np.roll(examples["search"], 1, 0)[inner])
    # Sensor noise and a cast shadow may differ, hence the median over the pairs.
    assert np.median(difference.mean((1, 2, 3))) < 6 < np.median(other.mean((1, 2, 3)))


def test_extent_equals_that_of_the_mapped_outline():
    angle = 2 * np.pi * np.arange(sprites.DIRECTIONS) / sprites.DIRECTIONS
    support = 0.5 * np.abs(np.cos(angle)) + 0.2 * np.abs(np.sin(angle))  # of the box [-0.5, 0.5] x [-0.2, 0.2]
    matrix = np.array([[1.3, -0.7], [0.4, 0.9]])
    corners = matrix @ np.array([[-0.5, 0.5, -0.5, 0.5], [-0.2, -0.2, 0.2, 0.2]])
    expected = [corners.min(1), corners.max(1)]
    np.testing.assert_allclose(sprites.extent(jnp.asarray(support), jnp.asarray(matrix)), expected, atol=5e-3)


def test_search_crops_have_the_statistics_of_video(examples):
    """Heavy-tailed derivatives (Gaussian noise of like spectrum has kurtosis 3) and a power law between f^-2 and f^-4.

    The real crops of the eight development sequences, for scale: median kurtosis 17, exponent -2.4 below 0.15 cycles.
    """
    search = examples["search"]
    grey = search[(search.max(-1) == 0).mean((1, 2)) < 0.01].mean(-1)  # those without the picture's border
    assert len(grey) > 10
    smooth = np.asarray(leaves.fractal_noise(jax.random.key(6), 48, [1.0] * 6))

    def kurtosis(stack):
        step = np.diff(stack, axis=2)
        return (step**4).mean((1, 2)) / (step**2).mean((1, 2)) ** 2

    frequency = np.hypot(np.fft.fftfreq(48)[:, None], np.fft.fftfreq(48)[None])
    window = np.hanning(48)[:, None] * np.hanning(48)
    power = (np.abs(np.fft.fft2((grey - grey.mean((1, 2), keepdims=True)) * window)) ** 2).mean(0)
    band = (frequency > 0.05) & (frequency < 0.2)
    slope = np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]
    assert np.median(kurtosis(grey)) > 6 > 4 > np.median(kurtosis(smooth))
    assert -4.0 < slope < -1.6


@pytest.mark.parametrize("size", [2, 48, 96])
def test_noise_is_the_inverse_transform(size):
    spectrum = np.random.default_rng(size).normal(size=(2, 3, size, size // 2 + 1)).astype(np.float32)
    expected = np.fft.irfft2(spectrum[0] + 1j * spectrum[1].astype(np.float64), s=(size, size))
    found = jax.jit(leaves._inverse_real_transform)(*spectrum)
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())


def test_no_program_has_a_transform_that_waits_for_the_threads_it_runs_in():
    """Two at once on two cores, one in each of two streams, never ended."""
    banks = jax.jit(video.make_banks, static_argnums=1).lower(jax.random.key(0), SMALL).as_text()
    sequence = jax.jit(evaluation_sequences._cast).lower(jax.random.key(0), 1.0, 0.0).as_text()
    assert "dot_general" in banks and "fft" not in banks + sequence


def test_batches_do_not_depend_on_rows_or_start():
    config = _config()
    take = itertools.islice
    whole = list(take(video.batches(config, 0, range(0, 12)), 4))
    part = list(take(video.batches(config, 0, range(5, 9)), 2))
    assert whole[0]["template"].shape == (12, 2, 24, 24, 3)
    assert all(_equal({k: v[5:9] for k, v in w.items()}, p) for w, p in zip(whole, part, strict=False))
    resumed = list(take(video.batches(config, 2, range(0, 12)), 2))
    assert _equal(whole[2], resumed[0]) and _equal(whole[3], resumed[1])
    assert not _equal(whole[0], whole[1])


def test_split_and_seed_change_the_batch():
    config = _config()
    first = {
        (seed, split): next(video.batches(config, 0, range(2), seed, split))["search"].tobytes()
        for seed, split in [(None, "train"), (3, "train"), (4, "train"), (3, "validation")]
    }
    assert first[None, "train"] == first[3, "train"]
    assert len(set(first.values())) == 3
    with pytest.raises(ValueError, match="train and validation"):
        video.batches(config, 0, range(2), 3, "test")


def test_batches_made_on_the_device_equal_the_stream():
    made = video.on_device(_config(), 3)
    facts = made.facts(3, jax.sharding.SingleDeviceSharding(jax.devices()[0]))  # the second banks
    streamed = next(video.batches(_config(), 3, range(4)))
    examples = jax.jit(made.make)(facts, 3, jnp.arange(4))
    assert streamed.keys() == examples.keys()
    for name, value in streamed.items():
        np.testing.assert_allclose(examples[name].astype(jnp.float32), value.astype(np.float32), atol=2)


@pytest.mark.slow
def test_an_accelerator_makes_many_at_once_and_the_same(banks, examples, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(banks_module, "AT_ONCE", 2)
    together = jax.jit(lambda key: video.make_banks(key, SMALL))(stream._key(3, "train", 0, 0))
    for name, expected in banks.items():
        value = np.asarray(together[name])
        if name == "texels":
            value, expected = value.view(np.uint8).astype(int), np.asarray(expected).view(np.uint8).astype(int)
        np.testing.assert_allclose(value, expected, atol=0 if name == "noise" else 1.01 if name == "texels" else 1e-5)
    batch = next(video.batches(_config(), 1, range(8)))
    for name, value in batch.items():
        assert isinstance(value, np.ndarray)
        np.testing.assert_allclose(value.astype(float), examples[name][8:16].astype(float), atol=1)


def test_closing_the_stream_ends_its_thread():
    batches = video.batches(_config(), 0, range(2))
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name == "synthetic"]


def test_config_is_collected_and_checked():
    settings = video.SyntheticConfig.from_config(_config(families=5))
    assert (settings.search_size, settings.templates, settings.families, settings.poses) == (48, 2, 5, 2)
    assert video.SyntheticConfig.from_config({}) == video.SyntheticConfig()
    with pytest.raises(UsageError, match="config.data.synthetic.familys"):
        video.SyntheticConfig.from_config(_config(familys=5))


def test_the_configs_have_every_field_with_the_same_default():
    defaults = {field.name: field.default for field in dataclasses.fields(video.SyntheticConfig)}
    section = sections.pairs().synthetic.to_dict()
    elsewhere = {"template_size", "search_size", "templates", "template_factor", "search_factor", "crop_aspect"}
    elsewhere |= {f"{view}_{what}_jitter" for view in ("template", "search") for what in ("center", "scale")}
    assert section == {name: defaults[name] for name in defaults.keys() - elsewhere - {"positive_probability"}}
    assert all(type(value) is type(defaults[name]) for name, value in section.items())


def test_sequences_are_written_in_the_got10k_layout(tmp_path):
    frames, boxes = video.sequence(7000, 3)
    assert frames.shape == (3, 240, 320, 3) and frames.dtype == np.uint8 and boxes.shape == (3, 4)
    video.write_sequences(tmp_path / "out", 2, 3, 7)
    folders = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert folders == ["synthetic_0001", "synthetic_0002"]
    first = tmp_path / "out" / folders[0]
    assert sorted(p.name for p in first.glob("*.jpg")) == [f"{t:08d}.jpg" for t in (1, 2, 3)]
    np.testing.assert_allclose(np.loadtxt(first / "groundtruth.txt", delimiter=","), boxes, atol=1e-3)
    written = [image_files.read_image(path) for path in sorted(first.glob("*.jpg"))]
    assert np.abs(frames.astype(int) - written).mean() < 3  # the same video, but for JPEG's losses
    with pytest.raises(InputError, match="is not empty: name a new folder"):
        video.write_sequences(tmp_path / "out", 1, 1, 1)
    with pytest.raises(InputError, match="positive"):
        video.write_sequences(tmp_path / "new", 0, 1, 1)


def test_search_views_of_other_scenes(banks, examples):
    config = dataclasses.replace(SMALL, positive_probability=0.5)
    mixed = _pairs(banks, config, 8)
    shown = mixed["label"] == 1
    assert mixed["label"].dtype == np.float32 and 0.3 < shown.mean() < 0.7
    # What is positive is the pair that it would have been, up to rounding between two programs.
    for name in ("template_box", "search_box"):
        np.testing.assert_allclose(mixed[name][shown], examples[name][shown], atol=1e-5)
    assert np.abs(mixed["search_box"][~shown] - examples["search_box"][~shown]).max(axis=1).min() > 1e-4
    np.testing.assert_allclose(mixed["template_box"], examples["template_box"], atol=1e-5)


RICH = dataclasses.replace(
    SMALL, photographic=True, cutout_probability=0.6, clutter=6, region_candidates=4, jpeg_probability=0.5,
    low_resolution_probability=0.5, sensor_noise=0.02, haze=0.2, adjacent_probability=0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def rich_banks():
    return video.banks_at(3, 0, RICH)


def test_every_option_keeps_shapes_and_determinism(rich_banks, examples):
    rich = _pairs(rich_banks, RICH, 2)
    assert {k: (v.shape[1:], v.dtype) for k, v in rich.items()} == {
        k: (v.shape[1:], v.dtype) for k, v in examples.items()
    }
    assert _equal(rich, _pairs(video.banks_at(3, 1, RICH), RICH, 2))
    box = rich["template_box"].reshape(-1, 4)
    np.testing.assert_allclose(box[:, :2] + box[:, 2:] / 2, 0.5, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(box[:, 2] * box[:, 3]) * RICH.template_factor, 1.0, atol=1e-5)


@pytest.mark.parametrize(
    "option",
    [{"jpeg_probability": 1.0}, {"low_resolution_probability": 1.0}, {"sensor_noise": 0.0}, {"haze": 0.0},
     {"adjacent_probability": 1.0}],
)  # fmt: skip
@pytest.mark.slow
def test_each_option_of_pairs_changes_the_picture_alone(banks, examples, option):
    changed = _pairs(banks, dataclasses.replace(SMALL, **option), 1)
    assert not np.array_equal(changed["search"], examples["search"][:8])
    if "adjacent_probability" not in option:
        for name in ("template_box", "search_box"):
            np.testing.assert_allclose(changed[name], examples[name][:8], atol=1e-5)


@pytest.mark.slow
def test_each_option_of_banks_changes_them(banks):
    size = SMALL.backgrounds * SMALL.background_size**2
    for option, on_ground, on_sprites in [
        ({"photographic": True}, True, True),
        ({"cutout_probability": 1.0}, False, True),
        ({"clutter": 6}, True, False),
    ]:
        texels = video.banks_at(3, 0, dataclasses.replace(SMALL, **option))["texels"]
        assert bool((texels[:size] != banks["texels"][:size]).any()) == on_ground
        assert bool((texels[size:] != banks["texels"][size:]).any()) == on_sprites
        # Cut or not, what is opaque stays so.
        assert bool((texels[size:] >> 24 == banks["texels"][size:] >> 24).all())


@pytest.mark.parametrize("pixels", [24, 48])
@pytest.mark.slow
def test_tiles_show_what_whole_layers_show(rich_banks, pixels):
    of_template, of_search, _ = jax.jit(
        jax.vmap(
            lambda key: training_pairs._plan(key, rich_banks, dataclasses.replace(RICH, distractor_probability=0.8))
        )
    )(jax.random.split(jax.random.key(4), 12))
    layers = of_search["layers"] if pixels == 48 else jax.tree.map(lambda v: v[:, 0], of_template["layers"])
    x, y = jnp.meshgrid(jnp.arange(pixels) + 0.5, jnp.arange(pixels) + 0.5)
    snapped = [(jnp.floor(v / 3.7) + 0.5) * 3.7 for v in (x, y)]
    for grid in ((x, y), snapped):
        grids = [jnp.broadcast_to(v, (12, *v.shape)) for v in grid]
        whole = jax.jit(jax.vmap(lambda *view: render.compose(rich_banks["texels"], *view)))(layers, *grids)
        tiled = jax.jit(render.compose_by_tiles)(rich_banks["texels"], layers, *grids)
        np.testing.assert_allclose(tiled, whole, atol=1e-3)


def test_jpeg_quantizes_the_brightness_of_blocks():
    image = jax.random.uniform(jax.random.key(1), (3, 19, 16))
    grey = np.asarray(jnp.einsum("c,chw->hw", jnp.array([0.299, 0.587, 0.114]), image))
    error = np.asarray(render._jpeg_error(image, 1.0))
    assert (error[16:] == 0).all() and error[:16].std() > 0.02
    assert np.abs(np.asarray(render._jpeg_error(image, 0.0))).max() == 0
    cv2 = pytest.importorskip("cv2")
    waves = np.stack([cv2.dct((grey + error)[y : y + 8, x : x + 8]) for y in (0, 8) for x in (0, 8)]) / render._QUANTA
    np.testing.assert_allclose(waves, np.round(waves), atol=2e-4)
    again = np.asarray(render._jpeg_error(image + error, 1.0))
    np.testing.assert_allclose(again, 0, atol=1e-4)


@pytest.mark.slow
def test_low_resolution_is_smoother(banks, examples):
    coarse = _pairs(banks, dataclasses.replace(SMALL, low_resolution_probability=1.0, sensor_noise=0.0), 1)["search"]
    fine = _pairs(banks, dataclasses.replace(SMALL, sensor_noise=0.0), 1)["search"]
    steps = [np.abs(np.diff(v.astype(float), axis=2)).mean() for v in (coarse, fine)]
    assert steps[0] < 0.85 * steps[1]


def test_regions_are_taken_where_there_is_contrast(banks):
    def contrast(candidates):
        config = dataclasses.replace(
            SMALL, region_probability=1.0, region_candidates=candidates, distractor_probability=0.0
        )
        scenes = jax.jit(jax.vmap(lambda key: training_pairs._scene(key, banks, config)))(
            jax.random.split(jax.random.key(5), 256)
        )
        column, row = np.asarray(scenes["at"] // banks_module.INTEREST_CELL).astype(int).T
        return np.asarray(banks["interest"])[np.asarray(scenes["background"]), row, column].mean()

    assert contrast(4) > 1.2 * contrast(1)


def test_adjacent_views_change_less(banks):
    def turns(adjacent):
        config = dataclasses.replace(SMALL, adjacent_probability=adjacent)
        scenes = jax.jit(jax.vmap(lambda key: training_pairs._scene(key, banks, config)))(
            jax.random.split(jax.random.key(6), 256)
        )
        return np.asarray(scenes["change"])

    assert turns(1.0).max() <= 0.3 < turns(0.0).min()
