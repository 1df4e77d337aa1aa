"""The small GRM that comes with the repository, trained on procedural video alone: what is tracked with by default."""

import json
from pathlib import Path

from trackers.errors import UsageError
from trackers.training import checkpoints

_ROOT = Path(__file__).resolve().parents[1]
_CONFIG = f"{_ROOT / 'configs' / 'grm.py'}:t128"
_WEIGHTS = _ROOT / "weights" / "grm_t128"


def define_flags():
    """--config and --checkpoint of the programs that track."""
    from absl import flags
    from ml_collections import config_flags

    help_config = "Config file and variant: configs/grm.py:b256. None: the small GRM that comes along."
    config_flags.DEFINE_config_file("config", _CONFIG, help_config, lock_config=True)
    help_checkpoint = "Workdir of train.py, its checkpoints folder, or a published file (.pth, ...)."
    flags.DEFINE_string("checkpoint", None, f"{help_checkpoint} None: the weights that come along.")


def load(path, config_model):
    """The variables at `path`, as checkpoints.load_variables reads them, or the shipped ones where it is None or "".

    Raises: UsageError where no path is given and the shipped weights are of another model than config_model; InputError
      as load_variables does.
    """
    if path:
        return checkpoints.load_variables(path, config_model)
    theirs = json.loads((_WEIGHTS / checkpoints.CONFIG_FILE).read_text())["model"]
    if different := checkpoints.differing_models(theirs, config_model):
        raise UsageError(
            "--checkpoint is needed with this --config: the weights that come along are of configs/grm.py:t128"
            f" (there, here): {'; '.join(different[:3])}"
        )
    return checkpoints.load_variables(_WEIGHTS, config_model)
