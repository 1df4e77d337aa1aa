"""HOTA: every recorded number of the official TrackEval, and what its definition demands."""

import json

import numpy as np
import pytest

from tests.recipes import REFERENCE
from trackers.evaluation import hota
from trackers.io import mot_files

SYNTHETIC = REFERENCE / "metrics"
# Scores are recorded with 10 to 12 digits, mean counts likewise, relative.
TOLERANCE = {"abs": 6e-11, "rel": 1e-11}
COUNTS = {"HOTA_TP": "tp", "HOTA_FN": "fn", "HOTA_FP": "fp"}


def _check(part, recorded):
    values = part.values() | {name: getattr(part, field).mean() for name, field in COUNTS.items()}
    for name, value in values.items():
        assert value == pytest.approx(recorded[name], **TOLERANCE), name
    for name in ("HOTA", "DetA", "AssA"):
        if f"{name}_alpha" in recorded:
            np.testing.assert_allclose(part.curves()[name], recorded[f"{name}_alpha"], atol=1e-10, rtol=0)


def _check_all(parts, recorded):
    for name, part in parts.items():
        _check(part, recorded["seq"][name])
    if set(parts) == set(recorded["seq"]):
        _check(hota.combine(list(parts.values())), recorded["combined"])


def _read(*parts):
    return mot_files.read(SYNTHETIC.joinpath(*parts))


@pytest.mark.parametrize("tracker", ["A", "B"])
def test_recorded_values(tracker):
    recorded = json.loads((SYNTHETIC / "mot_scores.json").read_text())["synth"][tracker]
    parts = {
        name: hota.score(_read("mot", "synth_gt", f"{name}.txt"), _read("mot/trackers", tracker, "data", f"{name}.txt"))
        for name in recorded["seq"]
    }
    _check_all(parts, recorded)


def test_recorded_values_on_real_files(sequences, recorded_metrics):
    """Whatever ground truth there is, with and without the preprocessing of MOT17."""
    recorded = json.loads((recorded_metrics / "results.json").read_text())["mot"]
    checked = 0
    for section in ("mot_no_preproc", "mot17_mini_preproc", "mot17_mini_no_preproc"):
        for tracker, record in recorded[section].items():
            parts = {}
            for name in record["seq"]:
                truth = sequences / "mot" / name / "gt" / "gt.txt"
                if truth.exists():
                    found = recorded_metrics / "mot" / "trackers" / tracker / "data" / f"{name}.txt"
                    pair = mot_files.read(truth), mot_files.read(found)
                    if section == "mot17_mini_preproc":
                        pair = hota.without_distractors(*pair)
                    parts[name] = hota.score(*pair)
            _check_all(parts, record)
            checked += len(parts)
    assert checked >= 8


def test_ground_truth_scores_one():
    truth = _read("mot", "synth_gt", "synth_m1.txt")
    assert all(value == 1 for value in hota.score(truth, truth).values().values())
    renamed = mot_files.from_rows(truth.frames, 1000 - truth.ids, truth.boxes)
    assert all(value == 1 for value in hota.score(truth, renamed).values().values())


def test_one_identity_in_two_pieces():
    """Half the frames under another id: detection is perfect, association a half (c * c / n over the pieces)."""
    frames, boxes = np.arange(1, 11), np.tile([10.0, 10.0, 20.0, 20.0], (10, 1))
    truth = mot_files.from_rows(frames, np.ones(10), boxes)
    found = mot_files.from_rows(frames, 1 + (frames > 5), boxes)
    values = hota.score(truth, found).values()
    assert values["DetA"] == 1 and values["AssA"] == pytest.approx(0.5) and values["AssPr"] == 1
    assert values["HOTA"] == pytest.approx(np.sqrt(0.5))


def test_nothing_meant_and_nothing_found():
    """As TrackEval: HOTA 0 and LocA 1; in the pooled row empty ground truth still costs false positives."""
    truth, nothing = _read("mot", "synth_gt", "synth_m1.txt"), mot_files.empty()
    missed, wrong = hota.score(truth, nothing), hota.score(nothing, truth)
    assert missed.values() == {name: float(name == "LocA") for name in hota.FIELDS} == wrong.values()
    assert (missed.fn == len(truth)).all() and (wrong.fp == len(truth)).all()
    perfect = hota.score(truth, truth)
    assert hota.combine([perfect, wrong]).values()["DetPr"] == pytest.approx(0.5)
    assert hota.score(nothing, nothing).values()["HOTA"] == 0


def test_rows_marked_as_not_counting_are_ignored():
    frames, boxes = np.arange(1, 5), np.tile([10.0, 10.0, 20.0, 20.0], (4, 1))
    truth = mot_files.from_rows(frames, np.ones(4), boxes, confidence=[1, 1, 0, 0])
    found = mot_files.from_rows(frames[:2], np.ones(2), boxes[:2])
    assert hota.score(truth, found).values()["HOTA"] == 1


@pytest.mark.parametrize(
    ("benchmark", "label", "stay"), [("mot17", 8, [5, 7]), ("mot17", 6, [5, 6, 7]), ("mot20", 6, [5, 7])]
)
def test_distractors(benchmark, label, stay):
    """A box on a distractor is neither right nor wrong; one on a pedestrian and one on nothing stay."""
    boxes = np.array([[10.0, 10, 20, 20], [60, 10, 20, 20]])
    truth = mot_files.from_rows([1, 1], [1, 2], boxes, labels=[1, label])
    found = mot_files.from_rows([1] * 3, [5, 6, 7], np.concatenate([boxes, [[200.0, 200, 20, 20]]]))
    truth, found = hota.without_distractors(truth, found, benchmark)
    assert truth.ids.tolist() == [1] and found.ids.tolist() == stay


def test_equal_to_the_trackeval_package():
    """The same files through the package itself, where it is installed: field by field, sequence by sequence, pooled.

    Measured on 130 phrases of nine real videos: scores within 2e-15, curves within 3e-15, counts equal.
    """
    trackeval = pytest.importorskip("trackeval", reason="trackeval is not installed (pip install --no-deps trackeval)")
    metric = trackeval.metrics.HOTA({"PRINT_CONFIG": False})
    parts, theirs = {}, {}
    for name in ("synth_m1", "synth_m2"):
        truth, found = _read("mot", "synth_gt", f"{name}.txt"), _read("mot/trackers/B/data", f"{name}.txt")
        parts[name] = hota.score(truth, found)
        theirs[name] = metric.eval_sequence(_as_trackeval(truth, found))
    pairs = [(parts[name], theirs[name]) for name in parts]
    pairs.append((hota.combine(list(parts.values())), metric.combine_sequences(theirs)))
    for ours, other in pairs:
        for field, curve in ours.curves().items():
            np.testing.assert_allclose(curve, other[field], atol=1e-13, rtol=0, err_msg=field)
        for field, count in COUNTS.items():
            np.testing.assert_array_equal(getattr(ours, count), other[field])


def _as_trackeval(truth, found):
    """What the package's data sets hand to its metrics: per frame the ids, numbered from 0, and the overlaps."""
    frames = range(1, 1 + max(truth.frames.max(), found.frames.max()))
    ids = [np.unique(tracks.ids, return_inverse=True)[1] for tracks in (truth, found)]
    of = [[np.flatnonzero(tracks.frames == frame) for frame in frames] for tracks in (truth, found)]
    names = ("gt", "tracker")
    data = {f"num_{name}_dets": len(tracks) for name, tracks in zip(names, (truth, found), strict=True)}
    data |= {f"num_{name}_ids": len(np.unique(number)) for name, number in zip(names, ids, strict=True)}
    data |= {f"{n}_ids": [number[rows] for rows in all_] for n, number, all_ in zip(names, ids, of, strict=True)}
    overlaps = [hota.box_iou(truth.boxes[a], found.boxes[b]) for a, b in zip(*of, strict=True)]
    return data | {"num_timesteps": len(frames), "similarity_scores": overlaps}
