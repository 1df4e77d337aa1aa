"""What programs put around the names of a model's tensors: wrappers, prefixes and counters."""

import collections

import numpy as np

# Parts of a name that PyTorch's wrappers (torch.compile, FSDP, activation checkpointing) put in, wherever they stand.
_PARTS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# Of data parallelism and averaged models; a module of that name inside a model is left alone.
_FIRST = "module."
# How many updates an average is of (torch.optim.swa_utils.AveragedModel).
_COUNTER = "n_averaged"
# Of a model's names so many must be behind a prefix for it to be taken off.
_SHARE = 0.5


def unwrapped(weights):
    """{name: array} without wrappers' parts of names, a "module." that begins all of them, and what wrappers count."""
    weights = {name: array for name, array in weights.items() if name.rpartition(".")[2] != _COUNTER}
    weights = _renamed(weights, lambda name: ".".join(part for part in name.split(".") if part not in _PARTS))
    while any(name.startswith(_FIRST) for name in weights):
        # An average's own numbers stand beside the model's.
        outside = [name for name in weights if not name.startswith(_FIRST)]
        if any("." in name or np.ndim(weights[name]) for name in outside):
            break
        inside = {name: array for name, array in weights.items() if name.startswith(_FIRST)}
        weights = _renamed(inside, lambda name: name.removeprefix(_FIRST))
    return weights


def without_prefix(weights, fits, needed):
    """Names without the prefix that a training program put before them ("model.", "tracker.net.").

    Args:
      weights: {name: array}.
      fits: function ({name: array}) -> whether these are, as they are called, a known start, such as a pretrained
        backbone.
      needed: set of the names that the model's own checkpoints have.

    Returns: {name: array}; what stands outside the prefix keeps its name. The same where no prefix makes names fit.
    """
    found = collections.Counter()
    for name in weights:
        for place in (place for place, sign in enumerate(name, 1) if sign == "."):
            found[name[:place]] += name[place:] in needed
    plain = len(needed & weights.keys())
    prefix, count = max(found.items(), key=lambda item: item[1], default=("", 0))
    if count > plain and count >= _SHARE * len(needed):
        return _renamed(weights, lambda name: name.removeprefix(prefix))
    bare = weights
    while not plain and not fits(bare):
        first = {name.partition(".")[0] if "." in name else "" for name in bare}
        if len(first) != 1 or "" in first:
            return weights
        prefix = f"{first.pop()}."
        bare = {name.removeprefix(prefix): array for name, array in bare.items()}
    return bare


def _renamed(weights, rename):
    """The weights under new names; under their own where two would be called the same, or one nothing."""
    renamed = {rename(name): array for name, array in weights.items()}
    return weights if len(renamed) < len(weights) or "" in renamed else renamed
