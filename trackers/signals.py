"""Ctrl-C and SIGTERM end a program within seconds; training leaves at SIGTERM after the step under way.

A signal becomes an exception in the main thread, so that files are closed and folders given back on the way out. A
library may swallow that exception, and none is raised while C code runs; a thread sees to both.
"""

import _thread
import os
import signal
import sys
import threading
import time

# What ends a program: exit code, and what is said.
ENDS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}
# A swallowed exception is raised again after so long, and C code may keep it from being raised for so long.
_LOOK_EVERY_S, _PATIENCE_S = 1.0, 10.0

# The signal that has come and is to be obeyed, the exception that it became, whether the program is ending, and
# whether the reason has been said.
_asked, _raised, _ending, _said = None, None, False, False


def install():
    """Has both signals end the program, but for one that is handled already or ignored (a shell's background programs).

    For the main thread of a program, once; the handler is `stop`.
    """
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is default:
            signal.signal(number, stop)
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    # Written to as soon as a signal is there, also while Python does not run.
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_watch, args=(told,), daemon=True).start()


def stop(number, _=None):
    """The handler. Raises: KeyboardInterrupt for SIGINT; SystemExit(143) for SIGTERM."""
    global _asked, _raised
    if _ending:
        return
    _asked = number
    _raised = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(ENDS[number][0])
    raise _raised


def interrupt(reason):
    """Ends the program from another thread as Ctrl-C would, saying why; at once where Ctrl-C is ignored, as it is in a
    shell's background programs."""
    global _said
    _said = True
    print(f"error: {reason}", file=sys.stderr, flush=True)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        os._exit(ENDS[signal.SIGINT][0])
    os.kill(os.getpid(), signal.SIGINT)


def said():
    """Whether `interrupt` has said why the program ends."""
    return _said


def asked():
    """The signal that the program is to end for, or None."""
    return _asked if _asked is not None and signal.getsignal(_asked) is stop else None


def check():
    """Raises as `stop` where a signal is to be obeyed. For loops around libraries that swallow the exception, as
    TensorFlow does when the signal comes while it fetches a batch."""
    if number := asked():
        stop(number)


def obeyed():
    """For a program that has caught the exception and ends in a way of its own: it is not raised again."""
    global _asked
    _asked = None


def ending():
    """For a program that only has its exit code left to give: ctrl-C is ignored, SIGTERM ends it at once."""
    global _ending
    _ending = True


def _watch(told):
    while True:
        number, until = os.read(told, 1)[0], time.monotonic() + _PATIENCE_S
        if _ending and number == signal.SIGTERM:
            os._exit(ENDS[number][0])
        while _is_to_be_obeyed(number):
            time.sleep(_LOOK_EVERY_S)
            if _ending or not _is_to_be_obeyed(number):
                break
            if _unwinding():
                until = time.monotonic() + _PATIENCE_S
            elif time.monotonic() > until:
                code, word = ENDS[number]
                if not _said:
                    os.write(2, f"error: {word}\n".encode())  # sys.stderr may be locked by what does not go on
                os._exit(code)
            elif _raised is not None:
                _thread.interrupt_main(number)


def _is_to_be_obeyed(number):
    """Whether a signal that has come is to end the program; also where its handler has not run yet."""
    # With another handler the program has a way of its own to end.
    return number in ENDS and signal.getsignal(number) is stop and (_raised is None or _asked is not None)


def _unwinding():
    """Whether the main thread is on its way out: it handles the exception, or one that came of that."""
    found = sys._current_exceptions().get(threading.main_thread().ident)
    error = found[1] if isinstance(found, tuple) else found  # of Python 3.11; of 3.12
    while error is not None and error is not _raised:
        error = error.__context__
    return error is not None
