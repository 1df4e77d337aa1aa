"""Benchmarks as users start them."""

import subprocess
import sys

from tests.training import support


def run(script, *arguments):
    """The finished process of a program in benchmarks/, output and messages as text."""
    command = [sys.executable, f"benchmarks/{script}", *map(str, arguments)]
    return subprocess.run(
        command, cwd=support.ROOT, env=support.environ(1), capture_output=True, text=True, timeout=300
    )
