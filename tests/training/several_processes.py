"""One process of a run on folders of frames, started by test_processes_run.py; counts what it reads, prints JSON.

python -m tests.training.several_processes FRAMES WORKDIR STEPS [--terminated]
"""

import json
import os
import signal
import sys

import jax

import train
from data_pipelines import pairs
from tests.training import support
from trackers.io import image_files
from trackers.training import processes, sharding


def main(folder, workdir, last_step, *options):
    processes.join()
    config = support.process_config(folder)
    made, reads = [], []
    read_data, pair = image_files.read_data, pairs.pair

    def counted_pair(sources, ratio, pair_config, seed, step, row, split="train", attempt=0):
        made.append((split, step, row))
        return pair(sources, ratio, pair_config, seed, step, row, split, attempt)

    def counted_read(path):
        reads.append(str(path))
        return read_data(path)

    pairs.pair, image_files.read_data = counted_pair, counted_read
    if "--terminated" in options and jax.process_index() == 0:
        _terminate_at_step(3)
    code = train.train(config, workdir, int(last_step))
    print(json.dumps({
        "processes": jax.process_count(), "devices": jax.device_count(), "code": code, "reads": len(reads),
        "made": len(made), "rows": sorted({row for split, _, row in made if split == "train"}),
        "own": list(sharding.process_rows(sharding.make_mesh(config.mesh), config.train.batch_size)),
    }))  # fmt: skip
    return code


def _terminate_at_step(step):
    """SIGTERM to this process alone, as a scheduler would send it to one host, when `step` is about to be taken."""
    put_batch, taken = sharding.put_batch, []

    def put(batch, mesh):
        taken.append(None)
        if len(taken) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return put_batch(batch, mesh)

    sharding.put_batch = put


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
