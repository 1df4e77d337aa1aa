"""docs/quickstart.ipynb: its cells run in order, and print what it shows."""

import json
import re
import sys

import pytest

from tests import programs

matplotlib = pytest.importorskip("matplotlib")


@pytest.mark.slow
def test_cells_run_and_print_what_the_notebook_shows(monkeypatch, capsys):
    folder = programs.ROOT / "docs"
    cells = json.loads((folder / "quickstart.ipynb").read_text())["cells"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    matplotlib.use("agg")
    names, pictures = {}, 0
    for number, cell in enumerate(cells):
        if cell["cell_type"] != "code":
            continue
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
        shown = [text for out in cell["outputs"] if out["output_type"] == "stream" for text in out["text"]]
        pictures += any("image/jpeg" in out.get("data", {}) for out in cell["outputs"])
        printed = capsys.readouterr().out
        assert re.sub(r"[\d.]+", "", printed) == re.sub(r"[\d.]+", "", "".join(shown))
        # AO and mean score; the pure function's boxes are those of the object.
        for ours, theirs in zip(re.findall(r"\d\.\d+", printed), re.findall(r"\d\.\d+", "".join(shown)), strict=True):
            assert float(ours) == pytest.approx(float(theirs), abs=0.02)
    assert pictures == len(names["plt"].get_fignums()) == 4
    assert 20 <= min(number for number, one in enumerate(names["found"], 1) if one.lost) < 35
    names["plt"].close("all")
