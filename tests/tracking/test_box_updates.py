"""What a box takes over of what a frame shows, against plain numpy."""

import numpy as np
import pytest

from trackers.tracking import box_updates
from trackers.tracking import settings as settings_of

LAST, SEEN = np.float32([10, 20, 40, 10]), np.float32([16, 22, 20, 30])


def _taken(aspect=None, score=0.5, **settings):
    box, after = box_updates.taken(settings_of.Settings(**settings), LAST, aspect, SEEN, np.float32(score))
    return np.asarray(box), after


def _center(box):
    return box[:2] + 0.5 * box[2:]


def test_the_program_takes_the_whole_box():
    box, aspect = _taken()
    np.testing.assert_array_equal(box, SEEN)
    assert aspect is None


@pytest.mark.parametrize(("power", "score"), [(0, 0.5), (1, 0.5), (2, 0.3)])
def test_a_share_of_the_size_by_the_score(power, score):
    box, _ = _taken(size_update=0.4, size_score_power=power, score=score)
    share = 0.4 * score**power
    np.testing.assert_allclose(box[2:], [40 - share * 20, 10 + share * 20], rtol=1e-6)
    np.testing.assert_allclose(_center(box), _center(SEEN), rtol=1e-6)


@pytest.mark.parametrize("follows", [0.0, 0.3])
def test_the_aspect_follows_by_a_share_of_its_own(follows):
    first = np.float32(np.log(2.0))
    box, aspect = _taken(first, size_update=0.4, aspect_update=follows)
    area = (40 - 0.4 * 20) * (10 + 0.4 * 20)
    expected = np.log(2.0) + follows * 0.4 * (np.log(20 / 30) - np.log(2.0))
    assert aspect == pytest.approx(expected, rel=1e-6)
    assert box[2] * box[3] == pytest.approx(area, rel=1e-5)
    assert np.log(box[2] / box[3]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(_center(box), _center(SEEN), rtol=1e-6)
