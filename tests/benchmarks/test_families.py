"""Every family beside PyTorch: what is compared, and the command, which needs PyTorch."""

import importlib.util

import numpy as np
import pytest

from benchmarks import families
from tests import forked

HAS_TORCH = importlib.util.find_spec("torch") is not None
TINY = ["--tiny", "--rounds=1", "--threads=1", "--phrases=2"]


def test_difference_is_over_the_largest_value_of_each_output():
    found = np.array([0.5, 0.25]), np.array([[10.0], [-20.0]])
    assert families.difference(found, (found[0] + [0.0, 0.01], found[1])) == pytest.approx(0.01)
    # Maps may lack the last axis; here 4 of 20.
    assert families.difference(found, (found[0], np.array([10.0, -16.0]))) == pytest.approx(0.2)


def _calls(outputs, first_step):
    return {"forward": lambda: (np.array(outputs),), "step": lambda: first_step}


def test_networks_that_differ_are_not_timed():
    family = families.FAMILIES["simtrack"]
    mine = _calls([0.5, 0.25], (2.0, 8.0))
    assert families.compared("x", family, mine, mine) == {"forward": "0e+00", "step": "0e+00"}
    with pytest.raises(SystemExit, match=r"x, forward: the networks differ by 1.0e-03"):
        families.compared("x", family, mine, _calls([0.5, 0.251], (2.0, 8.0)))
    with pytest.raises(SystemExit, match=r"x, forward: the networks differ by nan"):
        families.compared("x", family, mine, _calls([0.5, np.nan], (2.0, 8.0)))
    with pytest.raises(SystemExit, match="x: a training step differs by 1.0e-01"):
        families.compared("x", family, mine, _calls([0.5, 0.25], (2.0, 8.0 / 1.1)))


def test_what_draws_noise_in_training_is_compared_in_inference_mode_alone():
    family, mine = families.FAMILIES["grm"], _calls([0.5], (2.0, 8.0))
    assert families.compared("x", family, mine, _calls([0.5], (3.0, 8.0)))["step"] == "(noise)"


def test_published_and_tiny_sizes():
    assert families.settings(families.FAMILIES["simtrack"], tiny=False)[0] == "simtrack.py:b16"
    for family in families.FAMILIES.values():
        name, section = families.settings(family, tiny=True)
        assert name.endswith(":tiny") and section.dtype == "float32"


def test_an_unknown_family_is_one_line():
    done = forked.run("benchmarks.families", "--families=grm,siamfc")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "'siamfc'" in done.stderr and "mixformer_v2" in done.stderr


@pytest.mark.skipif(HAS_TORCH, reason="PyTorch is installed")
def test_without_pytorch_one_line_says_so():
    done = forked.run("benchmarks.families", *TINY)
    assert done.returncode == 0 and done.stdout.startswith("skipped: PyTorch is not installed")


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_family_is_compared_and_timed(name):
    done = forked.run("benchmarks.families", f"--families={name}", *TINY)
    assert done.returncode == 0, done.stderr
    assert "batch 1, float32, CPU cores: 1" in done.stdout
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[4:]]
    words = ["encode-once, 2 phrases", "encode-anew, 2 phrases"] if families.FAMILIES[name].words else []
    assert [row[0].split(", ", 1)[1] for row in rows] == ["forward", *words, "step"]
    assert all(float(cell.removesuffix(" x")) > 0 for row in rows for cell in [row[1], row[3], *row[5:9]])
    assert all(row[9] == "(noise)" or float(row[9]) < 1e-3 for row in rows)
