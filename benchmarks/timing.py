"""How long a call takes: by the clock, and of the processor's time on all cores, which a busy machine distorts less."""

import os
import statistics
import time
from typing import NamedTuple

import jax

from trackers import errors
from trackers.io import numbers


class Elapsed(NamedTuple):
    """Seconds that a call took: wall, by the clock; cores, processor time of all threads, waiting ones too."""

    wall: float
    cores: float


def once(call):
    """Elapsed of one call, until the arrays that it returns are there."""
    wall, cores = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    return Elapsed(time.perf_counter() - wall, time.process_time() - cores)


def take_turns(calls, rounds, at_once=1, pause=0.0):
    """Times calls that are compared with each other, in turns, so that what else the machine does hits all alike.

    Args:
      calls: {name: function without arguments}; each is called once before, to compile.
      rounds: turns that each takes. at_once: calls in a turn.
      pause: seconds after each turn, so that one library's waiting threads don't spin on the cores of the other.

    Returns: {name: [Elapsed], rounds * at_once of them}.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name] += [once(call) for _ in range(at_once)]
            time.sleep(pause)
    return times


def median(times):
    """Elapsed of medians over a list of Elapsed."""
    return Elapsed(*(statistics.median(column) for column in zip(*times, strict=True)))


def keep_to_cores(count):
    """Computes on the CPU, on the first `count` cores that are free to this process.

    Call it before JAX computes anything: its thread pool takes the cores that it finds then.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    jax.config.update("jax_platforms", "cpu")


def counts(flag, texts):
    """The whole numbers above 0 of a flag's list. Raises: UsageError that names the flag."""
    if not all(numbers.is_digits(text) and int(text) for text in texts):
        raise errors.UsageError(f"--{flag}={','.join(texts)}: give whole numbers above 0, as 8,32")
    return [int(text) for text in texts]
