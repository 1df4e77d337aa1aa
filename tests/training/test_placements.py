"""Placement of every leaf (parameters, optimizer, moving average) of the published networks against recorded text."""

import pytest
from jax.sharding import AbstractMesh

from tests import families
from tests.training import placements
from trackers.training import sharding


@pytest.mark.parametrize("family", families.FAMILIES)
@pytest.mark.parametrize("shape", placements.MESHES)
def test_every_leaf_lies_where_it_lay(family, shape):
    recorded, here = placements.golden(family, shape).read_text(), placements.describe(family, shape)
    changed = set(recorded.splitlines()) ^ set(here.splitlines())
    assert not changed, "python -m tests.training.placements rewrites the files, if this is meant: " + "; ".join(
        sorted(changed)[:6]
    )


@pytest.mark.parametrize("family", families.FAMILIES)
def test_hardly_anything_stays_whole(family):
    params = placements.abstract_state(family).params
    for shape in placements.MESHES:
        sharding.check_sharded(params, AbstractMesh(shape, sharding.AXES), 0.02)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_all_axes_are_in_use(family):
    text = placements.golden(family, (2, 2, 2)).read_text()
    assert " fsdp" in text and " tensor" in text
    assert "fsdp" not in placements.golden(family, (8, 1, 1)).read_text()
    lines = [line for line in text.splitlines() if "/qkv" in line and "kernel" in line]
    assert lines and all("tensor" in line for line in lines)
