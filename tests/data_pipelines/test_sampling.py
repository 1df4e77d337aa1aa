import numpy as np
import pytest

from data_pipelines import sampling
from data_pipelines.sources import Sequence, Source
from trackers.errors import InputError


def video(visible, name="v"):
    visible = np.asarray(visible, bool)
    return Sequence(name, [None] * len(visible), np.ones((len(visible), 4)), visible)


def source(videos, name="s", is_video=True):
    return Source(name, [v.name for v in videos], lambda i: videos[i], is_video)


def draws(sources, ratio, count=300, **options):
    return [sampling.sample(sources, ratio, sampling.generator(0, 0, row), **options) for row in range(count)]


def test_stream_depends_on_each_number_and_on_nothing_else():
    def first(*key):
        return sampling.generator(*key).random()

    assert first(1, 2, 3) == first(1, 2, 3, "train")
    values = {first(*key) for key in [(1, 2, 3), (0, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2), (1, 2, 3, "validation")]}
    assert len(values) == 6
    # Recorded: a change of the stream changes every training run.
    np.testing.assert_allclose(sampling.generator(0, 0, 0).random(), 0.014067035665647709, rtol=0, atol=0)


def test_pick_follows_the_ratio():
    assert [sampling.pick([1, 0, 3], n) for n in (0.0, 0.2499, 0.25, 0.9, np.nextafter(1, 0))] == [0, 0, 2, 2, 2]
    counts = np.bincount([d.source for d in draws([source([video([1] * 30)])] * 3, [1, 0, 3], 2000)], minlength=3)
    assert counts[1] == 0 and abs(counts[0] / 2000 - 0.25) < 0.04


def test_search_comes_after_template_both_visible_within_the_gap():
    visible = np.random.default_rng(0).random(600) < 0.5
    picks = draws([source([video(visible)])], [1], max_gap=50)
    gaps = [d.search - d.templates[0] for d in picks]
    assert all(visible[d.search] and visible[d.templates[0]] for d in picks)
    assert min(gaps) >= 1 and max(gaps) <= 49 and max(gaps) > 40
    assert max(d.templates[0] for d in picks) > 550 and min(d.templates[0] for d in picks) < 50


def test_earlier_templates():
    visible = np.random.default_rng(1).random(300) < 0.7
    for draw in draws([source([video(visible)])], [1], templates=3, max_gap=20):
        base, *others = draw.templates
        assert len(others) == 2 and all(base - 20 <= t < base and visible[t] for t in others)
        assert base < draw.search < base + 20


def test_gap_grows_over_invisible_stretches():
    visible = np.zeros(400, bool)
    visible[:10] = visible[390:] = True
    picks = draws([source([video(visible)])], [1], max_gap=1)
    assert all(visible[[d.templates[0], d.search]].all() and d.search > d.templates[0] for d in picks)


@pytest.mark.parametrize(("spacing", "gaps"), [(4, {4}), (5, {5}), (6, {6}), (3, {3}), (2, {2, 4})])
def test_gap_grows_by_five(spacing, gaps):
    """From gap 1, which holds no frame, to 6, the five next frames, then 11: visible frames so far apart tell which."""
    visible = np.zeros(400, bool)
    visible[::spacing] = True
    picks = [d.search - d.templates[0] for d in draws([source([video(visible)])], [1], max_gap=1)]
    # After the last visible frame there is none: then another template is drawn, the gap grown once more.
    assert gaps <= set(picks) and np.isin(picks, list(gaps)).mean() > 0.95


def test_gaps_are_uniform():
    """Search frames 1 to 49 after the template, alike often; templates alike often but where the video ends."""
    picks = draws([source([video(np.ones(3000))])], [1], 4000, max_gap=50)
    gaps = np.array([d.search - d.templates[0] for d in picks])
    # Standard errors: 14.1 / sqrt(4000) = 0.22, and 866 / sqrt(4000) = 14.
    assert abs(gaps.mean() - 25) < 0.9 and abs(gaps.std() - np.sqrt((49**2 - 1) / 12)) < 0.6
    assert np.bincount(gaps, minlength=50)[1:].min() > 40  # 82 on average
    assert abs(np.mean([d.templates[0] for d in picks]) - 1499) < 55


def test_unusable_videos_are_passed_over():
    videos = [video([1] * 19, "short"), video([1, 1, 1, 1] + [0] * 96, "unseen"), video([1] * 5 + [0] * 15, "ok")]
    assert [sampling.usable(v) for v in videos] == [False, False, True]
    assert not sampling.usable(videos[2], templates=2)
    assert {d.sequence for d in draws([source(videos)], [1])} == {2}
    with pytest.raises(InputError, match="s: 1000 draws found no sequence with 20 frames and more than 4"):
        draws([source(videos[:2])], [1], 1)


def test_last_frame_alone_visible_gives_no_pair_but_ends():
    # Five visible frames at the very end are pairs still; templates need an earlier frame.
    visible = np.zeros(30, bool)
    visible[25:] = True
    assert all(25 <= d.templates[0] < d.search <= 29 for d in draws([source([video(visible)])], [1]))


def test_videos_without_labels_have_a_gap_of_their_own():
    labelled = source([video([1] * 20)])
    unlabelled = Source("u", labelled.names, labelled.read, labelled=False)
    picks = draws([labelled, unlabelled], [1, 1], unlabelled_gap=3)
    gaps = [{d.search - d.templates[0] for d in picks if d.source == which} for which in (0, 1)]
    assert gaps[1] == {1, 2, 3} and max(gaps[0]) > 10


def test_images_are_template_and_search():
    picks = draws([source([video([1], str(i)) for i in range(7)], is_video=False)], [1], templates=2)
    assert {(d.templates, d.search) for d in picks} == {((0, 0), 0)}
    assert {d.sequence for d in picks} == set(range(7))


def test_sequences_are_drawn_uniformly_whatever_their_length():
    videos = [video([1] * 20, "a"), video([1] * 2000, "b")]
    counts = np.bincount([d.sequence for d in draws([source(videos)], [1], 2000)])
    assert abs(counts[0] / 2000 - 0.5) < 0.05


def test_trident_draws_both_orders_and_templates_beside_the_first():
    visible = np.random.default_rng(3).random(400) < 0.6
    picks = draws([source([video(visible)])], [1], templates=3, max_gap=40, rule="trident")
    before = [d.templates[0] < d.search for d in picks]
    assert 0.4 < np.mean(before) < 0.6
    for draw in picks:
        base, *others = draw.templates
        assert len(others) == 2 and visible[[base, draw.search, *others]].all()
        distances = [draw.search - t if base < draw.search else t - draw.search for t in others]
        assert all(0 < d <= 40 for d in distances)


def test_negatives_are_hidden_frames_or_other_sequences():
    hidden = np.ones(60, bool)
    hidden[20:30] = False
    picks = draws([source([video(hidden)])], [1], 1000, positive_probability=0.5)
    assert abs(np.mean([d.positive for d in picks]) - 0.5) < 0.05
    assert all(hidden[d.search] == d.positive and d.search_sequence is None for d in picks)
    several = source([video([1] * 30, name) for name in "abc"])
    negative = [d for d in draws([several], [1], positive_probability=0.2) if not d.positive]
    assert len(negative) > 200 and all(d.search_sequence not in (None, d.sequence) for d in negative)
    assert {d.search_sequence for d in negative} == {0, 1, 2}
    images = source([video([1]) for _ in range(4)], is_video=False)
    assert any(d.search_sequence is not None for d in draws([images], [1], 20, positive_probability=0.5))
    with pytest.raises(InputError, match="s: no search frame without the target"):
        draws([source([video([1] * 30)])], [1], positive_probability=0.0)


def test_positives_are_drawn_as_before():
    several = source([video([1] * 30, name) for name in "abc"])
    plain, mixed = draws([several], [1]), draws([several], [1], positive_probability=0.5)
    assert all(a == b for a, b in zip(plain, mixed, strict=True) if b.positive)
