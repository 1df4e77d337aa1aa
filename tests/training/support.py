"""A network and pairs small enough that a test trains in seconds."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import trackers
from configs import grm
from data_pipelines import loader
from tests import programs
from trackers import objectives
from trackers.planning import steps
from trackers.training import schedules, sharding, state

ROOT = programs.ROOT


def environ(devices=1, **more):
    """Environment of a program that computes on `devices` virtual CPU devices and does not compile for long."""
    virtual = f"--xla_force_host_platform_device_count={devices}"
    return programs.environ(**{"PYTHONUNBUFFERED": "1", "XLA_FLAGS": virtual, **more})


def small_config(**train):
    """The tiny config, cut to two narrow layers with one division; overrides of config.train by keyword."""
    config = grm.get_config("tiny")
    with config.unlocked():
        config.model.update({"width": 32, "depth": 2, "heads": 2, "patch_size": 8})
        config.model.update({"template_size": 16, "search_size": 32})
        config.model.division.hidden = (16, 8)
        config.model.head.channels = 16
        config.data.pairs_per_epoch = 64
        config.data.validation_pairs = 8
        config.train.update({"batch_size": 8, "checkpoint_every_steps": 100, "validate_every_epochs": 0, **train})
    return config


def batch(config, step, rows, split="train", seed=0):
    """Noise images with boxes: a pure function of (seed, step, row), as loaders promise. Of iKUN all rows are made."""
    if config.model.name == "ikun":
        made = steps.synthetic_batch(loader.shapes(config), len(rows), seed=step)
        return {name: values[list(rows)] for name, values in made.items()}
    generators = [np.random.default_rng([seed, step, row, split == "train"]) for row in rows]
    templates = config.model.get("templates", 1)
    sizes = {"template": (templates, config.model.template_size), "search": (config.model.search_size,)}

    def images(size):
        shape = (*size, size[-1], 3)
        return np.stack([g.integers(0, 256, shape, np.uint8) for g in generators])

    boxes = [np.concatenate([g.uniform(0.1, 0.5, 2), g.uniform(0.2, 0.4, 2)]) for g in generators]
    return {
        **{name: images(size) for name, size in sizes.items()},
        "template_box": np.full((len(rows), templates, 4), [0.25, 0.25, 0.5, 0.5], np.float32),
        "search_box": np.stack(boxes).astype(np.float32),
    }


def batches(config, start_step, rows, seed=None, split="train"):
    """In place of data_pipelines.loader.batches."""
    step = start_step
    while True:
        yield batch(config, step, rows, split, config.seed if seed is None else seed)
        step += 1


MIXFORMER = {
    "name": "mixformer_v2", "width": 32, "depth": 4, "heads": 2, "patch_size": 8, "template_size": 16,
    "search_size": 32, "templates": 2, "head": {"bins": 16}, "score_head": False, "scan_layers": True, "drop_path": 0.1,
}  # fmt: skip
DISTILLATION = {
    "name": "distillation", "feature_weight": 0.2, "student_layers": (1, 3), "teacher_layers": (1, 3),
    "eliminated": (0, 2), "elimination_epochs": 4,
}  # fmt: skip


def distilled_config(**train):
    """small_config with a MixFormerV2 of four layers, two of which fade, taught by another one."""
    config = small_config(**{"total_epochs": 3, **train})
    with config.unlocked():
        config.model, config.objective = ConfigDict(MIXFORMER), ConfigDict(DISTILLATION)
        config.teacher = ConfigDict({"model": config.model.to_dict() | {"drop_path": 0.0}, "checkpoint": ""})
        config.train.frozen = (r"encoder/block_(0|2)/",)
    return config


def family_config(family):
    """The tiny config of a family (small_config for "small" and, with GRM's prototype, for "prototype";
    distilled_config for "distilled"), whose heads divide in two, with drop-path where there is such a thing."""
    if family in ("small", "distilled", "prototype"):
        config = (distilled_config if family == "distilled" else small_config)(clip_norm=1.0)
    else:
        config = importlib.import_module(f"configs.{family}").get_config("tiny")
    with config.unlocked():
        if family == "prototype":
            config.model.division.mode, config.objective.division_weight = "prototype", 1.0
        config.train.update({"batch_size": 8, "clip_norm": 1.0, "learning_rate": 1e-3})
        config.data.ratio = ConfigDict({"synthetic_referring" if family == "ikun" else "synthetic": 1.0})
        if family == "ikun":
            config.model.update({"local_size": 32, "global_size": 64, "joint_statistics": False})
        else:
            config.model.update({"heads": 2 if config.model.width == 32 else 4, "drop_path": 0.5})
    return config


def mixformer_config(**train):
    """small_config with a MixFormerV2 of two stacked layers: nothing in it compiles for long or looks at the batch."""
    config = small_config(**train)
    with config.unlocked():
        config.model = ConfigDict(MIXFORMER | {"depth": 2})
        config.objective = ConfigDict({"name": "corners"})
    return config


def process_config(folder):
    """A run on folders of frames, for a mesh with two axes in use."""
    config = mixformer_config(debug_batch_hash=True, checkpoint_every_steps=2, learning_rate=1e-3)
    with config.unlocked():
        config.model.drop_path = 0.5
        config.data.ratio = ConfigDict({"frames": 1.0})
        config.data.update({"frames": str(folder), "threads": 1, "prefetch_batches": 1})
        config.mesh.update({"data": -1, "fsdp": 2, "max_unsharded": 1.0})
    return config


def parts(config):
    """(model, objective, optimizer) of a config."""
    model = trackers.build(config.model)
    teacher = trackers.build(config.teacher.model) if "teacher" in config else None
    return model, objectives.build(config.objective, model, teacher), optimizer(config)


def optimizer(config):
    """The optimizer of a config."""
    schedule = schedules.schedule(config)
    return schedules.optimizer(config.train, schedule.learning_rate)


def filled(model):
    """Variables with other numbers in every leaf; drawing them with NumPy saves compiling the initializers."""
    shapes = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    numbers = np.random.default_rng(0)

    def fill(path, leaf):
        around = 1.0 if state.path_name(path).endswith(("scale", "var")) else 0.0
        return jnp.asarray(around + 0.1 * numbers.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def abstract_state(config, mesh):
    """TrainState of shapes with placements on `mesh`."""
    model, _, optimizer = parts(config)
    shapes = jax.eval_shape(
        lambda key: state.create(trackers.init(model, key), optimizer, config.train.ema_decay), jax.random.key(0)
    )
    return sharding.placed(shapes, mesh)


def leaves_equal(a, b):
    """Names of the leaves in which two trees differ in any bit."""
    left, right = state.named_leaves(jax.device_get(a)), state.named_leaves(jax.device_get(b))
    assert [name for name, _ in left] == [name for name, _ in right]
    pairs = zip(left, right, strict=True)
    return [name for (name, x), (_, y) in pairs if np.asarray(x).tobytes() != np.asarray(y).tobytes()]
