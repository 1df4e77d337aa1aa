"""OSTrack's published checkpoints: GRM's, which grew out of them, without division modules."""

from trackers.convert import grm

PUBLISHED = grm.PUBLISHED
