"""The one get_config of all config files. A variant is a function: the first makes the config, the others change it."""

import importlib.util
from pathlib import Path

from trackers import errors


def chooser(base, *changes, **named_changes):
    """The get_config of a config file.

    Args:
      base: function () -> ConfigDict of the default variant, which bears its name.
      *changes: functions (config) -> None, the other variants: each changes the base's config and bears its own name.
      **named_changes: the same under given names, for functions that are made by another one.

    Returns: get_config(variant) -> ConfigDict, locked. An unknown variant is a ValueError that lists the known ones.
      `get_config.variants` is the tuple of their names, the default first.
    """
    file = f"configs/{Path(base.__code__.co_filename).name}"
    change_of = {change.__name__: change for change in changes} | named_changes
    names = (base.__name__, *change_of)

    def get_config(variant=base.__name__):
        """The whole config of a variant, a locked ConfigDict."""
        if variant not in names:
            raise ValueError(f"{file} has no variant {variant!r}: choose one of {', '.join(names)}")
        config = base()
        # What --config named: kept with a run, so that a later stage knows what it is given (training/initial.py).
        config.variant = f"{file}:{variant}"
        if variant in change_of:
            change_of[variant](config)
        return config.lock()

    get_config.variants = names
    return get_config


def load(name):
    """The config that FILE.py or FILE.py:VARIANT names, a locked ConfigDict; without a variant, the file's first.

    Raises: UsageError for a file that is not there or is no config file, and for an unknown variant.
    """
    path, _, variant = name.partition(":")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path) if Path(path).is_file() else None
    if spec is None:
        raise errors.UsageError(f"{path!r} is no config file: write e.g. configs/grm.py:b256")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise errors.UsageError(f"{path} has no get_config: write a config file, e.g. configs/grm.py:b256")
    try:
        return module.get_config(*[variant] if variant else [])
    except ValueError as error:
        raise errors.UsageError(str(error)) from None
