"""A run on noise, started and killed by test_kills.py: python -m tests.training.noise_run WORKDIR STEPS"""

import sys

import train
from tests.training import support


def config():
    """Of the run: a checkpoint every third step."""
    return support.small_config(total_epochs=15, ema_decay=0.9, checkpoint_every_steps=3, learning_rate=1e-3)


if __name__ == "__main__":
    train.loader.batches = support.batches
    sys.exit(train.train(config(), sys.argv[1], int(sys.argv[2])))
