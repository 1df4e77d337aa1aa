"""OSTrack's published checkpoints: GRM's, which grew out of them, without division modules."""

from trackers.convert import grm

RULES, UNUSED, position_grids = grm.RULES, grm.UNUSED, grm.position_grids
