"""A program that reads its command line as always and then ends, for commands that would take long or need data.

python -m tests.parse_only PROGRAM ARGUMENT ...        PROGRAM as tests/programs.py names it
"""

import functools
import runpy
import sys

from tests import programs
from trackers import errors


def _nothing(main, rest):
    """In place of running `main`: exit code 0, and 2 where its first word is no command of the program."""
    del rest
    if isinstance(main, functools.partial) and main.args:
        [command] = main.args
        usage = main.func.__globals__["__doc__"]
        if command not in usage.split():
            print(f"error: no command {command!r}", file=sys.stderr)
            return 2
    return 0


def main():
    """Runs the program that the first argument names, up to the point where its flags are known to be right."""
    errors._outcome = _nothing
    sys.argv = sys.argv[1:]
    program = sys.argv[0]
    if program.endswith(".py"):
        runpy.run_path(str(programs.ROOT / program), run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
