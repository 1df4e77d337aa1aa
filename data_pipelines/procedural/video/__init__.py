"""Procedural video: dead-leaves scenes with composite targets, as pairs for training and sequences for evaluation."""

from data_pipelines.procedural.video.config import SyntheticConfig
from data_pipelines.procedural.video.pairs import make_banks, pair
from data_pipelines.procedural.video.stream import banks_at, batches, make_batch
from data_pipelines.procedural.video.video import sequence, write_sequences

__all__ = ["SyntheticConfig", "banks_at", "batches", "make_banks", "make_batch", "pair", "sequence", "write_sequences"]
