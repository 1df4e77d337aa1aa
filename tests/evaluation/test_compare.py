import json
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest

from tests import browser, programs
from tests.evaluation import made_results
from tests.evaluation.made_results import NAMES
from trackers.errors import InputError, UsageError
from trackers.evaluation import compare, result_folders, tables

pytest.importorskip("cv2")
pytest.importorskip("matplotlib")

ATTRIBUTES = {
    NAMES[0]: ["<occlusion>", "fast motion"],
    NAMES[1]: ["<occlusion>", "rotation"],
    NAMES[2]: ["rotation", "low resolution"],
    "elsewhere": ["never seen"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three evaluations: of all sequences, of two of them with another grm and the same baseline, and of other ones."""
    root = tmp_path_factory.mktemp("evaluations")
    made_results.evaluate(root / "1", root / "first", NAMES)
    made_results.evaluate(root / "2", root / "2nd & <b>", NAMES[1:3], (("grm", 2.0), ("static", 9.0), ("kcf", 4.0)))
    made_results.evaluate(root / "3", root / "other", NAMES[:1])
    return root / "first", root / "2nd & <b>", root / "other"


def test_only_what_all_have_counts(folders):
    scored, speeds, attributes, left_out = compare.gather(folders[:2])
    assert list(scored) == ["grm (first)", "grm (2nd & <b>)", "static", "kcf"] == list(speeds)
    assert left_out == sorted([NAMES[0], NAMES[3]]) and attributes == {}
    assert compare.notice(left_out, 2).startswith("2 of 4 sequences are left out, as not every tracker has them: a<scr")
    assert compare.notice([], 2) is None
    # The boxes of grm lie 2 and 3, or 4 and 6 pixels beside targets 20 wide.
    for tracker, shifts in (("grm (first)", (2, 3)), ("grm (2nd & <b>)", (4, 6))):
        expected = np.mean([(20 - shift) / (20 + shift) for shift in shifts])
        assert tables.number(scored[tracker], "got10k", "AO") == pytest.approx(expected, abs=1e-12)
        assert list(scored[tracker]["got10k"]["sequences"]) == NAMES[1:3]


def test_one_folder_gives_its_own_table(folders):
    scored, _, _, left_out = compare.gather(folders[:1])
    known = json.loads((folders[0] / "results.json").read_text())["trackers"]
    assert list(scored) == ["grm", "static"] and left_out == []
    for tracker, toolkits in scored.items():
        for _, toolkit, value in tables.COLUMNS:
            expected = known[tracker]["scores"][toolkit]["overall"][value]
            assert tables.number(toolkits, toolkit, value) == pytest.approx(expected, abs=1e-12)
        overall = toolkits["pytracking"]["overall"]
        assert overall.curves["success"].mean() == pytest.approx(overall.values["AUC"], abs=1e-6)
        assert overall.curves["precision"][20] == pytest.approx(overall.values["Precision"], abs=1e-6)


def test_trackers_can_be_chosen_and_folders_of_one_name_told_apart(folders, tmp_path):
    scored, _, _, left_out = compare.gather(folders[:2], ["grm"])
    assert list(scored) == ["grm (first)", "grm (2nd & <b>)"] and len(left_out) == 2
    shutil.copytree(folders[1], tmp_path / "first")
    names = list(compare.gather([folders[0], tmp_path / "first"], ["grm"])[0])
    assert names == [f"grm ({folders[0]})", f"grm ({tmp_path / 'first'})"]
    with pytest.raises(UsageError, match="no folder has 'nope'; they have grm, kcf, static"):
        compare.gather(folders[:2], ["nope"])


def test_a_folder_given_twice_is_shown_once(folders):
    assert list(compare.gather([folders[0], folders[0]])[0]) == ["grm", "static"]


def test_results_that_cannot_be_compared_are_refused(folders, tmp_path):
    with pytest.raises(InputError, match="no sequence in common: name results of one benchmark"):
        compare.gather([folders[1], folders[2]])
    shutil.copytree(folders[2], tmp_path / "longer")
    file = tmp_path / "longer" / "results.json"
    known = json.loads(file.read_text())
    for tracker in known["trackers"].values():
        tracker["scores"]["got10k"]["sequences"][NAMES[0]]["frames"] = 80
    file.write_text(json.dumps(known))
    with pytest.raises(InputError, match=r"has 7 frames in .*first and 80 in .*longer: name results of one"):
        compare.gather([folders[0], tmp_path / "longer"])


def test_attributes_are_means_over_the_sequences_that_have_them(folders):
    scored, *_ = compare.gather(folders[:1])
    found = compare.by_attribute(scored, ATTRIBUTES)
    assert {name: count for name, (count, _) in found.items()} == {
        "<occlusion>": 2,
        "fast motion": 1,
        "low resolution": 1,
        "rotation": 2,
    }
    parts = scored["grm"]["pytracking"]["sequences"]
    expected = np.mean([parts[NAMES[1]].values["AUC"], parts[NAMES[2]].values["AUC"]])
    assert found["rotation"][1]["grm"] == pytest.approx(expected, abs=1e-15)


def test_a_tracker_that_one_toolkit_refuses_is_kept(folders):
    scored, speeds, _, _ = compare.gather(folders[:1])
    refused = scored | {"static": scored["static"] | {"pytracking": {"error": "NaN"}}}
    assert np.isnan(compare.by_attribute(refused, ATTRIBUTES)["rotation"][1]["static"])
    assert "takes no boxes of static" in compare.page(refused, speeds, ATTRIBUTES, [])


@pytest.fixture(scope="module")
def written(folders, tmp_path_factory):
    """(finished process, its --out)."""
    out = tmp_path_factory.mktemp("compared")
    (out / "attributes.json").write_text(json.dumps(ATTRIBUTES))
    given = [*folders[:2], f"--attributes={out / 'attributes.json'}", f"--out={out / 'new'}"]
    return programs.run("trackers.evaluation.compare", *given), out / "new"


def test_the_program_writes_everything(written):
    done, out = written
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2 of 4 sequences are left out")
    assert (out / "comparison.md").read_text().strip() in done.stdout and "| rotation" in done.stdout
    assert lines[-1].startswith("wrote comparison.html, comparison.svg, attributes.svg, comparison.md, .csv, .tex and")
    assert {path.name for path in out.iterdir()} == {
        *(f"comparison{end}" for end in (".html", ".svg", ".md", ".csv", ".tex", "_sequences.csv")),
        "attributes.svg",
    }
    for name in ("comparison.svg", "attributes.svg"):
        texts = [text.text for text in ElementTree.parse(out / name).getroot().iter("{http://www.w3.org/2000/svg}text")]
        assert "grm (2nd & <b>)" in texts
    assert "grm (2nd \\& \\textless{}b\\textgreater{}) & " in (out / "comparison.tex").read_text()
    assert (out / "comparison.csv").read_text().count("\n") == 5
    assert (out / "comparison_sequences.csv").read_text().count("\n") == 9


def test_a_browser_shows_it(written, tmp_path):
    with browser.Browser(tmp_path) as chromium:
        for width in (1280, 400):
            page = chromium.open(written[1] / "comparison.html", width)
            assert page.complaints == [] and len(page.fetched) == 1
            assert page.run("document.documentElement.scrollWidth") == width
        text = page.run("document.body.textContent")
        assert "2 of 4 sequences are left out" in text and "grm (2nd & <b>)" in text and "<occlusion> (1)" in text
        assert page.run("document.querySelector('pre').textContent") == (written[1] / "comparison.tex").read_text()
        page.click("section:last-of-type th button", 2)
        numbers = "[...document.querySelectorAll('section:last-of-type tbody tr')].map((r) => +r.cells[2].textContent)"
        assert page.run(numbers) == sorted(page.run(numbers), reverse=True)


def test_attributes_of_the_folder_are_found(folders, tmp_path):
    shutil.copytree(folders[0], tmp_path / "with")
    (tmp_path / "with" / result_folders.ATTRIBUTES).write_text(json.dumps(ATTRIBUTES))
    assert compare.gather([tmp_path / "with"])[2] == ATTRIBUTES


def test_pictures_of_an_earlier_comparison_do_not_stay(folders, tmp_path):
    """Without attributes there is no radar, and without a tracker that pytracking takes there are no curves."""
    scored, speeds, _, left_out = compare.gather(folders[:1])
    compare.write(tmp_path, scored, speeds, ATTRIBUTES | {NAMES[0]: ["a", "b", "c"]}, left_out)
    assert len(list(tmp_path.glob("*.svg"))) == 2
    refused = {tracker: toolkits | {"pytracking": {"error": "NaN"}} for tracker, toolkits in scored.items()}
    compare.write(tmp_path, refused, speeds, {}, left_out)
    assert not list(tmp_path.glob("*.svg"))
