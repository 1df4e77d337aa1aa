"""Every recorded number of the toolkits, and what the toolkits say of broken results."""

import json

import numpy as np
import pytest

from tests.recipes import REFERENCE
from trackers.errors import InputError
from trackers.evaluation import scores

SYNTHETIC = REFERENCE / "metrics"
# The got-10k toolkit computes in float64 and 12 digits are recorded; pytracking in float32, in per cent.
TOLERANCE = {"got10k": 1e-12, "pytracking": 1.3e-7, "ostrack": 1.3e-7}


def _read(path):
    return np.loadtxt(path, delimiter=",", ndmin=2)


def _cover(frames):
    t = np.arange(frames)
    return np.where(t % 11 == 7, 1, np.where(np.isin(t % 17, (3, 4, 5)), 0, 8))


def _compare(section, record, prediction, truth, visible, image_sizes):
    """Scores the sequences of one recorded (section, tracker) and compares every number of it."""
    kind = section.removeprefix("synth_")
    toolkit = kind.split("_")[0]
    if "error" in record:
        with pytest.raises(InputError):
            for name, boxes in prediction.items():
                _one(kind, boxes, truth[name], visible, image_sizes, name)
        return
    parts = {name: _one(kind, prediction[name], truth[name], visible, image_sizes, name) for name in record["seq"]}
    pairs = [(parts[name], record["seq"][name]) for name in parts]
    pairs.append((scores.combine(list(parts.values())), record["overall"]))
    unit = 1.0 if toolkit == "got10k" else 100.0
    for score, recorded in pairs:
        known = {**score.values, "AO_mean_of_sequences": score.values.get("AO")}
        assert score.frames == recorded.get("frames", score.frames)
        for curve, name in (("success", "succ_curve_mean"), ("norm_precision", "NormPrecision_curve_mean")):
            known[name] = score.curves.get(curve, np.zeros(1)).mean()
        if toolkit == "got10k" and "nan_ious" in recorded:
            known["nan_ious"] = np.isnan(score.curves["overlap"]).sum()
        for name, value in recorded.items():
            if name != "frames":
                expected = np.nan if value is None else value / unit
                close = pytest.approx(expected, abs=TOLERANCE[toolkit], rel=0, nan_ok=True)
                assert known[name] == close, (section, name)


def _one(kind, prediction, truth, visible, image_sizes, name):
    truth = truth.copy()
    if kind.endswith(("nan_gt", "zero_gt")):
        truth[np.arange(len(truth)) % 9 == 4] = np.nan if kind.endswith("nan_gt") else 0.0
    if kind.startswith(("pytracking", "ostrack")):
        score = scores.pytracking if kind.startswith("pytracking") else scores.ostrack
        dataset = next((d for d in ("avist", "lasot", "uav") if d in kind), "otb")
        return score(prediction, truth, visible(name) if visible else None, dataset)
    if kind.startswith("got10k_lasot"):
        return scores.got10k_lasot(prediction, truth)
    if kind.startswith("got10k_otb"):
        return scores.got10k_otb(prediction, truth)
    return scores.got10k(prediction, truth, image_sizes[name], _cover(len(truth)) if "cover" in kind else None)


def _cases(results, synthetic):
    return [(s, t) for s in results["sot"] if s.startswith("synth") == synthetic for t in results["sot"][s]]


RECORDED = json.loads((SYNTHETIC / "results.json").read_text())


@pytest.mark.parametrize(("section", "tracker"), _cases(RECORDED, synthetic=True))
def test_synthetic_sequences_score_as_the_toolkits_say(section, tracker):
    names = ("synth_a", "synth_b")
    truth = {name: _read(SYNTHETIC / "sot" / "synth_groundtruth" / f"{name}.txt") for name in names}
    prediction = {name: _read(SYNTHETIC / "sot" / f"synth_{tracker}" / f"{name}.txt") for name in names}
    _compare(section, RECORDED["sot"][section][tracker], prediction, truth, None, RECORDED["image_sizes"])


def test_real_sequences_score_as_the_toolkits_say(recorded_metrics, sequences):
    results = json.loads((recorded_metrics / "results.json").read_text())
    lasot = sequences / "annotations" / "LaSOT"

    def visible(name):
        return _read(lasot / name / "absent.txt").ravel() == 0

    cases = _cases(results, synthetic=False)
    assert len(cases) > 70
    for section, tracker in cases:
        absent = section.endswith(("absent", "avist"))
        names = results["image_sizes"]
        if absent:
            names = ("deer-10", "cat-18")
        elif section.endswith("_gt"):
            names = ("arcf__wakeboard7",)
        root = lasot if absent else sequences / "sot"
        names = [name for name in names if not name.startswith("synth")]
        truth = {name: _read(root / name / "groundtruth.txt") for name in names}
        folder = recorded_metrics / "sot" / (f"lasot_{tracker}" if absent else tracker)
        prediction = {name: _read(folder / f"{name}.txt") for name in names}
        record = results["sot"][section][tracker]
        _compare(section, record, prediction, truth, visible if absent else None, results["image_sizes"])


@pytest.fixture
def truth():
    return _read(SYNTHETIC / "sot" / "synth_groundtruth" / "synth_a.txt")


def test_ground_truth_against_itself(truth):
    inside = np.clip(truth, 0, 400)
    assert scores.got10k(inside, inside, (640, 480)).values == pytest.approx({"AO": 1, "SR0.5": 1, "SR0.75": 1})
    for score in (scores.got10k_otb, scores.got10k_lasot):
        values = score(truth, truth).values
        assert values.pop("success") == pytest.approx(20 / 21)
        assert values == pytest.approx(dict.fromkeys(values, 1.0))
    for score in (scores.pytracking, scores.ostrack):
        result = score(truth, truth)
        # Rounding lifts the IoU of some equal boxes above 1, as in the programs: those pass the last threshold too.
        above = (scores.overlap(truth, truth, inclusive=True) > 1).mean()
        assert result.values["AUC"] == pytest.approx((20 + above) / 21)
        assert result.values["Precision"] == result.values["NormPrecision"] == result.values["OP75"] == 1


def test_denominators_differ_on_absent_frames(truth):
    visible = np.arange(len(truth)) % 4 != 0
    own = scores.pytracking(truth, truth, visible, "lasot")
    others = scores.ostrack(truth, truth, visible, "lasot")
    assert own.frames == others.frames == visible.sum()
    assert own.values["OP50"] == 1.0
    assert others.values["OP50"] == pytest.approx(visible.mean())


def test_empty_boxes_repeat_the_one_before_in_pytracking(truth):
    prediction = truth.copy()
    prediction[10:13, 2] = 0
    repeated = truth.copy()
    repeated[10:13] = truth[9]
    assert scores.pytracking(prediction, truth).values == scores.pytracking(repeated, truth).values
    # Where UAV123 has NaN an empty box stays, and the next one repeats that.
    still = np.tile([[10.0, 10, 20, 20]], (4, 1))
    empty, absent = still.copy(), still.copy()
    empty[2:, 2], absent[2] = 0, np.nan
    assert scores.pytracking(empty, still).curves["overlap"].tolist() == [1, 1, 1, 1]
    assert scores.pytracking(empty, absent, dataset="uav").curves["overlap"].tolist() == [1, 1, 0]


def test_lengths(truth):
    with pytest.raises(InputError, match="96 boxes for 97 frames"):
        scores.got10k(truth[:-1], truth, (640, 480))
    with pytest.raises(InputError, match="LaSOT"):
        scores.pytracking(truth[:-1], truth, dataset="lasot")
    assert scores.got10k_otb(truth[:-1], truth).frames == 96
    assert scores.pytracking(truth[:-1], truth).values["OP50"] == pytest.approx(96 / 97)


def test_nothing_to_score_is_nan_and_not_a_warning(truth):
    assert np.isnan(scores.got10k(truth[:1], truth[:1], (640, 480)).values["AO"])
    assert np.isnan(scores.pytracking(truth, truth, np.zeros(len(truth), bool)).values["AUC"])


def test_overall_pools_frames_or_averages_sequences():
    still = np.tile([[10.0, 10, 20, 20]], (11, 1))
    far = still + [200, 0, 0, 0]
    long = np.tile(still, (3, 1))[:31]
    pooled = scores.combine([scores.got10k(far, still, (640, 480)), scores.got10k(long, long, (640, 480))])
    assert (pooled.frames, pooled.values["AO"]) == (40, pytest.approx(30 / 40))
    mean = scores.combine([scores.pytracking(far, still), scores.pytracking(long, long)])
    assert mean.values["OP50"] == pytest.approx((1 / 11 + 1) / 2)
