"""When a layer's division counts as constant, and the config that then says so."""

import numpy as np
import pytest

import trackers
from configs import grm, ostrack
from tests import recipes
from trackers import weights
from trackers.errors import UsageError
from trackers.nn import relation, stacking
from trackers.specialise import forms

LAYERS = (relation.ONE_STREAM, "learned", "learned", "learned", relation.TWO_STREAM)


def test_interacting_is_whatever_is_not_search_only():
    division = np.array([[2, 2, 2, 2], [1, 1, 1, 1], [0, 2, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(forms.interacting(division), [1.0, 0.0, 0.5, 1.0])


def test_one_token_that_deviates_keeps_a_layer_unless_it_is_tolerated():
    # 2 frames of 4 tokens: layers 2 and 3 have one token of 8 that differs, layer 4 half of them.
    shares = np.array([[1, 1.0, 0.25, 0.5, 0], [1, 0.75, 0.0, 0.5, 0]])
    learned = ("one_stream", "learned", "learned", "learned", "two_stream")
    assert forms.verdicts(LAYERS, shares) == forms.verdicts(LAYERS, shares, 0.12) == learned
    tolerated = ("one_stream", "one_stream", "two_stream", "learned", "two_stream")
    assert forms.verdicts(LAYERS, shares, 0.125) == forms.verdicts(LAYERS, shares, 0.49) == tolerated
    constant = np.array([[1, 1.0, 0.0, 0.5, 0], [1, 1.0, 0.0, 0.5, 0]])
    assert forms.verdicts(LAYERS, constant) == tolerated
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in forms.table(shares, learned).splitlines()]
    assert rows[3] == ["2", "75.000", "87.500", "100.000", "learned"] and len(rows) == 2 + 5


def test_the_config_names_new_forms_beside_those_it_had():
    section = trackers.merged(trackers.to_plain(grm.get_config("tiny").model), {"depth": 5})
    given = trackers.merged(section, {"division": {"two_stream_layers": (5,)}})
    assert trackers.build(given).layer_relations() == (relation.ONE_STREAM, *["learned"] * 3, relation.TWO_STREAM)
    found = forms.fixed(given, ("one_stream", "two_stream", "learned", "one_stream", "two_stream"))
    differing = weights.differing_models(given, found)
    assert differing == [
        "model.division.one_stream_layers: [], [4]",
        "model.division.two_stream_layers: [5], [2, 5]",
    ]
    masked = forms.fixed(given, ("one_stream", "two_stream", "learned", "one_stream", "two_stream"), "masked")
    assert weights.differing_models(found, masked) == ["model.division.two_stream_form: 'split', 'masked'"]
    assert forms.fixed(masked, forms.verdicts(trackers.build(masked).layer_relations(), np.full((1, 5), 0.5))) == masked
    whole = recipes.random_variables(trackers.build(given))
    kept = stacking.flatten(forms.taken_over(whole, {**found, "scan_layers": True}))
    assert {path for path in stacking.flatten(whole) if path not in kept} == {
        path for path in stacking.flatten(whole) if "block_1/division" in path or "block_3/division" in path
    }


@pytest.mark.parametrize(
    "section, says",
    [
        (ostrack.get_config("tiny").model, "no layer of this model divides"),
        ({"name": "grm", "division": {"mode": "two_stream"}}, "no layer of this model divides"),
        ({"name": "grm", "division": {"mode": "continuous"}}, "model.division.mode 'continuous'"),
    ],
)
def test_models_without_a_division_that_could_be_constant_are_refused(section, says):
    with pytest.raises(UsageError, match=says):
        forms.check(trackers.build(section))
