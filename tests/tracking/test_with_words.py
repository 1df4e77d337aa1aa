"""Tracking with words: the program's windows, one encoding of everything equal to the naive pairing, bad tracks."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from benchmarks.referring_rate import pair_by_pair
from tests.tracking import words
from trackers.errors import InputError
from trackers.io import mot_files
from trackers.tracking import with_words

# Both ways compute in float32 with other batch sizes; cosines are of order 1.
TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def model():
    return words.Words()


@pytest.fixture(scope="module")
def variables(model):
    local, global_ = (np.zeros((1, 2, size, size, 3), np.float32) for size in (model.local_size, model.global_size))
    return jax.jit(model.init)(jax.random.key(0), local, global_, words.phrases(1))


@pytest.fixture(scope="module")
def referrer(model):
    return with_words.Referrer(model)


def _spans(length, **changes):
    return [(w.start, w.stop - 1) for w in with_words.windows(length, with_words.Settings(**changes))]


def test_windows_are_the_programs():
    """Start every 4, last clip pulled back to 8 frames, short pieces whole (inference of the published program)."""
    assert _spans(1) == [(0, 0)]
    assert _spans(8) == [(0, 7)]
    assert _spans(9) == [(0, 7), (1, 8)]
    assert _spans(12) == [(0, 7), (4, 11)]
    assert _spans(17) == [(0, 7), (4, 11), (8, 15), (9, 16)]
    assert _spans(5, window=3, stride=1) == [(0, 2), (1, 3), (2, 4)]


@pytest.mark.parametrize(
    "length,samples,expected", [(8, 2, [0, 4]), (5, 2, [0, 2]), (1, 2, [0, 0]), (8, 8, list(range(8)))]
)
def test_sampled_frames(length, samples, expected):
    tracks = words.tracks(1, length)
    (clip,) = with_words.plan(tracks, with_words.Settings(samples=samples), 40, 60)
    assert (tracks.frames[clip.sampled] - 1).tolist() == expected


def test_a_track_is_cut_at_gaps():
    tracks = words.tracks(1, 20)
    clips = with_words.plan(tracks.select(tracks.frames != 11), with_words.Settings(), 40, 60)
    kept = np.delete(np.arange(1, 21), 10)
    assert [tuple(kept[clip.rows][[0, -1]]) for clip in clips] == [(1, 8), (3, 10), (12, 19), (13, 20)]


def test_equal_to_the_naive_pairing(referrer, model, variables):
    """Gaps, ids that restart, a track of one frame and counts that fill no batch."""
    tracks = words.tracks(3, 12)
    tracks = tracks.select(~((tracks.ids == 2) & (tracks.frames == 5)) & ~((tracks.ids == 3) & (tracks.frames != 7)))
    frames, tokens = words.video(), words.phrases(11)
    found, work = referrer.similarities(variables, tracks, frames, tokens)
    naive, naive_work = pair_by_pair(model, variables, referrer.settings, tracks, frames, tokens, batch=8)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, naive, atol=TOLERANCE, rtol=0)
    assert work.pairs == naive_work.pairs
    # The phrases do not all get the same answer, nor do the boxes.
    assert found.std(axis=0).min() > 1e-3 and found.std(axis=1).min() > 1e-3


def test_each_crop_frame_and_phrase_is_encoded_once(model, variables):
    """20 tracks x 20 phrases: at least 20 times fewer images through the encoders than pair by pair."""
    tracks, frames, tokens = words.tracks(20, 8), words.video(8), words.phrases(20)
    encoded = {"encode_local": 0, "encode_global": 0, "encode_text": 0}
    referrer = with_words.Referrer(model)
    for name in encoded:
        original = getattr(referrer, f"_{name}")

        def counted(variables, batch, name=name, original=original):
            encoded[name] += len(batch)
            return original(variables, batch)

        setattr(referrer, f"_{name}", counted)
    _, work = referrer.similarities(variables, tracks, frames, tokens)
    assert (work.crops, work.frames, work.phrases, work.pairs) == (40, 2, 20, 400)
    assert (encoded["encode_local"], encoded["encode_global"]) == (40, 2)
    assert encoded["encode_text"] <= 24  # the last batch of phrases is filled up
    naive_images = work.pairs * 2 * referrer.settings.samples
    assert naive_images >= 20 * sum(encoded[name] for name in ("encode_local", "encode_global"))


def test_batches_change_nothing_but_the_calls(model, variables):
    """Crops of several frames and tracks in one call, frames in one call, phrases in one: as each alone, up to 1e-5."""
    tracks, frames, tokens = words.tracks(5, 13), words.video(13), words.phrases(3)
    one = dict.fromkeys(("clips_per_batch", "phrases_per_batch", "crops_per_batch", "frames_per_batch"), 1)
    found, calls, done = {}, {}, []
    for name, settings in (("batched", {"crops_per_batch": 16, "frames_per_batch": 4}), ("one by one", one)):
        referrer = with_words.Referrer(model, settings)
        calls[name] = {"local": [], "global": []}
        for kind, sizes in calls[name].items():
            original = getattr(referrer, f"_encode_{kind}")

            def counted(variables, batch, original=original, sizes=sizes):
                sizes.append(len(batch))
                return original(variables, batch)

            setattr(referrer, f"_encode_{kind}", counted)
        found[name], _ = referrer.similarities(variables, tracks, frames, tokens, tick=done.append)
    np.testing.assert_allclose(found["batched"], found["one by one"], atol=1e-5, rtol=0)
    # Frames 1, 5, 6, 9 and 10 are shown, with the five boxes of each.
    assert calls["batched"] == {"local": [16, 4, 4, 1], "global": [4, 1]}
    assert calls["one by one"] == {"local": [1] * 25, "global": [1] * 5}
    assert sum(done) == 2 * with_words.pairs_of(tracks, referrer.settings, 40, 60, 3) == 2 * 5 * 3 * 3


def test_memory_is_that_of_a_window(model, variables):
    """Features are forgotten when no clip needs them: as many are held at once in 80 frames as in 40."""
    held = {}
    for length in (40, 80):
        referrer = with_words.Referrer(model, {"clips_per_batch": 1})
        fuse, most = referrer._fuse_batch, []

        def watched(variables, clips, frames, text, features, work, fuse=fuse, most=most):
            most.append(len(features.crops) + len(features.frames))
            return fuse(variables, clips, frames, text, features, work)

        referrer._fuse_batch = watched
        referrer.similarities(variables, words.tracks(2, length), words.video(length), words.phrases(2))
        held[length] = max(most)
    assert held[80] == held[40]


def test_order_of_tracks_and_phrases_does_not_matter(referrer, variables):
    tracks, frames, tokens = words.tracks(4, 9), words.video(9), words.phrases(5)
    found, _ = referrer.similarities(variables, tracks, frames, tokens)
    renamed = mot_files.from_rows(tracks.frames, 100 - tracks.ids, tracks.boxes)
    other, _ = referrer.similarities(variables, renamed, frames, tokens[::-1])
    np.testing.assert_allclose(other[:, ::-1], found, atol=TOLERANCE, rtol=0)


def test_first_frame_number(referrer, variables):
    tracks, frames, tokens = words.tracks(2, 9), words.video(9), words.phrases(2)
    found, _ = referrer.similarities(variables, tracks, frames, tokens)
    from_zero = mot_files.from_rows(tracks.frames - 1, tracks.ids, tracks.boxes)
    other, _ = referrer.similarities(variables, from_zero, frames, tokens, first_frame=0)
    np.testing.assert_array_equal(other, found)
    with pytest.raises(InputError, match="tracks have frame 0 but the first frame of the video counts as 1"):
        referrer.similarities(variables, from_zero, frames, tokens)


def test_boxes_outside_the_frame_are_gaps(referrer, variables):
    """A box without a pixel inside has no similarity and is never chosen; one partly outside is cropped with black."""
    tracks = words.tracks(1, 9)
    boxes = tracks.boxes.copy()
    boxes[3] = [-50, 5, 20, 20]
    boxes[5] = [50, 30, 1e9, 20]
    boxes[7] = [10, 10, 0, 5]
    moved = dataclasses.replace(tracks, boxes=boxes)
    found, _ = referrer.similarities(variables, moved, words.video(9), words.phrases(2))
    assert np.isnan(found[[3, 7]]).all() and np.isfinite(np.delete(found, [3, 7], axis=0)).all()
    assert 3 not in with_words.chosen(tracks, found[:, 0], -2.0).frames - 1


def test_nothing_to_do(referrer, variables):
    frames = words.video(3)
    found, work = referrer.similarities(variables, mot_files.empty(), frames, words.phrases(2))
    assert found.shape == (0, 2) and work == with_words.Work()
    found, _ = referrer.similarities(variables, words.tracks(2, 3), frames, words.phrases(0))
    assert found.shape == (6, 0)
    outside = dataclasses.replace(words.tracks(1, 3), boxes=np.full((3, 4), 1e4))
    assert np.isnan(referrer.similarities(variables, outside, frames, words.phrases(2))[0]).all()


def test_phrase_without_match(referrer, variables):
    tracks = words.tracks(2, 9)
    found, _ = referrer.similarities(variables, tracks, words.video(9), words.phrases(1))
    assert len(with_words.chosen(tracks, found[:, 0], 1.0)) == 0
    assert len(with_words.chosen(tracks, found[:, 0], -1.0)) == len(tracks)


def test_wrong_video(referrer, variables):
    with pytest.raises(InputError, match="tracks have frame 9 but the video ends at 5"):
        referrer.similarities(variables, words.tracks(1, 9), words.video(5), words.phrases(1))
    frames = iter(words.video(5))
    with pytest.raises(InputError, match="tracks have frame 9 but the video ends at 5"):
        referrer.similarities(variables, words.tracks(1, 9), frames, words.phrases(1), length=5)
    assert len(list(frames)) == 4  # found in the first frame, not after all were read
    # The last frame of the last clip is none of those that the network is shown.
    with pytest.raises(InputError, match="tracks have frame 6 but the video ends at 5"):
        referrer.similarities(variables, words.tracks(1, 6), words.video(5), words.phrases(1), length=5)
    mixed = [*words.video(4), *words.video(5, height=44)]
    with pytest.raises(InputError, match="frame 5 of the video has another size"):
        referrer.similarities(variables, words.tracks(1, 9), mixed, words.phrases(1))


def test_wrong_settings(model):
    with pytest.raises(InputError, match="tracking.windw is not a setting"):
        with_words.Referrer(model, {"windw": 8})
    for name, value in (("samples", 10**12), ("window", True), ("stride", 2.5), ("phrases_per_batch", 0)):
        with pytest.raises(InputError, match=f"tracking.{name} must be a whole number from 1 to 4096, got {value}"):
            with_words.settings({name: value})
    for value in (math.nan, math.inf, None, "x"):
        with pytest.raises(InputError, match="tracking.threshold must be a finite number"):
            with_words.settings({"threshold": value})
    with pytest.raises(InputError, match="tracking.samples must be a whole number"):
        with_words.Referrer(model, {"samples": 0})
    with pytest.raises(InputError, match="stride 9 leaves frames out of windows of 8"):
        with_words.Referrer(model, {"stride": 9})
