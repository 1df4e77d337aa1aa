"""What goes wrong on the disk, or with another program there, is one line on standard error, from the command line."""

import json
import subprocess
import sys

import pytest

from tests import programs
from tests.io.test_ownership import holder
from tests.training.test_cli import SMALL
from trackers.io import digests

TINY = ["--config=configs/grm.py:tiny", *(f"--config.model.{setting}" for setting in SMALL)]
TINY += ["--config.train.validate_every_epochs=0", "--config.train.checkpoint_every_steps=4"]


def _train(workdir, *options, steps=4, blocks=None, **changes):
    """A finished train.py; `blocks`: largest size of a file, in KiB."""
    arguments = [sys.executable, "train.py", *TINY, f"--workdir={workdir}", f"--max_steps={steps}", *options]
    limit = f"ulimit -f {blocks}; " if blocks else ""
    command = ["bash", "-c", f'{limit}exec "$@"', "bash", *arguments]
    environ = programs.environ(TF_CPP_MIN_LOG_LEVEL=None, **changes)
    return subprocess.run(command, cwd=programs.ROOT, env=environ, capture_output=True, text=True, timeout=120)


def _one_line(done, *named):
    assert done.returncode == 1, done.stderr[-3000:]
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr[:3000]
    for text in named:
        assert text in lines[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workdir with a checkpoint of step 4."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    done = _train(workdir)
    assert done.returncode == 0 and not done.stderr, done.stderr[-3000:]
    assert digests.verify(workdir / "checkpoints" / "4")
    assert not (workdir / "owner.lock").exists()
    return workdir


def test_a_disk_that_takes_no_more(tmp_path):
    _one_line(_train(tmp_path, blocks=16), "cannot be saved", "make room")


def test_a_seed_that_is_none(tmp_path):
    done = _train(tmp_path, "--config.seed=-1")
    assert done.returncode in (1, 2) and len(done.stderr.splitlines()) == 1 and "seed" in done.stderr


def test_a_truncated_checkpoint_of_before_there_were_digests(finished, tmp_path):
    subprocess.run(["cp", "-r", str(finished), str(tmp_path / "run")], check=True)
    checkpoint = tmp_path / "run" / "checkpoints" / "4"
    (checkpoint / digests.FILE).unlink()
    for file in checkpoint.rglob("d/*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    done = _train(tmp_path / "run", steps=8)
    _one_line(done, "no checkpoint")
    assert "checkpoints/4 is broken" in done.stdout


def test_another_configuration_and_another_owner(finished):
    _one_line(_train(finished, "--config.seed=5"), "seed: 0, 5", "--allow_config_change")
    running = holder(finished)
    try:
        _one_line(_train(finished), f"process {running.pid}", "owner.lock")
    finally:
        running.kill()
        running.wait()
    assert json.loads((finished / "owner.lock").read_text())["pid"] == running.pid
    done = _train(finished)
    assert done.returncode == 0 and "resuming at step 4" in done.stdout, done.stderr
    assert not (finished / "owner.lock").exists()
