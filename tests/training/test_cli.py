"""python train.py as a user runs it: wrong input is one line and an exit code, and SIGTERM from outside is obeyed."""

import functools
import signal
import subprocess
import sys

import pytest

from tests import forked, programs
from tests.training import support
from trackers.io import ownership
from trackers.training import checkpoints

# A network that compiles in a moment.
SMALL = ["width=32", "depth=1", "heads=2", "patch_size=8", "template_size=16", "search_size=32", "head.channels=8"]


_run = functools.partial(forked.run, "train.py")


def _refused(done, code, *named):
    assert done.returncode == code, done.stderr[-2000:]
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ") and not any(line.startswith("Traceback") for line in lines)
    for text in named:
        assert text in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--config.train.nonsense=3"], ["nonsense"]),
        (["--config.data.synthetic.familys=3"], ["familys"]),
        (["--config.data.name=pears"], ["'pears'", "config.data.pears_per_epoch"]),
        (["--config.train.batch_size=many"], ["batch_size"]),
        (["--max_steps=0"], ["max_steps"]),
        (["--wrokdir=x"], ["wrokdir"]),
        (["--config.mesh.fsdp=3"], ["fsdp=3", "does not use the"]),
        (["--config.train.schedule=linear"], ["linear", "step or cosine"]),
        (
            ["--config.train.total_epochs=1"],
            ["config.train.drop_epoch=1 is not before", "total_epochs=1:"],
        ),
        (["--config.accumulate=3"], ["accumulate=3", "multiple of 3"]),
        (["--config.profile=4"], ["'4'", "FIRST:LAST"]),
    ],
)
def test_wrong_usage(tmp_path, arguments, named):
    _refused(_run("--config=configs/grm.py:tiny", f"--workdir={tmp_path}", *arguments), 2, *named)


def test_workdir_and_config_are_required():
    _refused(_run("--config=configs/grm.py:tiny"), 2, "workdir")
    _refused(_run("--config=configs/grm.py:huge", "--workdir=x"), 2, "no variant 'huge'")


def test_missing_data_is_named(tmp_path):
    ratio = ["--config.data.ratio.synthetic=0.0", "--config.data.ratio.got10k=1.0"]
    tiny = ["--config=configs/grm.py:tiny", f"--workdir={tmp_path}", *ratio]
    _refused(_run(*tiny), 1, "--config.data.got10k")
    _refused(_run(*tiny, f"--config.data.got10k={tmp_path}/nowhere"), 1, f"{tmp_path}/nowhere")


def test_workdir_of_another_config_and_checkpoint_of_another_model(tmp_path):
    config = support.small_config()
    checkpoints.claim_workdir(tmp_path / "run", config)
    (tmp_path / "run" / "metrics.jsonl").touch()
    tiny = ["--config=configs/grm.py:tiny", f"--workdir={tmp_path}/run"]
    _refused(_run(*tiny), 1, "model.width: 32, 96", "--workdir")
    tiny[1] = f"--workdir={tmp_path}/new"
    _refused(_run(*tiny, f"--config.init.checkpoint={tmp_path}/missing.pth"), 1, "missing.pth")


def test_a_run_that_is_refused_leaves_the_workdir_as_it_was(tmp_path):
    """Compiled programs too are kept in a workdir that is the run's own only."""
    kept = {"JAX_COMPILATION_CACHE_DIR": None, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0}
    workdirs = {"of another config": tmp_path / "config", "of a running program": tmp_path / "owned"}
    for workdir in workdirs.values():
        checkpoints.claim_workdir(workdir, support.small_config())
        (workdir / "metrics.jsonl").touch()
    with ownership.hold(workdirs["of a running program"]):
        there = [sorted(workdir.rglob("*")) for workdir in workdirs.values()]
        tiny = ["train.py", "--config=configs/grm.py:tiny", *(f"--config.model.{setting}" for setting in SMALL)]
        running = [programs.start(*tiny, f"--workdir={workdir}", **kept) for workdir in workdirs.values()]
        done = [programs.finish(process) for process in running]
        _refused(done[0], 1, "holds another run")
        _refused(done[1], 1, "belongs to a running program")
        assert [sorted(workdir.rglob("*")) for workdir in workdirs.values()] == there


@pytest.mark.slow
def test_sigterm_from_outside_exits_143_with_a_checkpoint(tmp_path):
    command = [sys.executable, "train.py", "--config=configs/grm.py:tiny", f"--workdir={tmp_path}"]
    command += ["--config.train.total_epochs=1000", "--config.train.validate_every_epochs=0"]
    command += [f"--config.model.{setting}" for setting in SMALL]
    pipes = {"env": support.environ(), "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=support.ROOT, text=True, **pipes) as running:
        for line in running.stdout:
            if line.startswith("step 2 "):
                running.send_signal(signal.SIGTERM)
                break
        rest = running.stdout.read()
        assert running.wait(timeout=120) == 143
    assert rest.splitlines()[-1].startswith("SIGTERM: saved step ")
    assert [path for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]
