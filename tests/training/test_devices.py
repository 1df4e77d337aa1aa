"""Eight virtual devices, in a process of their own because jax counts its devices once."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests import families
from tests.training import support

MESHES = ("8x1x1", "1x8x1", "2x2x2")
# Devices add up parts of a sum (gradients, BatchNorm's means, the products of split heads and hidden units) in another
# order than one device does, which changes float32 numbers by a few units in the last place (6e-8). 20 steps carry that
# on: Adam makes the sign of a gradient near zero into a step of the learning rate. Seen after 20 steps: 4e-7 (GRM,
# SimTrack, MixFormerV2), 1e-5 (MixViT), 3e-5 (iKUN, whose loss falls to a third); one wrong draw or placement changes
# the losses by more than 1e-2, as they differ from batch to batch.
RTOL = 1e-4
# Of running statistics after one step, against the largest of their kind. Seen: 2e-6.
STATISTICS_RTOL = 1e-5


def _report(folder, meshes, family):
    command = [
        sys.executable,
        "-m",
        "tests.training.several_devices",
        str(folder),
        ",".join(("1x1x1", *meshes)),
        family,
    ]
    done = subprocess.run(
        command, cwd=support.ROOT, env=support.environ(8), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])[family]


def _same_as_on_one_device(report, mesh):
    one = report["losses"]["1x1x1"]
    assert len(one) == 20 and np.ptp(one) > 1e-2
    np.testing.assert_allclose(report["losses"][mesh], one, rtol=RTOL)
    # Running statistics after one step are those of the whole batch, not of a device's rows.
    for here, there in zip(report["statistics"][mesh], report["statistics"]["1x1x1"], strict=True):
        np.testing.assert_allclose(here, there, rtol=0, atol=STATISTICS_RTOL * np.abs(there).max())
    assert report["draws"][mesh] == report["draws"]["1x1x1"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return _report(tmp_path_factory.mktemp("devices"), ("2x2x2",), "small")


@pytest.mark.slow
def test_all_axes_at_once_equal_one_device(small):
    _same_as_on_one_device(small, "2x2x2")
    division, dropped = (np.array([step[i] for step in small["draws"]["2x2x2"]]) for i in (0, 1))
    assert set(np.unique(division[:, :, 1])) == {1, 2} and 0.1 < dropped.mean() < 0.5
    assert len(np.unique(dropped.reshape(20, -1), axis=0)) > 3  # drawn anew each step


@pytest.mark.slow
def test_checkpoint_moves_to_another_mesh(small):
    assert small["restored_differs_in"] == []
    assert small["restored_placed"]


@pytest.mark.slow
@pytest.mark.parametrize("family", [*families.FAMILIES, "prototype", "distilled"])
def test_each_family_on_each_mesh_equals_one_device(tmp_path, family):
    report = _report(tmp_path, MESHES, family)
    for mesh in MESHES:
        _same_as_on_one_device(report, mesh)
    assert bool(report["draws"]["2x2x2"]) == (family == "grm")
    assert report["restored_differs_in"] == [] and report["restored_placed"]
