"""docs/papers.md names variants and fields that are there."""

import importlib
import re
from pathlib import Path

import ml_collections
import pytest

from configs import variants

ROOT = Path(variants.__file__).parents[1]
PAGE = (ROOT / "docs" / "papers.md").read_text()
FAMILIES = ("grm", "simtrack", "mixformer_v2", "mixvit", "ostrack", "ikun", "neural_kalman")
CONFIGS = {family: importlib.import_module(f"configs.{family}").get_config for family in FAMILIES}
SECTIONS = "model|train|data|objective|tracking|teacher"


def paths(config, before=""):
    """Of all fields of a config, with dots."""
    for key, value in config.items():
        yield before + key
        if isinstance(value, ml_collections.ConfigDict):
            yield from paths(value, f"{before}{key}.")


def test_fields_are_there():
    known = {path for get in CONFIGS.values() for variant in get.variants for path in paths(get(variant))}
    named = set(re.findall(rf"(?<![\w./])(?:{SECTIONS})\.\w+(?:\.\w+)*", PAGE))
    assert len(named) > 25 and named <= known, named - known


def test_variants_are_there():
    family, named = None, set(re.findall(r"(\w+)\.py:(\w+)", PAGE))
    for row in PAGE.partition("## Where each row is")[2].splitlines():
        if row.startswith("|"):
            of_paper = re.search(r"\(`(\w+)\.py`\)", row)
            family = of_paper[1] if of_paper else family
            named |= {(family, name) for name in re.findall(r"`(\w+)`", row.split("|")[3])}
    named -= {(None, name) for _, name in named}
    missing = {(family, name) for family, name in named if name not in CONFIGS[family].variants}
    assert len(named) > 50 and not missing, missing


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:trackers|tests)/[\w/]+\.py)`", PAGE))))
def test_files_are_there(path):
    assert (ROOT / path).is_file()
