"""Damages valid files of every kind and reads them: what is accepted, refused in one line, or a fault.

    python -m tests.fuzz [--count 10000] [--seed 0] [--reader NAME]

Prints a table by reader. Exit code 1 where there is a traceback (an error that is not InputError or UsageError), a
refusal that does not name its file in one line, a result that is silently wrong (by fuzz_readers' second reading; or
other than without a byte order mark), a hang, or memory out of proportion. An input is repeated by its seed, reader and
number, which the faults are listed with.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from tests import fuzz_mutations
from tests.fuzz_readers import READERS
from trackers.errors import InputError, UsageError

SECONDS, MEGABYTES = 5, 320
COLUMNS = ("accepted", "refused", "traceback", "unnamed", "silent", "hang", "memory")
FAULTS = COLUMNS[2:]
_SHOWN = 20


class _Hang(BaseException):
    pass


def _alarm(*_):
    raise _Hang


def run(names, count, seed, say=print):
    """{reader: Counter of COLUMNS} of `count` inputs over the readers `names`; faults are said as they are found."""
    results, shown = {}, 0
    for at, name in enumerate(names):
        counts, mine = collections.Counter(), count // len(names) + (at < count % len(names))
        with tempfile.TemporaryDirectory() as folder:
            file, read = READERS[name].make(Path(folder))
            valid = file.read_bytes()
            expected = _key(read())
            for number in range(mine):
                rng = random.Random(f"{seed} {name} {number}")
                data, changes = fuzz_mutations.mutate(rng, valid, READERS[name].kind)
                file.write_bytes(data)
                outcome, words = _outcome(READERS[name], file, read, data, expected if changes == ["mark"] else None)
                counts[outcome] += 1
                if outcome in FAULTS and shown < _SHOWN:
                    shown += 1
                    say(f"{outcome}: {name}, seed {seed}, number {number} ({', '.join(changes)}): {words}")
        results[name] = counts
    return results


def _outcome(reader, file, read, data, expected):
    """(one of COLUMNS, words about it) of reading a damaged file; expected: the key that the result has to have."""
    before, start = _memory("VmRSS"), time.perf_counter()
    result, error = _bounded(read)
    seconds = time.perf_counter() - start
    # First, since what fills memory takes long on a busy machine, too.
    if _ran_out(error) or _memory("VmHWM") - before > MEGABYTES * 1024:
        return "memory", f"{(_memory('VmHWM') - before) // 1024} MB for a file of {len(data)} bytes"
    if isinstance(error, _Hang) or seconds > SECONDS:
        return "hang", f"more than {SECONDS} s"
    if isinstance(error, (InputError, UsageError)):
        text = str(error)
        named = (reader.named or file.name) in text and "\n" not in text and len(text) < 1000
        return ("refused", text) if named else ("unnamed", text[:300])
    if error is not None:
        return "traceback", "".join(traceback.format_exception(error)[-3:])
    if result is None:
        return "refused", "taken for absent"
    try:
        wrong = reader.wrong(result, data)
    except Exception as error:
        wrong = f"accepted what a second reading refuses ({type(error).__name__}: {str(error)[:100]})"
    if wrong is None and expected is not None and _key(result) != expected:
        wrong = "another result than without a byte order mark"
    return ("silent", wrong) if wrong else ("accepted", "")


def _bounded(read):
    """(result, error) of reading with bounds on time and memory, and with nothing printed."""
    _reset_peak()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    signal.signal(signal.SIGALRM, _alarm)
    with _silence():
        try:
            resource.setrlimit(resource.RLIMIT_AS, (size + 4 * 2**30, unlimited[1]))
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            return read(), None
        except (Exception, _Hang) as error:
            return None, error
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            resource.setrlimit(resource.RLIMIT_AS, unlimited)


@contextlib.contextmanager
def _silence():
    """Decoders in C write to the file descriptors themselves."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(io.StringIO()):
        os.dup2(nothing.fileno(), 2)
        with contextlib.redirect_stderr(io.StringIO()):
            try:
                yield
            finally:
                os.dup2(kept, 2)
                os.close(kept)


def _ran_out(error):
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _reset_peak():
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _memory(name):
    """A line of /proc/self/status, kB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))


def _key(value):
    """A result as something that compares equal only to the same result."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if dataclasses.is_dataclass(value):
        return tuple(_key(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, dict):
        return tuple((key, _key(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(_key, value))
    return repr(value)


def table(results):
    """Markdown: a row a reader, and their sum."""
    total = sum(results.values(), collections.Counter())
    rows = [*results.items(), ("all", total)]
    lines = ["| reader | inputs | " + " | ".join(COLUMNS) + " |", "|:--|" + "--:|" * (len(COLUMNS) + 1)]
    for name, counts in rows:
        numbers = [sum(counts.values()), *(counts[column] for column in COLUMNS)]
        lines.append(f"| {name} | " + " | ".join(map(str, numbers)) + " |")
    return "\n".join(lines)


def faults(results):
    """How many inputs showed a fault."""
    return sum(counts[column] for counts in results.values() for column in FAULTS)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="inputs, over all readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=sorted(READERS), help="one reader only")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    results = run([options.reader] if options.reader else list(READERS), options.count, options.seed)
    print(table(results))
    print(f"{faults(results)} faults, {time.perf_counter() - start:.0f} s")
    return int(faults(results) > 0)


if __name__ == "__main__":
    sys.exit(main())
