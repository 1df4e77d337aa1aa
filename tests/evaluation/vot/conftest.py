import json

import pytest

import trackers
from configs import grm
from tests import families
from trackers import weights


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """The arguments that trackers.ini has."""
    root = tmp_path_factory.mktemp("tracker")
    model, variables = families.tiny("grm")
    section = {**trackers.to_plain(grm.get_config("tiny").model), "dtype": "float32"}
    weights.save(root / "weights", variables, section)
    config = {"model": section, "tracking": {"window": 0.5}}
    (root / "config.json").write_text(json.dumps(config))
    return {"config": str(root / "config.json"), "checkpoint": str(root / "weights")}
