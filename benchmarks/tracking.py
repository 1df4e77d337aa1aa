"""Where the time of tracking goes: network, step, decoding, and all of it from JPEG files, one by one and batched.

    python -m benchmarks.tracking [--configs configs/grm.py:t128,...] [--batch 1,8,32] [--size 1280x720] [--frames 100]
        [--set model.dtype=bfloat16] [--threads 16] [--frames_per_dispatch 4]

A row is a config and a batch, times are of a batch of frames, one of each sequence:

network: the search crops through the network, templates encoded before, as the field counts.
step: frames on the device to boxes there: crop, network, box, templates replaced where the config says so. With
--frames_per_dispatch one call takes so many frames of each sequence, and times are a call's share.
decode: the frames read from JPEG files by all threads, and nothing else.
end to end: as eval.py --batch runs, from files to boxes on the host, where decoding, sending and steps overlap (batch
1: as it runs without, two threads reading ahead). Compiling is left out everywhere.

The shares are of the end-to-end time; as the parts overlap they may add up to more than all of it. Step or decoding
bounds, whichever is longer; where neither fills 80 % of the time it is the rest: laying frames out, sending them, and
Python. On a CPU decoding and network share the cores, so there neither may. Weights are random; speed does not depend
on them.
"""

import concurrent.futures
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import trackers
from benchmarks import timing, train_step
from configs import variants
from trackers import errors
from trackers.evaluation import batched, benchmark, tables
from trackers.io import image_files, numbers
from trackers.tracking import canvases, lockstep, single_object

FLAGS = flags.FLAGS
CONFIGS = [
    "configs/grm.py:b256",
    "configs/ostrack.py:b256_ce",
    "configs/simtrack.py:b16",
    "configs/mixformer_v2.py:s",
    "configs/mixformer_v2.py:b",
    "configs/grm.py:t128",
]
HEADS = ["config", "batch"]
HEADS += [f"{part} {unit}" for part in ("network", "step", "decode", "end to end") for unit in ("ms", "frames/s")]
HEADS += ["network %", "crop and box %", "decode %", "bound by"]
# The share of the end-to-end time from which on a part counts as what bounds it.
_BOUNDS = 0.8
_WARM_CALLS = 2


def write_frames(folder, count, height, width):
    """Writes `count` JPEGs like photographs, smooth with a little noise, a patch walking across them; their paths."""
    import cv2

    rng, paths = np.random.default_rng(0), []
    coarse = rng.integers(0, 256, (max(2, height // 24), max(2, width // 24), 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    for number in range(count):
        frame = smooth + rng.integers(-6, 7, smooth.shape, np.int16)
        x, y, w, h = (int(value) for value in first_box(height, width))
        x += 2 * number % (width - w - x)
        frame[y : y + h, x : x + w] = smooth[:h, :w][::-1]
        paths.append(Path(folder) / f"{number:05d}.jpg")
        cv2.imwrite(str(paths[-1]), np.clip(frame, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


def first_box(height, width):
    """The target in the first frame: (4,) x, y, w, h in pixels, float32."""
    return np.float32([width // 4, height // 4, width // 8, height // 6])


def per_call(call, value, count):
    """Seconds of value = call(value), `count` times without waiting in between, after a few to warm up."""
    for _ in range(_WARM_CALLS):
        value = call(value)
    jax.block_until_ready(value)
    start = time.perf_counter()
    for _ in range(count):
        value = call(value)
    jax.block_until_ready(value)
    return (time.perf_counter() - start) / count


def network(model, variables, batch, count):
    """Seconds of a batch of search crops through the network."""
    template, box, search = (jnp.zeros(x.shape, x.dtype) for x in model.example_inputs(batch))
    cache = jax.jit(lambda *inputs: model.apply(variables, *inputs, method="encode_template"))(template, box)

    @jax.jit
    def locate(variables, cache, search):
        return model.decode(model.apply(variables, cache, search, method="locate"), 1.0)[0]

    return per_call(lambda _: locate(variables, cache, search), None, count)


def step(tracker, variables, batch, frames, count, together=1):
    """Seconds of a frame of `batch` slots, (H, W, 3) on the device already; a call takes `together` of each."""
    slots = lockstep.Lockstep(tracker, variables, batch, frames=together)
    height, width = frames[0].shape[:2]
    canvas = canvases.canvas_for([(height, width)])
    stack = np.zeros((slots.slots, together, *canvas, 3), np.uint8)
    stack[:, :, :height, :width] = frames[0]
    sizes, every = np.tile(np.int32([height, width]), (slots.slots, together, 1)), np.ones(slots.slots, bool)
    batch = slots.put(stack, sizes, np.ones((slots.slots, together), bool), {}, ~every)
    starts = dict.fromkeys(range(slots.slots), first_box(height, width))
    states, _ = slots.step(slots.empty(), batch._replace(starts=starts))

    def call(carry):
        states, number = carry
        # eval.py ends a call where templates are due; here they are replaced as often, after the call.
        due = any(tracker.is_due(number + k) for k in range(together))
        states, _ = slots.step(states, batch._replace(due=every & due))
        return states, number + together

    return per_call(call, (states, 1), -(-count // together)) / together


def decoding(paths, threads, count):
    """Seconds of a frame, read by so many threads."""
    paths = [paths[i % len(paths)] for i in range(count)]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(image_files.read_image, paths[:threads]))
        start = time.perf_counter()
        for _ in pool.map(image_files.read_image, paths):
            pass
        return (time.perf_counter() - start) / count


def end_to_end(tracker, variables, batch, paths, box, threads, together=1):
    """Seconds of a batch of frames, from files to boxes on the host, of as many sequences as the batch is."""
    sequences = [SimpleNamespace(name=str(i), frames=paths, boxes=box[None]) for i in range(batch)]
    if batch == 1:
        runner = benchmark.Runner(tracker, variables, image_files.read_image)
    else:
        runner = batched.Runner(tracker, variables, image_files.read_image, batch, threads=threads, frames=together)
    tracks = [track for _, track in runner.tracks(sequences)]
    return batch * sum(track.elapsed for track in tracks) / sum(len(track.seconds) - 1 for track in tracks)


def row(name, config, batch, paths, threads, decode, together=1):
    """A row of the table. decode: seconds of a frame with all threads. together: frames a dispatch."""
    model = trackers.build(config.model)
    tracker = single_object.Tracker(model, config.tracking)
    variables = jax.jit(lambda key: trackers.init(model, key))(jax.random.key(0))
    frame, count = image_files.read_image(paths[0]), len(paths)
    seconds = {
        "network": network(model, variables, batch, count),
        "step": step(tracker, variables, batch, [frame], count, together),
        "decode": batch * decode,
        "all": end_to_end(tracker, variables, batch, paths, first_box(*frame.shape[:2]), threads, together),
    }
    cells = [text for value in seconds.values() for text in (f"{1e3 * value:.2f}", _rate(batch / value))]
    rest = max(0.0, seconds["step"] - seconds["network"])
    shares = [f"{100 * part / seconds['all']:.0f}" for part in (seconds["network"], rest, seconds["decode"])]
    longest = max(("step", "decode"), key=seconds.get)
    bound = longest if seconds[longest] >= _BOUNDS * seconds["all"] else "the rest"
    return [name, str(batch), *cells, *shares, bound]


def _rate(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def frame_size(text):
    """(height, width) of WIDTHxHEIGHT. Raises: UsageError for anything else, or less than 64 pixels."""
    parts = text.split("x")
    if len(parts) != 2 or not all(numbers.is_digits(part) and int(part) >= 64 for part in parts):
        raise errors.UsageError(f"--size={text}: give WIDTHxHEIGHT in pixels, at least 64x64, as 1280x720")
    return int(parts[1]), int(parts[0])


def define_flags():
    flags.DEFINE_list("configs", CONFIGS, "Configs of single-object trackers, FILE or FILE:VARIANT.")
    flags.DEFINE_list("batch", ["1", "8", "32"], "Sequences at a time, one row each; 1: one by one.")
    flags.DEFINE_multi_string("set", [], "A setting of the configs, KEY=VALUE; may be given several times.")
    flags.DEFINE_string("size", "1280x720", "Width and height of the frames in pixels.")
    flags.DEFINE_integer("frames", 100, "Frames of each sequence, and calls that are timed.", lower_bound=3)
    flags.DEFINE_integer("frames_per_dispatch", 1, "Frames of a sequence in one call, with a batch.", lower_bound=1)
    flags.DEFINE_integer("threads", 0, "That decode; 0: as many as there are cores.", lower_bound=0)


def main(argv):
    del argv
    size, batches = frame_size(FLAGS.size), timing.counts("batch", FLAGS.batch)
    configs = {name: train_step.changed(variants.load(name), FLAGS["set"].value) for name in FLAGS.configs}
    for name, config in configs.items():
        if trackers.build(config.model).task != "track":
            raise errors.UsageError(f"--configs={name}: that tracks no single object; name e.g. configs/grm.py:t128")
    cores = len(os.sched_getaffinity(0))
    threads = FLAGS.threads or cores
    with tempfile.TemporaryDirectory() as folder:
        paths = write_frames(folder, FLAGS.frames, *size)
        decode = decoding(paths, threads, max(len(paths), 8 * threads))
        kib = sum(path.stat().st_size for path in paths) / len(paths) / 1024
        devices = jax.local_devices()
        machine = f"{devices[0].device_kind} x {len(devices)}, {cores} cores, {threads} threads decode"
        print(f"{machine}; jax {jax.__version__}")
        print(f"JPEGs of {FLAGS.size} pixels, {kib:.0f} KiB", *FLAGS["set"].value, sep=", ", end="\n\n", flush=True)
        rows = []
        for name, config in configs.items():
            for batch in batches:
                # One by one, as eval.py runs without --batch, takes a frame a call.
                together = FLAGS.frames_per_dispatch if batch > 1 else 1
                rows.append(row(name.removeprefix("configs/"), config, batch, paths, threads, decode, together))
                print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    print(tables.markdown(HEADS, rows))


if __name__ == "__main__":
    define_flags()
    errors.run(main)
