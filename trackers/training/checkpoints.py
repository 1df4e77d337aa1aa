"""The checkpoints that a run saves and resumes from.

A checkpoint is a folder CHECKPOINTS/STEP with one item for each part of the state (params, batch_stats, ema, optimizer)
and the run's config, so that a reader of the variables (trackers/weights.py) needs to know neither the optimizer nor
the mesh of the run.
"""

import contextlib
import dataclasses
import itertools
import json

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from trackers import quiet, weights
from trackers.errors import InputError
from trackers.io import digests, outputs, ownership, plain_text
from trackers.nn import stacking
from trackers.training import identity
from trackers.training.metrics import METRICS_FILE
from trackers.training.state import named_leaves
from trackers.weights import in_one_line, plain

_LONGEST_SAID = 4096


@contextlib.contextmanager
def opened(workdir, config, allow_config_change=False, report=print):
    """Owns the folder of a run (trackers/io/ownership.py; the first of several processes does) and claims it.

    Args: as claim_workdir; a context manager that gives the run's Checkpoints.

    Raises: InputError as ownership.hold and claim_workdir, on all processes alike.
    """
    with contextlib.ExitStack() as stack:

        def own():
            # With several processes jax sees to SIGTERM.
            stack.enter_context(ownership.hold(workdir, sigterm=jax.process_count() == 1))
            return ""

        _agreed(own)
        claim_workdir(workdir, config, allow_config_change, report)
        yield stack.enter_context(Checkpoints(workdir, config, config.train.keep_checkpoints))


def claim_workdir(workdir, config, allow_config_change=False, report=print):
    """Makes the folder of a run and writes its config.json, or checks that it belongs to the same run (identity.py).

    A config.json that is replaced is kept as config.json.1, config.json.2, ... Where the run there failed before its
    first step, any config may take its place.

    Args:
      workdir: path (gs:// too). config: the whole config, any mapping.
      allow_config_change: go on where the run would mean something else from here on.
      report: function of one line of text.

    Raises: InputError naming the differing keys where the folder holds another run.
    """
    _agreed(lambda: _claim(epath.Path(workdir), plain(config), allow_config_change, report))


def _claim(workdir, config, allow_config_change, report):
    path = workdir / weights.CONFIG_FILE
    if path.with_name(weights.FILE).exists():
        raise InputError(_variables_only(workdir))
    if path.exists():
        former = _former(path, config)
        if former == config:
            return ""
        kept = next(name for name in _numbered(path) if not name.exists())
        if (workdir / METRICS_FILE).exists() or _any_kept(workdir):  # else no step of it has been taken
            identity.check(workdir, former, config, allow_config_change)
        different = identity.listed([*identity.changes(former, config), *identity.harmless_changes(former, config)])
        path.rename(kept)
        report(f"{path} differs from this config (there, here): {different}; going on, the former is {kept.name}")
    outputs.claim_folder(workdir, "--workdir")
    outputs.write_text(path, json.dumps(config, indent=2) + "\n")
    return ""


def _former(path, config):
    """The config of the run that is there, whose sections are those of `config`."""
    try:
        former = plain_text.read_json(path, "a run's config")
        sections = {name for name, section in config.items() if isinstance(section, dict)} & former.keys() | {"model"}
        if not all(isinstance(section, dict) for section in map(former.get, sections)):
            raise TypeError("a section is a value")
    except plain_text.DAMAGE:
        raise InputError(f"{path} is not a run's config: remove it or choose another --workdir") from None
    return former


def _any_kept(workdir):
    """Whether there is a checkpoint in a run's folder, broken ones too."""
    folder = workdir / weights.FOLDER
    return folder.is_dir() and any(child.name[:1].isdecimal() for child in folder.iterdir())


def _numbered(path):
    return (path.with_name(f"{path.name}.{count}") for count in itertools.count(1))


class Checkpoints:
    """Writes a run's checkpoints in the background and restores the newest usable one. A context manager.

    Args:
      workdir: path of the run (gs:// too).
      config: the whole config, kept beside each state as JSON.
      keep: how many of the newest to keep.
    """

    def __init__(self, workdir, config, keep=3):
        quiet.libraries()
        self._config, self._saving = plain(config), None
        self._folder = epath.Path(workdir).resolve() / weights.FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=ocp.checkpoint_managers.LatestN(keep),
                cleanup_tmp_directories=True,
                async_options=ocp.AsyncOptions(post_finalization_callback=self._write_digests),
            ),
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        # A run that fails for another reason is not told about its last checkpoint instead.
        with contextlib.suppress(Exception) if kind else self._failures_named():
            self._manager.close()

    def save(self, state, step):
        """Starts saving `state` after `step` steps, unless it is saved; returns when the state may be donated.

        Raises: InputError where this checkpoint, or the one before in the background, could not be written.
        """
        if step in self._manager.all_steps():
            return
        items = {name: ocp.args.StandardSave(tree) for name, tree in _items(state).items()}
        args = ocp.args.Composite(config=ocp.args.JsonSave(self._config), **items)
        with self._failures_named():
            self._manager.wait_until_finished()
            self._saving = step
            self._manager.save(step, args=args, force=True)

    def _write_digests(self):
        """Completes a checkpoint that is written but not yet renamed to its step: orbax calls it in the background."""
        if jax.process_index():
            return  # the first process sees the files of all
        unfinished = [path for path in self._folder.iterdir() if path.name.startswith(f"{self._saving}.orbax-")]
        digests.write(*unfinished or [self._folder / str(self._saving)])  # object stores have no renaming

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
            kept = self._manager.latest_step()
            intact = "no checkpoint was saved before" if kept is None else f"that of step {kept} is intact"
            raise InputError(
                f"a checkpoint cannot be saved in {self._folder} ({in_one_line(error, -160)}); {intact}: make room "
                "there and give the same command again"
            ) from None

    def restore(self, target, report=print):
        """The newest state that can be read, placed as `target` says, or None where there is no checkpoint.

        A checkpoint that cannot be read, or of which a file differs from its digest, is reported, renamed to
        STEP.broken, and the one before it is tried. One of before there were digests is taken.

        Args:
          target: TrainState of jax.ShapeDtypeStruct with shardings; any mesh.
          report: function of one line of text.

        Raises: InputError where checkpoints exist and none is usable, or where they hold other parameters than
          `target`.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            damage = _agreed(lambda step=step: self._damage(step, report))
            try:
                if not damage:
                    return self._read(step, target)
            except InputError:
                raise
            except Exception as error:  # whatever a damaged file makes the storage layers raise
                damage = in_one_line(error)
            place = _agreed(lambda step=step: weights.set_aside(self._folder / str(step)))
            report(f"checkpoint {self._folder / str(step)} is broken ({damage}), {place}: trying the one before")
            self._manager.reload()
        if steps or any(weights.BROKEN in path.name for path in self._folder.iterdir()):
            raise InputError(
                f"no checkpoint in {self._folder} can be read: start in another --workdir, or remove what is"
                f" {weights.BROKEN} there to start from the beginning"
            )
        return None

    def _damage(self, step, report):
        """What is wrong with the files of a checkpoint, "" for nothing. InputError where it is none of a run."""
        folder = self._folder / str(step)
        if not (folder / "params").exists():
            return "it holds no params"
        if not (folder / "optimizer").exists():
            raise InputError(_variables_only(folder))
        try:
            if not digests.verify(folder):
                report(weights.unchecked(folder))
        except digests.Damaged as error:
            return str(error)
        return ""

    def _read(self, step, target):
        folder, wanted = self._folder / str(step), _items(target)
        if ("ema" in wanted) != (folder / "ema").exists():
            raise InputError(f"{folder} was saved with another config.train.ema_decay (zero or not): keep that setting")
        same_layout = True
        for name in [name for name in wanted if name != "optimizer"]:
            stored, here = weights.stored_shapes(folder / name), dict(named_leaves(wanted[name]))
            same_layout &= stored.keys() == here.keys()
            there = {path: jax.ShapeDtypeStruct(shape, np.float32) for path, shape in stored.items()}
            single = {path: leaf.shape for path, leaf in stacking.flatten(there).items()}
            weights.check_leaves(single, stacking.flatten(here), folder)
        if same_layout:
            args = {name: ocp.args.StandardRestore(tree) for name, tree in wanted.items()}
            read = self._manager.restore(step, args=ocp.args.Composite(**args))
        else:
            read = {name: _laid_out(weights.read_item(folder / name), tree) for name, tree in wanted.items()}
        if (held := int(jax.device_get(read["optimizer"]["step"]))) != step:
            # Later checkpoints of lower numbers would be taken for older ones, and not be kept.
            raise InputError(f"{folder} holds step {held}: name it {held} again, or remove it")
        return dataclasses.replace(
            target,
            params=read["params"],
            batch_stats=read["batch_stats"] if "batch_stats" in wanted else {},
            ema=read["ema"] if "ema" in wanted else None,
            **read["optimizer"],
        )


def _laid_out(stored, target):
    """A tree as `target` of what a checkpoint holds with its layers stacked otherwise (model.scan_layers).

    stored: tree of NumPy arrays. target: tree of jax.ShapeDtypeStruct with shardings."""
    leaves = stacking.flatten(dict(named_leaves(stored)))

    def placed(name, leaf):
        names = stacking.layer_names(name)
        whole = np.asarray(leaves[name]) if names is None else np.stack([leaves[each] for each in names])
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: whole[index])

    made = [placed(name, leaf) for name, leaf in named_leaves(target)]
    return jax.tree.unflatten(jax.tree.structure(target), made)


def _variables_only(folder):
    return f"{folder} holds variables only: start another --workdir with --config.init.checkpoint={folder}"


def _items(state):
    # Orbax refuses empty trees, so the parts that a run does not have are left out.
    parts = {"params": state.params, "batch_stats": state.batch_stats, "ema": state.ema}
    parts["optimizer"] = {"step": state.step, "opt_state": state.opt_state}
    return {name: tree for name, tree in parts.items() if jax.tree.leaves(tree)}


def _agreed(say):
    """What `say()`, which is called on the first process alone, returns or raises there: a str, or an InputError."""
    if jax.process_count() == 1:
        return say()
    text, failed, buffer = "", False, np.zeros(_LONGEST_SAID, np.uint8)
    if jax.process_index() == 0:
        try:
            text = say()
        except InputError as error:
            text, failed = str(error), True
    said = text.encode()[: _LONGEST_SAID - 1]
    buffer[: len(said) + 1] = np.frombuffer(bytes([failed]) + said, np.uint8)
    buffer = bytes(multihost_utils.broadcast_one_to_all(buffer))
    text = buffer[1:].rstrip(b"\0").decode(errors="ignore")
    if buffer[0]:
        raise InputError(text)
    return text
