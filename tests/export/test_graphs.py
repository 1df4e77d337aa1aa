"""The graphs: their names and arrays, and the formulations that stand for operations that formats lack."""

import jax
import numpy as np
import pytest

from tests import families
from trackers.errors import InputError
from trackers.export import graphs
from trackers.models import ostrack


def test_what_is_exported_is_of_no_device():
    section = {**families.config("grm").model, "dtype": "auto", "scan_layers": True}
    made = graphs.portable(section)
    assert (made["dtype"], made["kernels"], made["scan_layers"]) == ("float32", "plain", False)
    assert graphs.portable({**section, "dtype": "bfloat16"})["dtype"] == "bfloat16"
    with pytest.raises(InputError, match="model.name 'neural_kalman' has no export"):
        graphs.portable(families.config("neural_kalman").model)


def test_names_are_identifiers_in_the_order_of_the_leaves():
    tree = {"memory": [(1, 2), (3, 4)], "encoded": 0}
    assert graphs.named(tree) == {"encoded": 0, "memory_0_0": 1, "memory_0_1": 2, "memory_1_0": 3, "memory_1_1": 4}
    assert list(graphs.named(tree).values()) == jax.tree.leaves(tree)


def test_places_of_the_largest_are_those_of_a_stable_sort():
    values = np.random.default_rng(0).integers(0, 9, (5, 40)).astype(np.float32)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :13]
    np.testing.assert_array_equal(ostrack._places_of_largest(values, 13), expected)
