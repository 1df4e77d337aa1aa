"""All config files: what their run cards list exists, is whole, locked and builds, and is named in one way."""

import importlib
import re
from pathlib import Path

import ml_collections
import pytest
from ml_collections.config_flags import config_flags

import trackers
from configs import variants
from trackers.training import ranges

FOLDER = Path(variants.__file__).parent
MODULES = {path.stem: importlib.import_module(f"configs.{path.stem}") for path in sorted(FOLDER.glob("*.py"))}
FAMILIES = {name: module for name, module in MODULES.items() if hasattr(module, "get_config")}
ALL = [(family, variant) for family, module in FAMILIES.items() for variant in module.get_config.variants]
# A run card begins in the first column with names, and goes on after two spaces or in the next line.
CARD = re.compile(r"^((?:\w+, )*\w+)(?:  .*)?$", re.MULTILINE)
# A field, as an attribute or a key of a dict, under a line of comment.
FIELD = re.compile(r"^ +# .*\n +(?:[\w.]+\.|\")(\w+)(?: = |\": )", re.MULTILINE)


def listed(family):
    """Variants that the docstrings of a family's files list (configs/mixformer_v2_stages.py is mixformer_v2's)."""
    docstrings = [module.__doc__ for name, module in MODULES.items() if name == family or name.startswith(f"{family}_")]
    return [name for text in docstrings for names in CARD.findall(text) for name in names.split(", ")]


def test_every_family_is_here():
    assert set(FAMILIES) >= {"grm", "simtrack", "mixvit", "mixformer_v2", "ikun", "neural_kalman"}
    assert len(ALL) >= 63


@pytest.mark.parametrize("family", FAMILIES)
def test_docstrings_list_the_variants(family):
    assert sorted(listed(family)) == sorted(FAMILIES[family].get_config.variants)


@pytest.mark.parametrize(("family", "variant"), ALL)
def test_every_variant_is_locked_and_builds(family, variant):
    config = FAMILIES[family].get_config(variant)
    assert config.is_locked and config.model.is_locked and config.model.name == family
    with pytest.raises(AttributeError):
        config.model.no_such_field = 1
    trackers.build(config.model)
    ranges.check(config)
    assert {"seed", "init", "train", "mesh", "model", "objective", "tracking", "data"} <= set(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_unknown_variants_get_one_line(family):
    get_config = FAMILIES[family].get_config
    with pytest.raises(ValueError) as raised:
        get_config("huge")
    known = ", ".join(get_config.variants)
    assert str(raised.value) == f"configs/{family}.py has no variant 'huge': choose one of {known}"


@pytest.mark.parametrize("family", FAMILIES)
def test_command_lines_read_the_same_config(family):
    """By path, with and without a variant, as --config does."""
    get_config, parser = FAMILIES[family].get_config, config_flags.ConfigFileFlagParser("config")
    path = f"{FOLDER}/{family}.py"
    last = get_config.variants[-1]
    assert parser.parse(path) == get_config() == get_config(get_config.variants[0])
    assert parser.parse(f"{path}:{last}") == get_config(last)
    with pytest.raises(ValueError, match=f"ValueError: configs/{family}.py has no variant ''"):
        parser.parse(f"{path}:")


@pytest.mark.parametrize(("family", "variant"), ALL)
def test_configs_share_nothing(family, variant):
    """What a run changes in its config is in no other."""
    get_config = FAMILIES[family].get_config
    changed, before = get_config(variant), get_config(variant).to_json_best_effort()
    with changed.unlocked():
        _spoil(changed)
    assert get_config(variant).to_json_best_effort() == before != changed.to_json_best_effort()


def _spoil(config):
    for key, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            _spoil(value)
        else:
            del config[key]


def test_every_field_has_its_line_of_comment():
    explained = {name for path in FOLDER.glob("*.py") for name in FIELD.findall(path.read_text())}
    missing = {f"{family}: {path}" for family, variant in ALL for path in _bare(family, variant, explained)}
    assert not missing


def _bare(family, variant, explained):
    """Paths of the fields whose name is nowhere under a comment; one comment may explain a whole section."""
    sections = [("", FAMILIES[family].get_config(variant))]
    while sections:
        path, section = sections.pop()
        for key, value in section.items():
            if isinstance(value, ml_collections.ConfigDict) and (key == "model" or key not in explained):
                sections.append((f"{path}{key}.", value))
            elif key not in explained:
                yield f"{path}{key}"


def test_a_choice_is_between_functions():
    def plain():
        return ml_collections.ConfigDict({"size": 1})

    def double(c):
        c.size *= 2

    def set_to_five(c):
        c.size = 5

    get_config = variants.chooser(plain, double, five=set_to_five)
    assert get_config.variants == ("plain", "double", "five")
    assert [get_config(name).size for name in get_config.variants] == [1, 2, 5] and get_config().size == 1
    with pytest.raises(ValueError, match="configs/test_variants.py has no variant 'set_to_five': choose one of plain"):
        get_config("set_to_five")
