"""Pairs from pictures without labels: a region stands in for the target.

A region of the template frame is picked (regions.py) and followed into the search frame (following.py), which then
changes (changes.py). All of it is our choice; the papers train on labels.
"""

from data_pipelines.unlabelled.settings import UnlabelledConfig
from data_pipelines.unlabelled.views import read_frame, with_regions

__all__ = ["UnlabelledConfig", "read_frame", "with_regions"]
