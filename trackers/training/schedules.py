"""Learning-rate schedules and the optimizer, in the units that papers use (epochs, global batches)."""

import re

import jax
import jax.numpy as jnp
import optax

from trackers.errors import UsageError
from trackers.training import freezing
from trackers.training.state import path_name


def steps_per_epoch(config):
    """Whole steps in an epoch; at least 1.

    An epoch is counted in what config.data.name says the samples are: config.data.pairs_per_epoch, clips_per_epoch,
    trajectories_per_epoch.
    """
    return _steps(config, f"{config.data.name}_per_epoch")


def validation_steps(config):
    """Whole batches in a validation of config.data.validation_pairs, validation_clips, ...; at least 1."""
    return _steps(config, f"validation_{config.data.name}")


def _steps(config, key):
    if key not in config.data:
        raise UsageError(f"config.data.name is {config.data.name!r}, but there is no config.data.{key}: give both")
    return max(1, config.data[key] // config.train.batch_size)


def total_steps(config):
    """Steps in the whole run of config.train.total_epochs epochs (fractions of an epoch allowed); at least 1."""
    return max(1, round(config.train.total_epochs * steps_per_epoch(config)))


def learning_rate(config):
    """The learning rate as a function of the number of steps already taken.

    "step": the base rate, times `drop_factor` after `drop_epoch` epochs (GRM, Sec. 4.1: x0.1 at 240 of 300).
    "cosine": half a cosine from the base rate to 0 at the end of the run.
    Both rise linearly from 0 over `warmup_epochs`; the first step already takes 1/warm-up of the rate.
    The base rate is `learning_rate`, times batch_size / learning_rate_batch where that is given.

    Raises: UsageError for another schedule name.
    """
    train, epoch = config.train, steps_per_epoch(config)
    total, warmup = total_steps(config), round(train.warmup_epochs * epoch)
    drop = round(train.drop_epoch * epoch)
    base = train.learning_rate * (train.batch_size / train.learning_rate_batch if train.learning_rate_batch else 1)
    if train.schedule not in ("step", "cosine"):
        raise UsageError(f"config.train.schedule is {train.schedule!r}: choose step or cosine")

    def schedule(step):
        step = jnp.asarray(step, jnp.float32)
        rate = jnp.float32(base)
        if train.schedule == "step":
            rate = jnp.where(step >= drop, rate * train.drop_factor, rate)
        else:
            progress = jnp.clip((step - warmup) / max(1, total - warmup), 0, 1)
            rate = rate * 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return rate * jnp.minimum(1.0, (step + 1) / warmup) if warmup else rate

    return schedule


def multiplier_rules(config_train):
    """Ordered (path regex, learning-rate factor) pairs for parameters, first match wins, no match = 1.

    Division modules sit inside the encoder but are new, so they learn at the full rate as the heads do (GRM's program).
    SimTrack's box_position is new too but counts as backbone in its program.
    """
    return ((r"(^|/)division/", 1.0), (r"^(encoder|box_position)/", config_train.encoder_multiplier))


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


def optimizer(config):
    """AdamW with the field's settings: gradients clipped by their global norm, decoupled weight decay on every
    parameter (biases and norms too, as the published programs do), one learning-rate factor for each group.

    Weight decay is scaled by the group's rate, as in PyTorch's AdamW. What config.train.frozen names (freezing.py) is
    left as it is and does not count for the norm. First moments are kept in train.moment_dtype, all else in float32.

    Raises: UsageError for another dtype.
    """
    train = config.train
    if train.moment_dtype not in ("float32", "bfloat16"):
        raise UsageError(f"config.train.moment_dtype is {train.moment_dtype!r}: choose float32 or bfloat16")
    adamw = optax.chain(
        optax.clip_by_global_norm(train.clip_norm) if train.clip_norm else optax.identity(),
        optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8, mu_dtype=train.moment_dtype),
        optax.add_decayed_weights(train.weight_decay),
        _scale_by_path(multiplier_rules(train)),
        optax.scale_by_learning_rate(learning_rate(config)),
    )
    return freezing.only_trainable(adamw, train.get("frozen", ()))
