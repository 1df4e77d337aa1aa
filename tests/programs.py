"""Benchmarks and experiments as users start them."""

import subprocess
import sys

from tests.training import support


def run(module, *arguments):
    """The finished process of `python -m MODULE`, output and messages as text."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(
        command, cwd=support.ROOT, env=support.environ(1), capture_output=True, text=True, timeout=300
    )
