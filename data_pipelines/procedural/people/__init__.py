"""Procedural people with phrases: clothes, motions, look-alikes and occlusions, as a source and as files."""

from data_pipelines.procedural.people.config import ReferringSetConfig
from data_pipelines.procedural.people.scene import open_split
from data_pipelines.procedural.people.vocabulary import VOCABULARY
from data_pipelines.procedural.people.write import write_set

__all__ = ["VOCABULARY", "ReferringSetConfig", "open_split", "write_set"]
