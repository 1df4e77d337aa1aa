"""Samples made by a pool of threads, as batches at training speed: tf.data over a function of (step, row).

OpenCV decodes and resizes outside Python's lock inside the threads of a parallel map, so cores stay busy with one plain
NumPy function that is also tested without TensorFlow; its JPEG decoding is as fast as TensorFlow's (INTEGER_ACCURATE)
and equal to it to the last bit. TensorFlow is imported when a stream is opened.
"""

import contextlib
import os

import numpy as np

from trackers import errors


def stream(sample, shapes, config, start_step, rows):
    """Endless batches of samples.

    Args:
      sample: function of step and row -> dict as `shapes`; raises InputError.
      shapes: {name: (shape, dtype)} of a sample.
      config: whole config; data.threads make samples, data.prefetch_batches are made ahead.
      start_step: step of the first batch.
      rows: rows of the global batch.

    Returns: iterator of dicts of numpy arrays, (len(rows), *shape) each.
    Raises: InputError where TensorFlow is not installed, and while iterating what `sample` raises.
    """
    return _batches(_tensorflow(), sample, shapes, config.data, start_step, rows)


def _batches(tf, sample, shapes, settings, start_step, rows):
    import cv2

    # One thread a sample: OpenCV's own threads would fight over the same cores.
    cv2.setNumThreads(1)
    failures = []

    def make(number):
        try:
            arrays = sample(start_step + int(number) // len(rows), rows[int(number) % len(rows)])
        except errors.InputError as error:
            failures.append(error)
            raise
        return [arrays[name] for name in shapes]

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
    while True:
        try:
            batch = next(iterator)
        except tf.errors.OpError:
            if failures:
                # TensorFlow turns exceptions into text; this is the one that was raised.
                raise failures[0] from None
            raise
        yield batch


def _tensorflow():
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
