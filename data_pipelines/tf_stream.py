"""Samples made by a pool of threads, as batches at training speed: tf.data over a function of (step, row).

OpenCV decodes and resizes outside Python's lock inside the threads of a parallel map, so cores stay busy with one plain
NumPy function that is also tested without TensorFlow. TensorFlow is imported when a stream is opened.
"""

import contextlib
import os
import threading

import numpy as np

from trackers import errors

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

    def make(number):
        number = int(number)
        with making:
            if not ended.is_set():
                try:
                    arrays = sample(start_step + number // len(rows), rows[number % len(rows)])
                    return [arrays[name] for name in shapes]
                # Raised below, where the batch is taken: TensorFlow would make text of it and print that at length.
                except Exception as error:
                    failures[number] = error
        return [np.zeros(shape, dtype) for shape, dtype in shapes.values()]

    # TensorFlow would convert it by way of a temporary file, which a process that is killed leaves behind.
    @tf.autograph.experimental.do_not_convert
    def load(number):
        arrays = tf.numpy_function(make, [number], [dtype for _, dtype in shapes.values()])
        for array, (shape, _) in zip(arrays, shapes.values(), strict=True):
            array.set_shape(shape)
        return dict(zip(shapes, arrays, strict=True))

    dataset = tf.data.Dataset.range(np.iinfo(np.int64).max)
    dataset = dataset.map(load, num_parallel_calls=settings.threads, deterministic=True)
    dataset = dataset.batch(len(rows)).prefetch(settings.prefetch_batches)
    options = tf.data.Options()
    options.threading.private_threadpool_size = settings.threads
    iterator = dataset.with_options(options).as_numpy_iterator()
    try:
        for taken, batch in enumerate(iterator, 1):
            errors.check_interrupt()
            if failed := [number for number in sorted(failures) if number < taken * len(rows)]:
                raise failures[failed[0]]
            yield batch
    finally:
        # TensorFlow's threads must not be in Python when the iterator, or the interpreter, goes.
        ended.set()
        idle = [making.acquire(timeout=_PATIENCE_S) for _ in range(settings.threads)]
        if any(idle):
            making.release(sum(idle))
        del iterator, dataset
        closed()


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
