"""experiments.lost_and_found and .reliability: their columns against plain numbers, and as users call them."""

import functools

import numpy as np
import pytest

from data_pipelines.procedural import video
from tests import programs
from trackers.evaluation import returns, score_meaning


def test_columns_of_a_video():
    # Ten frames, away in 4 to 6; right again from 8 on.
    boxes = np.tile([10.0, 10, 20, 20], (10, 1))
    found = boxes.copy()
    found[5:8] += [200, 0, 0, 0]
    lost = np.array([0, 0, 1, 0, 0, 1, 0, 1, 0, 0], bool)
    case = returns.Case([], boxes, 4, 7)
    said = returns.outcome(case, found, lost)
    # Found again in frame 3 rightly, in 6 while it is away, in 8 rightly.
    assert said == {
        "returns": True,
        "noticed": True,
        "false": 1,
        "false loss": 0.25,
        "AO": pytest.approx(5 / 6),  # frames 1, 2, 3, 8, 9 of those and 7
        "after": pytest.approx(2 / 3),
    }
    assert not returns.outcome(case, found + [300, 0, 0, 0], lost)["returns"]


@pytest.mark.slow
def test_procedural_target_is_away_and_comes_back():
    plain, boxes = video.sequence(7, 8)
    away, moved = video.sequence(7, 8, absent=(2, 5, False))
    np.testing.assert_array_equal(plain[:2], away[:2])
    np.testing.assert_array_equal(plain[5:], away[5:])
    np.testing.assert_allclose(boxes[5:], moved[5:])
    assert (moved[2:5, 0] > plain.shape[2]).all() and (plain[2:5] != away[2:5]).mean() > 0.01
    elsewhere = video.sequence(7, 8, absent=(2, 5, True))[1]
    assert np.abs(elsewhere[5:, 0] - boxes[5:, 0]).min() > 60


def test_steps_of_scores():
    said, overlap = np.array([0.05, 0.31, 0.39, 1.0, 0.95, 0.5]), np.array([0.1, 0.2, 0.6, 0.9, 0.7, np.nan])
    table = score_meaning.reliability(said, overlap)
    expected = [(0.0, 1, 0.05, 0.1, 0.0), (0.3, 2, 0.35, 0.4, 0.5), (0.9, 2, 0.975, 0.8, 1.0)]
    np.testing.assert_allclose(table, expected)
    assert score_meaning.off(table) == pytest.approx((0.05 + 2 * 0.05 + 2 * 0.175) / 5)


@pytest.mark.slow
def test_reliability_as_users_call_it(tmp_path):
    run = functools.partial(programs.run, "experiments.reliability")
    done = run("--videos=1", "--length=4", f"--out={tmp_path / 'r.png'}")
    assert done.returncode == 0, done.stderr
    assert "procedural (1 video)" in done.stdout and (tmp_path / "r.png").stat().st_size > 5000
    done = run("--sequences=/no/such", "--videos=0")
    assert done.returncode == 2 and "--videos" in done.stderr and "Traceback" not in done.stderr
