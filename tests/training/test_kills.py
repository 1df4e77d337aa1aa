"""SIGKILL at moments drawn at random, half of them while a checkpoint is being written."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.training import noise_run, support
from trackers.training import checkpoints, sharding

KILLS, STEPS = 10, 120


def _start(workdir, cache):
    environ = support.environ(JAX_COMPILATION_CACHE_DIR=str(cache), JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0")
    command = [sys.executable, "-m", "tests.training.noise_run", str(workdir), str(STEPS)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=support.ROOT, env=environ, text=True, **pipes)


def _finish(workdir, cache):
    with _start(workdir, cache) as running:
        said = running.stdout.read()
    assert running.returncode == 0, said[-3000:]
    return said


def _unfinished(workdir):
    return list((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))


def _wait_for_steps(running, count):
    for line in running.stdout:
        if line.startswith("step "):
            count -= 1
        if count <= 0:
            return
    raise AssertionError("the run ended by itself")


def _final(workdir):
    config = noise_run.config()
    with checkpoints.Checkpoints(workdir, config) as saved:
        return saved.restore(support.abstract_state(config, sharding.make_mesh(config.mesh)))


def _losses(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


@pytest.mark.slow
def test_ten_kills_change_no_bit(tmp_path):
    whole, killed, cache = (tmp_path / name for name in ("whole", "killed", "cache"))
    _finish(whole, cache)
    moments, while_writing = np.random.default_rng(0), 0
    for kill in range(KILLS):
        with _start(killed, cache) as running:
            _wait_for_steps(running, moments.integers(1, 9))
            if kill % 2:
                deadline = time.monotonic() + 20
                while not _unfinished(killed) and time.monotonic() < deadline:
                    time.sleep(0.0005)
            else:
                time.sleep(moments.uniform(0, 0.2))
            running.kill()
        assert running.returncode == -9
        while_writing += bool(_unfinished(killed))
    assert while_writing >= 3
    assert "resuming at step" in _finish(killed, cache)
    assert _final(killed).step == STEPS
    assert not support.leaves_equal(_final(killed), _final(whole))
    assert _losses(killed) == _losses(whole) and len(_losses(whole)) == STEPS
