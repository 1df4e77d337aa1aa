import os
import signal

import pytest

from trackers.training import processes


@pytest.mark.parametrize(
    ("environ", "several"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "1"}, True),
        ({"SLURM_NTASKS": "4"}, False),  # a batch script that has not started its tasks
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "host0,host1"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),  # a pod of its own
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, True),
    ],
)
def test_launchers_are_recognized(environ, several):
    assert processes.launched_together(environ) is several


def test_sigterm_is_noticed_and_the_former_handler_comes_back():
    former = signal.getsignal(signal.SIGTERM)
    with processes.Preemption() as preemption:
        assert not preemption.reached()
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.reached()
    assert signal.getsignal(signal.SIGTERM) is former


def test_sigterm_that_comes_too_late_is_handed_on():
    told = []
    former = signal.signal(signal.SIGTERM, lambda *_: told.append("former"))
    try:
        with processes.Preemption() as preemption:
            assert list(preemption.until([1, 2])) == [1, 2]
            os.kill(os.getpid(), signal.SIGTERM)
            assert not told
        assert told == ["former"]
        with processes.Preemption() as preemption:
            os.kill(os.getpid(), signal.SIGTERM)
            assert list(preemption.until([1, 2])) == [] and preemption.reached()
        assert told == ["former"], "obeyed by whoever asked"
    finally:
        signal.signal(signal.SIGTERM, former)
