"""What is drawn for training, against probabilities written out here: counts of many draws by Pearson's statistic."""

import collections
import dataclasses

import cv2
import numpy as np
import pytest

from configs import mixformer_v2
from data_pipelines import clips, pairs, sampling
from data_pipelines.sources import Sequence, Source, frames
from tests.data_pipelines import layouts

DRAWS = 6000


def _video(visible, name="v"):
    visible = np.asarray(visible, bool)
    return Sequence(name, [None] * len(visible), np.ones((len(visible), 4)), visible)


def _source(videos, **facts):
    return Source("s", [video.name for video in videos], videos.__getitem__, **facts)


def _draws(sources, ratio=(1,), **options):
    return [sampling.sample(sources, ratio, sampling.generator(7, 0, row), **options) for row in range(DRAWS)]


def _check(outcomes, chances):
    """Outcomes as often as `chances` {outcome: probability} say: nothing else, and Pearson's statistic, whose mean is
    its degrees of freedom d and whose variance is 2 d, within four deviations. Rare outcomes count as one."""
    counts = collections.Counter(outcomes)
    assert sum(chances.values()) == pytest.approx(1) and set(counts) <= {o for o, chance in chances.items() if chance}
    cells, rest = [], np.zeros(2)
    for outcome, chance in chances.items():
        cell = np.array([counts[outcome], chance * DRAWS])
        if cell[1] >= 5:
            cells.append(cell)
        else:
            rest += cell
    seen, expected = np.array([*cells, rest] if rest[1] >= 5 else cells).T
    freedom = len(seen) - 1
    assert ((seen - expected) ** 2 / expected).sum() < freedom + 4 * np.sqrt(2 * freedom) + 4


def _causal(visible, gap, templates=1, growth=5):
    """{(template frames, search frame): probability}: a visible frame with room for the others before it and a frame
    after it, then frames less than the gap after and up to the gap before; where there are none all anew, the gap wider
    by 5."""
    chances, left = collections.defaultdict(float), 1.0
    first = [t for t in range(templates - 1, len(visible) - 1) if visible[t]]
    while left > 1e-9:
        again = 0.0
        for base in first:
            after = [t for t in range(base + 1, min(base + gap, len(visible))) if visible[t]]
            before = [(t,) for t in range(max(base - gap, 0), base) if visible[t]] if templates == 2 else [()]
            if not after or not before:
                again += left / len(first)
            for earlier in before if after else ():
                for later in after:
                    chances[(base, *earlier), later] += left / len(first) / len(before) / len(after)
        left, gap = again, gap + growth
    return chances


@pytest.mark.parametrize("templates", [1, 2])
@pytest.mark.parametrize("kind", ["dense", "sparse", "two ends"])
def test_causal_intervals(kind, templates):
    visible = np.ones(24, bool)
    if kind == "sparse":  # gaps wider than the permitted one, so that it has to grow, several times
        visible = np.isin(np.arange(40), [0, 1, 2, 9, 10, 24, 25, 26, 39])
    if kind == "two ends":
        visible[4:-4] = False
    gap = 6 if kind == "dense" else 2
    picks = _draws([_source([_video(visible)])], templates=templates, max_gap=gap)
    _check([(draw.templates, draw.search) for draw in picks], _causal(visible, gap, templates))


def test_template_and_search_of_mixformers_score():
    """First template and search frame independent, the other template up to the gap away on the first one's side."""
    visible, chances = np.isin(np.arange(22), range(0, 22, 2)), collections.defaultdict(float)
    shown = np.flatnonzero(visible)
    for base in shown:
        for search in shown:
            window = range(search - 6, search) if base < search else range(search + 1, search + 7)
            for other in (others := [t for t in window if t in shown]):
                chances[(base, other), search] += 1 / len(others)
    total = sum(chances.values())  # where there is no other template the draw is made anew
    picks = _draws([_source([_video(visible)])], templates=2, max_gap=6, rule="trident")
    _check([(draw.templates, draw.search) for draw in picks], {key: chance / total for key, chance in chances.items()})


def test_positives_and_negatives_of_the_published_stage():
    """Half of the pairs without the target: in frames where it is hidden, or else in any of the other sequences."""
    data = mixformer_v2.get_config("score_b").data
    assert (data.sampling, data.positive_probability) == ("trident", 0.5)
    rules = {"templates": 2, "rule": data.sampling, "positive_probability": data.positive_probability}
    visible = np.ones(30, bool)
    visible[[3, 4, 5, 20]] = False
    picks = _draws([_source([_video(visible)])], **rules)
    negative = {t: 0.5 / 4 for t in (3, 4, 5, 20)}
    _check([None if draw.positive else draw.search for draw in picks], {None: 0.5, **negative})
    lengths = (20, 25, 20)
    videos = [_video(np.ones(length), str(number)) for number, length in enumerate(lengths)]
    picks = _draws([_source(videos)], **rules)
    chances = {None: 0.5}
    for own in range(3):
        for other in {0, 1, 2} - {own}:
            for t in range(lengths[other]):
                chances[own, other, t] = 0.5 / 3 / 2 / lengths[other]
    _check([None if d.positive else (d.sequence, d.search_sequence, d.search) for d in picks], chances)


def test_data_sets_by_ratio_and_their_sequences_alike():
    """The published mixture is 1:1:1:1; of each data set every sequence is as likely as every other."""
    for ratio in ((1, 1, 1, 1), (2, 0, 5, 1)):
        sizes = (1, 3, 2, 4)
        sources = [_source([_video(np.ones(20 + 30 * k), str(k)) for k in range(size)]) for size in sizes]
        sources[3] = _source([_video([True], str(k)) for k in range(4)], is_video=False)
        chances = {(s, k): ratio[s] / sum(ratio) / size for s, size in enumerate(sizes) for k in range(size)}
        _check([(draw.source, draw.sequence) for draw in _draws(sources, ratio)], chances)


@pytest.mark.parametrize("templates", [1, 2, 3])
def test_visible_frames_that_a_video_has_to_have(templates):
    """20 frames, more than twice as many of them visible as a pair has."""
    for length, shown in ((19, 19), (20, 2 * (templates + 1)), (20, 2 * (templates + 1) + 1)):
        visible = np.arange(length) < shown
        assert sampling.usable(_video(visible), templates) == (length >= 20 and shown > 2 * (templates + 1))


def test_chances_of_the_changes_of_pixels(tmp_path):
    """Read from the crops: gray, mirrored together, mirrored alone, darker or brighter, each crop by itself."""
    shade = np.tile(np.linspace(100, 140, 64), (48, 1))
    image = np.stack([shade, shade * 0.8, shade * 0.5], axis=-1).astype(np.uint8)
    for t in range(20):
        (tmp_path / "v").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "v" / f"{t:04d}.png"), image)
    layouts.write_boxes(tmp_path / "v" / "groundtruth.txt", [[28, 20, 8, 8]] * 20)
    config = pairs.PairConfig(
        template_size=8, search_size=16, patch_size=8, templates=2, search_center_jitter=0.0, search_scale_jitter=0.0,
        grey_probability=0.2, flip_probability=0.7, crop_flip_probability=0.3, brightness=0.2,
    )  # fmt: skip
    source, seen, factors = frames.open(tmp_path), [], []
    for row in range(1000):
        sample = pairs.pair([source], [1], config, 0, 0, row)
        crops = [*sample["template"].astype(float), sample["search"].astype(float)]
        gray = {bool(np.ptp(crop, axis=2).max() == 0) for crop in crops}
        assert len(gray) == 1  # all of a pair or none
        mirrored = [bool(crop[:, 0].mean() > crop[:, -1].mean()) for crop in crops]
        seen.append((*gray, *mirrored))
        if gray == {False}:
            factors.append([crop[..., 2].mean() / shade.mean() for crop in crops])
    seen, factors = np.array(seen), np.array(factors)
    # Four deviations of a share of 1000 are 0.063 at most.
    assert abs(seen[:, 0].mean() - 0.2) < 0.05
    # Mirrored where one of the two changes is, not both: 0.7 * 0.7 + 0.3 * 0.3.
    np.testing.assert_allclose(seen[:, 1:].mean(0), 0.58, atol=0.062)
    # Two crops alike: neither or both were mirrored alone.
    for one, other in ((1, 2), (2, 3), (1, 3)):
        assert abs((seen[:, one] == seen[:, other]).mean() - (0.3**2 + 0.7**2)) < 0.062
    assert factors.min() > 0.78 and factors.max() < 1.22
    np.testing.assert_allclose(factors.mean(0), 1, atol=0.018)
    np.testing.assert_allclose(factors.std(0), 0.4 / np.sqrt(12), atol=0.01)
    assert np.abs(np.corrcoef(factors.T) - np.eye(3)).max() < 0.15


def test_frames_of_clips():
    """The window's place and the frame in each of its segments alike (iKUN's program: 8 kept frames, 2 of them)."""
    config, rng = clips.ClipConfig(), np.random.default_rng(0)
    assert (config.clip_window, config.clip_frames, config.clip_stride) == (8, 2, 1)
    drawn = [tuple(clips.draw_frames(11, config, rng).tolist()) for _ in range(DRAWS)]
    chances = collections.defaultdict(float)
    for start in range(4):
        for first in range(4):
            for second in range(4):
                chances[start + first, start + 4 + second] += 1 / 4 / 16
    _check(drawn, chances)


def test_objects_and_phrases_of_clips(monkeypatch):
    """Every object alike whatever its length, every phrase of the video alike, asked in either frame of the clip."""
    monkeypatch.setattr(clips.bad_samples, "read", lambda load, path: np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setattr(clips, "random_window", lambda *given: None)
    config, texts = clips.ClipConfig(local_size=2, global_size=2), ("a", "b", "c")
    video = dataclasses.make_dataclass("Video", ["load", "frames"])(None, [None] * 40)
    group = []
    for number, length in enumerate((9, 30)):
        # Phrase "a" holds in even kept frames, "b" always, "c" never.
        holds = np.stack([np.arange(length) % 2 == 0, np.ones(length, bool), np.zeros(length, bool)], axis=1)
        boxes = np.tile([1.0, 1, 4, 4], (length, 1))
        group.append(clips.Identity(video, number, np.arange(1, length + 1), boxes, holds, texts, np.ones(3)))
    tokens, drawn = {words: np.array([k]) for k, words in enumerate(texts)}, []
    monkeypatch.setattr(clips, "draw_frames", lambda count, *given: drawn.append(count) or np.array([0, 3]))
    outcomes = []
    for row in range(DRAWS):
        sample = clips.clip([group], [1.0], config, tokens, 3, 0, row)
        outcomes.append((drawn[-1], int(sample["tokens"][0]), float(sample["target"])))
    # "a" holds in the first of the two frames alone.
    chances = {(n, k, t): 1 / 6 for n in (9, 30) for k, t in ((1, 1.0), (2, 0.0))}
    _check(outcomes, chances | {(n, 0, t): 1 / 12 for n in (9, 30) for t in (0.0, 1.0)})
