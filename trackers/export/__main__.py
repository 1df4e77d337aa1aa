"""Exports a tracker for programs without this house's code, or without JAX (docs/export.md).

    python -m trackers.export --to DIR                                              # the shipped GRM
    python -m trackers.export --config configs/grm.py:b256 --checkpoint DIR_OR_PTH --formats stablehlo,onnx --to DIR

stablehlo    a tracker's whole step, and the graphs of its network; trackers.load(DIR) runs it
onnx         the graphs, in float32; needs the extra `export`
tflite       the graphs, in float32; needs the extra `data` (TensorFlow)
tflite_int8  the graphs, their weights in 8 bits

Each is run at once beside the model through a sequence. Where a box of one step differs by more than --tolerance
pixels the program ends with exit code 1, and the folder is left marked as unfinished.
"""

import json

import jax
import numpy as np
from absl import flags

import trackers
from data_pipelines import sources
from data_pipelines.procedural import video
from trackers import errors, weights
from trackers.errors import InputError, UsageError
from trackers.export import checks, graphs, onnx_graphs, stablehlo, tflite_graphs
from trackers.io import digests, image_files, outputs, ownership
from trackers.nn import stacking
from trackers.ops import crops
from trackers.tracking import canvases, exported, single_object, with_words

FORMATS = ("stablehlo", "onnx", "tflite", "tflite_int8")
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
# Largest difference in one step by default: of a box in pixels, and of iKUN's similarities. Rounding in float32 moves
# a box by some 1e-4 pixels, weights in 8 bits by a few.
_TOLERANCE = {"track": (0.01, 4.0), "refer": (1e-4, 0.05)}
_SEED, _LENGTH = 5001, 20

FLAGS = flags.FLAGS
weights.define_flags()
flags.DEFINE_string("to", None, "Folder to write, new or empty.", required=True)
flags.DEFINE_list("formats", ["stablehlo"], f"Of {', '.join(FORMATS)}, one or several.")
flags.DEFINE_list("platforms", ["cpu", "cuda", "tpu"], f"What stablehlo is for: of {', '.join(PLATFORMS)}.")
flags.DEFINE_string(
    "sequence", None, "Folder of frames with groundtruth.txt to compare on. None: procedural video, made on the spot."
)
flags.DEFINE_integer("frames", _LENGTH, "Compare on so many frames at most.", lower_bound=2)
flags.DEFINE_float(
    "tolerance",
    None,
    "Largest difference of a box in one step, pixels (of a similarity, of iKUN). None: 0.01 in float32, 4 with weights"
    " in 8 bits (1e-4 and 0.05).",
    lower_bound=0.0,
)


def main(argv):
    del argv
    formats = _chosen("formats", FORMATS)
    platforms = _chosen("platforms", PLATFORMS)
    for module in [module for form, module in _GRAPH_FORMATS.items() if form in formats]:
        module.check_installed()
    ownership.check_new(FLAGS.to, "--to")
    config = trackers.to_plain(weights.chosen_config())
    config["model"] = graphs.portable(config["model"])
    model = trackers.build(config["model"])
    tracks = model.task == "track"
    if FLAGS.sequence and not tracks:
        raise UsageError("--sequence has no use with iKUN, which is compared on noise: leave it out")
    tracker = single_object.Tracker(model, config["tracking"]) if tracks else None
    parts = graphs.of_tracker(model, tracker.settings.window) if tracks else _of_words(model, config)
    shown = _sequence() if tracks else None
    variables = weights.load(FLAGS.checkpoint, config["model"])
    out = outputs.claim_folder(FLAGS.to, "--to")

    manifest, rows = _manifest(config, model, parts, variables), []
    with ownership.hold_new(out, "--to"), outputs.unfinished(out):
        for form in formats:
            run = _written(form, out, tracker, variables, parts, config, platforms, manifest)
            limit = _tolerance(form, model)
            for label, found in _compared(form, run, model, tracker, variables, parts, config, shown):
                size = sum((out / name).stat().length for name in manifest["files"][form])
                rows.append(found.row(label, size))
                manifest["checked"][label] = {"step": found.step, "way": found.way, "tolerance": limit}
                if not found.step <= limit:
                    unit = " pixels" if tracks else ""
                    raise InputError(
                        f"{label} differs from the model by {found.step:.3g}{unit} in one step, --tolerance allows"
                        f" {limit:g}: {out} is marked as unfinished"
                    )
        outputs.write_text(out / exported.MANIFEST, json.dumps(manifest, indent=1) + "\n")
        digests.write(out)
    print(checks.table(rows))
    print(f"wrote {out}")


_GRAPH_FORMATS = {"onnx": onnx_graphs, "tflite": tflite_graphs, "tflite_int8": tflite_graphs}


def _chosen(flag, known):
    """The words of a list flag, each once. Raises: UsageError for an unknown one, and for none."""
    given = list(dict.fromkeys(word.strip() for word in FLAGS[flag].value))
    for word in given:
        if word not in known:
            raise UsageError(f"--{flag}={word}: choose among {', '.join(known)}")
    if not given:
        raise UsageError(f"--{flag} is empty: choose among {', '.join(known)}")
    return given


def _of_words(model, config):
    return graphs.of_words(model, with_words.settings(config["tracking"]).samples)


def _sequence():
    """(frames, box (4,) of the first) to compare on."""
    if FLAGS.sequence is None:
        frames, boxes = video.sequence(_SEED, FLAGS.frames)
        return list(frames), np.float32(boxes[0])
    _, found = sources.open_sequences(f"frames:{FLAGS.sequence}")
    paths = found[0].frames[: FLAGS.frames]
    if len(paths) < 2:
        raise InputError(f"--sequence {FLAGS.sequence} has no frame after a first one: nothing can be compared")
    frames = [image_files.read_image(path) for path in paths]
    return frames, single_object.check_box(found[0].boxes[0], *frames[0].shape[:2])


def _manifest(config, model, parts, variables):
    """What export.json says before anything is written."""
    clip = model.task == "refer"
    return {
        "format": exported.FORMAT,
        "version": exported.VERSION,
        "name": config["model"]["name"],
        "task": model.task,
        "written_by": {"one-stream-trackers": trackers.__version__, "jax": jax.__version__},
        "model": weights.plain(config["model"]),
        "tracking": weights.plain(_settings(config, model)),
        "input": {
            "colors": "rgb",
            "mean": crops.CLIP_MEAN if clip else crops.IMAGENET_MEAN,
            "std": crops.CLIP_STD if clip else crops.IMAGENET_STD,
            "levels": 255,
        },
        "canvases": canvases.CANVASES,
        "graphs": {
            graph.name: {"inputs": _rows(graph.inputs), "outputs": _rows(graph.outputs(variables))} for graph in parts
        },
        "platforms": [],
        "programs": {},
        "files": {},
        "checked": {},
    }


def _settings(config, model):
    """The tracking section with all that has a default."""
    if model.task == "refer":
        return vars(with_words.settings(config["tracking"]))
    return vars(single_object.Tracker(model, config["tracking"]).settings)


def _rows(arrays):
    return [[name, list(x.shape), x.dtype.name] for name, x in arrays.items()]


def _written(form, out, tracker, variables, parts, config, platforms, manifest):
    """Writes the files of a format, names them in the manifest, and gives what runs their graphs."""
    if form == "stablehlo":
        weights.save(out, variables, config["model"], config)
        found = stablehlo.programs(tracker, variables, parts, platforms)
        manifest.update(platforms=platforms, programs=stablehlo.described(found))
        _keep(form, out, stablehlo.files(found), manifest)
        manifest["files"][form].append(weights.FILE)
        return stablehlo.Runner(out, found, stacking.flatten(variables))
    int8 = form == "tflite_int8"
    if form == "onnx":
        _keep(form, out, onnx_graphs.files(parts, variables), manifest)
        return onnx_graphs.Runner(out, parts)
    _keep(form, out, tflite_graphs.files(parts, variables, int8), manifest)
    return tflite_graphs.Runner(out, parts, int8)


def _keep(form, out, files, manifest):
    for name, content in files.items():
        outputs.write_bytes(out / name, content)
    manifest["files"][form] = list(files)


def _compared(form, run, model, tracker, variables, parts, config, shown):
    """Yields (label, checks.Found) of what was written in a format."""
    if tracker is None:
        yield form, checks.words(model, variables, parts, run)
        return
    if form == "stablehlo":
        yield f"{form}: step", checks.whole(tracker, variables, run.tracker(), run.weights, *shown)
    yield f"{form}: search", checks.network(model, config["tracking"], variables, parts, run, *shown)


def _tolerance(form, model):
    return FLAGS.tolerance if FLAGS.tolerance is not None else _TOLERANCE[model.task]["int8" in form]


if __name__ == "__main__":
    errors.run(main)
