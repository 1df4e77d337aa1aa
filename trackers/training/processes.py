"""Several processes in one run: joining them, and leaving together when the scheduler says so."""

import contextlib
import importlib.util
import os
import signal

import jax
from jax.experimental import multihost_utils

from trackers import platforms

# Launchers that start one process a host or GPU, and how many they say they have started.
_COUNT_VARIABLES = ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
_HOST_LIST_VARIABLES = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")


def launched_together(environ=os.environ):
    """Whether this process looks like one of several (SLURM, Open MPI, Kubernetes job, TPU pod)."""
    if any(int(environ.get(name) or 1) > 1 for name in _COUNT_VARIABLES):
        return "SLURM_PROCID" in environ or "OMPI_COMM_WORLD_RANK" in environ
    if any("," in environ.get(name, "") for name in _HOST_LIST_VARIABLES):
        return True
    return "JAX_COORDINATOR_ADDRESS" in environ or (
        "KUBERNETES_SERVICE_HOST" in environ and "JOB_COMPLETION_INDEX" in environ
    )


def _on_tpu():
    return platforms.tpu_is_here() and importlib.util.find_spec("libtpu") is not None


def join():
    """Calls jax.distributed.initialize() where this process is one of several; must come before any other use of jax.

    A TPU machine does not tell its host count in the environment, so there jax's own detection decides.
    """
    if launched_together():
        jax.distributed.initialize()
    elif _on_tpu():
        try:
            jax.distributed.initialize()
        except ValueError as error:  # raised before anything is contacted: no cluster around this machine
            print(f"single TPU host ({error})", flush=True)


class Preemption:
    """Tells when to save and leave, once SIGTERM has arrived; all processes learn it after the same call of `reached`.

    Use as a context manager, which gives back the former signal handler. A signal that came after the last call is that
    one's: none is lost.
    """

    def __init__(self):
        self._asked, self._reached, self._former, self._calls = False, False, None, 0

    def __enter__(self):
        # With several processes jax's own handler passes the notice on to all of them.
        if jax.process_count() == 1:
            self._former = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, kind, *_):
        if self._former is not None:
            signal.signal(signal.SIGTERM, self._former)
            if self._asked and not self._reached and kind is None:
                signal.raise_signal(signal.SIGTERM)

    def _ask(self, *_):
        self._asked = True

    def reached(self):
        """Whether it is time to leave. To be called by all processes as often; once True, always True."""
        self._calls += 1  # the processes agree on the number of a call to come: numbers must not leave any out
        if not self._reached and jax.process_count() > 1:
            self._asked = multihost_utils.reached_preemption_sync_point(self._calls)
        self._reached |= self._asked
        return self._reached

    def until(self, items):
        """The items of an iterable, none any more once it is time to leave; asked before each."""
        items = iter(items)
        with contextlib.suppress(StopIteration):
            while not self.reached():
                yield next(items)
