"""Learning-rate schedules and the optimizer, in the units that papers use (epochs, global batches)."""

import dataclasses
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from trackers.errors import UsageError
from trackers.training import freezing
from trackers.training.state import path_name


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The course of a run in steps.

    epoch: whole steps in an epoch, at least 1.
    total: steps in the whole run (fractions of an epoch allowed), at least 1.
    validation: whole batches of a validation, at least 1.
    learning_rate: function of the number of steps already taken -> () float32.
    """

    epoch: int
    total: int
    validation: int
    learning_rate: Callable


def schedule(train, data):
    """The Schedule of a config's sections `train` and `data`.

    Epochs and validations are counted in what data.name says the samples are: data.pairs_per_epoch and
    data.validation_pairs, clips_per_epoch, ...

    Raises: UsageError for another name in train.schedule, or where data does not count in its own samples.
    """

    def batches(key):
        if key not in data:
            raise UsageError(f"config.data.name is {data.name!r}, but there is no config.data.{key}: give both")
        return max(1, data[key] // train.batch_size)

    epoch, validation = batches(f"{data.name}_per_epoch"), batches(f"validation_{data.name}")
    total = max(1, round(train.total_epochs * epoch))
    return Schedule(epoch, total, validation, learning_rate(train, epoch, total))


def learning_rate(train, epoch, total):
    """The learning rate as a function of the number of steps already taken.

    train: config.train. epoch, total: steps in an epoch and in the whole run.

    "step": the base rate, times `drop_factor` after `drop_epoch` epochs (GRM, Sec. 4.1: x0.1 at 240 of 300).
    "cosine": half a cosine from the base rate to 0 at the end of the run.
    Both rise linearly from 0 over `warmup_epochs`; the first step already takes 1/warm-up of the rate.
    The base rate is `learning_rate`, times batch_size / learning_rate_batch where that is given.

    Raises: UsageError for another schedule name.
    """
    warmup, drop = round(train.warmup_epochs * epoch), round(train.drop_epoch * epoch)
    base = train.learning_rate * (train.batch_size / train.learning_rate_batch if train.learning_rate_batch else 1)
    if train.schedule not in ("step", "cosine"):
        raise UsageError(f"config.train.schedule is {train.schedule!r}: choose step or cosine")

    def rate_after(step):
        step = jnp.asarray(step, jnp.float32)
        rate = jnp.float32(base)
        if train.schedule == "step":
            rate = jnp.where(step >= drop, rate * train.drop_factor, rate)
        else:
            progress = jnp.clip((step - warmup) / max(1, total - warmup), 0, 1)
            rate = rate * 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return rate * jnp.minimum(1.0, (step + 1) / warmup) if warmup else rate

    return rate_after


def multiplier_rules(encoder_multiplier):
    """Ordered (path regex, learning-rate factor) pairs for parameters, first match wins, no match = 1.

    Division modules sit inside the encoder but are new, so they learn at the full rate as the heads do (GRM's program).
    SimTrack's box_position is new too but counts as backbone in its program.
    """
    return ((r"(^|/)division/", 1.0), (r"^(encoder|box_position)/", encoder_multiplier))


def multipliers(params, rules):
    """A tree like `params` with each leaf's learning-rate factor (python float)."""

    def factor(path, _):
        name = path_name(path)
        return float(next((value for pattern, value in rules if re.search(pattern, name)), 1.0))

    return jax.tree_util.tree_map_with_path(factor, params)


def _scale_by_path(rules):
    def update(updates, state, params=None):
        del params
        scaled = jax.tree.map(lambda u, factor: u * factor, updates, multipliers(updates, rules))
        return scaled, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def optimizer(train, rate):
    """AdamW with the field's settings: gradients clipped by their global norm, decoupled weight decay on every
    parameter (biases and norms too, as the published programs do), one learning-rate factor for each group.

    Weight decay is scaled by the group's rate, as in PyTorch's AdamW. What config.train.frozen names (freezing.py) is
    left as it is and does not count for the norm. First moments are kept in train.moment_dtype, all else in float32.

    Args: train: config.train. rate: the learning rate, a function of the number of steps already taken.

    Raises: UsageError for another dtype.
    """
    if train.moment_dtype not in ("float32", "bfloat16"):
        raise UsageError(f"config.train.moment_dtype is {train.moment_dtype!r}: choose float32 or bfloat16")
    adamw = optax.chain(
        optax.clip_by_global_norm(train.clip_norm) if train.clip_norm else optax.identity(),
        optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8, mu_dtype=train.moment_dtype),
        optax.add_decayed_weights(train.weight_decay),
        _scale_by_path(multiplier_rules(train.encoder_multiplier)),
        optax.scale_by_learning_rate(rate),
    )
    return freezing.only_trainable(adamw, train.frozen)
