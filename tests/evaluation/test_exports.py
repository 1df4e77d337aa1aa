import csv
import io

import numpy as np
import pytest

from data_pipelines.sources import Sequence
from trackers.evaluation import benchmark, exports, tables

NAMES = ['a,"b"\nc', "50% & <d>_#$"]


@pytest.fixture(scope="module")
def scored():
    made = []
    for name in NAMES:
        boxes = np.tile([[10.0, 10, 20, 20]], (9, 1))
        made.append(Sequence(name, list(range(9)), boxes, np.ones(9, bool)))
    sizes = dict.fromkeys(NAMES, (100, 100))
    trackers = {"good_1": 1.0, "same": 1.0, "poor": 9.0}
    return {
        tracker: benchmark.score("otb", made, {one.name: one.boxes + [shift, 0, 0, 0] for one in made}, sizes)
        for tracker, shift in trackers.items()
    }


def test_csv_says_its_units_and_keeps_names(scored):
    rows = list(csv.reader(io.StringIO(exports.sequences_csv(scored))))
    assert rows[0] == ["tracker", "sequence", "frames", *(f"{head} [%]" for head, _, _ in tables.COLUMNS)]
    assert [row[:3] for row in rows[1:3]] == [["good_1", tables.printable(NAMES[0]), "8"], ["good_1", NAMES[1], "8"]]
    assert float(rows[1][3]) == pytest.approx(100 * 19 / 21, abs=1e-4)
    speeds = dict.fromkeys(scored, {"tracker_fps": 12.345, "end_to_end_fps": 1.0})
    rows = list(csv.reader(io.StringIO(exports.overall_csv(scored, speeds))))
    assert rows[0][-2:] == ["tracker [frames/s]", "end to end [frames/s]"] and len(rows) == 4
    assert rows[3][0] == "poor" and float(rows[3][2]) == pytest.approx(100 * 11 / 29, abs=1e-4)


def test_latex_rows_are_escaped_and_ranked(scored):
    head, *rows = exports.latex_rows(scored).splitlines()
    assert head.startswith("% tracker & AO [\\%] &")
    assert rows[0].startswith("good\\_1 & \\textbf{90.5} & ") and rows[1].startswith("same & \\textbf{90.5} & ")
    assert rows[2].startswith("poor & \\underline{37.9} & ")
    assert all(row.count(" & ") == len(tables.COLUMNS) and row.endswith(" \\\\") for row in rows)
    assert "textbf" not in exports.latex_rows({"poor": scored["poor"]})


def test_a_tracker_that_a_toolkit_refuses_has_dashes(scored):
    refused = {"nan": scored["poor"] | {"pytracking": {"error": "NaN"}}}
    assert exports.latex_rows(refused).splitlines()[1].endswith("& -- & -- & -- \\\\")
    assert exports.sequences_csv(refused).splitlines()[-1].endswith(",,,")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 50%", r"a\_b \& 50\%"),
        ("\\x^2~{$#}", r"\textbackslash{}x\textasciicircum{}2\textasciitilde{}\{\$\#\}"),
        ("<ü>|", r"\textless{}ü\textgreater{}\textbar{}"),
    ],
)
def test_what_latex_would_take_for_a_command(text, expected):
    assert exports.escaped(text) == expected
