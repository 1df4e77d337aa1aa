"""What the tests and their programs leave in the folder of temporary files."""

import shutil
import subprocess
import sys

import pytest

from tests import programs

TEST = """
import subprocess, sys, tempfile

def test_leaves_files():
    tempfile.mkdtemp("here")
    subprocess.run([sys.executable, "-c", "import tempfile; tempfile.mkdtemp('in a program')"], check=True)
"""


@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_nothing_is_left_but_compiled_programs_and_pytests_own(tmp_path, workers):
    place = tmp_path / "temporary"
    place.mkdir()
    shutil.copy(programs.ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_one.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", *workers, "test_one.py"]
    environ = programs.environ(TMPDIR=place, PYTEST_DEBUG_TEMPROOT=None, PYTEST_ADDOPTS=None)
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert all(path.name.startswith(("pytest-of-", "trackers_tests_")) for path in place.iterdir())
