"""A trace of some steps of a run, for XProf or TensorBoard's profile page (config.profile)."""

import jax

from trackers.errors import UsageError
from trackers.io import numbers


def steps(text):
    """(first, last) of "FIRST:LAST", the numbers of the steps to be traced, both included; None where text is empty.

    Raises: UsageError for anything else.
    """
    if not text:
        return None
    first, _, last = str(text).partition(":")
    if not (numbers.is_digits(first) and numbers.is_digits(last) and 1 <= int(first) <= int(last)):
        raise UsageError(f"config.profile {text!r}: write FIRST:LAST, two numbers of steps such as 10:14")
    return int(first), int(last)


class Trace:
    """Traces the steps first..last of a run, and those dispatched together with them, into WORKDIR/plugins/profile,
    every process its own. A context manager.

    Args:
      text: config.profile. workdir: path of the run.

    Raises: UsageError as `steps`.
    """

    def __init__(self, text, workdir):
        self._steps, self._workdir, self._running = steps(text), str(workdir), False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop()

    def before(self, steps):
        """Call before steps are dispatched, with the range of their numbers; begins the trace if one belongs to it."""
        if self._steps and not self._running and self._steps[0] <= steps[-1] and steps[0] <= self._steps[1]:
            jax.profiler.start_trace(self._workdir)
            self._running = True

    def after(self, steps, results):
        """Call with steps that were dispatched and what they compute; after the last one it waits for it and writes."""
        if self._running and self._steps[1] in steps:
            jax.block_until_ready(results)
            self._stop()

    def _stop(self):
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
