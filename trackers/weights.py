"""The weights of a model: loaded from a run, from what `save` wrote, from a published file, or the shipped ones.

The shipped weights are a small GRM's, trained on procedural video alone (docs/shipped_tracker.md).
"""

import contextlib
import dataclasses
import itertools
import json
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import traverse_util

import trackers
from trackers import convert, errors
from trackers.convert import layouts
from trackers.errors import InputError, UsageError
from trackers.io import digests, numbers, outputs, plain_text
from trackers.nn import stacking

# In a run's folder: its checkpoints, and its config. In a folder that `save` wrote: the weights, and the config.
FOLDER = "checkpoints"
FILE = "weights.safetensors"
CONFIG_FILE = "config.json"
# What the name of a checkpoint that is not whole ends with.
BROKEN = ".broken"
# Settings of a model that its parameters do not depend on, nor its numbers but for their rounding.
_FREE_MODEL_KEYS = ("remat", "kernels", "dtype")
# Settings of the tracking section that say what a crop shows, as the pairs did that the weights were learned from.
CROP_KEYS = ("template_factor", "search_factor", "crop_aspect")
_ROOT = Path(__file__).resolve().parents[1]
_SHIPPED_CONFIG = f"{_ROOT / 'configs' / 'grm.py'}:shipped"
_SHIPPED = _ROOT / "weights" / "grm_t128"


def define_flags():
    """--config and --checkpoint of the programs that track."""
    from absl import flags

    help_config = (
        "Config file and variant: configs/grm.py:b256. None: the one beside the weights of --checkpoint, where eval.py"
        " and track.py find a whole one; else the shipped GRM's."
    )
    errors.define_config(help_config, _SHIPPED_CONFIG)
    help_checkpoint = (
        "Workdir of train.py, its checkpoints folder, a folder of trackers.convert or trackers.specialise, or a"
        " published file (.pth, ...)."
    )
    flags.DEFINE_string("checkpoint", None, f"{help_checkpoint} None: the shipped weights.")


def chosen_config():
    """The config that the flags of `define_flags` mean, a locked ConfigDict.

    Without --config it is the one that lies beside the weights of --checkpoint, where that is a whole one (of a run, of
    trackers.specialise), with what --config.KEY=VALUE changes in it. With --config it is that one; modules that the
    config beside the weights leaves out (the model's `leaving_out`) are left out there, too, and a line says so where
    its crops are others.

    Raises: InputError where the config beside the weights cannot be read, or holds a model that cannot be built.
    """
    import ml_collections
    from absl import flags

    given, checkpoint = flags.FLAGS["config"], flags.FLAGS.checkpoint
    there = beside(checkpoint)
    if given.present or "tracking" not in there:
        config, changes = given.value, _left_out_beside(there, given.value.model)
        changes = {key: value for key, value in changes.items() if f"model.{key}" not in given.override_values}
        for key, value in changes.items():
            print(f"model.{key}={value}, as {CONFIG_FILE} beside the weights says", flush=True)
        with config.unlocked():
            config.model.update_from_flattened_dict(changes)
        of_run = "workdir" in flags.FLAGS and flags.FLAGS.workdir  # eval.py's, whose checkpoints it judges
        if given.present and not of_run:
            _say_other_crops(there if checkpoint else beside(_SHIPPED), config, given.override_values)
        return config
    print(f"no --config: that of {epath.Path(checkpoint) / CONFIG_FILE}", flush=True)
    config = ml_collections.ConfigDict(there)
    with config.ignore_type():
        config.update_from_flattened_dict(given.override_values)
    return config.lock()


def _say_other_crops(saved, config, chosen):
    """Says where a config cuts other crops than the one beside the weights. chosen: {key: value} given on purpose."""
    if "tracking" not in saved or _differing_networks(saved["model"], config.model):
        return
    theirs, here = saved["tracking"], config.tracking
    keys = [key for key in CROP_KEYS if key in theirs and key in here and f"tracking.{key}" not in chosen]
    if other := [key for key in keys if here[key] != theirs[key]]:
        values = ", ".join(f"tracking.{key} {here[key]:g} ({theirs[key]:g})" for key in other)
        remedy = " ".join(f"--config.tracking.{key}={theirs[key]:g}" for key in other)
        print(
            f"note: other crops than the weights were learned with (in brackets): {values}; give {remedy}", flush=True
        )


def beside(checkpoint):
    """The config in a checkpoint's folder, a plain dict; {} where there is none."""
    path = epath.Path(checkpoint) / CONFIG_FILE if checkpoint else None
    if path is None or not path.exists():
        return {}
    config = plain_text.read_json(path, "a config")
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise InputError(f"{path} is not a config: it has no section `model`")
    if not isinstance(config.get("tracking", {}), dict):
        raise InputError(f"{path} is not a config: `tracking` is not a section")
    return config


def _left_out_beside(saved, config_model):
    """{"section.field": value} of what the config beside the weights leaves out, and another model section does not."""
    if saved.get("model", {}).get("name") != config_model.name:
        return {}
    keys = getattr(trackers.build(saved["model"]), "leaving_out", ())
    sections = saved["model"], config_model, trackers.without(config_model, keys)
    there, here, default = (traverse_util.flatten_dict(_filled(section), sep=".") for section in sections)
    changed = {key: there[key] for key in keys if there[key] != default[key] == here[key]}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in changed.items()}


def load(path, config_model, prefer_ema=True, rng=None):
    """The variables of a model, float32 jax arrays on the default device.

    Args:
      path: a workdir of train.py, its checkpoints folder, one checkpoint in it, what `save` wrote, or a published
        checkpoint file. None or "": the shipped weights.
      config_model: the config's model section; a checkpoint that differs from it only in scan_layers is restacked, and
        may hold the modules that the config leaves out (convert.left_out).
      prefer_ema: take the moving average of the parameters where the run kept one.
      rng: jax key for what a published backbone does not hold; jax.random.key(0) when None.

    Raises: InputError for a missing path, an unreadable checkpoint, one of another model or size (names and shapes), or
      numbers that are not finite;
      UsageError where no path is given and the shipped weights are of another model.
    """
    path = epath.Path(path) if path else _shipped(config_model)
    if not path.exists():
        raise InputError(f"checkpoint {path} does not exist")
    saved = path if path.name == FILE else path / FILE
    if not saved.exists() and not path.is_dir():
        published = convert.read_checkpoint(path)
        try:
            variables = convert.to_variables(published, config_model, rng=rng)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        _check_finite(stacking.flatten(variables), path)
        return jax.tree.map(jax.numpy.asarray, variables)
    model = trackers.build(config_model)
    target = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    leaves = _saved(saved) if saved.exists() else _newest(path, prefer_ema)
    idle = convert.left_out(config_model)
    stored = {name: leaf.shape for name, leaf in leaves.items() if name not in idle}
    check_leaves(stored, stacking.flatten(target), path)
    _check_finite(leaves, path)
    return jax.tree.map(jax.numpy.asarray, stacking.unflatten(leaves, target))


def _check_finite(leaves, path):
    if others := [f"{name} is {leaf.dtype}" for name, leaf in leaves.items() if leaf.dtype.kind != "f"]:
        raise InputError(f"{path}: weights that are not floats: {layouts.some(others)}")
    bad = next((name for name, leaf in leaves.items() if not np.isfinite(leaf).all()), None)
    if bad is not None:
        raise InputError(f"{path}: {bad} holds numbers that are not finite: its training failed, take an earlier one")


def _saved(file):
    """{path: array} of what `save` wrote; folders of before there were digests are taken as they are."""
    outputs.check_finished(file.parent)
    try:
        digests.verify(file.parent, {file.name})
    except digests.Damaged as error:
        raise InputError(f"{file.parent} is damaged ({error}): copy or convert it again") from None
    leaves = convert.read_checkpoint(file)
    return {name: leaf.astype(np.float32) if leaf.dtype == np.float16 else leaf for name, leaf in leaves.items()}


def _newest(path, prefer_ema):
    """{path: array} of the newest checkpoint of a run that is whole and can be read."""
    for folder in step_folders(path.resolve()):
        try:
            items = _items(folder, prefer_ema)
            # What the digests name and is gone is missed, too: without its average a run would give other weights.
            parts = {"batch_stats", items.get("params", "params"), *(["ema"] if prefer_ema else [])}
            checked = digests.verify(folder, parts)
            if "params" not in items:
                raise InputError("it holds no params")
            if not checked:
                print(unchecked(folder), flush=True)
            return stacking.flatten({name: read_item(folder / item) for name, item in items.items()})
        except digests.Damaged as error:
            print(f"checkpoint {folder} is broken ({error}), {set_aside(folder)}: trying the one before", flush=True)
        except Exception as error:  # whatever a damaged file makes the storage layers raise
            print(f"checkpoint {folder} is broken ({in_one_line(error)}): trying the one before", flush=True)
    raise InputError(f"no checkpoint in {path} can be read: give a workdir of train.py or a published file")


def variant(path):
    """The config, as --config named it, of the run that a checkpoint is of; None where nothing says so.

    path: a workdir of train.py, its checkpoints folder, or one checkpoint in it.
    """
    path = epath.Path(path).resolve()
    names = [path.name, path.parent.name]
    workdir = path.parents[names.index(FOLDER)] if FOLDER in names else path
    try:
        return json.loads((workdir / CONFIG_FILE).read_text()).get("variant")
    except (OSError, ValueError, AttributeError):  # no folder of a run: whoever reads the weights says so
        return None


def save(path, variables, config_model, config=None, half=False):
    """Writes variables as DIR/weights.safetensors, one array a layer, beside the model section as DIR/config.json.

    Args:
      path: the folder, made if need be; must not hold weights or checkpoints.
      variables: {"params": tree, "batch_stats": tree (may be absent)}, layers stacked or not.
      config_model: the model section. config: the whole config, to be written around it; the model section alone when
        None.
      half: parameters are rounded to float16, which halves the file; `load` gives them as float32.

    Raises: InputError where `path` already holds weights or checkpoints, and for parameters too large for float16.
    """
    from safetensors import numpy as safetensors

    path = epath.Path(path)
    for name in (FILE, FOLDER):
        if (path / name).exists():
            raise InputError(f"{path} already holds {name}: choose another folder")
    leaves = {name: np.ascontiguousarray(leaf) for name, leaf in stacking.flatten(variables).items()}
    if half:
        leaves = {name: _halved(name, leaf) if name.startswith("params/") else leaf for name, leaf in leaves.items()}
    sections = {**plain({} if config is None else config), "model": plain(config_model)}
    outputs.write_text(path / CONFIG_FILE, json.dumps(sections, indent=2) + "\n")
    outputs.write_bytes(path / FILE, safetensors.save(leaves))
    digests.write(path)


def _halved(name, leaf):
    if np.abs(leaf).max(initial=0) > np.finfo(np.float16).max:
        raise InputError(f"{name} holds numbers too large for float16: save it in full")
    return leaf.astype(np.float16)


def named(source):
    """The path of weights that a program of others names: shipped ones by their name, all else by path.

    Raises: InputError where there is no such thing.
    """
    shipped = sorted(folder.name for folder in _SHIPPED.parent.iterdir() if folder.is_dir())
    path = epath.Path(_SHIPPED.parent / source if source in shipped else source)
    if not path.exists():
        raise InputError(f"weights {source}: neither a file nor a folder, nor shipped ones ({', '.join(shipped)})")
    return path


def _shipped(config_model):
    """The folder of the shipped weights, where they are of this model."""
    theirs = json.loads((_SHIPPED / CONFIG_FILE).read_text())["model"]
    if different := _differing_networks(theirs, config_model):
        raise UsageError(
            "--checkpoint is needed with this --config: the shipped weights are of configs/grm.py:shipped"
            f" (there, here): {'; '.join(different[:3])}"
        )
    return epath.Path(_SHIPPED)


def plain(config):
    """Nested mappings and sequences (ConfigDict, tuples) as JSON would give them back."""
    return json.loads(json.dumps(trackers.to_plain(config)))


def differing_keys(a, b, prefix=""):
    """["key.sub: value of a, value of b", ...] for two plain configs; (absent) where one has no such key."""
    differences = []
    for key in sorted(a.keys() | b.keys()):
        left, right = a.get(key, "(absent)"), b.get(key, "(absent)")
        if isinstance(left, dict) and isinstance(right, dict):
            differences += differing_keys(left, right, f"{prefix}{key}.")
        elif left != right:
            differences.append(f"{prefix}{key}: {left!r}, {right!r}")
    return differences


def differing_models(a, b):
    """differing_keys of two model sections (any mappings), but for what parameters and numbers do not depend on.

    A field that is not named has its default. Raises: InputError for a section that is no model's.
    """
    return differing_keys(_filled(a), _filled(b), "model.")


def _differing_networks(a, b):
    """differing_models, but for modules that one of the two leaves out (the model's `leaving_out`)."""
    keys = getattr(trackers.build(b), "leaving_out", ())
    return differing_models(trackers.without(a, keys), trackers.without(b, keys))


def _filled(config_model):
    """A model section with all its fields, plain, without the free ones."""
    model = trackers.build(config_model)
    known = {field.name for field in dataclasses.fields(model)} - {"parent", "name", *_FREE_MODEL_KEYS}
    values = {name: getattr(model, name) for name in known}
    sections = {name: dataclasses.asdict(value) for name, value in values.items() if dataclasses.is_dataclass(value)}
    return plain({"name": config_model["name"], **values, **sections})


def step_folders(path):
    """Checkpoint folders under a workdir, a checkpoints folder, or the checkpoint itself; newest first."""
    if (path / "params").exists():
        return [path]
    folder = path / FOLDER if (path / FOLDER).exists() else path
    steps = sorted((int(entry.name) for entry in folder.iterdir() if numbers.is_digits(entry.name)), reverse=True)
    if not steps:
        outputs.check_finished(path)
        raise InputError(f"{path} holds no checkpoints: give a workdir of train.py or a published file")
    return [folder / str(step) for step in steps]


def set_aside(folder):
    """Renames a checkpoint that is not whole to NAME.broken, NAME.broken.1, ..., and says so in a few words.

    A folder that may not be renamed stays as it is: it is found broken every time.
    """
    if BROKEN in folder.name:
        return "left where it is"
    names = (f"{folder.name}{BROKEN}{f'.{count}' if count else ''}" for count in itertools.count())
    aside = next(path for path in map(folder.with_name, names) if not path.exists())
    try:
        folder.rename(aside)
    except OSError:
        return "left where it is"
    return f"now {aside.name}"


def unchecked(folder):
    """What is said of a checkpoint of before there were digests."""
    return f"checkpoint {folder} has no {digests.FILE}: taken unchecked"


def _items(folder, prefer_ema):
    """{collection: item of the checkpoint that holds it}."""
    items = {"params": "ema" if prefer_ema and (folder / "ema").exists() else "params", "batch_stats": "batch_stats"}
    return {name: item for name, item in items.items() if (folder / item).exists()}


def read_item(folder):
    """One item of a checkpoint, a tree of NumPy arrays, whatever mesh it was saved from."""
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as reader:
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), reader.metadata(folder).tree)
        return reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy))


def stored_shapes(folder):
    """{path: shape} of the leaves of one item of a checkpoint, from its metadata."""
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as reader:
        return {name: tuple(leaf.shape) for name, leaf in _named(reader.metadata(folder).tree)}


def check_leaves(stored, wanted, source):
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
    lines = [f"{kind}: {layouts.some(names)}" for kind, names in problems.items() if names]
    raise InputError(f"{source} is a checkpoint of another model or size; {'; '.join(lines)}")


def _named(tree):
    return traverse_util.flatten_dict(tree, sep="/").items()


def in_one_line(error, length=160):
    """The first `length` characters of an error, or the last -`length`, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:length] if length > 0 else text[length:]}"
