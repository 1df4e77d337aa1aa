"""A run that trains nothing: resumes in WORKDIR, saves the step after, and ends as the programs do.

python -m tests.training.saving_run WORKDIR [SEED]; started by test_one_line.py.
"""

import sys

import jax
import numpy as np

from tests.training import support
from trackers import errors
from trackers.training import checkpoints, sharding, state


def main(argv):
    workdir, seed = argv[1], int(argv[2]) if len(argv) > 2 else 0
    config = support.mixformer_config()
    config.seed = seed
    model, _, optimizer = support.parts(config)
    target = support.abstract_state(config, sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1]))
    with checkpoints.opened(workdir, config) as saved:
        made = saved.restore(target)
        print("resuming at", None if made is None else made.step)
        made = state.create(support.filled(model), optimizer, 0.0) if made is None else made
        step = int(made.step) + 1
        saved.save(made.replace(step=np.int32(step)), step)
        saved.wait()


if __name__ == "__main__":
    errors.run(main, sys.argv, positional=True)
