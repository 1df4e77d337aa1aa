"""Procedural video ("synthetic"): dead-leaves scenes with composite targets, as pairs to train on and sequences to
evaluate on."""

from data_pipelines.procedural.video.banks import make_banks
from data_pipelines.procedural.video.config import SyntheticConfig
from data_pipelines.procedural.video.evaluation_sequences import sequence, write_sequences
from data_pipelines.procedural.video.stream import banks_at, batches, make_batch, on_device
from data_pipelines.procedural.video.training_pairs import pair
from data_pipelines.sources import Facts

__all__ = [
    "SyntheticConfig", "banks_at", "batches", "make_banks", "make_batch", "on_device", "pair", "sequence",
    "write_sequences",
]  # fmt: skip

FACTS = Facts(procedural=True)
