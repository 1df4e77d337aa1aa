import html
import re

import numpy as np
import pytest

from tests import browser
from trackers.evaluation import hota, mot, phrase_report, phrase_results
from trackers.io.mot_files import Tracks

METHOD = "iKUN <cascade> & more"


def _tracks(ids, shift=0.0):
    """Boxes 20 wide of tracks `ids` in five frames."""
    frames = np.repeat(np.arange(1, 6), len(ids))
    numbers = np.tile(ids, 5)
    boxes = np.array([[40.0 * number + shift, 10, 20, 12] for number in numbers])
    return Tracks(frames, numbers, boxes, np.ones(len(frames)), np.ones(len(frames), int))


def _judged(truth, found):
    return [metric.score(truth, found) for metric in mot.METRICS]


@pytest.fixture(scope="module")
def scored():
    parts = {
        ("v & 1", "a-man"): _judged(_tracks([1, 2]), _tracks([1, 2], 2.0)),
        ("v & 1", "<b>nobody"): _judged(_tracks([]), _tracks([3])),
        ("v2", "a-man"): _judged(_tracks([1]), _tracks([1])),
    }
    return phrase_results.Scores(parts)


@pytest.fixture(scope="module")
def page(scored, tmp_path_factory):
    out = tmp_path_factory.mktemp("phrases")
    phrase_report.write(out, METHOD, scored)
    return out / "report.html"


def _rows(text):
    """[[text of each cell]] of the rows of all tables."""
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [[html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<td.*?</td>", row)] for row in rows]


def test_the_tables_hold_all_numbers(scored, page):
    rows = {tuple(row[:2]): row for row in _rows(page.read_text()) if row}
    shown = [f"{100 * scored.combined[field]:.1f}" for field in (*hota.FIELDS, "MOTA", "IDF1")]
    assert rows["COMBINED", shown[0]][1:] == shown
    shown = [f"{100 * scored.mean[field]:.1f}" for field in hota.FIELDS]
    assert rows["mean over phrases", shown[0]][1:] == [*shown, "–", "–"]
    # One video pooled, and its phrases with the boxes that are meant and found.
    pooled = hota.combine([part[0] for (video, _), part in scored.parts.items() if video == "v & 1"]).values()
    assert rows["v & 1", "2"][2] == f"{100 * pooled['HOTA']:.1f}"
    assert rows["a-man", "v & 1"][2:4] == ["10", "10"] and rows["<b>nobody", "v & 1"][2:4] == ["0", "5"]
    assert rows["a-man", "v2"][4] == "100.0"


def test_a_browser_shows_it(page, tmp_path):
    with browser.Browser(tmp_path) as chromium:
        for width in (1280, 400):
            shown = chromium.open(page, width)
            assert shown.complaints == [] and len(shown.fetched) == 1
            assert shown.run("document.documentElement.scrollWidth") == width
        assert shown.run("document.querySelector('h1').textContent") == METHOD
        assert shown.run("document.querySelectorAll('figure svg').length") == 3
        shown.click("section:last-of-type th button", 4)
        cells = "[...document.querySelectorAll('section:last-of-type tbody tr')].map((row) => row.cells[4].textContent)"
        assert shown.run(cells)[0] == "100.0" and shown.run(cells)[-1] == "0.0"
