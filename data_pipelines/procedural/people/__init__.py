"""Procedural people with phrases ("synthetic_referring"): clothes, motions, look-alikes and occlusions, as a source and
as files."""

from data_pipelines.procedural.people.cast import VOCABULARY
from data_pipelines.procedural.people.config import ReferringSetConfig
from data_pipelines.procedural.people.scene import open_from, open_split
from data_pipelines.procedural.people.write import write_set
from data_pipelines.sources import Facts

__all__ = ["VOCABULARY", "ReferringSetConfig", "open_from", "open_split", "write_set"]

FACTS = Facts(kind="clips", validation="test", procedural=True, vocabulary=VOCABULARY)
