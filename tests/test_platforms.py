import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _start(**environ):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "TPU_", "TF_"))}
    code = "import trackers, jax; print(jax.default_backend())"
    command = [sys.executable, "-c", code]
    environ = kept | {"PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)


def test_programs_start_quietly_beside_an_installed_tpu_compiler():
    pytest.importorskip("libtpu", reason="pip install -r requirements-plan.txt")
    done = _start()
    assert done.returncode == 0 and done.stdout.strip() in ("cpu", "gpu")
    assert done.stderr == ""


def test_the_users_choice_of_platforms_stands():
    done = _start(JAX_PLATFORMS="nothing")
    assert done.returncode != 0 and "nothing" in done.stderr
