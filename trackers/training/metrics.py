"""What a run tells while it runs: numbers in files, and a line or a bar with rate and time left."""

import contextlib
import hashlib
import json
import math
import os
import resource
import sys
import time

import jax
import numpy as np
from etils import epath

from trackers import progress
from trackers.errors import InputError, os_reason
from trackers.io import numbers
from trackers.training import sharding

METRICS_FILE = "metrics.jsonl"


class Late:
    """Hands over the metrics of steps dispatched together one dispatch late, so that fetching them never makes the
    device wait for the host."""

    def __init__(self):
        self._waiting = None

    def push(self, steps, metrics):
        """Takes the steps' device metrics (started, perhaps not finished) and returns the former ones, as `flush`.

        Args: steps: range of their numbers. metrics: {name: (n,) array}, n at least their count, or () for one step.
        """
        former, self._waiting = self.flush(), (steps, metrics)
        return former

    def flush(self):
        """[(step, {name: python number}), ...] of what was pushed last, waiting for it if need be; [] for nothing."""
        if self._waiting is None:
            return []
        (steps, metrics), self._waiting = self._waiting, None
        rows = {name: np.atleast_1d(values).tolist() for name, values in jax.device_get(metrics).items()}
        return [(step, {name: row[i] for name, row in rows.items()}) for i, step in enumerate(steps)]


class Mean:
    """Running means of metrics between two log lines."""

    def __init__(self):
        self._sums, self._count = {}, 0

    def add(self, metrics):
        """Adds one step's {name: float}."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def take(self):
        """{name: mean since the last take}; {} if nothing was added."""
        means = {name: value / self._count for name, value in self._sums.items()}
        self.__init__()
        return means


def means(results):
    """{name: mean} over an iterable of {name: () device array}."""
    mean = Mean()
    for metrics in results:
        mean.add(_floats(metrics))
    return mean.take()


def _floats(metrics):
    """{name: python number} of {name: () device array}, waiting for them if need be."""
    return {name: value.item() for name, value in jax.device_get(metrics).items()}


def check_finite(step, metrics, leaf_name, workdir):
    """Refuses a step whose loss or gradient is not finite.

    Args:
      metrics: {name: float} with "loss" and "grad_norm".
      leaf_name: the first parameter whose gradient is not finite, or None. workdir: path of the run.

    Raises: InputError naming the step and the parameter.
    """
    loss, norm = metrics["loss"], metrics["grad_norm"]
    if math.isfinite(loss) and math.isfinite(norm):
        return
    kept = epath.Path(workdir) / "checkpoints"
    any_kept = kept.is_dir() and any(numbers.is_digits(child.name) for child in kept.iterdir())
    standing = f"the last checkpoint in {workdir} is good: resume" if any_kept else "there is no checkpoint yet: begin"
    where = f"first non-finite gradient {leaf_name}" if leaf_name else "gradients finite"
    raise InputError(
        f"loss {loss}, gradient norm {norm} at step {step}, {where}; {standing}"
        " with a lower learning rate or check the data"
    )


def table(numbers):
    """Two lines of text, names above their values, of {name: number}."""
    cells = [(name, f"{value:.4g}" if isinstance(value, float) else str(value)) for name, value in numbers.items()]
    padded = [[text.rjust(max(map(len, pair))) for text in pair] for pair in cells]
    return "\n".join("  ".join(line) for line in zip(*padded, strict=True))


def throughput(rate, count, pair_flops=0.0, peak=0.0):
    """Speed of a run.

    Args:
      rate: pairs/s of the whole run. count: its chips.
      pair_flops: model FLOPs of a pair, 0 = not known. peak: FLOP/s of a chip.

    Returns: {"pairs_per_second", "pairs_per_second_per_chip", and where the FLOPs are known "model_tflops_per_chip",
      "mfu" (0..1)}; {} where the rate is 0.
    """
    if not rate:
        return {}
    speed = {"pairs_per_second": rate, "pairs_per_second_per_chip": rate / count}
    if pair_flops:
        achieved = pair_flops * rate / count
        speed |= {"model_tflops_per_chip": achieved / 1e12, "mfu": achieved / peak}
    return speed


class Waits:
    """How long the training loop waits, for data and for the device; of a loop that is never short of data the device's
    share is nearly all.

    Args: threads: threads that make samples; 0 where no setting makes the host faster: nothing is said.
    """

    # Share of the time that may be spent waiting for data.
    LARGEST_SHARE = 0.1

    def __init__(self, threads):
        self._threads, self._told = threads, not threads
        self._seconds, self._steps = None, 0

    def data(self, call, steps):
        """call(steps), which waits for the data of these steps. The first call is not counted: the stream begins."""
        begin, result = time.monotonic(), call(steps)
        if self._seconds is None:
            self._seconds = {"data": 0.0, "device": 0.0}
        else:
            self._seconds["data"] += time.monotonic() - begin
            self._steps += len(steps)
        return result

    def device(self, call, *arguments):
        """call(*arguments), which waits for the device."""
        begin, result = time.monotonic(), call(*arguments)
        self._seconds["device"] += time.monotonic() - begin
        return result

    def take(self, batch_size, rate):
        """Waiting since the last call; says once, on standard error, what helps where too much of it is for data.

        Args: batch_size: pairs a step. rate: pairs/s, 0 where that is not known yet.

        Returns: {"data_wait_ms", "device_wait_ms"}, means over the steps; {} without a step.
        """
        if not self._steps:
            return {}
        means = {f"{side}_wait_ms": 1e3 * seconds / self._steps for side, seconds in self._seconds.items()}
        self._seconds, self._steps = dict.fromkeys(self._seconds, 0.0), 0
        share = means["data_wait_ms"] / 1e3 * rate / batch_size
        if share > self.LARGEST_SHARE and not self._told:
            self._told = True
            print(
                f"{share:.0%} of the time the steps wait for data: raise --config.data.threads (now {self._threads};"
                f" {os.cpu_count()} cores), or see Waiting for data in docs/training.md",
                file=sys.stderr,
                flush=True,
            )
        return means


def memory(device):
    """{"memory_gib", "memory_peak_gib"} of a device that counts its memory, else {"host_memory_peak_gib"}, what this
    process has had resident at most."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_in_use" in stats:
        peak = stats.get("peak_bytes_in_use", stats["bytes_in_use"])
        return {"memory_gib": stats["bytes_in_use"] / 2**30, "memory_peak_gib": peak / 2**30}
    unit = 1 if sys.platform == "darwin" else 1024
    return {"host_memory_peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30}


class BatchHash:
    """SHA-1 (hex) of global batches, the same on any number of processes: each row is hashed where it was made.

    Args: mesh: the run's. Call it on all processes with their own rows {name: numpy array}.
    """

    def __init__(self, mesh):
        self._mesh = mesh
        self._gather = jax.jit(lambda digests: digests, out_shardings=sharding.replicated(mesh))

    def __call__(self, batch):
        names = sorted(batch)
        rows = zip(*(batch[name] for name in names), strict=True)
        digests = [hashlib.sha1(b"".join(np.asarray(value).tobytes() for value in row)).digest() for row in rows]
        digests = np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1)
        whole = self._gather(sharding.put_batch({"rows": digests}, self._mesh)["rows"])
        return hashlib.sha1(np.asarray(whole).tobytes()).hexdigest()


def hashed(batches, taken, writer, mesh):
    """The batches of the steps after `taken`, each hash written to `writer` (Writer) as "batch_hash" of its step."""
    batch_hash = BatchHash(mesh)
    for step, batch in enumerate(batches, taken + 1):
        writer.write(step, {"batch_hash": batch_hash(batch)})
        yield batch


class Writer:
    """Writes numbers to WORKDIR/metrics.jsonl and, where tensorboardX is installed, to TensorBoard files beside it.

    Lines of steps after `step` are dropped on opening: a resumed run takes those steps again. A context manager.

    Args:
      workdir: path of the run (gs:// too). step: steps already taken. enabled: False on all processes but one.
    """

    def __init__(self, workdir, step=0, enabled=True):
        self._board, self._lines, self._enabled = None, [], enabled
        if not enabled:
            return
        self._path = epath.Path(workdir) / METRICS_FILE
        if self._path.exists():
            self._lines = _lines_until(self._path, step)
            try:
                self._rewrite()
            except OSError as error:
                raise self._refused(error.strerror or error) from None
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            return
        try:
            # A queue that never fills up: see _board_alive.
            self._board = SummaryWriter(logdir=str(workdir), purge_step=step + 1, max_queue=0)
        except OSError as error:
            raise self._refused(error.strerror or error) from None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self._board is None:
            return
        if not self._board_alive():
            self._board.file_writer.event_writer._event_queue.cancel_join_thread()
            return
        try:
            self._board.close()
        except OSError as error:
            if kind is None:  # a run that fails for another reason is not told about this instead
                raise self._refused(error.strerror or error) from None

    def _board_alive(self):
        """Whether TensorBoard's files are still written: a full disk ends their thread, and its queue then only grows,
        or blocks for ever."""
        return self._board.file_writer.event_writer._worker.is_alive()

    def _refused(self, reason):
        return InputError(
            f"{self._path} cannot be written ({reason}): make room there and give the same command again, it goes on"
            " from the last checkpoint"
        )

    def write(self, step, metrics):
        """Writes {name: number or text} of one step.

        Raises: InputError where the disk takes no more.
        """
        if not self._enabled:
            return
        line = json.dumps({"step": step, **metrics})
        self._lines.append(line)
        try:
            if "://" in str(self._path):
                self._rewrite()  # object stores cannot append
            else:
                with self._path.open("a") as file:
                    file.write(line + "\n")
        except OSError as error:
            raise self._refused(error.strerror or error) from None
        if self._board is not None:
            if not self._board_alive():
                raise self._refused("nor TensorBoard's files beside it, as on a full disk")
            for name, value in metrics.items():
                if not isinstance(value, str):
                    self._board.add_scalar(name, value, step)

    def _rewrite(self):
        # Whole or not at all: a full disk must not take the lines that are there.
        part = self._path.with_name(f"{self._path.name}.part")
        part.write_text("".join(line + "\n" for line in self._lines))
        part.replace(self._path)


def read(workdir):
    """What a run has logged, in the order of its steps: [{"step": int, name: number or text}, ...].

    Lines that a kill tore are left out.

    Args: workdir: path of the run (gs:// too).

    Raises: InputError where it has no metrics.jsonl, or one that cannot be read.
    """
    path = epath.Path(workdir) / METRICS_FILE
    try:
        lines = path.read_bytes().decode(errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {os_reason(error)}; name the workdir of a run of train.py") from None
    return [json.loads(line) for line in lines if math.isfinite(_step_of(line))]


def _lines_until(path, step):
    """The lines of metrics.jsonl of steps up to `step`, without those that a kill has torn."""
    return [line for line in path.read_bytes().decode("utf-8-sig", "replace").splitlines() if _step_of(line) <= step]


def _step_of(line):
    try:
        step = json.loads(line)["step"]
        return step if numbers.is_whole(step) else float("inf")
    except (ValueError, LookupError, TypeError, RecursionError):
        return float("inf")  # a line torn by a kill, or damaged


class Progress:
    """Rate and time left: a tqdm bar on a terminal, a line for each report elsewhere. A context manager.

    Args:
      total: pairs in the whole run. done: pairs already trained on. enabled: False on all processes but one.
    """

    def __init__(self, total, done=0, enabled=True):
        self._total, self._done, self._bar, self._enabled = total, done, None, enabled
        self._first = self._since = None  # (seconds, pairs) where the clock started, and at the last rate
        if enabled and sys.stderr.isatty():
            with contextlib.suppress(ImportError):
                self._bar = progress.bar(total=total, initial=done, unit="pair", unit_scale=True, smoothing=0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()

    def advance(self, pairs):
        """Counts pairs that have been trained on. The clock starts at the first call, after compilation."""
        self._done += pairs
        if self._since is None:
            self._first = self._since = (time.monotonic(), self._done)
        if self._bar is not None:
            self._bar.update(pairs)

    @contextlib.contextmanager
    def pause(self):
        """Leaves the time of what is done inside out of the rate. Pairs trained on before must have been counted."""
        begin = time.monotonic()
        yield
        if self._since is not None:
            then, before = self._since
            self._since = (then + time.monotonic() - begin, before)

    def rate(self):
        """Pairs a second of training since the last call; 0 before two calls of `advance`."""
        if self._since is None:
            return 0.0
        now, (then, before) = time.monotonic(), self._since
        self._since = (now, self._done)
        return (self._done - before) / max(now - then, 1e-9)

    def report(self, step, metrics, rate):
        """Shows the latest numbers with rate (pairs/s) and time left, pauses to come as frequent as those so far."""
        if not self._enabled:
            return
        shown = {name: metrics[name] for name in ("loss", "iou") if name in metrics}
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})
            return
        minutes, seconds = divmod(round(self._left(rate)), 60)
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in shown.items())
        share = self._done / self._total
        speed = f"  {rate:.0f} pairs/s  {minutes // 60}:{minutes % 60:02}:{seconds:02} left" if rate else ""
        print(f"step {step} ({share:.0%})  {numbers}{speed}", flush=True)

    def _left(self, rate):
        """Seconds, by the mean speed up to the last rate."""
        (start, first), (now, done) = self._first or (0, 0), self._since or (0, 0)
        if done > first:
            rate = (done - first) / max(now - start, 1e-9)
        return (self._total - self._done) / rate if rate else 0

    def say(self, text):
        """Prints a line without breaking the bar."""
        if not self._enabled:
            return
        if self._bar is not None:
            self._bar.write(text)
        else:
            print(text, flush=True)
