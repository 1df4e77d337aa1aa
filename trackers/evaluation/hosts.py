"""One evaluation on several hosts: each tracks its share of the sequences, and the first one scores what all have left.

The processes are those of jax.distributed (trackers.training.processes.join), and share the folder of results. They
meet over the network when they agree on what is left to track; one that cannot come so far says so there. The end is
told by files in OUT/progress/processes/NUMBER, since hours may lie between the first to be ready and the last.
"""

import contextlib
import json
import secrets
import time

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from trackers.errors import InputError
from trackers.io import outputs, ownership, plain_text

_LOOK_EVERY_SECONDS = 1.0


def shares(lengths, count):
    """Sequences over hosts, so that all have about as many frames.

    Args: lengths: frames of each sequence. count: of hosts.

    Returns: [[number of a sequence, ...] of each host]: longest first, each to the host with the fewest frames so far.
    """
    given, frames = [[] for _ in range(count)], [0] * count
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        host = frames.index(min(frames))
        given[host].append(number)
        frames[host] += lengths[number]
    return given


class Hosts:
    """The processes of one evaluation, and which of them this is: made by `hold`.

    index: this process, 0 the one that scores. count: of processes.
    """

    def __init__(self, out, run):
        self.index, self.count = jax.process_index(), jax.process_count()
        self._folder, self._run, self._met = epath.Path(out) / "progress" / "processes", run, self.count == 1

    def agree(self, values):
        """The array of process 0, given to all; the others' has its shape and type. To be called once.

        Raises: InputError where another process could not come so far.
        """
        if self.count == 1:
            return values
        for index in np.flatnonzero(self._meet(able=True) == 0):
            self.wait_for(int(index))
        return np.asarray(multihost_utils.broadcast_one_to_all(values))

    def _meet(self, able):
        """Whether each process is able to go on, (count,) int32."""
        self._met = True
        return multihost_utils.process_allgather(np.int32(able))

    def gather(self):
        """Says that this process has tracked its share. Process 0 waits for all others.

        Returns: whether this is process 0, which goes on.
        Raises: InputError where another process could not track its share.
        """
        if self.index:
            self.say()
            return False
        for index in range(1, self.count):
            self.wait_for(index)
        return True

    def say(self, failure=None):
        """Leaves word that this process is done, or of its failure."""
        text = json.dumps({"run": self._run, "failure": failure})
        outputs.write_text(self._folder / str(self.index) / "done.json", text)

    def wait_for(self, index):
        """Waits for the word of another process. Raises: InputError where that is a failure."""
        path = self._folder / str(index) / "done.json"
        while True:
            # What an earlier run has left is not meant.
            with contextlib.suppress(InputError):
                said = plain_text.read_json(path, "what a process of this evaluation leaves")
                if isinstance(said, dict) and said.get("run") == self._run:
                    break
            time.sleep(_LOOK_EVERY_SECONDS)
        if said["failure"] is not None:
            raise InputError(f"process {index} failed: {said['failure']}")

    def leave(self, failure):
        """Says what failed, and waits until all can end: a process that is gone takes the others along."""
        self.say(failure)
        if not self._met:
            self._meet(able=False)
        for index in range(1, self.count) if self.index == 0 else (0,):
            with contextlib.suppress(InputError):
                self.wait_for(index)


@contextlib.contextmanager
def opening():
    """A context manager for what each process looks at before `hold`: the others do not wait for one that fails there.

    Raises: what is raised within.
    """
    try:
        yield
    except Exception:
        if jax.process_count() > 1:
            _agree_on_run(0)
        raise


@contextlib.contextmanager
def hold(out):
    """Owns the folder of results for all processes: a context manager that gives Hosts.

    A failure of one process becomes one of all, after they have tracked their shares.

    Raises: InputError where another program owns the folder, or another process failed.
    """
    if jax.process_count() == 1:
        with ownership.hold(out):
            yield Hosts(out, 0)
        return
    index = jax.process_index()
    folder = epath.Path(out) / "progress" / "processes" / str(index) if index else epath.Path(out)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(ownership.hold(folder))
            run = 1 + secrets.randbelow(1 << 30)
        except InputError:
            _agree_on_run(0)
            raise
        hosts = Hosts(out, _agree_on_run(run))
        try:
            yield hosts
        except Exception as error:
            hosts.leave(" ".join(str(error).split()) or type(error).__name__)
            raise
        except BaseException as error:  # the scheduler or the keyboard, which don't wait
            hosts.say("interrupted" if isinstance(error, KeyboardInterrupt) else "terminated")
            raise
        if index:
            hosts.wait_for(0)
        else:
            hosts.say()


def _agree_on_run(number):
    """The number that process 0 gives this run. Raises: InputError where one of the processes could not begin (0)."""
    numbers = multihost_utils.process_allgather(np.int32(number))
    if not numbers.all():
        if number:
            raise InputError(f"process {np.flatnonzero(numbers == 0)[0]} cannot begin: see its message")
        return 0
    return int(numbers[0])
