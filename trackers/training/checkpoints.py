"""The checkpoints that a run saves and resumes from.

A checkpoint is a folder CHECKPOINTS/STEP with one item for each part of the state (params, batch_stats, ema, optimizer)
and the run's config, so that a reader of the variables (trackers/weights.py) needs to know neither the optimizer nor
the mesh of the run.
"""

import contextlib
import dataclasses
import json
import logging

import jax
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from trackers import weights
from trackers.errors import InputError
from trackers.training.state import named_leaves
from trackers.weights import in_one_line, plain


def claim_workdir(workdir, config):
    """Makes the folder of a run and writes its config.json, or checks that it belongs to a run of the same model.

    Args:
      workdir: path (gs:// too). config: the whole config, any mapping.

    Raises: InputError naming the differing keys where the folder holds a run of another model.
    """
    path = epath.Path(workdir) / weights.CONFIG_FILE
    if path.with_name(weights.FILE).exists():
        raise InputError(_variables_only(workdir))
    config = plain(config)
    if path.exists():
        try:
            model = json.loads(path.read_text())["model"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path} is not a run's config: remove it or choose another --workdir") from None
        if different := weights.differing_models(model, config["model"]):
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
        self._folder = epath.Path(workdir).resolve() / weights.FOLDER
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
                f"a checkpoint cannot be saved in {self._folder} ({in_one_line(error, -160)}); {intact}: make room "
                "there and give the same command again"
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
                report(f"checkpoint {self._folder / str(step)} is broken ({in_one_line(error)}): trying the one before")
                self._set_aside(step)
        if steps:
            raise InputError(f"no checkpoint in {self._folder} can be read: start in another --workdir")
        return None

    def _read(self, step, target):
        folder, wanted = self._folder / str(step), _items(target)
        if not (folder / "optimizer").exists():
            raise InputError(_variables_only(folder))
        if ("ema" in wanted) != (folder / "ema").exists():
            raise InputError(f"{folder} was saved with another config.train.ema_decay (zero or not): keep that setting")
        for name in [name for name in wanted if name != "optimizer"]:
            weights.check_leaves(weights.stored_shapes(folder / name), dict(named_leaves(wanted[name])), folder)
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


def _variables_only(folder):
    return f"{folder} holds variables only: start another --workdir with --config.init.checkpoint={folder}"


def _items(state):
    # Orbax refuses empty trees, so the parts that a run does not have are left out.
    parts = {"params": state.params, "batch_stats": state.batch_stats, "ema": state.ema}
    parts["optimizer"] = {"step": state.step, "opt_state": state.opt_state}
    return {name: tree for name, tree in parts.items() if jax.tree.leaves(tree)}


def _barrier(name):
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
