"""TFLite (LiteRT) by jax2tf and TensorFlow's converter: a file for each graph of the network, for a batch of one.

float32, or int8 weights with the dynamic range of the activations measured as they come (no calibration set).
"""

import contextlib
import os
import tempfile
import warnings

import numpy as np

SIGNATURE = "serving_default"


def check_installed():
    """Raises: ModuleNotFoundError where TensorFlow is absent."""
    import tensorflow  # noqa: F401


def files(graphs, variables, int8=False):
    """{file name: bytes} of graphs.Graph. int8: whether weights are stored in 8 bits."""
    return {file_of(graph.name, int8): _converted(graph, variables, int8) for graph in graphs}


def file_of(name, int8):
    """The name of a graph's file."""
    return f"{name}_int8.tflite" if int8 else f"{name}.tflite"


def _converted(graph, variables, int8):
    import tensorflow as tf
    from jax.experimental import jax2tf

    translated = jax2tf.convert(lambda inputs: graph.function(variables, inputs), with_gradient=False)
    specs = {name: tf.TensorSpec(x.shape, x.dtype, name=name) for name, x in graph.inputs.items()}
    module = tf.Module()
    module.call = tf.function(lambda **inputs: translated(inputs), autograph=False)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: module.call.get_concrete_function(**specs)})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


class Runner:
    """Runs the files of a folder with TensorFlow's interpreter on the CPU.

    Args: folder: path. graphs: [graphs.Graph] that were written there. int8: as of `files`.
    """

    def __init__(self, folder, graphs, int8=False):
        import tensorflow as tf

        with warnings.catch_warnings():
            # TensorFlow announces that its interpreter moves to a package of its own, ai_edge_litert.
            warnings.simplefilter("ignore", UserWarning)
            # The interpreters are kept: a signature's runner does not keep its own.
            self._interpreters = [tf.lite.Interpreter(str(folder / file_of(graph.name, int8))) for graph in graphs]
            runners = [one.get_signature_runner(SIGNATURE) for one in self._interpreters]
        self._runners = {graph.name: runner for graph, runner in zip(graphs, runners, strict=True)}

    def __call__(self, name, inputs):
        """{name: array} of a graph's outputs."""
        with _unsaid():
            return self._runners[name](**{key: np.asarray(array) for key, array in inputs.items()})


@contextlib.contextmanager
def _unsaid():
    """At its first call TensorFlow Lite tells C's stderr which delegate it made, whatever the level of logging."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
