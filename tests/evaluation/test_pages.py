import html.parser
import math

import pytest

from tests import browser
from trackers.evaluation import pages, palette

HOSTILE = "<img src=x onerror=alert(1)>&\"' ü\n\x01\udcff"
COLUMNS = [pages.Column("name"), pages.percent("AO"), pages.Column("speed", "frames/s", 0)]
ROWS = [["b", 61.26, 1234.5], ["a10", math.nan, 7.0], ["A2", 61.34, math.nan]]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser.Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


def _open(chromium, folder, *sections):
    (folder / "page.html").write_text(pages.page("title", *sections))
    return chromium.open(folder / "page.html")


def test_text_and_attributes_are_escaped():
    tags = []
    reader = html.parser.HTMLParser()
    reader.handle_starttag = lambda tag, attributes: tags.append(tag)
    text = pages.page(HOSTILE, pages.element("p", HOSTILE, title=HOSTILE))
    reader.feed(text)
    assert {"p", "script", "style"} < set(tags) and "img" not in tags
    assert "\\n\\x01\\udcff" in text and text.encode()


def test_a_browser_reads_what_was_written(chromium, tmp_path):
    page = _open(chromium, tmp_path, pages.element("p", HOSTILE, pages.element("b", "&"), "<tail>", title=HOSTILE))
    shown = HOSTILE[:-3] + "\\n\\x01\\udcff"
    assert page.run("document.title") == "title" and page.run("document.querySelector('p').title") == shown
    assert page.run("document.querySelector('p').textContent") == shown + "&<tail>"
    assert page.complaints == []


def test_complaints_and_fetches_are_seen(chromium, tmp_path):
    page = _open(chromium, tmp_path, pages.element("img", src="https://example.org/a.png"))
    assert any("Content Security Policy" in str(complaint) for complaint in page.complaints)
    page.run("console.error('seen')")
    assert any("seen" in str(complaint) for complaint in page.complaints)
    (tmp_path / "bad.html").write_text("<img src='absent.png'>")
    assert any(url.endswith("absent.png") for url in chromium.open(tmp_path / "bad.html").fetched)


def test_missing_numbers_stay_last_and_names_sort_as_people_do(chromium, tmp_path):
    page = _open(chromium, tmp_path, pages.table(COLUMNS, ROWS, foot=[["mean", 61.3, 620.0]]))
    names = "[...document.querySelectorAll('tbody td:first-child')].map((cell) => cell.textContent)"
    expected = {0: (["A2", "a10", "b"], ["b", "a10", "A2"]), 1: (["A2", "b", "a10"], ["b", "A2", "a10"])}
    expected[2] = (["b", "a10", "A2"], ["a10", "b", "A2"])
    for column, orders in expected.items():
        for order in orders:
            page.click("th button", column)
            assert page.run(names) == order
    assert page.run("document.querySelector('tfoot td').textContent") == "mean"
    assert page.complaints == []


def test_the_best_numbers_as_written_are_bold():
    def bold(columns, rows, best=None):
        body = pages.table(columns, rows, best=best).find("table/tbody")
        return [[cell.text for cell in row if cell.get("class") == "best"] for row in body]

    assert bold(COLUMNS, ROWS) == [[], [], []]
    assert bold(COLUMNS, ROWS, "column") == [["61.3"], [], ["61.3"]]  # speeds are not ranked
    two = [pages.Column("name"), pages.percent("x"), pages.percent("y")]
    assert bold(two, [["a", 1.0, 2.0], ["b", math.nan, math.nan]], "row") == [["2.0"], []]


def test_cells_of_numbers():
    cells = pages.table([pages.percent("x", bar=True), pages.Column("n", "", 0)], [[140.0, 12345.0], [math.nan, 0.0]])
    first, second = cells.find("table/tbody")
    assert [cell.text for cell in first] == ["140.0", "12,345"] and first[0].get("style") == "--share:100.0%"
    assert (second[0].text, second[0].get("data-value")) == (pages.MISSING, "")


def test_every_tracker_is_told_apart():
    lines = [(palette.color(order), palette.dash(order)) for order in range(24)]
    assert len(set(lines)) == 24 and len(palette.COLORS) == len(palette.DARK_COLORS)
    assert len({pages.swatch(order).get("class") for order in range(24)}) == 24
    assert all(shade in palette.css() for shade in (*palette.COLORS, *palette.DARK_COLORS))
