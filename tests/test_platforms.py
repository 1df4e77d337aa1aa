"""Programs and the package beside an installed TPU compiler, on a machine without TPU."""

import os
import subprocess
import sys

import pytest

from tests import programs

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


def test_the_users_choice_of_platforms_stands():
    done = _start(PROGRAM, JAX_PLATFORMS="nothing")
    assert done.returncode != 0 and "nothing" in done.stderr


def test_importing_the_package_leaves_jax_as_it_was():
    done = _start(PACKAGE)
    assert done.returncode == 0 and done.stdout.strip() == "True", done.stderr


# Pages that the kernel has to find while a thread asks for 64 MiB ten times, and whether the setting was made.
FAULTS = """
import resource, threading
import numpy as np
from trackers import platforms
kept = platforms.keep_freed_memory()
def use():
    for _ in range(10):
        np.ones(1 << 23)
threads = [threading.Thread(target=use) for _ in range(2)]
threads[0].start(); threads[0].join()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
threads[1].start(); threads[1].join()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize(
    ("environ", "stays"),
    [
        ({"JAX_PLATFORMS": "cpu"}, True),
        ({"JAX_PLATFORMS": "cuda"}, False),
        ({"JAX_PLATFORMS": "cpu", "MALLOC_TRIM_THRESHOLD_": "100000"}, False),
        ({"JAX_PLATFORMS": "cpu", "GLIBC_TUNABLES": "glibc.malloc.mmap_max=100"}, False),
    ],
)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux's")
def test_freed_memory_stays_on_a_cpu(environ, stays):
    done = _start(FAULTS, **{"GLIBC_TUNABLES": "", **environ})
    assert done.returncode == 0, done.stderr
    kept, faults = done.stdout.split()
    assert (kept == "True") == stays
    # 64 MiB are 16,384 pages of 4 KiB, or 32 of 2 MiB.
    assert (int(faults) < 160) == stays
