"""The numbers that a config may hold: one table, checked once when a run is put together."""

import math
import numbers

from trackers.errors import UsageError

_ABOVE_0 = math.nextafter(0, 1)
_SHARE = 0, 1
_BELOW_1 = math.nextafter(1, 0)

# {key: (least, most, whole numbers only)}.
_RANGES = {
    "seed": (0, 2**31 - 1, True),
    "accumulate": (1, 2**31 - 1, True),
    "train.batch_size": (1, 2**31 - 1, True),
    "train.learning_rate": (0, math.inf, False),
    "train.learning_rate_batch": (0, math.inf, False),
    "train.weight_decay": (0, math.inf, False),
    "train.clip_norm": (0, math.inf, False),
    "train.encoder_multiplier": (0, math.inf, False),
    "train.ema_decay": (0, _BELOW_1, False),
    "train.drop_factor": (0, math.inf, False),
    "train.total_epochs": (_ABOVE_0, 10**9, False),
    "train.drop_epoch": (0, 10**9, False),
    "train.warmup_epochs": (0, 10**9, False),
    "train.validate_every_epochs": (0, 10**9, False),
    "train.log_every_steps": (1, 2**31 - 1, True),
    "train.checkpoint_every_steps": (1, 2**31 - 1, True),
    "train.keep_checkpoints": (1, 2**31 - 1, True),
    "train.steps_per_dispatch": (1, 2**31 - 1, True),
    "data.threads": (1, 4096, True),
    "data.prefetch_batches": (0, 4096, True),
    "data.max_gap": (1, 2**31 - 1, True),
    "data.clip_frames": (1, 2**31 - 1, True),
    "data.clip_window": (1, 2**31 - 1, True),
    "data.clip_stride": (1, 2**31 - 1, True),
    "data.phrases_per_clip": (1, 2**31 - 1, True),
    "data.context_length": (2, 2**31 - 1, True),
    "data.positive_share": (*_SHARE, False),
    "data.brightness": (*_SHARE, False),
    "data.search_center_jitter": (0, 1000, False),
    "data.search_scale_jitter": (0, 10, False),
    "data.template_center_jitter": (0, 1000, False),
    "data.template_scale_jitter": (0, 10, False),
    "data.max_bad_fraction": (*_SHARE, False),
    "data.synthetic.backgrounds": (1, 65536, True),
    "data.synthetic.families": (1, 65536, True),
    "data.synthetic.poses": (1, 1000, True),
    "data.synthetic.renew_every_steps": (1, 2**31 - 1, True),
    "data.synthetic.detail": (*_SHARE, False),
    "data.synthetic.plainness": (*_SHARE, False),
    "data.synthetic.detail_steps": (0, 2**31 - 1, True),
    "data.synthetic.clutter": (0, 1000, True),
    "data.synthetic.background_scale": (0.01, 100, False),
    "data.synthetic.region_candidates": (1, 1000, True),
    "data.synthetic.distractors": (0, 1000, True),
    "data.synthetic.distractor_reach": (0, 100, False),
    "data.synthetic.sensor_noise": (*_SHARE, False),
    "data.synthetic.haze": (*_SHARE, False),
    "data.synthetic.change": (0, 5, False),
    "data.synthetic_referring.cached_frames": (0, 2**31 - 1, True),
    "data.synthetic_referring.noise": (0, 255, False),
    "objective.box_spread": (0, 1000, False),
    "objective.heatmap_overlap": (_ABOVE_0, _BELOW_1, False),
    "objective.gamma": (0, 100, False),
    "objective.surprise_weight": (0, math.inf, False),
    "mesh.max_unsharded": (*_SHARE, False),
    "tracking.largest_gap": (0, 2**31 - 1, True),
    "calibration.a": (-1000, 1000, False),
    "calibration.b": (-1000, 1000, False),
    "calibration.tau": (0, 10**6, False),
}
# Weights of losses that are at their least at 0: a negative one would be learned to be large.
_RANGES |= {
    f"objective.{loss}_weight": (0, math.inf, False)
    for loss in ("giou", "l1", "focal", "division", "feature", "corner", "positive", "filtered", "predicted")
}
# Smallest and largest of something.
_PAIRS = ("data.crop_ratio", "data.crop_area", "data.synthetic_referring.people")
# What the ending of a key in `data` says.
_ENDINGS = {"_probability": (*_SHARE, False), "_per_epoch": (1, 2**53, True)}
_VALIDATION = (1, 2**53, True)


def check(config):
    """Refuses a number outside its range, and one that is not finite anywhere in a config.

    Args: config: the whole config, any mapping of mappings.

    Raises: UsageError naming the flag and the range.
    """
    for key, value in _leaves(config):
        if key in _PAIRS and not (isinstance(value, (tuple, list)) and len(value) == 2):
            raise UsageError(f"--config.{key}={value}: give two numbers, the smallest and the largest")
        limits = _limits(key)
        if limits is None:
            if not all(map(_is_finite, value if isinstance(value, (tuple, list)) else [value])):
                raise UsageError(f"--config.{key}={value}: give a finite number")
            continue
        least, most, whole = limits
        kind = numbers.Integral if whole else numbers.Real
        right = isinstance(value, kind) and not isinstance(value, bool) and _is_finite(value)
        if not right or not least <= value <= most:
            raise UsageError(f"--config.{key}={value}: give a {'whole' if whole else 'finite'} number {_words(limits)}")


def _is_finite(value):
    """True for all that is no float, too: text, and whole numbers of any size."""
    return not isinstance(value, numbers.Real) or isinstance(value, numbers.Integral) or math.isfinite(value)


def _leaves(section, prefix=""):
    for key, value in section.items():
        if hasattr(value, "items"):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _limits(key):
    if key in _RANGES or not key.startswith("data."):
        return _RANGES.get(key)
    if key.startswith("data.validation_"):
        return _VALIDATION
    if key.startswith("data.ratio."):
        return 0, math.inf, False
    return next((limits for ending, limits in _ENDINGS.items() if key.endswith(ending)), None)


def _words(limits):
    least, most, _ = limits
    low = "above 0" if least == _ABOVE_0 else f"from {least}"
    if most in (math.inf, 2**53, 2**31 - 1) and least != 0:
        return low if low == "above 0" else f"{low} up"
    return f"{low} up" if most == math.inf else f"{low} to {'below 1' if most == _BELOW_1 else most}"
