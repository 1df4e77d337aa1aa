"""The programs as users start them, from the command line."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Of XLA: a quarter less time for compiling (jaxlib 0.10.2). Later versions have no such choice, and end at it.
QUICK_COMPILER = "--xla_cpu_use_fusion_emitters=false" if metadata.version("jaxlib").startswith("0.10.") else None


def environ(**changes):
    """Environment of a program on the CPU, as JAX finds its devices there; `changes` win, None leaves out."""
    settings = os.environ | {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    settings |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": QUICK_COMPILER} | changes
    return {name: str(value) for name, value in settings.items() if value is not None}


def start(program, *arguments, folder=ROOT, **changes):
    """The running process of a program: "eval.py" by its file, "trackers.convert" by its module.

    Args:
      arguments: of the command line. folder: to start in. changes: of the environment.
    """
    named = [str(ROOT / program)] if program.endswith(".py") else ["-m", program]
    command = [sys.executable, *named, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=environ(**changes), text=True, **pipes)


def finish(process, timeout=300):
    """The finished process, its output and messages as text. Raises: TimeoutExpired after `timeout` seconds."""
    try:
        out, messages = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, messages)


def run(program, *arguments, **changes):
    """The finished process of a program; arguments as `start` takes them."""
    return finish(start(program, *arguments, **changes))
