"""Procedural people with phrases: clothes, motions, look-alikes and occlusions, as a source and as files."""

from data_pipelines.sources.synthetic_referring.config import ReferringSetConfig
from data_pipelines.sources.synthetic_referring.scene import open_split
from data_pipelines.sources.synthetic_referring.vocabulary import VOCABULARY
from data_pipelines.sources.synthetic_referring.write import write_set

__all__ = ["VOCABULARY", "ReferringSetConfig", "open_split", "write_set"]
