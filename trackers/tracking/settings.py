"""How a single-object tracker goes from frame to frame: the `tracking` section of a config."""

import dataclasses
import math
import numbers
import sys

from trackers.errors import InputError
from trackers.tracking import recovery

# The part of the section that chooses settings by benchmark (single_object.for_benchmark).
BY_BENCHMARK = "benchmarks"


@dataclasses.dataclass(frozen=True)
class Settings:
    """The `tracking` section of a config.

    template_factor, search_factor: side of the crop over sqrt(w * h) of the target.
    window: weight of the Hann window on the score map, 0..1; 1 is the published program.
    size_update: share of the new width and height that is taken each frame, above 0 and up to 1; 1 is the program.
    size_score_power: that share is multiplied by the score to this power, so that doubtful frames change the size less;
      0 is the program.
    aspect_update: share of size_update with which width over height follows; 0 keeps the first box's, 1 is the program.
    crop_aspect: share of the logarithm of the first box's width over height that the crops take: 0 is the program's
      square, with 1 the first box is a square in its crop.
    least_contrast: standard deviation of the first template's levels (0..255) below which all crops are stretched to it
      (contrast.py); 0 is the program.
    filter_weight: share of an online filter's response in the score map (online_filter.py), 0..1; 0 is the program.
    filter_layer: layer, 1-based, whose tokens the filter looks at.
    filter_update: share of a frame in what the filter has learned, above 0 and up to 1.
    average_cells: the box is a mean over so many cells around the best one (heads.averaged_box); 0 is the program.
    clip_margin: pixels of a box that stay inside the frame, and its smallest side.
    template_box_step: the template box's corner is cut to a multiple of so many pixels of the crop, 0 leaves it as it
      is; 1 is SimTrack's program.
    update_interval: frames after which an online template is replaced (online.py), 0 never.
    update_threshold: score above which a frame may become an online template, 0..1.
    score_decay: factor of the best score so far in each frame of an interval, above 0 and up to 1.
    lost_below: score below which a frame does not show the target (recovery.py), 0..1; 0 never judges, the program.
    found_above: score from which on a lost target is found again, lost_below..1.
    lost_after: frames in a row below lost_below that lose a target.
    """

    template_factor: float = 2.0
    search_factor: float = 4.0
    window: float = 1.0
    size_update: float = 1.0
    size_score_power: float = 0.0
    aspect_update: float = 1.0
    crop_aspect: float = 0.0
    least_contrast: float = 0.0
    filter_weight: float = 0.0
    filter_layer: int = 2
    filter_update: float = 0.02
    average_cells: int = 0
    clip_margin: float = 10.0
    template_box_step: float = 0.0
    update_interval: int = 0
    update_threshold: float = 0.5
    score_decay: float = 1.0
    lost_below: float = 0.0
    found_above: float = recovery.FOUND_ABOVE
    lost_after: int = 3

    def __post_init__(self):
        limits = {
            "template_factor": (0 < self.template_factor <= 100, "above 0 and at most 100"),
            "search_factor": (0 < self.search_factor <= 100, "above 0 and at most 100"),
            "window": (0 <= self.window <= 1, "from 0 to 1"),
            "size_update": (0 < self.size_update <= 1, "above 0 and at most 1"),
            "size_score_power": (0 <= self.size_score_power <= 100, "from 0 to 100"),
            "aspect_update": (0 <= self.aspect_update <= 1, "from 0 to 1"),
            "crop_aspect": (0 <= self.crop_aspect <= 1, "from 0 to 1"),
            "least_contrast": (0 <= self.least_contrast <= 127.5, "from 0 to 127.5"),
            "filter_weight": (0 <= self.filter_weight <= 1, "from 0 to 1"),
            "filter_layer": (1 <= self.filter_layer <= 1024, "from 1 to 1024"),
            "filter_update": (0 < self.filter_update <= 1, "above 0 and at most 1"),
            "average_cells": (0 <= self.average_cells <= 1024, "from 0 to 1024"),
            "clip_margin": (0 <= self.clip_margin <= 65536, "from 0 to 65536"),
            "template_box_step": (0 <= self.template_box_step <= 65536, "from 0 to 65536"),
            "update_interval": (0 <= self.update_interval <= 10**9, "from 0 to 1000000000"),
            "update_threshold": (0 <= self.update_threshold <= 1, "from 0 to 1"),
            "score_decay": (0 < self.score_decay <= 1, "above 0 and at most 1"),
            "lost_below": (0 <= self.lost_below <= 1, "from 0 to 1"),
            "found_above": (self.lost_below <= self.found_above <= 1, "from tracking.lost_below to 1"),
            "lost_after": (1 <= self.lost_after <= 10**9, "from 1 to 1000000000"),
        }
        for name, (holds, rule) in limits.items():
            if not holds:
                raise InputError(f"tracking.{name} must be {rule}, got {getattr(self, name)}")


def read(config):
    """The Settings of a config's tracking section: a mapping or ConfigDict, None for all defaults.

    Raises: InputError naming an unknown or impossible setting.
    """
    known = {field.name: field.type for field in dataclasses.fields(Settings)}
    values = {}
    for name, value in {} if config is None else config.items():
        if name == BY_BENCHMARK:
            continue
        if name not in known:
            raise InputError(f"tracking.{name} is not a setting of the tracker: it has {', '.join(known)}")
        # A whole number may be written as 3.0; True is a number in Python, and infinity is one that no setting can be.
        right = isinstance(value, numbers.Real) and not isinstance(value, bool) and abs(value) < math.inf
        if not right or known[name] is int and value != int(value):
            kind = "whole number" if known[name] is int else "number"
            raise InputError(f"tracking.{name} must be a {kind}, got {value!r}")
        # Of a whole number beyond float's range, which is beyond every setting's, no float is made.
        values[name] = known[name](value) if abs(value) <= sys.float_info.max else value
    return Settings(**values)
