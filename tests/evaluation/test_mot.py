"""MOTA, IDF1 and their parts: the numbers recorded from TrackEval, what the definitions demand, the command."""

import json

import numpy as np
import pytest

from tests import forked
from tests.evaluation.test_hota import SYNTHETIC
from trackers.errors import InputError
from trackers.evaluation import clear, identity, mot
from trackers.io import mot_files

TOLERANCE = {"abs": 6e-11, "rel": 1e-11}


def _check(values, recorded):
    for name in (*mot._PERCENT, *clear.COUNTS):
        assert values[name] == pytest.approx(recorded[name], **TOLERANCE), name


@pytest.mark.parametrize("tracker", ["A", "B"])
def test_recorded_values(tracker):
    recorded = json.loads((SYNTHETIC / "mot_scores.json").read_text())["synth"][tracker]
    values = mot.score(SYNTHETIC / "mot" / "synth_gt", SYNTHETIC / "mot" / "trackers" / tracker)
    assert set(values) == {*recorded["seq"], "COMBINED"}
    _check(values.pop("COMBINED"), recorded["combined"])
    for name, row in values.items():
        _check(row, recorded["seq"][name])


@pytest.mark.parametrize("preprocessing", ["mot17", "none"])
def test_recorded_values_on_real_files(sequences, recorded_metrics, tmp_path, preprocessing):
    section = "mot17_mini_preproc" if preprocessing == "mot17" else "mot17_mini_no_preproc"
    recorded = json.loads((recorded_metrics / "results.json").read_text())["mot"][section]
    checked = 0
    for tracker, record in recorded.items():
        names = [name for name in record["seq"] if (sequences / "mot" / name / "gt" / "gt.txt").exists()]
        (tmp_path / "seqmap.txt").write_text("\n".join(["name", *names]) + "\n")
        results = recorded_metrics / "mot" / "trackers" / tracker
        values = mot.score(sequences / "mot", results, tmp_path / "seqmap.txt", preprocessing)
        for name in names:
            _check(values[name], record["seq"][name])
        if len(names) == len(record["seq"]):
            _check(values["COMBINED"], record["combined"])
        checked += len(names)
    assert checked


def _track(ids, boxes, frames=None):
    frames = np.arange(1, len(ids) + 1) if frames is None else frames
    return mot_files.from_rows(frames, ids, np.array(boxes, float))


def test_a_switch_and_a_gap():
    """One object; its track is lost for two frames and comes back under another id."""
    box = [10, 10, 20, 20]
    truth = _track([1] * 8, [box] * 8)
    found = _track([5, 5, 5, 9, 9, 9], [box] * 6, frames=[1, 2, 3, 6, 7, 8])
    values = clear.score(truth, found).values()
    # Six of eight matched, one switch. Without any box in a frame TrackEval takes the match before it as standing.
    assert values["MOTA"] == pytest.approx((6 - 0 - 1) / 8) and values["MOTP"] == 1
    assert (values["IDSW"], values["MT"], values["PT"], values["ML"], values["Frag"]) == (1, 0, 1, 0, 0)
    far = _track([5, 5, 5, 7, 9, 9, 9], [*[box] * 3, [90, 90, 20, 20], *[box] * 3], frames=[1, 2, 3, 4, 6, 7, 8])
    values = clear.score(truth, far).values()
    assert values["Frag"] == 1 and values["MOTA"] == pytest.approx((6 - 1 - 1) / 8)
    assert identity.score(truth, found) == identity.Identity(tp=3, fn=5, fp=3)
    assert identity.score(truth, found).values()["IDF1"] == pytest.approx(3 / 7)


def test_a_match_goes_on_though_another_box_fits_better():
    truth = _track([1, 1], [[0, 0, 20, 20]] * 2)
    found = mot_files.from_rows([1, 2, 2], [4, 4, 6], np.array([[0, 0, 20, 20], [4, 0, 20, 20], [0, 0, 20, 20]], float))
    assert clear.score(truth, found).values()["IDSW"] == 0


def test_nothing_there_and_truth_against_itself():
    truth = mot_files.read(SYNTHETIC / "mot" / "synth_gt" / "synth_m1.txt")
    same = clear.score(truth, truth).values() | identity.score(truth, truth).values()
    assert same["MOTA"] == same["MOTP"] == same["IDF1"] == 1 and same["IDSW"] == same["ML"] == 0
    objects = len(np.unique(truth.ids))
    missed = clear.score(truth, mot_files.empty())
    assert missed.fn == len(truth) and missed.lost == objects and missed.values()["MOTA"] == 0
    wrong = clear.score(mot_files.empty(), truth)
    # As TrackEval: the row of such a sequence says 0, the one of all sequences what the definition gives.
    assert wrong.fp == len(truth) and wrong.values()["MOTA"] == 0
    assert clear.combine([wrong]).values()["MOTA"] == -len(truth)
    assert identity.score(truth, mot_files.empty()).values() == dict.fromkeys(identity.FIELDS, 0)


def test_command(tmp_path):
    out = tmp_path / "out"
    truth, results = SYNTHETIC / "mot" / "synth_gt", SYNTHETIC / "mot" / "trackers" / "B"
    done = forked.run("trackers.evaluation.mot", f"--ground_truth={truth}", f"--results={results}", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert "COMBINED" in done.stdout and (out / "table.md").read_text().strip() in done.stdout
    recorded = json.loads((SYNTHETIC / "mot_scores.json").read_text())["synth"]["B"]["combined"]
    written = json.loads((out / "results.json").read_text())["trackers"]["B"]["scores"]["trackeval"]
    _check(written["overall"], recorded)
    assert set(written["sequences"]) == {"synth_m1", "synth_m2"}


def test_results_of_phrases(tmp_path):
    """VIDEO/PHRASE/{gt,predict}.txt in one folder, listed or not, score as the same files in two folders do."""
    truth, found = SYNTHETIC / "mot" / "synth_gt", SYNTHETIC / "mot" / "trackers" / "A" / "data"
    for name, phrase in (("synth_m1", "a-man"), ("synth_m2", "red+blue")):
        (tmp_path / name / phrase).mkdir(parents=True)
        (tmp_path / name / phrase / "gt.txt").write_bytes((truth / f"{name}.txt").read_bytes())
        (tmp_path / name / phrase / "predict.txt").write_bytes((found / f"{name}.txt").read_bytes())
    (tmp_path / "seqmap.txt").write_text("synth_m1+a-man\nsynth_m2+red+blue\n")
    expected = list(mot.score(truth, found.parent).values())
    for seqmap in (tmp_path / "seqmap.txt", None):
        scored = mot.score(tmp_path, tmp_path, seqmap)
        assert list(scored) == ["synth_m1+a-man", "synth_m2+red+blue", "COMBINED"]
        assert list(scored.values()) == expected
    (tmp_path / "synth_m1" / "a-man" / "predict.txt").unlink()
    with pytest.raises(InputError, match="synth_m1.a-man.txt is missing"):
        mot.score(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("name", "preprocessing", "mota"),
    [("MOT20-01", None, 1), ("MOT17-02", None, 0), ("MOT17-02", "mot20", 1), ("MOT20-01", "mot17", 0)],
)
def test_distractors_of_the_benchmark_that_a_sequence_is_called_after(tmp_path, name, preprocessing, mota):
    rows = "1,1,10,10,20,20,1,1,1\n1,2,60,10,20,20,0,6,1\n"
    for folder, text in (("gt", rows), ("found", rows.replace(",6,1", ",-1,-1"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.txt").write_text(text)
    assert mot.score(tmp_path / "gt", tmp_path / "found", None, preprocessing)[name]["MOTA"] == mota


def test_classes_that_mean_nothing(tmp_path):
    """MOT15 is published with class -1, frames of some count from 0: refused, and scored when that is said."""
    (tmp_path / "A.txt").write_text("0,1,10,10,20,20,1,-1,-1,-1\n")
    with pytest.raises(InputError, match="frame 0 is before the first frame, 1: give --first_frame"):
        mot.score(tmp_path, tmp_path)
    with pytest.raises(InputError, match="A.txt: class -1 is none of MOT17's .* give --preprocessing none"):
        mot.score(tmp_path, tmp_path, first_frame=0)
    assert mot.score(tmp_path, tmp_path, None, "none", first_frame=0)["COMBINED"]["HOTA"] == 1


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        (
            "found",
            "4,5,10,10,20,20,1,-1,-1,-1",
            r"A.txt line 2: frame 4 is after the last of the video, 3: give",
        ),
        ("found", "9,5,10,10,20,20,1", r"A.txt line 2: frame 9 is after the last of the video, 3: give"),
        ("gt", "4,5,10,10,20,20,0,8,1", r"gt.txt line 2: frame 4 is after the last of the video, 3: give"),
        ("found", "0,5,10,10,20,20,1,-1,-1,-1", r"A.txt line 2: frame 0 is before the first frame, 1: give --first"),
        ("found", "3,5,10,10,20,20,1,3,-1,-1", r"A.txt line 2: class 3: only pedestrians are scored"),
        ("found", "3,-1,10,10,20,20,1,-1,-1,-1", r"A.txt line 2: id -1 is below 0: give each object"),
        # What TrackEval scores.
        ("found", "3,0,10,10,20,20,1,0,-1,-1", None),
        ("found", "3.0,5,10,10,20,20,1,1.0,-1,-1", None),
        ("gt", "3,5,10,10,20,20,1,8,1", None),
    ],
)
def test_lines_at_which_trackeval_stops(tmp_path, file, line, said):
    """Frames beyond seqinfo.ini's length, in both files; classes of a tracker above 1; ids below 0, of which TrackEval
    takes one for another object's or stops with an IndexError."""
    (tmp_path / "gt" / "A" / "gt").mkdir(parents=True)
    (tmp_path / "gt" / "A" / "seqinfo.ini").write_text("[Sequence]\nname = A\nseqlength : 3\n")
    files = {"gt": tmp_path / "gt" / "A" / "gt" / "gt.txt", "found": tmp_path / "A.txt"}
    for name, path in files.items():
        path.write_text("1,1,10,10,20,20,1,1,1\n" + (f"{line}\n" if name == file else ""))
    if said is None:
        assert mot.score(tmp_path / "gt", tmp_path)["A"]["MOTP"] == 1
        return
    with pytest.raises(InputError, match=said):
        mot.score(tmp_path / "gt", tmp_path)


def test_wrong_folders(tmp_path):
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "A.txt").write_text("1,1,2,3,4,5,1,1,1\n")
    for arguments, named in (
        ([f"--ground_truth={tmp_path / 'no'}", f"--results={tmp_path}"], "no such folder"),
        ([f"--ground_truth={tmp_path / 'gt'}", f"--results={tmp_path}"], f"{tmp_path / 'A.txt'} is missing"),
        ([f"--ground_truth={tmp_path / 'gt'}", f"--results={tmp_path}", "--seqmap=/no/map"], "/no/map"),
    ):
        done = forked.run("trackers.evaluation.mot", *arguments)
        assert done.returncode == 1 and named in done.stderr, done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
