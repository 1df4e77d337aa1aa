"""Results of tracking with words: the layout that TrackEval reads, scores of recorded folders, tables, bad folders."""

import json

import numpy as np
import pytest
from etils import epath

from tests import forked
from tests.recipes import REFERENCE
from trackers.errors import InputError
from trackers.evaluation import hota, mot, phrase_results
from trackers.io import mot_files


def _tracks(name):
    return mot_files.read(REFERENCE / "metrics" / "mot" / name)


@pytest.fixture
def results(tmp_path):
    """Two phrases: one with boxes, one that means nothing but has some found."""
    truth, found = _tracks("synth_gt/synth_m1.txt"), _tracks("trackers/A/data/synth_m1.txt")
    phrase_results.write(tmp_path, "v1", "a-man", found, truth)
    phrase_results.write(tmp_path, "v1", "a-horse", found.select(found.frames < 5), mot_files.empty())
    phrase_results.write_seqmap(tmp_path, [("v1", "a-man"), ("v1", "a-horse")])
    return tmp_path


@pytest.mark.parametrize("section", ["refer_two", "refer_three", "refer_with_empty_files"])
def test_recorded_values(recorded_metrics, tmp_path, section):
    """COMBINED and the mean over phrases of the official tool, on real files with phrases."""
    recorded = json.loads((recorded_metrics / "results.json").read_text())["mot"][section]
    seqmap = tmp_path / "seqmap.txt"
    seqmap.write_text("\n".join(recorded["seq"]))
    scores = phrase_results.score(recorded_metrics / "mot" / "refer", seqmap)
    for name in hota.FIELDS:
        assert scores.combined[name] == pytest.approx(recorded["combined"][name], abs=6e-11)
        assert scores.mean[name] == pytest.approx(recorded["mean_over_expressions"][name], abs=6e-11)
        for (video, folder), part in scores.parts.items():
            assert part[0].values()[name] == pytest.approx(recorded["seq"][f"{video}+{folder}"][name], abs=6e-11)


def test_combined_is_not_the_mean(results):
    scores = phrase_results.score(results)
    parts = [part[0] for part in scores.parts.values()]
    assert scores.mean["HOTA"] == pytest.approx(np.mean([part.values()["HOTA"] for part in parts]))
    assert scores.combined["HOTA"] == hota.combine(parts).values()["HOTA"] != scores.mean["HOTA"]


def test_layout_is_trackevals(results):
    """Ground truth with 9 columns (7: counts, 8: class 1), results with 10; frames from 1; a seqmap without heading."""
    assert (results / "seqmap.txt").read_text() == "v1+a-man\nv1+a-horse\n"
    truth = [line.split(",") for line in (results / "v1/a-man/gt.txt").read_text().splitlines()]
    found = [line.split(",") for line in (results / "v1/a-man/predict.txt").read_text().splitlines()]
    assert {len(row) for row in truth} == {9} and {tuple(row[6:]) for row in truth} == {("1", "1", "1")}
    assert {len(row) for row in found} == {10} and {tuple(row[7:]) for row in found} == {("-1", "-1", "-1")}
    assert (results / "v1/a-horse/gt.txt").read_text() == ""


def test_without_a_seqmap_all_folders_count(results):
    (results / "seqmap.txt").unlink()
    assert set(phrase_results.score(results).parts) == {("v1", "a-man"), ("v1", "a-horse")}


def test_tables(results):
    text = phrase_results.report("ours", phrase_results.score(results))
    lines = text.splitlines()
    assert lines[0] == "2 phrases in 1 video, in per cent"
    assert lines[2].split("|")[1:-1] and [cell.strip() for cell in lines[2].split("|")[2:-1]] == [
        *hota.FIELDS, "MOTA", "IDF1",
    ]  # fmt: skip
    assert any(line.startswith("| ours ") for line in lines) and any("mean over phrases" in line for line in lines)
    assert any("v1 a-horse" in line and "|     0 |" in line for line in lines)


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda root: (root / "v1/a-man/predict.txt").unlink(), "predict.txt is missing"),
        (lambda root: (root / "seqmap.txt").write_text("v2+a-man\n"), "v2/a-man/gt.txt is missing"),
        (lambda root: (root / "seqmap.txt").write_text("v1 a-man\n"), "line 'v1 a-man' is not VIDEO"),
        (lambda root: (root / "seqmap.txt").write_text(""), "seqmap.txt names no phrase"),
        (lambda root: (root / "v1/a-man/predict.txt").write_text("1,2,3\n"), "predict.txt line 1: 3 columns"),
    ],
)
def test_bad_folders(results, change, message):
    change(results)
    with pytest.raises(InputError, match=message):
        phrase_results.score(results)


@pytest.mark.parametrize("name", ["gt.txt", "predict.txt"])
def test_frames_before_the_first_are_refused(results, name):
    """As in tracking; scored, such a result is silently one frame off."""
    file = results / "v1" / "a-man" / name
    file.write_text("0,99,1,2,3,4,1,-1,-1,-1\n" + file.read_text())
    with pytest.raises(InputError, match=f"v1/a-man/{name} line 1: frame 0 is before the first frame, 1: give --"):
        phrase_results.score(results)
    assert phrase_results.score(results, first_frame=0).parts


def test_tables_that_no_machine_holds_are_refused(results):
    rows = "".join(f"{1 + k // 9},{k},1,2,3,4,1,1,1\n" for k in range(8000))
    for name in ("gt.txt", "predict.txt"):
        (results / "v1" / "a-man" / name).write_text(rows)
    with pytest.raises(InputError, match="a-man has 64 million cells; 50 are allowed: set TRACKERS_MAX_TABLE_MILLIONS"):
        phrase_results.score(results)


def test_no_such_folder(tmp_path):
    with pytest.raises(InputError, match="absent: no such folder"):
        phrase_results.score(tmp_path / "absent")
    with pytest.raises(InputError, match="does not exist: give a file of lines"):
        phrase_results.score(tmp_path, tmp_path / "absent.txt")


def test_folder_names():
    assert phrase_results.folder_name("a man / in red+blue ") == "a-man-in-red-blue"
    assert phrase_results.folder_name("../..") == "phrase" and phrase_results.folder_name("行人") == "行人"
    with pytest.raises(InputError, match="'a man' and 'a  man' would share the folder a-man"):
        phrase_results.folder_names(["a man", "a dog", "a  man"])


def test_similarities_there_and_back(tmp_path):
    tracks = _tracks("trackers/A/data/synth_m1.txt")
    values = np.random.default_rng(0).normal(size=(len(tracks), 2)).astype(np.float32)
    values[3] = np.nan
    phrase_results.write_similarities(tmp_path / "v", tracks, ["a man", "a dog"], values, run="abc")
    np.testing.assert_array_equal(phrase_results.read_similarities(tmp_path / "v", "abc", len(tracks)), values)
    assert phrase_results.read_similarities(tmp_path / "v", "abd", len(tracks)) is None
    assert phrase_results.read_similarities(tmp_path / "v", "abc", 3) is None
    assert phrase_results.read_similarities(tmp_path / "w", "abc", 3) is None
    written = json.loads((tmp_path / "v" / "similarity.json").read_text())
    assert written["phrases"] == ["a man", "a dog"]
    assert written["tracks"][str(tracks.ids[3])][str(tracks.frames[3])] == [None, None]
    assert written["tracks"][str(tracks.ids[0])][str(tracks.frames[0])][1] == pytest.approx(
        float(values[0, 1]), abs=1e-5
    )


def test_command(results, tmp_path):
    done = forked.run("trackers.evaluation", f"--results={results}", f"--out={tmp_path / 'o'}")
    assert done.returncode == 0, done.stderr
    assert "mean over phrases" in done.stdout and (tmp_path / "o" / "table.md").read_text().strip() in done.stdout
    assert "a-horse" in (tmp_path / "o" / "report.html").read_text()
    written = json.loads((tmp_path / "o" / "results.json").read_text())
    judged = mot.score(results, results)
    scored = written["trackers"][results.name]["scores"]["trackeval"]
    assert scored["overall"] == judged.pop("COMBINED") and scored["sequences"] == judged
    assert f"{100 * scored['overall']['IDF1']:.2f}" in done.stdout
    assert written["combined"] == phrase_results.score(results).combined and set(written["phrases"]) == {
        "v1+a-man",
        "v1+a-horse",
    }


def test_a_flagfile_may_start_with_a_byte_order_mark(results, tmp_path):
    (tmp_path / "flags.txt").write_text(f"--results={results}\n--first_frame=0\n", encoding="utf-8-sig")
    done = forked.run("trackers.evaluation", f"--flagfile={tmp_path / 'flags.txt'}")
    assert done.returncode == 0 and "mean over phrases" in done.stdout, done.stderr


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path, monkeypatch):
    for video in ("open", "shut"):
        (tmp_path / video / "man").mkdir(parents=True)
        for name in ("gt.txt", "predict.txt"):
            (tmp_path / video / "man" / name).write_text("1,1,1,1,20,20,1,1,1\n")
    kind = type(epath.Path(tmp_path))
    listed = kind.iterdir

    def iterdir(path):
        if path.name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(kind, "iterdir", iterdir)
    with pytest.raises(PermissionError, match="shut"):
        phrase_results.score(tmp_path)
