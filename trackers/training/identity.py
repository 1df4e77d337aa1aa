"""What makes a run the run it is: the settings that may not change between two starts in one workdir.

Every setting counts, but for those listed here, which change neither a step's numbers nor their order: names of
variants, how often something is logged, kept or validated, what devices and kernels compute it and in which parts, how
batches are read ahead, and how trackers use the weights afterwards. Of the tracking section the crops count, for those
of training are the same. What a source is read from counts where it is used.
train.total_epochs counts where the rate depends on it, so with every schedule but "step". A setting that the run's
config.json does not have came with a later version of the program, and does not count; nor does one that it has as
None, and this version no more.
"""

import fnmatch

import jax

import trackers
from trackers import weights
from trackers.errors import InputError
from trackers.training.state import named_leaves

HARMLESS = (
    *(
        "variant",
        "init.variants",
        "teacher.variants",
        "accumulate",
        "profile",
        "compiled",
        "mesh.*",
        "tracking.*",
        "calibration.*",
        "model.remat",
        "model.kernels",
        "model.scan_layers",
    ),
    *("data.threads", "data.prefetch_batches", "data.crops_on", "data.synthetic_referring.cached_frames"),
    *("data.validation_pairs", "data.validation_clips", "data.max_bad_fraction"),
    *("train.log_every_steps", "train.checkpoint_every_steps", "train.keep_checkpoints", "train.validate_every_epochs"),
    *("train.steps_per_dispatch", "train.debug_batch_hash"),
)
_CROPS = frozenset(f"tracking.{key}" for key in weights.CROP_KEYS)
_ABSENT = object()
_NAMED_AT_MOST = 12


def changes(there, here):
    """["key: value there, value here", ...] of two whole plain configs, of what changes the meaning of the run."""
    return [line for line in _differing(there, here) if not _is_harmless(line.partition(":")[0], there, here)]


def harmless_changes(there, here):
    """As `changes`, of what does not."""
    return [line for line in _differing(there, here) if _is_harmless(line.partition(":")[0], there, here)]


def listed(differences):
    """The first differences in one line."""
    more = len(differences) - _NAMED_AT_MOST
    return "; ".join(differences[:_NAMED_AT_MOST]) + (f"; and {more} more" if more > 0 else "")


def check(workdir, there, here, allowed):
    """Refuses to go on in a workdir with another config.

    Args: workdir: path. there, here: the whole plain config of the run there and of this one. allowed: whether the run
      may change its meaning; its parameters may not even then.

    Raises: InputError naming the keys.
    """
    different = changes(there, here)
    if not different:
        return
    if allowed:
        if _shapes(there) == _shapes(here):
            return
        remedy = "its checkpoints don't fit: choose another --workdir or the model of that run"
    else:
        remedy = "choose another --workdir, the config of that run, or go on all the same with --allow_config_change"
    raise InputError(f"{workdir} holds another run (there, here): {listed(different)}; {remedy}")


def _differing(there, here):
    """weights.differing_keys, those of the model first."""
    lines = weights.differing_keys(there, here)
    return sorted(lines, key=lambda line: not line.startswith("model."))


def _is_harmless(key, there, here):
    if not _has(there, key) or (_value(there, key) is None and not _has(here, key)):
        return True
    if key in _CROPS:
        return False
    if any(fnmatch.fnmatchcase(key, pattern) for pattern in HARMLESS):
        return True
    if key == "train.total_epochs":
        return all(config["train"].get("schedule") == "step" for config in (there, here))
    section, _, name = key.partition(".")
    ratios = [config.get("data", {}).get("ratio", {}) for config in (there, here)]
    return section == "data" and all(isinstance(ratio, dict) and name in ratio and not ratio[name] for ratio in ratios)


def _has(config, key):
    return _value(config, key, _ABSENT) is not _ABSENT


def _value(config, key, otherwise=None):
    for name in key.split("."):
        if not isinstance(config, dict) or name not in config:
            return otherwise
        config = config[name]
    return config


def _shapes(config):
    """What a checkpoint's arrays are named and shaped like, None where there is no such model."""
    try:
        model = trackers.build(config["model"])
        variables = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    except Exception:  # whatever a model of another version lacks
        return None
    train = config.get("train", {})
    kept = (bool(train.get("ema_decay")), train.get("moment_dtype"))
    return kept, {name: leaf.shape for name, leaf in named_leaves(variables)}
