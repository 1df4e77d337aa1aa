"""ONNX and TFLite: the graphs of every family, and the program that docs/export.md prints."""

import importlib.util
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

import trackers
from data_pipelines.procedural import video
from tests import programs
from tests.export.test_stablehlo import TRACKERS, built, noise
from trackers.export import graphs, onnx_graphs, tflite_graphs
from trackers.io import video_files

HERE = {name: importlib.util.find_spec(name) is not None for name in ("jax2onnx", "onnxruntime", "tensorflow")}
needs_onnx = pytest.mark.skipif(
    not (HERE["jax2onnx"] and HERE["onnxruntime"]), reason="ONNX needs requirements/onnx.txt"
)
needs_tensorflow = pytest.mark.skipif(not HERE["tensorflow"], reason="TFLite needs requirements/data.txt")
PAGE = programs.ROOT / "docs" / "export.md"


def parts_of(name):
    """(variables, graphs) of one of TRACKERS, or of iKUN."""
    family, fields, settings = TRACKERS.get(name, ("ikun", {}, {}))
    model, variables = built(family, fields)
    return variables, graphs.of_words(model, 2) if name == "ikun" else graphs.of_tracker(model, 1.0)


def check(folder, variables, parts, files, runner, tolerance):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    run = runner(folder, parts)
    for graph in parts:
        inputs = noise(graph, 1)
        expected, found = jax.jit(graph.function)(variables, inputs), run(graph.name, inputs)
        assert found.keys() == expected.keys()
        for key, array in expected.items():
            np.testing.assert_allclose(found[key], array, atol=tolerance, err_msg=f"{graph.name}: {key}")


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("name", [*TRACKERS, "ikun"])
def test_onnx_says_what_the_model_says(tmp_path, name):
    variables, parts = parts_of(name)
    check(tmp_path, variables, parts, onnx_graphs.files(parts, variables), onnx_graphs.Runner, 2e-5)


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("name", [*TRACKERS, "ikun"])
def test_tflite_says_what_the_model_says(tmp_path, name):
    variables, parts = parts_of(name)
    check(tmp_path, variables, parts, tflite_graphs.files(parts, variables), tflite_graphs.Runner, 2e-5)


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("contrast", [1.0, 0.15])
def test_the_program_of_the_page_needs_no_jax(tmp_path, contrast):
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(block.splitlines()) <= 40
    # JAX and this package cannot be imported there.
    barred = "import sys; sys.modules.update(dict.fromkeys(['jax', 'flax', 'trackers']))\n"
    (tmp_path / "run_onnx.py").write_text(barred + block)
    frames, boxes = video.sequence(5001, 6)
    with video_files.VideoWriter(tmp_path / "my.mp4") as writer:
        for frame in frames:
            writer.write(np.round(128 + contrast * (frame - 128.0)).astype(np.uint8))
    written = programs.run("trackers.export", "--formats=onnx", "--frames=3", f"--to={tmp_path / 'exported'}")
    assert written.returncode == 0, written.stderr
    words = [str(round(float(value), 2)) for value in boxes[0]]
    command = [sys.executable, "run_onnx.py", "exported", "my.mp4", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = np.array([line.split() for line in done.stdout.splitlines()], np.float64)
    tracker = trackers.load("grm_t128")
    shown = iter(video_files.Video(tmp_path / "my.mp4"))
    tracker.start(next(shown), [float(word) for word in words])
    expected = [tracker.update(frame) for frame in shown]
    assert len(found) == len(expected) == 5
    np.testing.assert_allclose(found[:, :4], [one.box for one in expected], atol=0.05)
    np.testing.assert_allclose(found[:, 4], [one.score for one in expected], atol=1e-3)


@needs_tensorflow
@pytest.mark.slow
def test_an_artefact_that_differs_too_much_is_refused(tmp_path):
    out = tmp_path / "exported"
    words = "--formats=tflite_int8", "--frames=3", "--tolerance=1e-6", f"--to={out}"
    done = programs.run("trackers.export", *words)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "tflite_int8: search differs from the model by" in done.stderr and "--tolerance allows 1e-06" in done.stderr
    assert (out / "UNFINISHED").exists() and not (out / "export.json").exists()


@pytest.mark.skipif(HERE["jax2onnx"], reason="jax2onnx is installed here")
def test_a_package_that_is_absent_is_named(tmp_path):
    done = programs.run("trackers.export", "--formats=onnx", f"--to={tmp_path / 'exported'}")
    assert done.returncode == 1
    assert done.stderr == "error: jax2onnx is not installed: pip install 'one-stream-trackers[export]'\n"
    assert not (tmp_path / "exported").exists()
