"""Real processes on one machine, two devices each, found by jax's own cluster detection, over gloo."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tests.training import support

STEPS = 4
# Rounding as between devices (test_devices.py), over four steps.
RTOL = 1e-5


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Two sequences of noise."""
    folder, numbers = tmp_path_factory.mktemp("frames"), np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir()
        for i in range(24):
            image = numbers.integers(0, 256, (48, 64, 3), np.uint8)
            assert cv2.imwrite(str(folder / name / f"{i + 1:08d}.jpg"), image)
        (folder / name / "groundtruth.txt").write_text("".join(f"{10 + i},{8 + i},16,12\n" for i in range(24)))
    return folder


def free_port():
    with contextlib.closing(socket.socket()) as made:
        made.bind(("localhost", 0))
        return made.getsockname()[1]


def slurm(count, index, port):
    """What srun tells a task of a job step on one node."""
    if count == 1:
        return {}
    return {
        "SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": str(count), "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index), "JAX_COORDINATOR_PORT": str(port),
    }  # fmt: skip


def _run(count, frames, workdir, steps=STEPS, options=(), code=0):
    """Runs `count` processes; returns what each printed."""
    command = [
        sys.executable,
        "-m",
        "tests.training.several_processes",
        str(frames),
        str(workdir),
        str(steps),
        *options,
    ]
    port, running = free_port(), []
    for index in range(count):
        environ = support.environ(2, **slurm(count, index, port))
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running.append(subprocess.Popen(command, cwd=support.ROOT, env=environ, text=True, **pipes))
    try:
        done = [process.communicate(timeout=400) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, done, strict=True):
        assert process.returncode == code, errors[-3000:]
    return [json.loads(out.splitlines()[-1]) for out, _ in done]


def _logged(workdir, name):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


@pytest.fixture(scope="module")
def single(frames, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("single")
    (said,) = _run(1, frames, workdir)
    assert (said["processes"], said["devices"]) == (1, 2)
    return workdir


def _equal_runs(workdir, single):
    hashes = _logged(workdir, "batch_hash")
    assert hashes == _logged(single, "batch_hash") and len(set(hashes.values())) == STEPS
    losses, expected = (list(_logged(folder, "loss").values()) for folder in (workdir, single))
    np.testing.assert_allclose(losses, expected, rtol=RTOL)


def _reads_its_rows_only(said, batch_size=8):
    for index, process in enumerate(said):
        each = batch_size // len(said)
        assert process["own"] == process["rows"] == list(range(index * each, (index + 1) * each))
        # A pair is three images, fewer where one frame is drawn twice.
        assert process["made"] <= process["reads"] <= 3 * process["made"]


@pytest.mark.slow
def test_two_processes_equal_one(frames, single, tmp_path):
    said = _run(2, frames, tmp_path)
    assert [(process["processes"], process["devices"]) for process in said] == [(2, 4)] * 2
    _equal_runs(tmp_path, single)
    _reads_its_rows_only(said)


@pytest.mark.slow
def test_four_processes_equal_one(frames, single, tmp_path):
    said = _run(4, frames, tmp_path)
    assert [(process["processes"], process["devices"]) for process in said] == [(4, 8)] * 4
    _equal_runs(tmp_path, single)
    _reads_its_rows_only(said)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_a_run_of_two_processes_goes_on_as_another_number(frames, single, tmp_path, count):
    _run(2, frames, tmp_path, steps=2)
    _run(count, frames, tmp_path)
    _equal_runs(tmp_path, single)


@pytest.mark.slow
def test_sigterm_to_one_process_saves_and_ends_all(frames, single, tmp_path):
    _run(2, frames, tmp_path, options=["--terminated"], code=143)
    saved = [int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]
    assert saved and max(saved) < STEPS
    _run(2, frames, tmp_path)
    _equal_runs(tmp_path, single)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="Open MPI's mpirun is not installed")
def test_mpirun(frames, single, tmp_path):
    worker = [sys.executable, "-m", "tests.training.several_processes", str(frames), str(tmp_path), str(STEPS)]
    command = ["mpirun", "-n", "2", "--oversubscribe", "--allow-run-as-root", *worker]
    done = subprocess.run(
        command, cwd=support.ROOT, env=support.environ(2), capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    _equal_runs(tmp_path, single)
