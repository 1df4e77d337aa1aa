"""Eight virtual devices, in a process of their own because jax counts its devices once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    xla = "--xla_force_host_platform_device_count=8"
    environ = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": xla, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.training.several_devices", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("mesh", ["(8, 1, 1)", "(1, 8, 1)", "(2, 2, 2)"])
def test_losses_on_eight_devices_equal_those_on_one(report, mesh):
    one = report["losses"]["(1, 1, 1)"]
    assert len(set(one)) == 5
    np.testing.assert_allclose(report["losses"][mesh], one, rtol=2e-4)


def test_distillation_on_eight_devices_equals_that_on_one(report):
    one, eight = report["distilled"].values()
    assert len(set(one)) == 2
    np.testing.assert_allclose(eight, one, rtol=2e-4)


def test_checkpoint_moves_to_another_mesh(report):
    assert report["restored_differs_in"] == []
    assert report["restored_placed"]


@pytest.mark.parametrize(
    ("mesh", "qkv", "fc2"),
    [
        ("(8, 1, 1)", [11, 768, 3, 12, 64], [11, 3072, 768]),
        ("(1, 8, 1)", [11, 96, 3, 12, 64], [11, 3072, 96]),
        ("(2, 2, 2)", [11, 384, 3, 6, 64], [11, 1536, 384]),
    ],
)
def test_placement_of_the_published_network(report, mesh, qkv, fc2):
    placements = report["placements"][mesh]
    assert placements["encoder/blocks_1_11/attention/qkv/kernel"] == qkv
    assert placements["encoder/blocks_1_11/mlp/fc2/kernel"] == fc2
    assert placements["encoder/norm/scale"] == [768]
