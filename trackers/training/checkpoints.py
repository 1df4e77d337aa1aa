"""Checkpoints of a run, and variables for tracking read from them or from published files.

A checkpoint is a folder CHECKPOINTS/STEP with one item for each part of the state (params, batch_stats, ema, optimizer)
and the run's config, so that a reader of the variables needs to know neither the optimizer nor the mesh of the run.
"""

import contextlib
import dataclasses
import json
import logging

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

import trackers
from trackers import convert
from trackers.errors import InputError
from trackers.nn import stacking
from trackers.training.state import named_leaves

FOLDER = "checkpoints"
CONFIG_FILE = "config.json"
# Settings of a model that neither its parameters nor its numbers depend on.
_FREE_MODEL_KEYS = ("remat",)
_VARIABLES = ("params", "batch_stats")
_NAMED_AT_MOST = 8


def plain(config):
    """Nested mappings and sequences (ConfigDict, tuples) as JSON would give them back."""
    return json.loads(json.dumps(trackers.to_plain(config)))


def differing_keys(a, b, prefix=""):
    """["key.sub: value of a, value of b", ...] for two plain configs; (absent) where one has no such key."""
    found = []
    for key in sorted(a.keys() | b.keys()):
        left, right = a.get(key, "(absent)"), b.get(key, "(absent)")
        if isinstance(left, dict) and isinstance(right, dict):
            found += differing_keys(left, right, f"{prefix}{key}.")
        elif left != right:
            found.append(f"{prefix}{key}: {left!r}, {right!r}")
    return found


def differing_models(a, b):
    """differing_keys of two model sections (any mappings), but for what parameters and numbers do not depend on."""
    a, b = ({k: v for k, v in plain(model).items() if k not in _FREE_MODEL_KEYS} for model in (a, b))
    return differing_keys(a, b, "model.")


def claim_workdir(workdir, config):
    """Makes the folder of a run and writes its config.json, or checks that it belongs to a run of the same model.

    Args:
      workdir: path (gs:// too). config: the whole config, any mapping.

    Raises: InputError naming the differing keys where the folder holds a run of another model.
    """
    path = epath.Path(workdir) / CONFIG_FILE
    config = plain(config)
    if path.exists():
        try:
            model = json.loads(path.read_text())["model"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path} is not a run's config: remove it or choose another --workdir") from None
        if different := differing_models(model, config["model"]):
            raise InputError(
                f"{workdir} holds a run of another model (there, here): {'; '.join(different)}; "
                "choose another --workdir or the config of that run"
            )
    if jax.process_index() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config, indent=2) + "\n")
    _barrier("claim_workdir")


def _not_raised_elsewhere(record):
    """Filter of log records. Orbax's threads log at length what is raised to us afterwards."""
    return not (record.exc_info and "orbax" in record.pathname)


class Checkpoints:
    """Writes a run's checkpoints in the background and restores the newest usable one. A context manager.

    Args:
      workdir: path of the run (gs:// too).
      config: the whole config, kept beside each state as JSON.
      keep: how many of the newest to keep.
    """

    def __init__(self, workdir, config, keep=3):
        self._config = plain(config)
        self._folder = epath.Path(workdir).resolve() / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=ocp.checkpoint_managers.LatestN(keep), cleanup_tmp_directories=True
            ),
        )
        logging.getLogger("absl").addFilter(_not_raised_elsewhere)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            # A run that fails for another reason is not told about its last checkpoint instead.
            with contextlib.suppress(Exception) if kind else self._failures_named():
                self._manager.close()
        finally:
            logging.getLogger("absl").removeFilter(_not_raised_elsewhere)

    def save(self, state, step):
        """Starts saving `state` after `step` steps, unless it is saved; returns when the state may be donated.

        Raises: InputError where this checkpoint, or the one before in the background, could not be written.
        """
        if step in self._manager.all_steps():
            return
        items = {name: ocp.args.StandardSave(tree) for name, tree in _items(state).items()}
        args = ocp.args.Composite(config=ocp.args.JsonSave(self._config), **items)
        with self._failures_named():
            self._manager.save(step, args=args, force=True)

    def wait(self):
        """Returns when everything started is on disk.

        Raises: InputError where it could not be written.
        """
        with self._failures_named():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _failures_named(self):
        try:
            yield
        except Exception as error:  # whatever a full or lost disk makes the storage layers raise
            # Every array that was to be written has its own copy of the error, reported when it is forgotten.
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)
            kept = self._manager.latest_step()
            intact = "no checkpoint was saved before" if kept is None else f"that of step {kept} is intact"
            raise InputError(
                f"a checkpoint cannot be saved in {self._folder} ({_reason(error, -160)}); {intact}: make room there "
                "and give the same command again"
            ) from None

    def restore(self, target, report=print):
        """The newest state that can be read, placed as `target` says, or None where there is no checkpoint.

        A checkpoint that cannot be read is reported, renamed to STEP.broken, and the one before it is tried.

        Args:
          target: TrainState of jax.ShapeDtypeStruct with shardings; any mesh.
          report: function of one line of text.

        Raises: InputError where checkpoints exist and none is usable, or where they hold other parameters than
          `target`.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                return self._read(step, target)
            except InputError:
                raise
            except Exception as error:  # whatever a damaged file makes the storage layers raise
                report(f"checkpoint {self._folder / str(step)} is broken ({_reason(error)}): trying the one before")
                self._set_aside(step)
        if steps:
            raise InputError(f"no checkpoint in {self._folder} can be read: start in another --workdir")
        return None

    def _read(self, step, target):
        folder, wanted = self._folder / str(step), _items(target)
        if not (folder / "optimizer").exists():
            raise InputError(
                f"{folder} holds variables only: start another --workdir with --config.init.checkpoint={folder}"
            )
        if ("ema" in wanted) != (folder / "ema").exists():
            raise InputError(f"{folder} was saved with another config.train.ema_decay (zero or not): keep that setting")
        for name in [name for name in wanted if name != "optimizer"]:
            _check_leaves(_stored_shapes(folder / name), dict(named_leaves(wanted[name])), folder)
        args = {name: ocp.args.StandardRestore(tree) for name, tree in wanted.items()}
        read = self._manager.restore(step, args=ocp.args.Composite(**args))
        return dataclasses.replace(
            target,
            params=read["params"],
            batch_stats=read["batch_stats"] if "batch_stats" in wanted else {},
            ema=read["ema"] if "ema" in wanted else None,
            **read["optimizer"],
        )

    def _set_aside(self, step):
        if jax.process_index() == 0:
            folder = self._folder / str(step)
            folder.rename(self._folder / f"{step}.broken")
        _barrier(f"set_aside_{step}")
        self._manager.reload()


def _items(state):
    # Orbax refuses empty trees, so the parts that a run does not have are left out.
    parts = {"params": state.params, "batch_stats": state.batch_stats, "ema": state.ema}
    parts["optimizer"] = {"step": state.step, "opt_state": state.opt_state}
    return {name: tree for name, tree in parts.items() if jax.tree.leaves(tree)}


def load_variables(path, config_model, prefer_ema=True, rng=None):
    """The variables of a model, float32 jax arrays on the default device.

    Args:
      path: a workdir of train.py, its checkpoints folder, one checkpoint in it, or a published checkpoint file.
      config_model: the config's model section; a checkpoint that differs from it only in scan_layers is restacked.
      prefer_ema: take the moving average of the parameters where the run kept one.
      rng: jax key for what a published backbone does not hold; jax.random.key(0) when None.

    Raises: InputError for a missing path, an unreadable checkpoint or one of another model or size (names and shapes).
    """
    path = epath.Path(path)
    if not path.exists():
        raise InputError(f"checkpoint {path} does not exist")
    if not path.is_dir():
        variables = convert.to_variables(convert.read_checkpoint(path), config_model, rng=rng)
        return jax.tree.map(jax.numpy.asarray, variables)
    model = trackers.build(config_model)
    target = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    for folder in step_folders(path.resolve()):
        try:
            variables = _read_variables(folder, prefer_ema)
        except Exception as error:  # whatever a damaged file makes the storage layers raise
            print(f"checkpoint {folder} is broken ({_reason(error)}): trying the one before", flush=True)
            continue
        leaves = stacking.flatten(variables)
        _check_leaves({name: leaf.shape for name, leaf in leaves.items()}, stacking.flatten(target), folder)
        return jax.tree.map(jax.numpy.asarray, stacking.unflatten(leaves, target))
    raise InputError(f"no checkpoint in {path} can be read: give a workdir of train.py or a published file")


def save_variables(path, variables, config_model):
    """Writes variables as a checkpoint that load_variables(path) reads.

    Args:
      path: a folder, made if need be; must not hold checkpoints.
      variables: {"params": tree, "batch_stats": tree (may be absent)}.
      config_model: the model section, kept beside them.

    Raises: InputError where `path` already holds checkpoints.
    """
    folder = epath.Path(path).resolve() / FOLDER
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} already holds checkpoints: choose another folder")
    claim_workdir(path, {"model": config_model})
    folder.mkdir(parents=True, exist_ok=True)
    variables = {name: jax.tree.map(np.asarray, variables[name]) for name in _VARIABLES if variables.get(name)}
    items = {name: ocp.args.StandardSave(tree) for name, tree in variables.items()}
    config = ocp.args.JsonSave({"model": plain(config_model)})
    with ocp.CheckpointManager(folder) as manager:
        manager.save(0, args=ocp.args.Composite(config=config, **items))


def step_folders(path):
    """Checkpoint folders under a workdir, a checkpoints folder, or the checkpoint itself; newest first."""
    if (path / "params").exists():
        return [path]
    folder = path / FOLDER if (path / FOLDER).exists() else path
    steps = sorted((int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()), reverse=True)
    if not steps:
        raise InputError(f"{path} holds no checkpoints: give a workdir of train.py or a published file")
    return [folder / str(step) for step in steps]


def _read_variables(folder, prefer_ema):
    items = {"params": "ema" if prefer_ema and (folder / "ema").exists() else "params", "batch_stats": "batch_stats"}
    return {name: _read_item(folder / item) for name, item in items.items() if (folder / item).exists()}


def _read_item(folder):
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as reader:
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), reader.metadata(folder).tree)
        return reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy))


def _stored_shapes(folder):
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as reader:
        return {name: tuple(leaf.shape) for name, leaf in named_leaves(reader.metadata(folder).tree)}


def _check_leaves(stored, wanted, source):
    """Compares {name: shape} with {name: array}; InputError naming what is missing, unexpected and misshapen."""
    wanted = {name: tuple(leaf.shape) for name, leaf in wanted.items()}
    common = wanted.keys() & stored.keys()
    problems = {
        "missing": [f"{name} {wanted[name]}" for name in sorted(wanted.keys() - stored.keys())],
        "unexpected": [f"{name} {tuple(stored[name])}" for name in sorted(stored.keys() - wanted.keys())],
        "misshapen (there, here)": [
            f"{name} {tuple(stored[name])} {wanted[name]}"
            for name in sorted(common)
            if tuple(stored[name]) != wanted[name]
        ],
    }
    if not any(problems.values()):
        return
    lines = []
    for kind, names in problems.items():
        if names:
            more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
            lines.append(f"{kind}: {', '.join(names[:_NAMED_AT_MOST])}{more}")
    raise InputError(f"{source} is a checkpoint of another model or size; {'; '.join(lines)}")


def _reason(error, length=160):
    """The first `length` characters of an error, or the last -`length`, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:length] if length > 0 else text[length:]}"


def _barrier(name):
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
