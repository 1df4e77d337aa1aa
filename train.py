"""Trains a tracker: python train.py --config configs/grm.py:b256 --workdir DIR [--config.data.lasot=/data/lasot ...]

The workdir holds config.json, metrics.jsonl (and TensorBoard files) and checkpoints/. The same command resumes a run
that was stopped, at any moment and on any number of devices, and takes the very same steps.
"""

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from ml_collections import config_flags

import trackers
from data_pipelines import loader
from trackers import errors, objectives
from trackers.training import (
    accumulation,
    checkpoints,
    chips,
    flops,
    freezing,
    initial,
    metrics,
    processes,
    schedules,
    sharding,
    state,
    tracing,
)

RNG_NAMES = ("gumbel", "dropout", "droppath")


def train_step(
    train_state, batch, key, frozen=None, *, objective, optimizer, ema_decay=0.0, epoch_steps=1, fixed=(), accumulate=1
):
    """One step of training, pure.

    Args:
      train_state: TrainState.
      batch: dict of arrays (B, ...), as objectives take it.
      key: the run's key; the step's own keys derive from it and train_state.step.
      frozen: a teacher's variables, for objectives that ask for them.
      objective: (params, batch_stats, batch, rngs=, train=) -> (loss, (metrics, batch_stats)); see trackers.objectives.
      optimizer: optax.GradientTransformation.
      ema_decay: of the moving average; read only where the state keeps one.
      epoch_steps: steps of an epoch.
      fixed: patterns of the parameters that are not trained (config.train.frozen).
      accumulate: parts that the batch is taken in, one after another (accumulation.py).

    Returns: (TrainState, metrics): the objective's () float32 scalars, the norms "grad_norm" (before clipping),
      "update_norm" and "param_norm" (after the step), and "bad_leaf" () int32, the first leaf (in tree order) with a
      non-finite gradient, -1 for none.
    """
    keys = jax.random.split(jax.random.fold_in(key, train_state.step), len(RNG_NAMES))
    rngs = {name: keys[i] for i, name in enumerate(RNG_NAMES)}
    given = objectives.given(objective, epoch=train_state.step // epoch_steps + 1, frozen=frozen)

    def loss(params, batch_stats, batch, rngs):
        return objective(freezing.stop(params, fixed), batch_stats, batch, rngs=rngs, train=True, **given)

    summed = getattr(objective, "reduction", "mean") == "sum"
    taken = train_state.params, train_state.batch_stats, batch, rngs
    grads, scalars, batch_stats = accumulation.gradients(loss, *taken, accumulate, summed)
    squares = jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(grads)])
    bad = ~jnp.isfinite(squares)
    updates, opt_state = optimizer.update(grads, train_state.opt_state, train_state.params)
    params = optax.apply_updates(train_state.params, updates)
    ema = train_state.ema
    if ema is not None:
        ema = jax.tree.map(lambda old, new: ema_decay * old + (1 - ema_decay) * new, ema, params)
    train_state = train_state.replace(
        step=train_state.step + 1, params=params, opt_state=opt_state, batch_stats=batch_stats, ema=ema
    )
    norms = {"update_norm": optax.global_norm(updates), "param_norm": optax.global_norm(params)}
    bad_leaf = jnp.where(bad.any(), jnp.argmax(bad), -1)
    return train_state, {**scalars, **norms, "grad_norm": jnp.sqrt(squares.sum()), "bad_leaf": bad_leaf}


def eval_step(variables, batch, epoch=1, frozen=None, *, objective):
    """Metrics of a batch in inference mode, pure: the objective's, and those of its control (objectives.Validation):
    "wrong_template_iou" is the IoU when every search image is shown with its neighbour's template. A tracker that uses
    the template does much worse there.

    Args: variables {"params", "batch_stats"}; batch, frozen, objective as in train_step; epoch () int32, from 1.

    Returns: dict of () float32.
    """
    given = objectives.given(objective, epoch=epoch, frozen=frozen)
    run = functools.partial(objective, variables["params"], variables["batch_stats"], rngs=None, train=False, **given)
    _, (scalars, _) = run(batch)
    return {**scalars, **objectives.validation(objective).control(run, batch)}


@dataclasses.dataclass(frozen=True)
class Program:
    """What a run computes and where it lives; made by `assemble`, used by train and by what measures or plans a run.

    model, teacher: modules; teacher is None where the config has none. objective, optimizer: see train_step.
    target, frozen: shapes with placements of the TrainState and of the teacher's variables ({} without teacher).
    take_step: train_step jitted, (train_state, batch, key, frozen) -> (train_state, metrics); the state is donated.
    """

    model: Any
    teacher: Any
    objective: Callable
    optimizer: optax.GradientTransformation
    target: state.TrainState
    frozen: Any
    take_step: Callable


def assemble(config, mesh):
    """The Program of a config on a mesh, from shapes alone: no array exists yet, nor need the mesh's devices.

    Raises: InputError, UsageError for what is wrong with the config, or does not fit the mesh.
    """
    model, teacher = trackers.build(config.model), config.get("teacher")
    teacher = None if teacher is None else trackers.build(teacher.model)
    objective = objectives.build(config.objective, model, teacher)
    optimizer = schedules.optimizer(config)
    create = functools.partial(state.create, optimizer=optimizer, ema_decay=config.train.ema_decay)

    def placed(make):
        shapes = jax.eval_shape(make, jax.random.key(0))
        placement = sharding.shardings(shapes, mesh)
        return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, placement)

    target = placed(lambda key: create(trackers.init(model, key)))
    frozen = {} if teacher is None else placed(lambda key: trackers.init(teacher, key))
    sharding.check_sharded(target.params, mesh, config.mesh.max_unsharded)
    sharding.check_parts(mesh, config.train.batch_size, config.accumulate)
    settings = {"objective": objective, "optimizer": optimizer, "ema_decay": config.train.ema_decay}
    settings |= {"epoch_steps": schedules.steps_per_epoch(config), "fixed": tuple(config.train.get("frozen", ()))}
    settings["accumulate"] = config.accumulate
    places, frozen_places = jax.tree.map(lambda leaf: leaf.sharding, (target, frozen))
    whole = sharding.replicated(mesh)
    take_step = jax.jit(
        sharding.under(mesh, functools.partial(train_step, **settings)),
        in_shardings=(places, sharding.batch_sharding(mesh), whole, frozen_places),
        out_shardings=(places, whole),
        donate_argnums=0,
    )
    return Program(model, teacher, objective, optimizer, target, frozen, take_step)


def start_state(config, model, optimizer, target, mesh, key):
    """The placed state of a new run, from random weights or config.init.checkpoint. `target`: shapes with shardings."""
    placement = jax.tree.map(lambda leaf: leaf.sharding, target)
    create = functools.partial(state.create, optimizer=optimizer, ema_decay=config.train.ema_decay)
    if not config.init.checkpoint:
        return jax.jit(lambda key: create(trackers.init(model, key)), out_shardings=placement)(key)
    variables = jax.device_get(initial.variables(config.model, config.init, key))
    given = sharding.shardings(variables, mesh)
    return jax.jit(create, in_shardings=(given,), out_shardings=placement)(variables)


def load_teacher(config, mesh):
    """The variables of config.teacher placed on the mesh, which never change; {} without a teacher.

    Raises: InputError for a checkpoint that is not given, missing or of another model.
    """
    teacher = config.get("teacher")
    if teacher is None:
        return {}
    if not teacher.checkpoint:
        raise errors.InputError("config.teacher.checkpoint is not set: give the teacher's workdir or published file")
    variables = jax.device_get(initial.variables(teacher.model, teacher, jax.random.key(config.seed)))
    placement = sharding.shardings(variables, mesh)
    place = jax.jit(lambda tree: tree, in_shardings=(placement,), out_shardings=placement)
    return place(variables)


def validate(evaluate, variables, config, rows, mesh, *given, summary=objectives.Validation.summary):
    """Means of eval_step over the batches of a validation (schedules.validation_steps), always the same.

    given: what `evaluate` takes after variables and batch. summary: of objectives.Validation.
    """
    mean = metrics.Mean()
    batches = loader.batches(config, 0, rows, split="validation")
    for batch in itertools.islice(batches, schedules.validation_steps(config)):
        scalars = jax.device_get(evaluate(variables, sharding.put_batch(batch, mesh), *given))
        mean.add({name: value.item() for name, value in scalars.items()})
    return {f"validation/{name}": value for name, value in summary(mean.take()).items()}


def model_flops(config, mesh, program, inputs):
    """FLOPs of a step on all chips that are the model's own: without what its remat policy computes twice.

    Args: config: whole config. program, inputs: of it on mesh (assemble, flops.abstract_inputs).
    """
    if config.model.get("remat", "none") != "none":
        config = config.copy_and_resolve_references()
        config.model.remat = "none"
        program = assemble(config, mesh)
        inputs = (program.target, *inputs[1:])
    return flops.of_step(program, inputs)


def train(config, workdir, max_steps=None):
    """Trains, or goes on training, the run in `workdir`.

    Args:
      config: the whole config, locked or not. workdir: path. max_steps: stop after so many steps of the run.

    Returns: exit code, 0 or 143 (stopped by SIGTERM).

    Raises: InputError, UsageError for what is wrong with config, data, checkpoints, or a loss that is not finite.
    """
    trace = tracing.Trace(config.profile, workdir)
    primary = jax.process_index() == 0
    say = functools.partial(print, flush=True) if primary else lambda *_: None

    # What is computed, and where it lives: shapes and placements before any array exists.
    mesh = sharding.make_mesh(config.mesh)
    rows = sharding.process_rows(mesh, config.train.batch_size)
    program = assemble(config, mesh)
    frozen = load_teacher(config, mesh)
    checks = objectives.validation(program.objective)
    learning_rate = schedules.learning_rate(config)
    init_key, _ = jax.random.split(jax.random.key(config.seed))
    leaf_names = [name for name, _ in state.named_leaves(program.target.params)]
    say(sharding.describe(program.target.params, mesh))
    chip, pair_flops = chips.published(mesh.devices.flat[0]), 0.0
    if chip is not None:
        inputs = flops.abstract_inputs(program, loader.shapes(config), config.train.batch_size, mesh)
        pair_flops = model_flops(config, mesh, program, inputs) / config.train.batch_size

    batch_size, epoch = config.train.batch_size, schedules.steps_per_epoch(config)
    total = schedules.total_steps(config)
    last = min(total, max_steps or total)
    validate_every = round(config.train.validate_every_epochs * epoch)
    whole = sharding.replicated(mesh)
    # Made on all processes at once: a key cannot be put onto devices of others.
    step_key = jax.jit(lambda: jax.random.split(jax.random.key(config.seed))[1], out_shardings=whole)()
    evaluate = sharding.under(mesh, functools.partial(eval_step, objective=program.objective))
    evaluate = jax.jit(evaluate, out_shardings=whole)
    batch_hash = metrics.BatchHash(mesh) if config.train.debug_batch_hash else None

    checkpoints.claim_workdir(workdir, config)
    with checkpoints.Checkpoints(workdir, config, config.train.keep_checkpoints) as saved:
        # Where the run stands.
        train_state = saved.restore(program.target, say)
        start = 0 if train_state is None else int(jax.device_get(train_state.step))
        data = loader.batches(config, start, rows)
        if train_state is None:
            train_state = start_state(config, program.model, program.optimizer, program.target, mesh, init_key)
        say(f"{'resuming at' if start else 'starting at'} step {start} of {total} in {workdir}")

        late, mean, latest, began = metrics.Late(), metrics.Mean(), {}, time.monotonic()
        with (
            processes.Preemption() as preemption,
            trace,
            metrics.Writer(workdir, start, primary) as writer,
            metrics.Progress(last * batch_size, start * batch_size, primary) as progress,
        ):

            def record(finished):
                """Checks and logs a step whose metrics have arrived."""
                if finished is None:
                    return
                step, scalars = finished
                bad = int(scalars.pop("bad_leaf"))
                if not (math.isfinite(scalars["loss"]) and math.isfinite(scalars["grad_norm"])):
                    where = f"first non-finite gradient {leaf_names[bad]}" if bad >= 0 else "gradients finite"
                    raise errors.InputError(
                        f"loss {scalars['loss']}, gradient norm {scalars['grad_norm']} at step {step}, {where}; the "
                        f"last checkpoint in {workdir} is good: resume with a lower learning rate or check the data"
                    )
                mean.add(scalars)
                progress.advance(batch_size)
                if step % config.train.log_every_steps == 0 or step == last:
                    rate = progress.rate()
                    latest.update(mean.take(), learning_rate=float(learning_rate(step - 1)), epoch=step / epoch)
                    latest.update(examples_seen=step * batch_size, **metrics.memory(jax.local_devices()[0]))
                    latest.update(metrics.throughput(rate, mesh.size, pair_flops, chip and chip.flops))
                    writer.write(step, latest)
                    progress.report(step, latest, rate)

            def run_validation(step):
                """Validates and reports the state after `step` steps."""
                given = np.int32(max(0, step - 1) // epoch + 1), frozen
                variables = state.evaluation_variables(train_state)
                validation = validate(evaluate, variables, config, rows, mesh, *given, summary=checks.summary)
                writer.write(step, validation)
                figures = (f"{label} {validation[f'validation/{name}']:.4f}" for label, name in checks.shown.items())
                progress.say(f"step {step}  {', '.join(figures)}")
                progress.rate()
                return validation

            # The loop.
            validation, validated = {}, -1
            for step in range(start + 1, last + 1):
                batch = next(data)
                if batch_hash is not None:
                    writer.write(step, {"batch_hash": batch_hash(batch)})
                placed = sharding.put_batch(batch, mesh)
                trace.before(step)
                with jax.transfer_guard("disallow"):
                    train_state, scalars = program.take_step(train_state, placed, step_key, frozen)
                trace.after(step, scalars)
                record(late.push(step, scalars))
                leaving = preemption.reached(step)
                if leaving or step == last or step % config.train.checkpoint_every_steps == 0:
                    record(late.flush())  # a state is kept only after its loss has been seen to be finite
                    saved.save(train_state, step)
                if leaving:
                    saved.wait()
                    progress.say(f"SIGTERM: saved step {step} in {workdir}; the same command resumes there")
                    return 143
                if validate_every and step % validate_every == 0:
                    validation, validated = run_validation(step), step
            if validated != last:
                validation = run_validation(max(start, last))
        saved.wait()

    result = {"steps": max(start, last), "pairs": max(start, last) * batch_size, "seconds": time.monotonic() - began}
    result |= {name: latest[name] for name in ("loss", "iou", "pairs_per_second") if name in latest}
    result |= {label: validation[f"validation/{name}"] for label, name in checks.shown.items()}
    cells = [(name, f"{value:.4g}" if isinstance(value, float) else str(value)) for name, value in result.items()]
    say("  ".join(name.rjust(max(len(name), len(value))) for name, value in cells))
    say("  ".join(value.rjust(max(len(name), len(value))) for name, value in cells))
    return 0


def define_flags():
    """The command line; not done on import, so that other programs can use this module's functions."""
    help_config = "Config file and variant, e.g. configs/grm.py:b256; --config.KEY=VALUE overrides a setting."
    config_flags.DEFINE_config_file("config", None, help_config, lock_config=True)
    flags.DEFINE_string("workdir", None, "Folder of the run (gs:// too); a run found there is resumed.")
    flags.DEFINE_integer("max_steps", None, "Stop after so many steps of the run, schedules unchanged.", lower_bound=1)
    flags.mark_flags_as_required(["config", "workdir"])


def main(argv):
    del argv
    processes.join()
    return train(flags.FLAGS.config, flags.FLAGS.workdir, flags.FLAGS.max_steps)


if __name__ == "__main__":
    define_flags()
    errors.run(main)
