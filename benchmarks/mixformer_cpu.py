"""Frames a second of MixFormerV2 at batch 1 on this machine's processor, beside the same network in PyTorch.

    python -m benchmarks.mixformer_cpu [--variant s] [--frames 60] [--threads 2] [--dtype float32]

network: the forward pass alone, as the field counts; once in full (templates and search) and once with the templates'
keys and values kept, which is what tracking does. end to end: a frame of 640 x 480 in memory to a box in pixels: crop,
normalization, network, mapping back (no image decoding). PyTorch, where it can be imported, runs eagerly in inference
mode with the same weights on the same threads; its network is torch_mixformer.py's, and it crops with OpenCV, as the
authors' trackers do. Rows take turns.
"core ms" is processor time of all threads, which other work on the machine distorts less than the clock, though threads
that wait busily count; "fastest" is the one best frame. Random weights: speed does not depend on them.
"""

import math
import os

import jax
import numpy as np
from absl import flags

import trackers
from benchmarks import timing
from configs import variants
from trackers import convert, errors
from trackers.evaluation import tables
from trackers.ops import boxes
from trackers.ops.crops import IMAGENET_MEAN, IMAGENET_STD
from trackers.tracking import single_object
from trackers.training import flops

FLAGS = flags.FLAGS
ROUNDS = 5
HEADS = ["what", "ms", "frames/s", "fastest ms", "core ms"]
# The frame of the end-to-end rows (height, width), and the box in it, x,y,w,h in pixels.
FRAME, BOX = (480, 640, 3), (200, 150, 90, 60)


def multiply_adds(config):
    """What a frame costs with and without the templates' keys and values kept, in words."""
    count = flops.of_tracker(trackers.build(config.model))
    giga = {part: f"{count[part] / 1e9:.3f} G" for part in ("whole", "search", "template")}
    return (
        f"multiply-adds of a frame: {giga['whole']} in full, {giga['search']} with the templates kept"
        f" ({giga['template']} when one changes); {count['parameters'] / 1e6:.1f} M parameters"
    )


def jax_rows(config):
    """{row: function} of our network and tracker, and the weights under their published names."""
    model = trackers.build(config.model)
    variables = trackers.init(model, jax.random.key(0))
    template, box, search = (
        jax.random.normal(jax.random.key(1), x.shape, x.dtype) for x in trackers.example_inputs(model)
    )
    full = jax.jit(lambda t, s: model.apply(variables, t, box, s))
    locate = jax.jit(lambda cache, s: model.apply(variables, cache, s, method="locate"))
    cache = jax.jit(lambda t: model.apply(variables, t, box, method="encode_template"))(template)
    tracker = single_object.Tracker(model, {**config.tracking, "update_interval": 0})
    frame = np.random.default_rng(0).integers(0, 256, FRAME, np.uint8)
    state = tracker.init(variables, frame, np.float32(BOX))
    rows = {
        "JAX, network, full": lambda: full(template, search),
        "JAX, network, templates kept": lambda: locate(cache, search),
        "JAX, end to end, templates kept": lambda: np.asarray(tracker.step(variables, state, frame)[1].box),
    }
    inputs = np.asarray(template), np.asarray(search)
    return rows, convert.from_variables(variables, config.model), inputs, full(template, search).box


def cropped(frame, box, factor, size):
    """A crop around a box x,y,w,h as the field's trackers cut it: (size,size,3) uint8, its left and top, its scale."""
    import cv2

    x, y, w, h = box
    side = math.ceil(math.sqrt(w * h) * factor)
    left, top = round(x + (w - side) / 2), round(y + (h - side) / 2)
    inside = frame[max(top, 0) : top + side, max(left, 0) : left + side]
    height, width = frame.shape[:2]
    borders = max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0)
    whole = cv2.copyMakeBorder(inside, *borders, cv2.BORDER_CONSTANT)
    return cv2.resize(whole, (size, size)), left, top, size / side


def torch_rows(config, weights, inputs, threads):
    """The same in eager PyTorch: {row: function}, and the box of the full forward (1,4) cx,cy,w,h."""
    import torch

    from benchmarks import torch_mixformer

    torch.set_num_threads(threads)
    network = torch_mixformer.MixFormerV2(config.model).eval()
    network.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in weights.items()})
    template, search = (torch.from_numpy(np.moveaxis(images, -1, -3).copy()) for images in inputs)

    @torch.inference_mode()
    def full():
        return network(template, None, search)

    @torch.inference_mode()
    def keep():
        return network.backbone.encode_template(template)

    memory = keep()

    @torch.inference_mode()
    def cached(images=search):
        return network.locate(memory, images)

    frame, size = np.random.default_rng(0).integers(0, 256, FRAME, np.uint8), search.shape[-1]
    mean, deviation = (255 * torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))

    @torch.inference_mode()
    def end_to_end():
        crop, left, top, scale = cropped(frame, BOX, config.tracking.search_factor, size)
        images = torch.from_numpy(crop).permute(2, 0, 1)[None].float().sub(mean).div(deviation)
        x1, y1, x2, y2 = (cached(images)[0][0] * (size / scale)).tolist()
        return left + x1, top + y1, x2 - x1, y2 - y1

    rows = {
        "PyTorch eager, network, full": full,
        "PyTorch eager, network, templates kept": cached,
        "PyTorch eager, end to end, templates kept": end_to_end,
    }
    return rows, np.asarray(boxes.xyxy_to_cxcywh(full()[0].numpy()))


def define_flags():
    flags.DEFINE_string("variant", "s", "Variant of configs/mixformer_v2.py.")
    flags.DEFINE_integer("frames", 60, "Frames of each row, over all rounds.", lower_bound=1)
    flags.DEFINE_integer("threads", len(os.sched_getaffinity(0)), "Cores that are used.", lower_bound=1)
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Data type of the JAX network.")


def main(argv):
    del argv
    timing.keep_to_cores(FLAGS.threads)
    config = variants.load(f"configs/mixformer_v2.py:{FLAGS.variant}")
    with config.unlocked():
        config.model.dtype = FLAGS.dtype
    calls, weights, inputs, box = jax_rows(config)
    try:
        others, other_box = torch_rows(config, weights, inputs, FLAGS.threads)
        print(f"largest difference of the boxes, JAX and PyTorch: {np.abs(box - other_box).max():.1e}")
        calls |= others
    except ImportError:
        print("PyTorch is not installed: its rows are left out")
    times = timing.take_turns(calls, ROUNDS, max(1, FLAGS.frames // ROUNDS))
    print(f"MixFormerV2 {FLAGS.variant}, batch 1, {FLAGS.threads} cores, JAX in {FLAGS.dtype}, PyTorch in float32")
    print(f"{multiply_adds(config)}\n")
    print(tables.markdown(HEADS, [[name, *_cells(elapsed)] for name, elapsed in times.items()]))


def _cells(elapsed):
    middle, fastest = timing.median(elapsed), min(each.wall for each in elapsed)
    columns = 1e3 * middle.wall, 1 / middle.wall, 1e3 * fastest, 1e3 * middle.cores
    return [f"{value:.1f}" for value in columns]


if __name__ == "__main__":
    define_flags()
    errors.run(main)
