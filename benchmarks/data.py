"""Training pairs a second that one core makes, by what they are read from, beside a PyTorch loader of the same files.

    python -m benchmarks.data [--config configs/grm.py:b256] [--pairs 320] [--rounds 3] [--size 1280x720] [--cores 2]

Videos of JPEG files are made (made_footage.py), and written as shards, whole and packed. Each row is
data_pipelines/loader.py as train.py uses it: random frames, jitter, crops, resizing, brightness, batches. A second is
one of processor time, of all threads, and for PyTorch of all processes: another program on the machine distorts it less
than the clock. Rows take turns; the median is printed and the range. Threads, and PyTorch's workers, are as many as
cores.

whole: frames are decoded whole. part: only what a crop shows is decoded, the same pixels. shrunk: libjpeg shrinks what
is going to be shrunk; other pixels. on the device: raw crops leave the host, a jitted function resizes them and changes
their brightness; its processor time, on a CPU, stands in a column of its own.
PyTorch: the published programs' loader (torch_pairs.py); without PyTorch one line says that its row is left out.
"""

import gc
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import jax
from absl import flags

from benchmarks import made_footage
from data_pipelines import loader, pairs
from data_pipelines.builders import packing, sequences
from data_pipelines.sources import open_source
from trackers import errors
from trackers.evaluation import tables
from trackers.io import numbers

FLAGS = flags.FLAGS
HEADS = ["read from", "ms a pair", "range", "pairs/s of a core", "of PyTorch", "on the device, ms a pair"]
# What a row changes in config.data.
ROWS = {
    "files, whole": {"source": "frames", "decoding": "whole"},
    "files, part": {"source": "frames", "decoding": "part"},
    "files, shrunk": {"source": "frames", "decoding": "shrunk"},
    "ArrayRecord, part": {"source": "shards", "decoding": "part"},
    "packed shards": {"source": "packed", "decoding": "part"},
    "files, part, on the device": {"source": "frames", "decoding": "part", "crops_on": "device"},
    "packed shards, on the device": {"source": "packed", "decoding": "part", "crops_on": "device"},
}
PYTORCH = "PyTorch, files"
# Batches until all threads are at work and nothing made before is left.
_WARM = 6


def settings(config, row, folders, threads):
    """The config of a row. folders: {source: folder}."""
    config = config.copy_and_resolve_references()
    changes = dict(ROWS[row])
    source = changes.pop("source")
    with config.unlocked():
        for name in config.data.ratio:
            config.data.ratio[name] = 0.0
        name = "frames" if source == "frames" else "shards"
        config.data.ratio[name], config.data[name] = 1.0, str(folders[source])
        config.data.threads = threads
        config.data.update(changes)
    return config


def milliseconds(config, count, batch):
    """(processor time of a pair on the host, and in what finishes it on the device, None without), milliseconds."""
    batches, finish = loader.unfinished_batches(config, 0, range(batch)), loader.finish(config)
    steps = -(-count // batch)
    try:
        for _ in range(_WARM):
            made = next(batches)
        start = time.process_time()
        for _ in range(steps):
            made = next(batches)
        host = time.process_time() - start
    finally:
        batches.close()
    if finish is None:
        return host / steps / batch * 1e3, None
    placed, jitted = jax.device_put(made), jax.jit(finish)
    jax.block_until_ready(jitted(placed))
    start = time.process_time()
    for _ in range(steps):
        jax.block_until_ready(jitted(placed))
    return host / steps / batch * 1e3, (time.process_time() - start) / steps / batch * 1e3


def pytorch_milliseconds(folder, count, batch, workers):
    """Processor time of a pair of the PyTorch loader, milliseconds, in processes of its own."""
    given = {"folder": folder, "pairs": count, "batch": batch, "workers": workers}
    command = [sys.executable, "-m", "benchmarks.torch_pairs", *(f"--{name}={value}" for name, value in given.items())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise errors.InputError(f"benchmarks.torch_pairs failed: {done.stderr.strip().splitlines()[-1:]}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    return result["seconds"] / result["pairs"] * 1e3


def written(folder, config, videos, frames, size):
    """({source: folder} of what rows read, {source: bytes of an image})."""
    folders = {name: folder / name for name in ("frames", "shards", "packed")}
    folders["frames"].mkdir()
    sizes = {"frames": made_footage.write(folders["frames"], videos, frames, size)}
    source = open_source("frames", folders["frames"])
    for name, packed in (("shards", None), ("packed", packing.Packing(pairs.PairConfig.from_config(config)))):
        done = sequences.write(source, folders[name], "train", packed)
        sizes[name] = done.bytes / done.records
    return folders, sizes


def define_flags():
    errors.define_config("Config of a tracker of one object.", "configs/grm.py:b256")
    flags.DEFINE_integer("pairs", 320, "Pairs that a row makes in a round.", lower_bound=1)
    flags.DEFINE_integer("rounds", 3, "Turns that each row takes.", lower_bound=1)
    flags.DEFINE_integer("batch", 16, "Pairs in a batch.", lower_bound=1)
    flags.DEFINE_integer("videos", 12, "Videos that are made.", lower_bound=1)
    flags.DEFINE_integer("frames", 24, "Frames of each; a pair needs 20.", lower_bound=20)
    flags.DEFINE_string("size", "1280x720", "Width and height of the frames.")
    flags.DEFINE_integer("cores", None, "Cores to use, the first ones; else all.", lower_bound=1)


def _size(text):
    sides = text.split("x")
    if len(sides) != 2 or not all(numbers.is_digits(side) and 64 <= int(side) <= 8192 for side in sides):
        raise errors.UsageError(f"--size={text}: give width and height from 64 to 8192, as 1280x720")
    return int(sides[0]), int(sides[1])


def main(argv):
    del argv
    config, size = FLAGS.config, _size(FLAGS.size)
    if config.data.name != "pairs":
        raise errors.UsageError(f"--config: {config.model.name} is not trained on pairs: give configs/grm.py:b256")
    available = sorted(os.sched_getaffinity(0))
    cores = available[: FLAGS.cores]
    os.sched_setaffinity(0, cores)
    with tempfile.TemporaryDirectory() as temporary:
        folders, sizes = written(pathlib.Path(temporary), config, FLAGS.videos, FLAGS.frames, size)
        print(f"{FLAGS.videos} videos of {FLAGS.frames} frames, {FLAGS.size}, {len(cores)} cores; bytes an image:"
              f" files {sizes['frames']:,.0f}, packed {sizes['packed']:,.0f}", flush=True)  # fmt: skip
        host, device = {row: [] for row in ROWS}, {row: [] for row in ROWS}
        with_torch = importlib.util.find_spec("torch") is not None
        if not with_torch:
            print("PyTorch is not installed, so its row is left out: pip install torch", flush=True)
        theirs = []
        for _ in range(FLAGS.rounds):
            for row in ROWS:
                taken = milliseconds(settings(config, row, folders, len(cores)), FLAGS.pairs, FLAGS.batch)
                host[row].append(taken[0])
                device[row].append(taken[1])
                gc.collect()
            if with_torch:
                theirs.append(pytorch_milliseconds(folders["frames"], FLAGS.pairs, FLAGS.batch, len(cores)))
    print(_table(host, device, theirs))


def _table(host, device, theirs):
    if theirs:
        host, device = {PYTORCH: theirs} | host, {PYTORCH: [None]} | device
    rows = []
    for name, times in host.items():
        median = statistics.median(times)
        ratio = f"{statistics.median(theirs) / median:.2f}x" if theirs else ""
        rest = "" if device[name][0] is None else f"{statistics.median(device[name]):.2f}"
        cells = [f"{median:.2f}", f"{min(times):.2f}-{max(times):.2f}", f"{1e3 / median:.0f}", ratio, rest]
        rows.append([name, *cells])
    return tables.markdown(HEADS, rows)


if __name__ == "__main__":
    define_flags()
    errors.run(main)
