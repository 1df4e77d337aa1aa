"""Run by test_devices.py with eight virtual devices: trains a network of each family named on several meshes and prints
what came out as JSON. python -m tests.training.several_devices FOLDER MESH,... FAMILY,...
"""

import functools
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import train
from tests.training import support
from trackers.objectives import center, forward
from trackers.training import checkpoints, sharding, state

STEPS = 20


class Observed(center.Objective):
    """GRM's objective that also tells what chance has decided: "division" (B,L,Nx), and "dropped" (B,L), whether a
    layer left all tokens of a sample as they were."""

    def __call__(self, params, batch_stats, batch, rngs=None, train=True, **_):
        prediction, batch_stats = forward.predict(self.model, params, batch_stats, batch, rngs, train, features=True)
        loss, metrics = self.loss(prediction, batch["search_box"])
        layers = prediction.features["layers"]
        same = jnp.all(layers[:, 1:] == layers[:, :-1], axis=(2, 3))
        return loss, ({**metrics, "division": prediction.division, "dropped": same}, batch_stats)


def main(folder, meshes, families):
    assert jax.device_count() == 8
    print(json.dumps({family: _trained(folder / family, family, meshes) for family in families}))


def _trained(folder, family, meshes):
    config = support.family_config(family)
    model, objective, optimizer = support.parts(config)
    objective = Observed(**vars(objective)) if family in ("small", "grm") else objective
    variables = jax.tree.map(np.array, support.filled(model))
    found = {"losses": {}, "statistics": {}, "draws": {}}
    for name in meshes:
        mesh = _mesh(name)
        now, step, teacher_variables = _start(config, objective, optimizer, variables, mesh)
        key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
        losses, draws = [], []
        for i in range(STEPS):
            batch = sharding.put_batch(support.batch(config, i, range(8)), mesh)
            now, scalars = step(now, batch, key, teacher_variables)
            losses.append(float(scalars["loss"]))
            if "dropped" in scalars:
                draws.append([np.asarray(scalars[draw]).astype(int).tolist() for draw in ("division", "dropped")])
            if i == 0:
                stats = jax.tree.leaves(jax.device_get(now.batch_stats))
                found["statistics"][name] = [leaf.ravel().tolist() for leaf in stats]
        found["losses"][name], found["draws"][name] = losses, draws
    return found | _moved(folder, config, now)


def _mesh(name):
    shape = [int(size) for size in name.split("x")]
    return sharding.make_mesh(dict(zip(sharding.AXES, shape, strict=True)), jax.devices()[: np.prod(shape)])


def _start(config, objective, optimizer, variables, mesh):
    """(state, jitted step, the teacher's variables) of a config on a mesh."""
    now = state.create(variables, optimizer)
    of_state, of_teacher = sharding.shardings(now, mesh), sharding.shardings(variables, mesh)
    teacher = config.get("teacher") is not None
    teacher_variables = jax.device_put(jax.tree.map(lambda leaf: 0.9 * leaf, variables), of_teacher) if teacher else {}
    step = functools.partial(train.train_step, objective=objective, optimizer=optimizer, frozen=config.train.frozen)
    whole = sharding.replicated(mesh)
    step = jax.jit(
        sharding.under(mesh, step),
        in_shardings=(of_state, sharding.batch_sharding(mesh), whole, of_teacher if teacher else whole),
        out_shardings=(of_state, whole),
        donate_argnums=0,
    )
    return jax.device_put(now, of_state), step, teacher_variables


def _moved(folder, config, now):
    """Saves the state and restores it on another mesh."""
    target = support.abstract_state(config, _mesh("1x8x1"))
    with checkpoints.Checkpoints(folder, config) as saved:
        saved.save(now, STEPS)
        saved.wait()
        again = saved.restore(target)
    placed = jax.tree.map(lambda leaf, wanted: leaf.sharding == wanted.sharding, again, target)
    return {"restored_differs_in": support.leaves_equal(again, now), "restored_placed": all(jax.tree.leaves(placed))}


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(argument.split(",") for argument in sys.argv[2:]))
