"""Samples made by a pool of threads, as batches at training speed: tf.data over a function of (step, row).

OpenCV decodes and resizes outside Python's lock inside the threads of a parallel map, so cores stay busy with one plain
NumPy function that is also tested without TensorFlow. tf.data decides what is made when, and in which order it comes;
the samples themselves go straight into the batch's arrays. TensorFlow is imported when a stream is opened.
"""

import contextlib
import os
import threading

import numpy as np

from trackers import errors, signals

# Samples that one call of TensorFlow's makes: a call alone takes 0.1 ms of processor time.
_GROUP = 4
# Seconds that a stream waits for each thread's last sample when it is closed; a disk may have gone away.
_PATIENCE_S = 2.0


def stream(sample, shapes, config, start_step, rows, closed=lambda: None):
    """Endless batches of samples.

    Args:
      sample: function of step and row -> dict as `shapes`; raises InputError.
      shapes: {name: (shape, dtype)} of a sample.
      config: whole config; data.threads make samples, data.prefetch_batches are made ahead.
      start_step: step of the first batch.
      rows: rows of the global batch.
      closed: called when the iterator is closed, forgotten or has failed; no sample is made afterwards.

    Returns: iterator of dicts of numpy arrays, (len(rows), *shape) each.
    Raises: InputError where TensorFlow is not installed, and while iterating what `sample` raises.
    """
    return _batches(tensorflow(), sample, shapes, config.data, start_step, rows, closed)


def _batches(tf, sample, shapes, settings, start_step, rows, closed):
    import cv2

    # One thread a sample: OpenCV's own threads would fight over the same cores.
    cv2.setNumThreads(1)
    failures, making, ended = {}, threading.Semaphore(settings.threads), threading.Event()
    batches, groups = _Batches(shapes, len(rows)), -(-len(rows) // _GROUP)

    def make(number):
        """Puts group `number` into its batch -> the batch's number."""
        taken, group = divmod(int(number), groups)
        batch = batches.of(taken)
        for place in range(group * _GROUP, min((group + 1) * _GROUP, len(rows))):
            with making:
                if ended.is_set():
                    break
                try:
                    for name, array in sample(start_step + taken, rows[place]).items():
                        batch[name][place] = array
                # Raised below, where the batch is taken: TensorFlow would make text of it and print that at length.
                except Exception as error:
                    failures[taken, place] = error
        return np.int64(taken)

    # TensorFlow would convert it by way of a temporary file, which a process that is killed leaves behind.
    @tf.autograph.experimental.do_not_convert
    def load(number):
        taken = tf.numpy_function(make, [number], tf.int64)
        taken.set_shape(())
        return taken

    dataset = tf.data.Dataset.range(np.iinfo(np.int64).max)
    dataset = dataset.map(load, num_parallel_calls=settings.threads, deterministic=True)
    dataset = dataset.batch(groups).prefetch(settings.prefetch_batches)
    options = tf.data.Options()
    options.threading.private_threadpool_size = settings.threads
    iterator = dataset.with_options(options).as_numpy_iterator()
    try:
        for taken, _ in enumerate(iterator):
            signals.check()
            # The one that came first: later ones may only count on what it counted.
            if failed := [error for (number, _), error in list(failures.items()) if number <= taken]:
                raise failed[0]
            yield batches.take(taken)
    finally:
        # TensorFlow's threads must not be in Python when the iterator, or the interpreter, goes.
        ended.set()
        idle = [making.acquire(timeout=_PATIENCE_S) for _ in range(settings.threads)]
        if any(idle):
            making.release(sum(idle))
        del iterator, dataset
        closed()


class _Batches:
    """Arrays of the batches that are being made, into which threads put samples: nothing is copied through TensorFlow.

    shapes: as of `stream`. count: samples in a batch.
    """

    def __init__(self, shapes, count):
        self._shapes, self._count = shapes, count
        self._made, self._lock = {}, threading.Lock()

    def of(self, number):
        """{name: (count, ...) array} of batch `number`, made where it is not there."""
        with self._lock:
            if number not in self._made:
                self._made[number] = {
                    name: np.empty((self._count, *shape), dtype) for name, (shape, dtype) in self._shapes.items()
                }
            return self._made[number]

    def take(self, number):
        """The arrays of a batch, no longer held here."""
        with self._lock:
            return self._made.pop(number)


def tensorflow():
    """The module, imported now. Raises: InputError where it is not installed."""
    # Before its import: TensorFlow greets with lines about kernels that nothing here runs.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        import tensorflow as tf
    except ImportError:
        raise errors.InputError(
            "reading data sets needs TensorFlow's data pipeline: pip install tensorflow-cpu"
            " (synthetic pairs, --config.data.ratio.synthetic=1 alone, do without)"
        ) from None
    # The accelerator belongs to JAX; too late, and harmless, where something has used TensorFlow already.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    return tf
