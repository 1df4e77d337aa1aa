"""The benchmarks' own programs: values that they computed, and their rules written out once more in plain numpy."""

import json

import numpy as np
import pytest

from tests.recipes import REFERENCE
from trackers.errors import InputError
from trackers.evaluation import official, scores

METRICS = REFERENCE / "metrics"
RECORDED = json.loads((METRICS / "official.json").read_text())["sets"]
NAMES = ("synth_a", "synth_b")


def _read(path):
    return np.loadtxt(path, delimiter=",", ndmin=2)


def _synthetic(tracker):
    return {name: _read(METRICS / "sot" / f"synth_{tracker}" / f"{name}.txt") for name in NAMES}


def _absent(frames):
    return np.isin(np.arange(frames) % 17, (3, 4, 5))


def _set(kind, tracker):
    """(prediction, truth, absent) of a recorded set as official.json describes it."""
    prediction, truth = _synthetic(tracker), _synthetic("groundtruth")
    absent = {name: _absent(len(boxes)) for name, boxes in truth.items()}
    if kind == "synth_odd_truth":
        for boxes in truth.values():
            t = np.arange(len(boxes))
            boxes[t % 13 == 5] = 0
            boxes[t % 29 == 7, 0] = 0
    if kind == "synth_one_lost":
        prediction["synth_b"] = prediction["synth_b"] + [3000, 3000, 0, 0]
        absent["synth_b"][0] = True
    return prediction, truth, absent


def _compare(record, rule, prediction, truth, absent):
    ways = {
        "lasot_toolkit": lambda name: official.lasot_toolkit(prediction[name], truth[name], absent[name]),
        "otb_toolkit": lambda name: official.otb_toolkit(prediction[name], truth[name]),
        "trackingnet": lambda name: official.trackingnet(prediction[name], truth[name]),
    }
    parts = {name: ways[rule](name) for name in truth}
    known = {name: part.values for name, part in parts.items()}
    known["overall"] = scores.combine(list(parts.values())).values
    for name, values in record.items():
        for key, value in values.items():
            assert known[name][key] == pytest.approx(value, abs=1e-12, rel=0), (name, key)


@pytest.mark.parametrize(
    ("kind", "case"), [(kind, case) for kind in RECORDED if kind != "lasot" for case in RECORDED[kind]]
)
def test_synthetic_sequences_score_as_the_programs_say(kind, case):
    tracker, rule = case.split()
    _compare(RECORDED[kind][case], rule, *_set(kind, tracker))


def test_lasot_sequences_with_absent_frames_score_as_the_programs_say(recorded_metrics, sequences):
    folder = sequences / "annotations" / "LaSOT"
    truth = {name: _read(folder / name / "groundtruth.txt") for name in ("deer-10", "cat-18")}
    absent = {name: _read(folder / name / "absent.txt").ravel() != 0 for name in truth}
    for case, record in RECORDED["lasot"].items():
        tracker, rule = case.split()
        prediction = {name: _read(recorded_metrics / "sot" / f"lasot_{tracker}" / f"{name}.txt") for name in truth}
        _compare(record, rule, prediction, truth, absent)


def _last_pixel_overlap(box, truth):
    """IoU of two boxes whose last pixel is x+w-1, one by one."""
    width = min(box[0] + box[2] - 1, truth[0] + truth[2] - 1) - max(box[0], truth[0]) + 1
    height = min(box[1] + box[3] - 1, truth[1] + truth[3] - 1) - max(box[1], truth[1]) + 1
    common = max(width, 0) * max(height, 0)
    return common / (box[2] * box[3] + truth[2] * truth[3] - common)


def test_lasot_rules_written_out(rng=7):
    """Frame by frame as the MATLAB files read: repeat what is invalid, take absent frames out, divide by all."""
    random = np.random.default_rng(rng)
    truth = np.concatenate([random.uniform(5, 200, (60, 2)), random.uniform(20, 90, (60, 2))], axis=1)
    boxes = truth + random.normal(0, 6, (60, 4))
    boxes[[0, 9, 10, 30]] = np.nan
    boxes[[20, 21], 3] = [0, -4]
    truth[40, 0] = 0
    absent = random.random(60) < 0.2
    absent[40] = False

    kept, overlaps, errors, relative = boxes.copy(), [], [], []
    for t in range(1, 60):
        if np.isnan(kept[t]).any() or kept[t, 2] <= 0 or kept[t, 3] <= 0:
            kept[t] = kept[t - 1]
    kept[0] = truth[0]
    for t in range(60):
        if absent[t]:
            continue
        if min(truth[t]) <= 0:
            overlaps.append(-1), errors.append(-1), relative.append(-1)
            continue
        overlaps.append(_last_pixel_overlap(kept[t], truth[t]))
        shift = [kept[t, k] + (kept[t, k + 2] - 1) / 2 - truth[t, k] - (truth[t, k + 2] - 1) / 2 for k in (0, 1)]
        errors.append(np.hypot(*shift))
        relative.append(np.hypot(shift[0] / truth[t, 2], shift[1] / truth[t, 3]))
    curve = [sum(overlap > k / 20 for overlap in overlaps) / 60 for k in range(21)]

    score = official.lasot_toolkit(boxes, truth, absent)
    assert score.values["AUC"] == pytest.approx(np.mean(curve), abs=1e-12)
    assert score.values["Precision"] == sum(error <= 20 for error in errors) / 60
    assert score.values["NormPrecision"] == sum(error <= 0.2 for error in relative) / 60
    visible = official.lasot_toolkit(boxes, truth, absent, of_all=False)
    assert visible.toolkit == "lasot_visible"
    assert visible.values["AUC"] == pytest.approx(np.mean(curve) * 60 / (~absent).sum(), abs=1e-12)


def test_trackingnet_rules_written_out():
    random = np.random.default_rng(3)
    truth = np.concatenate([random.uniform(5, 200, (40, 2)), random.uniform(20, 90, (40, 2))], axis=1)
    boxes = truth + random.normal(0, 5, (40, 4))
    boxes[3] = np.nan
    curves = np.zeros((3, 21))
    for t in range(40):
        box, there = [round(v) if v == v else v for v in boxes[t]], [round(v) for v in truth[t]]
        if t == 0:
            box = there
        if box[0] != box[0]:
            continue
        shift = [box[k] + (box[k + 2] + 1) / 2 - there[k] - (there[k + 2] + 1) / 2 for k in (0, 1)]
        relative = np.hypot(shift[0] / there[2], shift[1] / there[3])
        curves[0] += [_last_pixel_overlap(box, there) > k / 20 for k in range(21)]
        curves[1] += [np.hypot(*shift) <= 2.5 * k for k in range(21)]
        curves[2] += [relative <= 0.025 * k for k in range(21)]
    areas = [sum((a + b) / 2 for a, b in zip(c[1:], c[:-1], strict=True)) / 20 / 40 for c in curves]
    assert list(official.trackingnet(boxes, truth).values.values()) == pytest.approx(areas, abs=1e-12)


def test_what_is_missing_or_surplus():
    truth = _synthetic("groundtruth")["synth_a"]
    with pytest.raises(InputError, match="96 boxes for 97 frames"):
        official.lasot_toolkit(truth[:-1], truth)
    for length in (96, 98):
        with pytest.raises(InputError, match=f"{length} boxes for 97 frames"):
            official.otb_toolkit(np.resize(truth, (length, 4)), truth)
    surplus = np.concatenate([truth, truth[:2]])
    for rule in (official.lasot_toolkit, official.trackingnet):
        assert rule(surplus, truth).values == rule(truth, truth).values
    short = official.trackingnet(truth[:-7], truth).values
    assert short["precision"] == pytest.approx(90 / 97)


def test_ground_truth_against_itself():
    """1 in every number that is a share of frames; the areas lose what the last threshold, IoU > 1, cannot give."""
    truth = np.round(_synthetic("groundtruth")["synth_a"]) + [1, 1, 0, 0]
    truth = np.maximum(truth, [1, 1, 2, 2])
    absent = _absent(len(truth))
    for score in (official.lasot_toolkit(truth, truth), official.otb_toolkit(truth, truth)):
        values = score.values
        assert values.pop("AUC") == pytest.approx(20 / 21)
        assert values == dict.fromkeys(values, 1.0)
    assert official.lasot_toolkit(truth, truth, absent).values["OP50"] == pytest.approx(1 - absent.mean())
    assert official.lasot_toolkit(truth, truth, absent, of_all=False).values["OP50"] == 1
    assert official.trackingnet(truth, truth).values == pytest.approx(
        {"success": 0.975, "precision": 1, "norm_precision": 1}
    )
    values = official.avist(truth, truth).values
    assert {key: values[key] for key in ("OP50", "OP75", "Precision", "AO")} == dict.fromkeys(
        ("OP50", "OP75", "Precision", "AO"), 1.0
    )
    assert values["AUC"] == pytest.approx(20 / 21)


@pytest.mark.parametrize("rule", [official.otb_toolkit, official.trackingnet])
def test_an_edge_that_is_nan_is_passed_over_by_matlab_and_pandas(rule):
    truth = np.tile([[11.0, 21, 20, 10]], (4, 1))
    boxes = truth.copy()
    # min and max without the NaN: the truth's edge; a NaN size makes the union NaN.
    boxes[[1, 2, 3], [0, 1, 2]] = np.nan
    score = rule(boxes, truth)
    assert np.isnan(score.curves["overlap"]).tolist() == [False, False, False, True]
    assert (score.curves["success"][10], score.curves["precision"][-1]) == (3 / 4, 1 / 4)


def test_avist_is_pytracking_over_all_frames():
    truth, boxes = _synthetic("groundtruth")["synth_a"], _synthetic("drift")["synth_a"]
    visible = ~_absent(len(truth))
    score = official.avist(boxes, truth, visible)
    overlaps = np.array([_last_pixel_overlap(*pair) for pair in zip(boxes, truth, strict=True)])
    found = (overlaps > 0.75) & visible
    found[0] = True
    assert (score.toolkit, score.values["OP75"]) == ("avist", pytest.approx(found.sum() / len(truth)))


def test_a_benchmark_of_lost_sequences_only_is_nan():
    truth = _synthetic("groundtruth")["synth_a"]
    absent = np.arange(len(truth)) == 0
    lost = official.lasot_toolkit(truth + [3000, 3000, 0, 0], truth, absent)
    assert np.isnan(scores.combine([lost, lost]).values["AUC"])
    found = official.lasot_toolkit(truth, truth, absent)
    assert scores.combine([lost, found]).values["AUC"] == found.values["AUC"]
