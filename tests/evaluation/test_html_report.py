"""report.html of an evaluation: what it says, and that a browser shows it."""

import base64
import html.parser
import json
import re

import numpy as np
import pytest

from tests import browser
from tests.evaluation import made_results
from tests.evaluation.made_results import FRAMES, NAMES
from trackers.evaluation import html_report, tables

cv2 = pytest.importorskip("cv2")
pytest.importorskip("matplotlib")


class _Reader(html.parser.HTMLParser):
    """Tags in order, and the text in each kind of tag."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._open = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in self._open:
            self.texts[tag][-1] += data


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    made_results.evaluate(folder / "frames", folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def read(out):
    return _Reader((out / "report.html").read_text())


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser.Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


def test_names_are_text_and_nothing_is_fetched(out, read):
    assert [tag for tag, _ in read.tags].count("script") == 1
    for name in NAMES:
        assert any(text == tables.printable(name) for text in read.texts["a"])
    assert "runs/<b>grm</b>" in " ".join(read.texts["p"]) and not any(tag == "b" for tag, _ in read.tags)
    for _, attributes in read.tags:
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "url(" not in read.texts["style"][0] and "@import" not in read.texts["style"][0]
    policy = next(a for tag, a in read.tags if tag == "meta" and a.get("http-equiv"))
    assert policy["content"].startswith("default-src 'none'")


def test_numbers_and_units_are_those_of_the_table(out, read):
    overall = json.loads((out / "results.json").read_text())["trackers"]["grm"]["scores"]
    heads = [re.sub("%$", "", head) for head in read.texts["th"][:7]]
    assert heads == ["tracker", "AO", "SR0.5", "SR0.75", "AUC", "P", "NP"]
    row = read.texts["td"][1:7]
    expected = [overall[toolkit]["overall"][value] for _, toolkit, value in tables.COLUMNS]
    assert row == [f"{100 * value:.1f}" for value in expected]
    numbers = [head for head in read.texts["th"] if head not in ("tracker", "sequence")]
    assert all(head.endswith(("%", "frames/s", "framesthat count")) for head in numbers)


def test_the_worst_come_first_with_pictures_and_overlaps(read):
    titles = [text for text in read.texts["h3"] if re.match(r"\d+\. ", text)]
    # The boxes lie further beside the target in each sequence than in the one before.
    assert titles == [f"{k}. {tables.printable(name)}" for k, name in enumerate(reversed(NAMES), 1)]
    pictures = [a["href"] for tag, a in read.tags if tag == "image"]
    assert len(pictures) == 6 * len(NAMES)
    image = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0].split(",", 1)[1]), np.uint8), cv2.IMREAD_COLOR)
    assert max(image.shape) == 360
    first = read.texts["figcaption"][:6]
    # 4 pixels beside a target 20 wide; the third frame is hidden, and frames 1, 2, 4, 5, 7 and 9 are shown.
    iou = (20 - 4) / (20 + 4)
    assert first[1] == f"frame 2, IoU {iou:.2f}" and first[-1] == f"frame {FRAMES}, IoU {iou:.2f}"


def test_boxes_are_drawn_in_pixels_of_the_frame(read):
    at = next(k for k, (tag, _) in enumerate(read.tags) if tag == "image")
    drawn = [a for tag, a in read.tags[at : at + 6] if tag == "rect"]
    truth, found = (next(a for a in drawn if a["class"] == name) for name in ("truth", "found"))
    assert [float(truth[key]) for key in ("x", "y", "width", "height")] == [5, 10, 20, 12]
    assert float(found["x"]) == 5 + 4


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([], (0, 0, 640, 360)),
        ([[300, 170, 20, 20]], (230, 135, 160, 90)),  # a quarter of the frame, the box in its middle
        ([[0, 0, 4, 4]], (0, 0, 160, 90)),
        ([[639, 359, 50, 50]], (480, 270, 160, 90)),
        ([[0, 0, 10, 10], [600, 300, 40, 60]], (0, 0, 640, 360)),
        ([[100, 100, 200, 100]], (40, 60, 320, 180)),  # 1.6 times 200 pixels wide
    ],
)
def test_the_window_holds_the_boxes_in_the_frames_shape(boxes, expected):
    assert html_report.window([np.array(box, float) for box in boxes], 640, 360) == expected


def test_of_many_sequences_only_the_worst_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(html_report, "_WORST", 2)
    made_results.evaluate(tmp_path / "frames", tmp_path / "out")
    read = _Reader((tmp_path / "out" / "report.html").read_text())
    assert "The 2 worst of 4 sequences" in read.texts["h2"]
    assert read.texts["a"] == [tables.printable(name) for name in NAMES[2:]]  # links to what is shown
    assert sum(tag == "image" for tag, _ in read.tags) == 12


def test_a_sequence_of_one_frame(tmp_path):
    made_results.evaluate(tmp_path / "frames", tmp_path / "out", NAMES[2:3], frames=1)
    assert "frame 1, IoU" in (tmp_path / "out" / "report.html").read_text()


def test_the_same_evaluation_writes_the_same_page(out, tmp_path):
    made_results.evaluate(tmp_path / "frames", tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_text() == (out / "report.html").read_text()


_COLUMN = "[...document.querySelectorAll('table')[1].tBodies[0].rows].map((row) => row.cells[{}].textContent)"
_SORT = "document.querySelectorAll('table')[1].tHead.rows[0].cells[{}].getAttribute('aria-sort')"


def test_a_browser_shows_it_without_complaint(out, chromium):
    for width, dark in ((1280, False), (1280, True), (400, False)):
        page = chromium.open(out / "report.html", width, dark=dark)
        assert page.complaints == [] and page.fetched == [(out / "report.html").resolve().as_uri()]
        assert page.run("document.documentElement.scrollWidth") == width, "it is wider than the window"
        brightness = page.run("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
        assert (max(brightness) < 64) == dark
        assert page.run("[...document.images].length") == 0
        assert page.run("document.querySelector('svg image').getBoundingClientRect().width > 100")


def test_columns_are_sorted_by_click_and_by_key(out, chromium):
    page = chromium.open(out / "report.html")
    names, ao = page.run(_COLUMN.format(0)), [float(value) for value in page.run(_COLUMN.format(2))]
    assert names == [tables.printable(name) for name in NAMES]
    page.click("table:nth-of-type(1) th:nth-child(3) button", 1)
    assert page.run(_SORT.format(2)) == "descending"
    assert [float(value) for value in page.run(_COLUMN.format(2))] == sorted(ao, reverse=True)
    page.press("Enter", "\r")  # the button has the focus
    assert page.run(_SORT.format(2)) == "ascending"
    assert [float(value) for value in page.run(_COLUMN.format(2))] == sorted(ao)
    # Two steps back by the keyboard alone: the names.
    page.run("document.querySelectorAll('table')[1].querySelectorAll('button')[0].focus()")
    page.press("Enter", "\r")
    assert page.run(_COLUMN.format(0)) == sorted((tables.printable(name) for name in NAMES), key=str.lower)
    assert page.run(_SORT.format(2)) is None and page.run(_SORT.format(0)) == "ascending"
    assert page.complaints == []


def test_a_printed_chart_stays_with_its_heading_and_legend(out, chromium):
    page = chromium.open(out / "report.html")
    page.send("Emulation.setEmulatedMedia", media="print")
    style = "getComputedStyle(document.querySelector('{}')).{}"
    for selector, name in ((".panels figure", "breakInside"), ("tr", "breakInside"), ("h2", "breakAfter")):
        assert page.run(style.format(selector, name)) == "avoid", selector
