import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from trackers.errors import InputError, UsageError
from trackers.planning import topologies
from trackers.training import chips


@pytest.mark.parametrize("name", ["", "v5e", "v5e-8", "v9:2x2", "v5e:2", "tpu:8", "cpu:x"])
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match="v5e:4x4"):
        topologies.find(name)


def test_absent_devices_are_named():
    with pytest.raises(InputError, match="no GPU"):
        topologies.find("gpu")


def test_the_processor_is_measured():
    found = topologies.find("cpu:1")
    assert found.present and found.devices == tuple(jax.devices("cpu")[:1])
    assert found.chip.source.startswith("measured") and found.chip.flops > 1e9
    half = chips.measured(found.devices[0], sharing=2)
    assert half.memory == found.chip.memory / 2


@pytest.mark.parametrize(
    ("name", "kind", "count", "sides"),
    [("v5e:4x4", "v5e", 16, (4, 4, 1)), ("v4:2x2x2", "v4", 8, (2, 2, 2)), ("v5p:2x2x1", "v5p", 4, (2, 2, 1))],
)
def test_slices_of_chips_that_are_not_here(name, kind, count, sides):
    pytest.importorskip("libtpu", reason="pip install -r requirements/plan.txt")
    found = topologies.find(name)
    assert found.chip.name == kind and len(found.devices) == count and not found.present
    coords = [device.coords for device in found.devices]
    assert tuple(max(axis) + 1 for axis in zip(*coords, strict=True)) == sides


def test_a_slice_that_cannot_be_is_named():
    pytest.importorskip("libtpu", reason="pip install -r requirements/plan.txt")
    with pytest.raises(UsageError, match="v5e:3x5"):
        topologies.find("v5e:3x5")


def test_without_libtpu_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "libtpu", None)
    with pytest.raises(InputError, match="requirements/plan.txt"):
        topologies.find("v5e:4x4")


ROOT = Path(__file__).resolve().parents[2]


def start(code, **environ):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "TPU_", "TF_", "ALLOW_"))}
    environ = kept | {"PYTHONPATH": str(ROOT), **environ}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_two_plans_may_run_side_by_side():
    """libtpu locks a file against a second process on the same chips; the second plan starts while the first runs."""
    pytest.importorskip("libtpu", reason="pip install -r requirements/plan.txt")
    find = "from trackers.planning import topologies; print(len(topologies.find('v5e:2x4').devices), flush=True)"
    first = start(f"{find}; input()", JAX_PLATFORMS="cpu")
    try:
        assert first.stdout.readline().strip() == "8"
        assert start(find, JAX_PLATFORMS="cpu").communicate(timeout=120)[0].strip() == "8"
    finally:
        first.communicate("\n", timeout=60)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_other_programs_do_not_load_an_installed_tpu_compiler():
    """So they start as fast as without it."""
    pytest.importorskip("libtpu", reason="pip install -r requirements/plan.txt")
    code = """
import jax
from trackers import errors

def main(argv):
    jax.devices()
    print("libtpu.so" in open("/proc/self/maps").read())

errors.run(main, ["program"])
"""
    assert start(code).communicate(timeout=120)[0].strip() == "False"
