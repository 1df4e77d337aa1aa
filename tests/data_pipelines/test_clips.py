import dataclasses

import ml_collections
import numpy as np
import pytest

from configs import ikun
from data_pipelines import clips, sampling, sources
from tests.data_pipelines import layouts
from trackers.errors import UsageError
from trackers.tracking import squares

CONFIG = clips.ClipConfig(local_size=16, global_size=24)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return sources.open_source("refer_kitti", layouts.refer_kitti(tmp_path_factory.mktemp("kitti")))[0]


@pytest.fixture(scope="module")
def group(video):
    return clips.identities(video, CONFIG)


@pytest.fixture(scope="module")
def tokens(video):
    return {phrase.text: np.full(77, i, np.int32) for i, phrase in enumerate(video.phrases)}


def make(group, tokens, step, row=0, config=CONFIG, split="train", seed=0):
    return clips.clip([group], [1.0], config, tokens, seed, step, row, split)


def test_identities_keep_the_frames_that_a_phrase_means(video):
    first, second = clips.identities(video, CONFIG)
    assert (first.id, second.id) == (1, 2) and first.texts == ("car", "left car", "pedestrian")
    assert len(first.frames) == layouts.LENGTH and first.frequency.tolist() == [1.0, 0.25, 0.0]
    assert first.holds[0].tolist() == [True, True, False] and first.holds[-1].tolist() == [True, False, False]
    only_left = clips.identities(dataclasses.replace(video, phrases=video.phrases[1:]), CONFIG)
    assert [identity.id for identity in only_left] == [1] and len(only_left[0].frames) == layouts.LENGTH // 2


def test_identities_need_more_kept_frames_than_the_window(video):
    half = layouts.LENGTH // 2
    few = dataclasses.replace(video, phrases=video.phrases[1:])
    assert clips.identities(few, clips.ClipConfig(clip_window=half - 1, clip_frames=1))
    assert not clips.identities(few, clips.ClipConfig(clip_window=half, clip_frames=1))


@pytest.mark.parametrize(("window", "frames", "stride"), [(8, 2, 1), (8, 8, 1), (6, 3, 2), (4, 1, 3)])
def test_frames_are_one_of_each_segment(window, frames, stride):
    config = clips.ClipConfig(clip_window=window, clip_frames=frames, clip_stride=stride)
    rng, segment = np.random.default_rng(0), window // frames
    seen = np.array([clips.draw_frames(40, config, rng) for _ in range(2000)])
    assert seen.shape == (2000, frames) and seen.min() == 0 and seen.max() == 39
    steps = np.diff(seen, axis=1)
    assert (steps > 0).all() and (steps % stride == 0).all() and (steps <= stride * (2 * segment - 1)).all()
    assert (seen.max(axis=1) - seen.min(axis=1) < config.span).all()
    if frames > 1:
        assert len(np.unique(steps)) == 2 * segment - 1
    middle = clips.draw_frames(40, config, rng, "validation")
    assert (np.diff(middle) == segment * stride).all()


def test_validation_frames_are_the_third_of_each_four():
    starts = {
        int(clips.draw_frames(9, clips.ClipConfig(), np.random.default_rng(i), "validation")[0]) for i in range(20)
    }
    assert starts == {2, 3}


def test_phrases_are_drawn_alike_unless_asked_otherwise():
    holds, frequency = np.array([True, False, False, False]), np.array([0.5, 0.3, 0.1, 0.0])
    rng = np.random.default_rng(0)
    alike = np.bincount([clips.draw_phrase(holds, frequency, CONFIG, rng) for _ in range(4000)])
    np.testing.assert_allclose(alike / 4000, 0.25, atol=0.03)  # four standard deviations
    balanced = clips.ClipConfig(positive_share=0.5)
    drawn = np.bincount([clips.draw_phrase(holds, frequency, balanced, rng) for _ in range(4000)], minlength=4)
    np.testing.assert_allclose(drawn / 4000, [0.5, 0.375, 0.125, 0], atol=0.035)
    everything = np.ones(3, bool)
    assert {clips.draw_phrase(everything, frequency[:3], balanced, rng) for _ in range(50)} == {0, 1, 2}


def test_random_windows_have_the_asked_shape():
    rng = np.random.default_rng(0)
    windows = np.array([clips.random_window(500, (0.8, 1.0), (0.08, 1.0), rng) for _ in range(3000)])
    left, top, right, bottom = windows.T
    assert left.min() >= 0 and top.min() >= 0 and right.max() <= 500 and bottom.max() <= 500
    width, height = right - left, bottom - top
    # Whole pixels: a side of 130 or more moves the ratio by half a percent.
    assert 0.79 < (width / height).min() < 0.82 and 0.98 < (width / height).max() < 1.01
    area = width * height / 500**2
    assert 0.079 < area.min() < 0.1 and area.max() > 0.95
    # Uniform area: the mean is half way, but for the largest, which fit only if nearly square.
    assert 0.47 < area.mean() < 0.54
    assert clips.random_window(10, (3.0, 3.0), (1.0, 1.0), rng) == (0, 3, 10, 6)
    assert clips.random_window(1, (0.8, 1.0), (0.08, 0.08), rng) == (0, 0, 1, 1)


def test_clip_fields(group, tokens):
    sample = make(group, tokens, 3)
    shapes = {name: (value.shape, value.dtype.name) for name, value in sample.items()}
    assert shapes == {
        "local": ((2, 16, 16, 3), "uint8"),
        "global": ((2, 24, 24, 3), "uint8"),
        "tokens": ((77,), "int32"),
        "target": ((), "float32"),
    }
    assert {name: (value[0], np.dtype(value[1]).name) for name, value in CONFIG.shapes.items()} == shapes


def test_several_phrases_of_a_clip(group, tokens):
    """The first one is that of a clip with one phrase, the images too; every target is that of its own phrase."""
    config = dataclasses.replace(CONFIG, phrases_per_clip=5)
    truth = {}
    for step in range(40):
        sample, alone = (
            make(group, tokens, step, config=config, split="validation"),
            make(group, tokens, step, split="validation"),
        )
        assert (sample["tokens"].shape, sample["target"].shape) == ((5, 77), (5,))
        assert {name: (v.shape, v.dtype) for name, v in sample.items()} == config.shapes
        np.testing.assert_array_equal(sample["local"], alone["local"])
        np.testing.assert_array_equal(sample["tokens"][0], alone["tokens"])
        assert sample["target"][0] == alone["target"]
        for ids, target in zip(sample["tokens"], sample["target"], strict=True):
            truth.setdefault((step, int(ids[0])), target.item())
            assert truth[step, int(ids[0])] == target
    assert set(truth.values()) == {0.0, 1.0}


def test_clip_is_a_function_of_seed_split_step_and_row(group, tokens):
    one = make(group, tokens, 3, 1)
    for name, value in make(group, tokens, 3, 1).items():
        np.testing.assert_array_equal(value, one[name])
    others = [make(group, tokens, 4, 1), make(group, tokens, 3, 2), make(group, tokens, 3, 1, split="validation")]
    for other in (*others, make(group, tokens, 3, 1, seed=1)):
        assert (other["local"] != one["local"]).any()


def test_targets_say_whether_the_phrase_holds(group, tokens):
    """Against a second reading: "car" always holds, "pedestrian" never, "left car" for track 1 in early frames."""
    config = clips.ClipConfig(local_size=4, global_size=4)
    answers = {0: [], 1: [], 2: []}
    for step in range(300):
        sample = make(group, tokens, step, config=config)
        answers[int(sample["tokens"][0])].append(float(sample["target"]))
    assert set(answers[0]) == {1.0} and set(answers[2]) == {0.0}
    assert 0.1 < np.mean(answers[1]) < 0.4  # a quarter


def test_validation_images_are_plain(video, group, tokens):
    """No random crop: what the tracker sees of the same boxes."""
    rng = sampling.generator(0, 5, 0, "validation")
    rng.random()
    identity = group[int(rng.integers(len(group)))]
    chosen = clips.draw_frames(len(identity.frames), CONFIG, rng, "validation")
    sample = make(group, tokens, 5, split="validation")
    for t, index in enumerate(chosen):
        frame = video.load(video.frames[identity.frames[index] - 1])
        np.testing.assert_array_equal(sample["global"][t], squares.global_image(frame, 24))
        # The test's boxes are whole pixels, so that rounding (here) and truncating (there) agree.
        np.testing.assert_array_equal(
            sample["local"][t], squares.local_image(frame, np.round(identity.boxes[index]), 16)
        )


def test_identities_are_drawn_by_ratio(group, tokens):
    config = clips.ClipConfig(local_size=4, global_size=4)
    with pytest.raises(KeyError):  # the second source alone, whose phrases have no tokens
        clips.clip([group, group], [0.0, 1.0], config, {}, 0, 0, 0)
    clips.clip([[], group], [0.0, 1.0], config, tokens, 0, 0, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clip_window": 8, "clip_frames": 3}, "clip_window 8 must be a multiple of clip_frames 3"),
        ({"clip_stride": 0}, "clip_stride 0 at least 1"),
        ({"crop_ratio": (1.0, 0.8)}, "crop_ratio"),
        ({"crop_area": (0.0, 1.0)}, "crop_area"),
        ({"positive_share": 1.5}, "positive_share 1.5: give 0 to 1"),
        ({"phrases_per_clip": 0}, "phrases_per_clip 0: give 1 or more"),
    ],
)
def test_wrong_settings(fields, message):
    with pytest.raises(UsageError, match=message):
        clips.ClipConfig(**fields)


def test_sizes_of_the_config_may_be_pairs_of_equal_sides():
    config = ml_collections.ConfigDict(
        {"data": {"clip_frames": 4}, "model": {"local_size": (64, 64), "global_size": 96}}
    )
    read = clips.ClipConfig.from_config(config)
    assert (read.local_size, read.global_size, read.clip_frames, read.clip_window) == (64, 96, 4, 8)
    config.model.local_size = (64, 32)
    with pytest.raises(UsageError, match="images with phrases are square"):
        clips.ClipConfig.from_config(config)


@pytest.mark.parametrize("variant", ikun.get_config.variants)
def test_configs_name_every_field(variant):
    config = ikun.get_config(variant)
    read = clips.ClipConfig.from_config(config)
    for field in dataclasses.fields(clips.ClipConfig):
        assert field.name in config.data or field.name in config.model
    if variant != "tiny":
        assert read == clips.ClipConfig()  # the program's
    assert config.model.transformer.length == read.context_length
