"""README and docs: links lead somewhere, and every command that is printed is one that its program takes."""

import re
import shlex
import urllib.parse

import pytest

from tests import forked, programs
from trackers import __main__ as onestream

_SITE = programs.ROOT / "docs"
PAGES = [programs.ROOT / "README.md", *sorted(_SITE.rglob("*.md"))]
PAGES += [programs.ROOT / "benchmarks" / "RESULTS.md"]
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_PACKAGES = ("trackers", "data_pipelines", "benchmarks", "experiments")
_STARTS = ("python", "onestream", "make")
_TARGETS = set(re.findall(r"^([a-z-]+):", (programs.ROOT / "Makefile").read_text(), re.MULTILINE))


def _prose(page):
    """Text of a page without its code."""
    return _INLINE.sub("", _FENCE.sub("", page.read_text()))


def _anchors(page):
    """What a link into a page may name, as hosting pages and the site make it of the headings."""
    found, anchors = {}, set()
    for heading in re.findall(r"^#+ +(.+?) *$", _FENCE.sub("", page.read_text()), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        anchors.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    wrong = []
    for link in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = urllib.parse.unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        # The site has what is in docs and nothing else.
        leaves = page.is_relative_to(_SITE) and not target.is_relative_to(_SITE)
        if leaves or not target.exists() or (anchor and anchor not in _anchors(target)):
            wrong.append(link)
    assert not wrong


def test_every_page_of_docs_is_in_the_index():
    index = (programs.ROOT / "docs" / "README.md").read_text()
    missing = [page.name for page in PAGES if page.parent.name == "docs" and f"]({page.name})" not in index]
    assert missing == ["README.md"]


def test_the_front_page_is_short():
    assert len((programs.ROOT / "README.md").read_text().splitlines()) <= 120


def _commands(page):
    """The commands that a page prints, each on one line."""
    text = page.read_text()
    blocks = [body for _, kind, body in _FENCE.findall(text) if kind in ("", "bash", "sh")]
    lines = [line.strip() for body in blocks for line in body.replace("\\\n", " ").splitlines()]
    lines += [" ".join(code.split()) for _, code in _INLINE.findall(_FENCE.sub("", text))]
    return [line for line in lines if _words(line)[:1] and _words(line)[0] in _STARTS]


def _words(line):
    """Words of a command as a shell hands them over; of a usage [--flag value] is given, of a|b the first."""
    try:
        words = shlex.split(re.split(r"\s#\s", line)[0])
    except ValueError:  # a sentence with an apostrophe
        return []
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    for stop in ("|", "&&", ">", ";", "&"):
        words = words[: words.index(stop)] if stop in words else words
    if words[:1] == ["python"]:
        words = [re.sub(r"^\[?([^\[\]]*)\]?$", r"\1", word).partition("|")[0] for word in words]
    return words


def _program(words):
    """[program, argument, ...] as tests/programs.py takes it, or None for what is no program of this house."""
    if words[0] == "onestream":
        name = onestream._PROGRAMS[words[1]]
        return [f"{name}.py" if (programs.ROOT / f"{name}.py").exists() else name, *words[2:]]
    if words[1:2] == ["run_onnx.py"]:  # a listing of docs/export.md
        return None
    if words[1:2] == ["-m"]:
        return words[2:] if words[2].split(".")[0] in _PACKAGES else None
    return words[1:] if words[1:2] and words[1].endswith(".py") else None


def _filled(program, *arguments):
    """The words of a command with "..." left out, or filled where a flag waits for it, and NAME in place of a config's.

    A program that is only named is asked for its help.
    """
    words = [program]
    for word in arguments:
        if word.startswith("$"):  # of the shell
            continue
        if word != "...":
            words.append(word.replace("configs/NAME.py", "configs/grm.py"))
        elif words[-1] == "--config":
            words.append("configs/grm.py:tiny")
        elif words[-1].startswith("--") and "=" not in words[-1]:
            words.append("DIR")
    named = not any(word.startswith("-") or "." in word for word in words[1:])
    return [*words, "--help"] if named else words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_printed_commands_are_taken(page):
    lines, calls = [], []
    for line in _commands(page):
        words = _words(line)
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= _TARGETS, line
        elif call := _program(words):
            lines.append(line)
            calls.append(["tests.parse_only", *_filled(*call)])
    finished = forked.run_all(calls) if calls else []
    wrong = [
        f"{line}\n  {done.stderr.strip()[-300:]}"
        for line, done in zip(lines, finished, strict=True)
        if done.returncode != 0
    ]
    assert not wrong, "\n".join(wrong)
