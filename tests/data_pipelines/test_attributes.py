"""Attributes of sequences as the data sets and toolkits have them."""

import pytest

from data_pipelines import attributes
from tests.data_pipelines import benchmark_layouts as made
from trackers.errors import InputError


def test_every_code_has_a_name_and_every_set_its_number_of_flags():
    assert {code for flags in attributes.FLAGS.values() for code in flags.codes} == set(attributes.NAMES)
    counts = {name: len(flags.codes) for name, flags in attributes.FLAGS.items()}
    assert counts == {
        "lasot": 14,
        "lasot_ext": 14,
        "tnl2k": 17,
        "uav123": 12,
        "uav20l": 12,
        "vasttrack": 10,
        "trek150": 0,
    }
    assert all(len(set(flags.codes)) == len(flags.codes) for flags in attributes.FLAGS.values())


@pytest.mark.parametrize("name", ["uav", "uav123"])
def test_uav123_flags_in_one_line(tmp_path, name):
    root = made.uav123(tmp_path)
    made.lines(root / "anno" / "UAV123" / "att" / "bike1.txt", [[0, 1] + [0] * 9 + [1]])
    members = attributes.read(f"{name}:{root}", ["bird1_2", "bike1"])
    assert {code: names for code, names in members.items() if names} == {"SV": ["bike1"], "LR": ["bike1"]}


def test_tnl2k_flags_one_a_line_and_options_after_the_folder(tmp_path):
    file = tmp_path / "annos" / "att" / "Arrow Video_ZZ04_done_attribute.txt"
    made.lines(file, [[1]] + [[0]] * 15 + [[1]])
    members = attributes.read(f"tnl2k:{tmp_path}", ["Arrow Video_ZZ04_done"])
    assert [code for code, names in members.items() if names] == ["CM", "MS"]
    assert attributes.read(f"lasot:{tmp_path},origin=zero", ["cat-1"]) == {}


def test_trek150_lists_codes_and_vasttrack_names_have_spaces(tmp_path):
    for name, codes in (("P01-1", "SC\nFOC\n"), ("P02-1", "FOC\n")):
        made.lines(tmp_path / name / "attributes.txt", [[codes.strip()]])
    members = attributes.read(f"trek150:{tmp_path}", ["P01-1", "P02-1"])
    assert members == {"FOC": ["P01-1", "P02-1"], "SC": ["P01-1"]}
    made.lines(tmp_path / "annos" / "att" / "T shirt-2.txt", [[0] * 5 + [1] + [0] * 4])
    members = attributes.read(f"vasttrack:{tmp_path}", ["T shirt-2"])
    assert [code for code, names in members.items() if names] == ["INV"]


def test_a_missing_or_short_file_is_named(tmp_path):
    folder = tmp_path / "annos" / "att"
    made.lines(folder / "cat-1.txt", [[0] * 14])
    with pytest.raises(InputError, match="cat-2.txt is missing"):
        attributes.read(f"lasot:{tmp_path}", ["cat-1", "cat-2"])
    made.lines(folder / "cat-2.txt", [[0] * 13])
    with pytest.raises(InputError, match="cat-2.txt has 13 values: expected 14"):
        attributes.read(f"lasot:{tmp_path}", ["cat-1", "cat-2"])
