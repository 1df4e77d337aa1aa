"""Programs that open a stream of batches end: many runs, since one may pass by luck."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests import programs

# Threads are still making samples when main ends in one of several ways.
PROGRAM = """
import signal, sys, time, types
import numpy as np
from data_pipelines import tf_stream
from trackers import errors

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background programs start without

def sample(step, row):
    time.sleep(0.001 * row)
    if step == 2 and {fails}:
        raise errors.InputError("image a.jpg does not exist")
    return {{"x": np.full(4, step + row, np.int64)}}

def main(argv):
    data = types.SimpleNamespace(threads=4, prefetch_batches=2)
    config = types.SimpleNamespace(data=data)
    for step, batch in enumerate(tf_stream.stream(sample, {{"x": ((4,), np.int64)}}, config, 0, range(8))):
        assert batch["x"][3, 0] == step + 3
        if step == 1 and not {fails}:
            print("here", flush=True)
            {then}

errors.run(main, ["program"])
"""


def _start(fails=False, then="pass"):
    command = [sys.executable, "-c", PROGRAM.format(fails=fails, then=then)]
    settings = {"cwd": programs.ROOT, "env": programs.environ(), "text": True}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings)


def test_programs_end_with_their_line_and_code_every_time():
    ways = [{"fails": True}] * 3 + [{"then": "raise errors.InputError('no')"}, {"then": "1 / 0"}, {"then": "return 0"}]
    running = [_start(**way) for way in ways]
    done = [programs.finish(process, 120) for process in running]
    assert [process.returncode for process in done] == [1] * 5 + [0]
    assert [process.stderr for process in done[:4]] == ["error: image a.jpg does not exist\n"] * 3 + ["error: no\n"]
    assert done[4].stderr.endswith("ZeroDivisionError: division by zero\n") and done[5].stderr == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_program_that_reads(number, code):
    process = _start()
    assert process.stdout.readline() == "here\n"
    began = time.monotonic()
    os.kill(process.pid, number)
    done = programs.finish(process, 60)
    assert done.returncode == code and time.monotonic() - began < 20
    assert done.stderr == f"error: {'interrupted' if code == 130 else 'terminated'}\n"
