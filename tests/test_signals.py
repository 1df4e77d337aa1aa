"""Ctrl-C and SIGTERM end a program with its line and code, also where the exception is lost or cannot be raised."""

import signal
import subprocess
import sys
import time

import pytest

from tests import programs

CODES = {signal.SIGINT: (130, "error: interrupted\n"), signal.SIGTERM: (143, "error: terminated\n")}
PROGRAM = """
import ctypes, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background programs start without
from trackers import errors, signals

def swallowed():
    while True:
        try:
            print("here", flush=True)
            while True:
                time.sleep(0.01)
        except BaseException:
            pass

def once():
    try:
        print("here", flush=True)
        time.sleep(60)
    except BaseException:
        pass
    time.sleep(60)

def became_another_error():
    try:
        print("here", flush=True)
        time.sleep(60)
    except BaseException as error:
        raise RuntimeError("reading failed") from error

def in_code_that_does_not_return():
    library, mutex = ctypes.CDLL(None), (ctypes.c_char * 128)()
    library.pthread_mutex_lock(mutex)
    print("here", flush=True)
    library.pthread_mutex_lock(mutex)

def slowly_closed():
    try:
        print("here", flush=True)
        time.sleep(60)
    finally:
        time.sleep(4)
        print("closed", flush=True)

def way_of_its_own():
    try:
        print("here", flush=True)
        time.sleep(60)
    except (KeyboardInterrupt, SystemExit):
        signals.obeyed()
    time.sleep(4)
    print("closed", flush=True)
    return 7

def at_exit():
    import atexit
    atexit.register(lambda: print("here", flush=True) or time.sleep(60))

signals._PATIENCE_S = 2.0
errors.run(lambda _: globals()[sys.argv[1]](), ["program"])
"""


def _ended(number, *ways):
    """The finished processes of several ways, each given the signal where it says that it is there."""
    command = [sys.executable, "-c", PROGRAM]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*command, way], env=programs.environ(), **pipes) for way in ways]
    for process in running:
        assert process.stdout.readline() == "here\n"
        process.send_signal(number)
    began = time.monotonic()
    done = [programs.finish(process, 50) for process in running]
    assert time.monotonic() - began < 40
    return done


@pytest.mark.parametrize("number", CODES)
def test_a_signal_is_never_lost(number):
    ways = ["once", "swallowed", "became_another_error", "in_code_that_does_not_return", "slowly_closed"]
    done = _ended(number, *ways)
    assert [(process.returncode, process.stderr) for process in done] == [CODES[number]] * len(ways)
    assert done[-1].stdout == "closed\n"


@pytest.mark.parametrize("number", CODES)
def test_a_program_may_end_in_a_way_of_its_own(number):
    [done] = _ended(number, "way_of_its_own")
    assert (done.returncode, done.stdout, done.stderr) == (7, "closed\n", "")


def test_sigterm_ends_what_hangs_at_the_exit():
    [done] = _ended(signal.SIGTERM, "at_exit")
    assert (done.returncode, done.stderr) == (143, "")
