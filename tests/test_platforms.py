"""Programs and the package beside an installed TPU compiler, on a machine without TPU."""

import os
import subprocess
import sys

import pytest

from tests import programs
from trackers import platforms

PROGRAM = "import jax, eval; from trackers import errors; " + (
    "errors.run(lambda argv: print(jax.default_backend()), ['x', '--benchmark=x', '--out=x'])"
)
PACKAGE = "import jax; before = jax.config.jax_platforms; import trackers; print(jax.config.jax_platforms == before)"


def _start(code, **environ):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "TPU_", "TF_"))}
    environ = kept | {"PYTHONPATH": str(programs.ROOT), **environ}
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=120)


def test_programs_start_quietly_beside_an_installed_tpu_compiler():
    pytest.importorskip("libtpu", reason="pip install -r requirements/plan.txt")
    done = _start(PROGRAM)
    assert done.returncode == 0 and done.stdout.strip() in ("cpu", "gpu")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("tpu", "card", "plugins", "left"),
    [
        (True, True, ["xla_cuda12"], None),
        (False, True, ["xla_cuda12"], "cuda,cpu"),
        (True, False, ["xla_cuda12"], "tpu,cpu"),
        (False, False, ["xla_cuda12"], "cpu"),
        (False, False, [], "cpu"),
        (False, False, ["xla_cuda12", "other"], None),
    ],
)
def test_compilers_of_absent_devices_are_left_out(monkeypatch, tpu, card, plugins, left):
    """libtpu is installed, and the plugins named; chips and cards are here or not."""
    told = {}
    monkeypatch.setattr(platforms.jax.config, "update", told.__setitem__)
    monkeypatch.setattr(type(platforms.jax.config), "jax_platforms", None, raising=False)
    monkeypatch.delenv("JAX_FORCE_TPU_INIT", raising=False)
    monkeypatch.setattr(platforms, "_plugins", lambda: plugins)
    monkeypatch.setattr(platforms, "tpu_is_here", lambda: tpu)
    monkeypatch.setattr(platforms, "_nvidia_is_here", lambda: card)
    monkeypatch.setattr(platforms.importlib.util, "find_spec", lambda name: name)
    platforms.leave_out_absent()
    assert told == ({} if left is None else {"jax_platforms": left})


def test_the_users_choice_of_platforms_stands():
    done = _start(PROGRAM, JAX_PLATFORMS="nothing")
    assert done.returncode != 0 and "nothing" in done.stderr


def test_importing_the_package_leaves_jax_as_it_was():
    done = _start(PACKAGE)
    assert done.returncode == 0 and done.stdout.strip() == "True", done.stderr
