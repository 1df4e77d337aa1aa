"""Figures: names are text, powers at an axis stay formulas; no other module writes one."""

import ast
import warnings
from pathlib import Path

import pytest

from trackers.io import figures

pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parents[2]


def test_names_are_text_and_ticks_of_powers_are_formulas():
    from matplotlib.figure import Figure

    name = "$\\frac{$ and $x$\t日本\nbelow"
    figure = Figure(figsize=(2, 2))
    axis = figure.subplots()
    axis.bar([0, 1], [3, 3000], label=name)
    axis.set(yscale="log", title=name)
    axis.set_xticks([0, 1], [name.replace("\t", " "), "b"])
    figure.legend()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert figures.png(figure, 60).startswith(b"\x89PNG")
    for text in (axis.title, axis.get_xticklabels()[0], figure.legends[0].get_texts()[0]):
        assert text.get_text() in (name.replace("\t", "\\t"), name.replace("\t", " ")) and not text.get_parse_math()
    assert all(text.get_parse_math() and "$" in text.get_text() for text in axis.get_yticklabels())


def test_every_figure_is_written_there():
    files = [
        path
        for folder in ("trackers", "data_pipelines", "experiments", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    ]
    writing = [
        path.name
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "savefig"
    ]
    assert writing == ["figures.py"]
