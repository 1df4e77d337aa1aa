"""Run by test_devices.py with eight virtual devices: trains the tiny network on several meshes, prints JSON."""

import functools
import json
import sys
from pathlib import Path

import jax
import numpy as np

import trackers
import train
from configs import grm
from tests.training import support
from trackers.training import checkpoints, sharding, state

MESHES = ((1, 1, 1), (8, 1, 1), (1, 8, 1), (2, 2, 2))
STEPS = 5


def main(folder):
    assert jax.device_count() == 8
    config = support.small_config(clip_norm=1.0)
    model, objective, optimizer = support.parts(config)
    variables = jax.tree.map(np.array, support.filled(model))
    result = {"losses": {}, "placements": {}}
    for shape in MESHES:
        devices = jax.devices()[: shape[0] * shape[1] * shape[2]]
        mesh = sharding.make_mesh(dict(zip(sharding.AXES, shape, strict=True)), devices)
        placement = sharding.shardings(support.abstract_state(config, mesh), mesh)
        now = jax.device_put(state.create(variables, optimizer), placement)
        step = jax.jit(
            functools.partial(train.train_step, objective=objective, optimizer=optimizer),
            in_shardings=(placement, sharding.batch_sharding(mesh), sharding.replicated(mesh)),
            out_shardings=(placement, sharding.replicated(mesh)),
            donate_argnums=0,
        )
        key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
        losses = []
        for i in range(STEPS):
            batch = sharding.put_batch(support.batch(config, i, range(8)), mesh)
            now, scalars = step(now, batch, key)
            losses.append(float(scalars["loss"]))
        result["losses"][str(shape)] = losses
        if shape == (1, 8, 1):
            with checkpoints.Checkpoints(folder, config) as saved:
                saved.save(now, STEPS)
            former = now
    # A checkpoint of the fsdp mesh on the mesh of all three axes.
    with checkpoints.Checkpoints(folder, config) as saved:
        again = saved.restore(support.abstract_state(config, mesh))
    result["restored_differs_in"] = support.leaves_equal(again, former)
    result["restored_placed"] = all(
        jax.tree.leaves(jax.tree.map(lambda leaf, wanted: leaf.sharding == wanted, again, placement))
    )
    result["distilled"] = {str(shape): _distilled(shape) for shape in (MESHES[0], MESHES[3])}
    result["placements"] = {str(shape): _placements(shape) for shape in MESHES[1:]}
    print(json.dumps(result))


def _distilled(shape):
    """Losses of two steps with a teacher, whose variables are placed on the mesh like the student's."""
    config = support.distilled_config(clip_norm=1.0)
    model, objective, optimizer = support.parts(config)
    variables = jax.tree.map(np.array, support.filled(model))
    devices = jax.devices()[: shape[0] * shape[1] * shape[2]]
    mesh = sharding.make_mesh(dict(zip(sharding.AXES, shape, strict=True)), devices)
    now = state.create(variables, optimizer)
    placement, of_teacher = sharding.shardings(now, mesh), sharding.shardings(variables, mesh)
    frozen = jax.device_put(jax.tree.map(lambda leaf: 0.9 * leaf, variables), of_teacher)
    step = jax.jit(
        functools.partial(train.train_step, objective=objective, optimizer=optimizer, fixed=config.train.frozen),
        in_shardings=(placement, sharding.batch_sharding(mesh), sharding.replicated(mesh), of_teacher),
        out_shardings=(placement, sharding.replicated(mesh)),
    )
    now, losses = jax.device_put(now, placement), []
    key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
    for i in range(2):
        batch = sharding.put_batch(support.batch(config, i, range(8)), mesh)
        now, scalars = step(now, batch, key, frozen)
        losses.append(float(scalars["loss"]))
    return losses


def _placements(shape):
    """{name: [spec, shape of the piece on a device]} of the published network, from shapes alone."""
    mesh = sharding.make_mesh(dict(zip(sharding.AXES, shape, strict=True)))
    model = trackers.build(grm.get_config("b256").model)
    params = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))["params"]
    sharding.check_sharded(params, mesh, 0.02)
    pieces = jax.tree.map(lambda leaf, placed: placed.shard_shape(leaf.shape), params, sharding.shardings(params, mesh))
    is_shape = lambda node: isinstance(node, tuple)  # noqa: E731
    return {
        state.path_name(path): list(piece)
        for path, piece in jax.tree_util.tree_leaves_with_path(pieces, is_leaf=is_shape)
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
