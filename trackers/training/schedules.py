"""The course of a run and its optimizer, in the units that papers use (epochs, global batches)."""

import dataclasses
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from trackers.errors import UsageError
from trackers.training import freezing
from trackers.training.state import path_name

# Of a run: far more than any paper's, and what a table of rates takes in memory stays below 1 GB.
_MOST_STEPS = 10**8


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


def schedule(config):
    """The Schedule of a whole config.

    Epochs and validations are counted in what data.name says the samples are: data.pairs_per_epoch and
    data.validation_pairs, clips_per_epoch, ...

    Raises: UsageError for another name in train.schedule, where data does not count in its own samples, and for
      durations that do not fit together (check_durations).
    """
    train, data = config.train, config.data

    def batches(key):
        if key not in data:
            raise UsageError(f"config.data.name is {data.name!r}, but there is no config.data.{key}: give both")
        return max(1, data[key] // train.batch_size)

    epoch, validation = batches(f"{data.name}_per_epoch"), batches(f"validation_{data.name}")
    total = max(1, round(train.total_epochs * epoch))
    rate = learning_rate(train, epoch, total)
    check_durations(config, epoch, total)
    return Schedule(epoch, total, validation, rate)


def check_durations(config, epoch, total):
    """Refuses durations that do not fit the run's own: what would begin after its end, or not be over by then.

    Nothing is moved silently: whoever shortens a run says what becomes of its other durations. `--max_steps` cuts a run
    short and is no duration.

    Args: config: the whole config. epoch, total: steps in an epoch and in the whole run.

    Raises: UsageError naming the keys and the remedy.
    """
    train, objective, epochs = config.train, config.objective, config.train.total_epochs
    run = f"--config.train.total_epochs={epochs:g}"
    if total > _MOST_STEPS:
        raise UsageError(
            f"{run} of {epoch} steps each (config.data.{config.data.name}_per_epoch, config.train.batch_size) are more"
            f" than {_MOST_STEPS} steps: give fewer"
        )
    drop, warmup = (round(value * epoch) for value in (train.drop_epoch, train.warmup_epochs))
    drops = train.schedule == "step" and train.drop_factor != 1
    if drops and drop >= total:
        raise UsageError(
            f"--config.train.drop_epoch={train.drop_epoch:g} is not before the end of the run, {run}: the rate would"
            f" never drop; give an earlier one (the papers': {0.8 * epochs:g}), or --config.train.drop_factor=1 for a"
            " rate that stays"
        )
    if warmup and warmup >= (drop if drops else total):
        end = f"--config.train.drop_epoch={train.drop_epoch:g}" if drops else f"the end of the run, {run}"
        raise UsageError(
            f"--config.train.warmup_epochs={train.warmup_epochs:g} does not end before {end}: the rate would never be"
            " the whole one; give fewer"
        )
    if train.ema_decay**total > 0.5:
        raise UsageError(
            f"--config.train.ema_decay={train.ema_decay:g} averages over more steps than the {total} of the run, {run}:"
            f" half of the first weights would be left in it; give at most {max(0.0, 1 - 20 / total):.4g}, or a longer"
            " run"
        )
    data = config.data
    rises = data.synthetic.detail_steps if data.get("ratio", {}).get("synthetic") else 0
    if rises > total:
        raise UsageError(
            f"--config.data.synthetic.detail_steps={rises} is more than the {total} steps of the run, {run}: its"
            " pictures would never have their full detail; give fewer"
        )
    elimination = config.model.get("elimination")
    if "ramp_epochs" in objective and elimination and elimination.layers and elimination.keep < 1:
        ends = objective.start_epoch + objective.ramp_epochs
        if ends > epochs:
            raise UsageError(
                f"--config.objective.start_epoch={objective.start_epoch} and ramp_epochs={objective.ramp_epochs} end in"
                f" epoch {ends}, after the run, {run}: training would never keep as few tokens as tracking; give fewer"
            )
    # Nothing of the layers is left from epoch m - 1 on.
    if objective.get("eliminated") and objective.elimination_epochs - 1 > epochs:
        raise UsageError(
            f"--config.objective.elimination_epochs={objective.elimination_epochs} is too long for the run, {run}: the"
            " layers would not have faded at its end; give fewer, or a longer run"
        )


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
    SimTrack's box_position (fc1, fc2) is new too but counts as backbone in its program.
    """
    return ((r"(^|/)division/", 1.0), (r"^(encoder|box_position/fc\d)/", encoder_multiplier))


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
