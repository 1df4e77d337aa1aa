"""Crops of a pale or dark video, stretched to the contrast that a network was trained with.

Fog, night and thermal cameras show a target in a few of the 256 levels. What is done to them is chosen once, from the
first frame's template, and then the same for every crop, so that what changes in the video still changes. Ours: off
(`tracking.least_contrast` 0) but for `t128`, the shipped tracker; docs/shipped_tracker.md has what it gains.
"""

import jax.numpy as jnp


def levels(crop, inside, least):
    """How the crops of a video are stretched, from its first template crop.

    Args:
      crop: (S, S, 3) levels 0..255.
      inside: (S, S, 3) bool, what of it lies in the frame: the black beside it does not count.
      least: standard deviation in levels, over pixels and channels, from which on nothing is done.

    Returns: (2,) float32: the mean level, and by what levels are multiplied around it, 1 to `least`.
    """
    mean, deviation = jnp.mean(crop, where=inside), jnp.std(crop, where=inside)
    # Below one level there is nothing but noise to enlarge; a crop with nothing in the frame (NaN) stays as it is.
    gain = jnp.maximum(least / jnp.maximum(deviation, 1.0), 1.0)
    return jnp.where(jnp.isnan(mean), jnp.array([0.0, 1.0]), jnp.stack([mean, gain])).astype(jnp.float32)


def stretched(crop, levels):
    """A crop (S, S, 3) with its levels stretched around the mean, which goes to the middle: float32.

    levels: (2,), what `levels` returns. The result has whole levels 0..255.
    The mean goes the further the more is stretched, so that a video of enough contrast stays as it is.
    """
    mean, gain = levels
    middle = 127.5 + (mean - 127.5) / gain
    # A crop of whole levels comes out of a gain of 1 as it went in.
    return jnp.clip(jnp.round((crop - mean) * gain + middle), 0.0, 255.0)
