"""ONNX by jax2onnx: a file for each graph of the network, with its weights, for a batch of one."""

import logging

import numpy as np

# Old enough for onnxruntime 1.14 and later.
_OPSET = 18


def check_installed():
    """Raises: ModuleNotFoundError where a package is absent that writing or checking needs."""
    import jax2onnx  # noqa: F401
    import onnxruntime  # noqa: F401


def files(graphs, variables):
    """{file name: bytes} of graphs.Graph."""
    return {f"{graph.name}.onnx": _converted(graph, variables) for graph in graphs}


def _converted(graph, variables):
    import jax2onnx

    # It warns of every shape whose values it does not know, hundreds of lines; the files are compared with the model.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    names = list(graph.outputs(variables))

    def function(*arrays):
        found = graph.function(variables, dict(zip(graph.inputs, arrays, strict=True)))
        return tuple(found[name] for name in names)

    model = jax2onnx.to_onnx(
        function,
        list(graph.inputs.values()),
        model_name=graph.name,
        opset=_OPSET,
        input_names=list(graph.inputs),
        output_names=names,
    )
    return model.SerializeToString()


class Runner:
    """Runs the files of a folder with onnxruntime on the CPU.

    Args: folder: path. graphs: [graphs.Graph] that were written there.
    """

    def __init__(self, folder, graphs):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Threads that wait count as work where CPU time is measured.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        given = {"sess_options": options, "providers": ["CPUExecutionProvider"]}
        self._sessions = {
            graph.name: onnxruntime.InferenceSession(str(folder / f"{graph.name}.onnx"), **given) for graph in graphs
        }

    def __call__(self, name, inputs):
        """{name: array} of a graph's outputs."""
        session = self._sessions[name]
        found = session.run(None, {key: np.asarray(array) for key, array in inputs.items()})
        return dict(zip((output.name for output in session.get_outputs()), found, strict=True))
