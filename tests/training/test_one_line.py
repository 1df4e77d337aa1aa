"""What goes wrong on the disk, or with another program there, is one line on standard error of a whole process."""

import json
import shutil
import subprocess
import sys

import pytest

from tests import programs
from tests.io.test_ownership import holder
from trackers import quiet
from trackers.io import digests


def _run(workdir, *options, blocks=None, **changes):
    """A finished run of saving_run.py; `blocks`: largest size of a file, in KiB."""
    limit = f"ulimit -f {blocks}; " if blocks else ""
    program = [sys.executable, "-m", "tests.training.saving_run", str(workdir), *options]
    command = ["bash", "-c", f'{limit}exec "$@"', "bash", *program]
    environ = programs.environ(TF_CPP_MIN_LOG_LEVEL=None, **changes)
    return subprocess.run(command, cwd=programs.ROOT, env=environ, capture_output=True, text=True, timeout=200)


def _one_line(done, *named):
    assert done.returncode == 1, done.stderr[-3000:]
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr[:3000]
    for text in named:
        assert text in lines[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workdir with a checkpoint of step 1."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    done = _run(workdir)
    assert done.returncode == 0 and not done.stderr, done.stderr[-3000:]
    assert digests.verify(workdir / "checkpoints" / "1")
    assert not (workdir / "owner.lock").exists()
    return workdir


def test_a_disk_that_takes_no_more(tmp_path):
    _one_line(_run(tmp_path / "run", blocks=8), "cannot be saved", "make room")
    loud = _run(tmp_path / "loud", blocks=8, **{quiet.VARIABLE: "1"})
    assert loud.returncode == 1 and "Traceback" in loud.stderr


def test_a_truncated_checkpoint_of_before_there_were_digests(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "1"
    (checkpoint / digests.FILE).unlink()
    for file in checkpoint.rglob("d/*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    done = _run(tmp_path / "run")
    _one_line(done, "no checkpoint")
    assert "checkpoints/1 is broken" in done.stdout


def test_another_configuration_and_another_owner(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    _one_line(_run(tmp_path / "run", "5"), "seed: 0, 5", "--allow_config_change")
    running = holder(tmp_path / "run")
    try:
        _one_line(_run(tmp_path / "run"), f"process {running.pid}", "owner.lock")
    finally:
        running.kill()
        running.wait()
    assert json.loads((tmp_path / "run" / "owner.lock").read_text())["pid"] == running.pid
    done = _run(tmp_path / "run")
    assert done.returncode == 0 and "resuming at 1" in done.stdout, done.stderr
    assert not (tmp_path / "run" / "owner.lock").exists()
