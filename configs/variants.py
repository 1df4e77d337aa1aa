"""The one get_config of all config files. A variant is a function: the first makes the config, the others change it."""

from pathlib import Path


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
        if variant in change_of:
            change_of[variant](config)
        return config.lock()

    get_config.variants = names
    return get_config
