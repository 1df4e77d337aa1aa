"""The programs, each run in a process of its own, without the seconds that each needs to import libraries.

    forked.run("eval.py", "--benchmark=...")          one, as programs.run does
    forked.run_all([["eval.py", "--benchmark=..."], ["train.py"]])

A server has imported the libraries and forks; it runs as long as the tests of a process do. It is given a line of JSON
for every call, {"seconds", "environ", "lines": [[size, program, argument, ...]]}, with the program as tests/programs.py
names it and size the largest that a file may get (bytes, null: any): so a disk is full for that program. It answers
each program with a line in the same order, [exit code, or null past the seconds; what was printed; what was said]. No
JAX device may be used before the fork.
"""

import atexit
import functools
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

import jax

from tests import programs

# None of them defines a flag.
_LIBRARIES = (
    *("cv2", "matplotlib.pyplot", "ml_collections.config_flags", "orbax.checkpoint", "PIL.Image", "scipy.optimize"),
    *("tensorboardX", "tensorflow", "tensorflow_datasets", "train", "refer", "trackers.convert"),
    *("trackers.evaluation.batched", "trackers.evaluation.reports", "trackers.evaluation.starts"),
    *("trackers.planning.prediction", "trackers.planning.reports", "trackers.planning.topologies"),
)


def run(program, *arguments, **changes):
    """The finished process of a program; arguments and changes as those of programs.start and of run_all."""
    [done] = run_all([[program, *arguments]], seconds=300, **changes)
    return done


def run_all(lines, sizes=None, seconds=120, **changes):
    """[finished process of a command line], as many at once as there are processors.

    Args: lines: lists of program and arguments. sizes: the largest file of each, bytes; None: any. seconds: that each
      may take. changes: of the environment, after JAX is imported.
    """
    lines, sizes = [list(map(str, line)) for line in lines], sizes or [None] * len(lines)
    given = [[size, *line] for size, line in zip(sizes, lines, strict=True)]
    environ = {name: str(value) for name, value in changes.items()}
    server = _server()
    server.stdin.write(json.dumps({"seconds": seconds, "environ": environ, "lines": given}) + "\n")
    server.stdin.flush()
    results = [json.loads(server.stdout.readline()) for _ in lines]
    return [subprocess.CompletedProcess(line, *result) for line, result in zip(lines, results, strict=True)]


@functools.cache
def _server():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "tests.forked"]
    server = subprocess.Popen(command, cwd=programs.ROOT, env=programs.environ(), **pipes)
    atexit.register(server.communicate)
    return server


def _start(seconds, environ, size, *words):
    """(process id, files of its output and messages) of a forked program."""
    out, messages = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115, closed by _finish
    child = os.fork()
    if child:
        return child, out, messages
    code = 70
    try:
        signal.alarm(seconds)
        os.environ.update(environ)
        if size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            # Compiled programs are read but not kept: they would be cut short, too, in a folder that all tests share.
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", 2**40)
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
        sys.stdout.flush()
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


def main():
    for name in _LIBRARIES:
        importlib.import_module(name)
    for call in map(json.loads, sys.stdin):
        running = []
        for line in call["lines"]:
            if len(running) >= len(os.sched_getaffinity(0)):
                _finish(*running.pop(0))
            running.append(_start(call["seconds"], call["environ"], *line))
        for process in running:
            _finish(*process)


if __name__ == "__main__":
    main()
