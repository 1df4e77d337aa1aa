"""Frames a second of MixFormerV2 at batch 1 on this machine's processor, beside the same network in PyTorch.

    python -m benchmarks.mixformer_cpu [--variant s] [--frames 60] [--threads 2] [--dtype float32]

network: the forward pass alone, as the field counts; once in full (templates and search) and once with the templates'
keys and values kept, which is what tracking does. end to end: a frame of 640 x 480 in memory to a box in pixels: crop,
normalization, network, mapping back (no image decoding). PyTorch, where it can be imported, runs eagerly in inference
mode with the same weights on the same threads; its network is written here as plainly as a user would, and it crops
with OpenCV, as the authors' trackers do. Rows take turns.
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


def torch_rows(weights, inputs, sizes, factor, threads):
    """The same in eager PyTorch: {row: function}, and the box of the full forward (1,4) cx,cy,w,h."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    weights = {key: torch.from_numpy(value.copy()) for key, value in weights.items()}
    heads, depth, patch = sizes

    def linear(x, name):
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x, name, eps):
        return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)

    def embed(images, positions):
        name = "backbone.patch_embed.proj"
        x = functional.conv2d(images, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=patch)
        return x.flatten(2).transpose(1, 2) + weights[f"backbone.{positions}"]

    def attend(q, k, v):
        weighting = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return (weighting @ v).transpose(1, 2).flatten(2)

    def block(i, x, split, memory=None):
        """One layer of templates and rest (split at `split`), of templates alone, or of the rest with `memory`."""
        name = f"backbone.blocks.{i}"
        qkv = linear(norm(x, f"{name}.norm1", 1e-6), f"{name}.attn.qkv")
        q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        if memory is not None:
            attended = attend(q, torch.cat([memory[0], k], dim=2), torch.cat([memory[1], v], dim=2))
        else:
            own = attend(q[:, :, :split], k[:, :, :split], v[:, :, :split])
            attended = own if split == x.shape[1] else torch.cat([own, attend(q[:, :, split:], k, v)], dim=1)
        x = x + linear(attended, f"{name}.attn.proj")
        y = functional.gelu(linear(norm(x, f"{name}.norm2", 1e-6), f"{name}.mlp.fc1"))
        return x + linear(y, f"{name}.mlp.fc2"), (k, v)

    def heads_of(tokens):
        x = norm(linear(tokens, "box_head.layers.0.0"), "box_head.layers.0.1", 1e-5).relu()
        logits = norm(linear(x, "box_head.layers.1.0"), "box_head.layers.1.1", 1e-5)
        bins = logits.shape[-1]
        left, right, top, bottom = (logits.softmax(dim=-1) * torch.arange(bins)).sum(dim=-1).unbind(1)
        box = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], dim=-1) / bins
        score = linear(linear(tokens, "score_head.layers.0.0").relu(), "score_head.layers.1").mean(dim=1)
        return box, score

    template = torch.from_numpy(inputs[0][0].transpose(0, 3, 1, 2).copy())
    search = torch.from_numpy(inputs[1].transpose(0, 3, 1, 2).copy())
    extra = weights["backbone.reg_tokens"] + weights["backbone.pos_embed_reg"]

    def templates():
        return embed(template, "pos_embed_t").flatten(0, 1)[None]

    def rest(images):
        return torch.cat([embed(images, "pos_embed_s"), extra], dim=1)

    @torch.inference_mode()
    def full():
        own = templates()
        x = torch.cat([own, rest(search)], dim=1)
        for i in range(depth):
            x, _ = block(i, x, own.shape[1])
        return heads_of(x[:, -4:])

    @torch.inference_mode()
    def keep():
        x, memory = templates(), []
        for i in range(depth):
            x, kept = block(i, x, x.shape[1])
            memory.append(kept)
        return memory

    memory = keep()

    @torch.inference_mode()
    def cached(images=search):
        x = rest(images)
        for i in range(depth):
            x, _ = block(i, x, 0, memory[i])
        return heads_of(x[:, -4:])

    frame, size = np.random.default_rng(0).integers(0, 256, FRAME, np.uint8), search.shape[-1]
    mean, deviation = (255 * torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))

    @torch.inference_mode()
    def end_to_end():
        crop, left, top, scale = cropped(frame, BOX, factor, size)
        images = torch.from_numpy(crop).permute(2, 0, 1)[None].float().sub(mean).div(deviation)
        cx, cy, w, h = (cached(images)[0][0] * (size / scale)).tolist()
        return left + cx - w / 2, top + cy - h / 2, w, h

    rows = {
        "PyTorch eager, network, full": full,
        "PyTorch eager, network, templates kept": cached,
        "PyTorch eager, end to end, templates kept": end_to_end,
    }
    return rows, full()[0].numpy()


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
        sizes = config.model.heads, config.model.depth, config.model.patch_size
        others, other_box = torch_rows(weights, inputs, sizes, config.tracking.search_factor, FLAGS.threads)
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
