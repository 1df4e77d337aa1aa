"""Many short runs of the programs, each a process of its own, without the seconds that each needs to import libraries.

    python -m tests.forked SECONDS < LINES > RESULTS

A line is JSON, [size, program, argument, ...], the program as tests/programs.py names it, size the largest that a file
may get (bytes, null: any): so a disk is full for that program. The server has imported the libraries and forks. A
result is JSON, too: [exit code, or null past the seconds; what was printed; what was said], in the lines' order. No JAX
device may be used before the fork.
"""

import importlib
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback

from tests import programs

# None of them defines a flag.
_LIBRARIES = (
    *("cv2", "matplotlib.pyplot", "ml_collections.config_flags", "orbax.checkpoint", "PIL.Image", "scipy.optimize"),
    *("tensorboardX", "tensorflow", "tensorflow_datasets", "train", "refer", "trackers.convert"),
    *("trackers.evaluation.batched", "trackers.evaluation.reports", "trackers.evaluation.starts"),
    *("trackers.planning.prediction", "trackers.planning.reports", "trackers.planning.topologies"),
)


def run(lines, sizes=None, seconds=120, **changes):
    """[finished process of a command line].

    Args: lines: lists of program and arguments. sizes: the largest file of each, bytes; None: any. seconds: that each
      may take. changes: of the environment.
    """
    command = [sys.executable, "-m", "tests.forked", str(seconds)]
    lines, sizes = [list(map(str, line)) for line in lines], sizes or [None] * len(lines)
    asked = "".join(json.dumps([size, *line]) + "\n" for size, line in zip(sizes, lines, strict=True))
    done = subprocess.run(
        command, input=asked, cwd=programs.ROOT, env=programs.environ(**changes), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = map(json.loads, done.stdout.splitlines())
    return [subprocess.CompletedProcess(line, *result) for line, result in zip(lines, results, strict=True)]


def _start(seconds, size, *words):
    """(process id, files of its output and messages) of a forked program."""
    out, messages = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115, closed by _finish
    child = os.fork()
    if child:
        return child, out, messages
    code = 70
    try:
        signal.alarm(seconds)
        if size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        os.dup2(out.fileno(), 1)
        os.dup2(messages.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = list(words)
        if words[0].endswith(".py"):
            sys.argv[0] = str(programs.ROOT / words[0])
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            # A module that others have imported is run anew, as in a process of its own.
            if not hasattr(sys.modules.get(words[0]), "__path__"):
                sys.modules.pop(words[0], None)
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        code = 0
    except BaseException:  # a program ends its process itself
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _finish(child, out, messages):
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    texts = []
    for file in (out, messages):
        file.seek(0)
        texts.append(file.read().decode(errors="replace"))
        file.close()
    print(json.dumps([None if code == -signal.SIGALRM else code, *texts]), flush=True)


def main(seconds):
    for name in _LIBRARIES:
        importlib.import_module(name)
    running = []
    for line in sys.stdin:
        if len(running) >= len(os.sched_getaffinity(0)):
            _finish(*running.pop(0))
        running.append(_start(seconds, *json.loads(line)))
    for process in running:
        _finish(*process)


if __name__ == "__main__":
    main(int(sys.argv[1]))
