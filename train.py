"""Trains a tracker: python train.py --config configs/grm.py:b256 --workdir DIR [--config.data.lasot=/data/lasot ...]

The workdir holds config.json, metrics.jsonl (and TensorBoard files) and checkpoints/. The same command resumes a run
that was stopped, at any moment and on any number of devices, and takes the very same steps.
"""

import functools
import hashlib
import itertools
import math
import time

import jax
import jax.numpy as jnp
import optax
from absl import flags
from ml_collections import config_flags

import trackers
from data_pipelines import loader
from trackers import errors, objectives
from trackers.training import checkpoints, metrics, processes, schedules, sharding, state

RNG_NAMES = ("gumbel", "dropout", "droppath")


def train_step(train_state, batch, key, *, objective, optimizer, ema_decay=0.0):
    """One step of training, pure.

    Args:
      train_state: TrainState.
      batch: dict of arrays (B, ...), as objectives take it.
      key: the run's key; the step's own keys derive from it and train_state.step.
      objective: (params, batch_stats, batch, rngs=, train=) -> (loss, (metrics, batch_stats)).
      optimizer: optax.GradientTransformation.
      ema_decay: of the moving average; read only where the state keeps one.

    Returns: (TrainState, metrics): the objective's () float32 scalars, "grad_norm" before clipping, and "bad_leaf" ()
      int32, the first leaf (in tree order) with a non-finite gradient, -1 for none.
    """
    keys = jax.random.split(jax.random.fold_in(key, train_state.step), len(RNG_NAMES))
    rngs = {name: keys[i] for i, name in enumerate(RNG_NAMES)}
    gradient = jax.value_and_grad(objective, has_aux=True)
    (_, (scalars, batch_stats)), grads = gradient(
        train_state.params, train_state.batch_stats, batch, rngs=rngs, train=True
    )
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
    bad_leaf = jnp.where(bad.any(), jnp.argmax(bad), -1)
    return train_state, {**scalars, "grad_norm": jnp.sqrt(squares.sum()), "bad_leaf": bad_leaf}


def eval_step(variables, batch, *, objective):
    """Metrics of a batch in inference mode, pure: the objective's, and "wrong_template_iou", the IoU when every search
    image is shown with its neighbour's template. A tracker that uses the template does much worse there.

    Args: variables {"params", "batch_stats"}; batch, objective as in train_step. Returns: dict of () float32.
    """
    run = functools.partial(objective, variables["params"], variables["batch_stats"], rngs=None, train=False)
    _, (scalars, _) = run(batch)
    wrong = {name: jnp.roll(batch[name], 1, axis=0) for name in ("template", "template_box")}
    _, (wrong_scalars, _) = run({**batch, **wrong})
    return {**scalars, "wrong_template_iou": wrong_scalars["iou"]}


def start_state(config, model, optimizer, target, mesh, key):
    """The placed state of a new run, from random weights or config.init.checkpoint. `target`: shapes with shardings."""
    placement = jax.tree.map(lambda leaf: leaf.sharding, target)
    create = functools.partial(state.create, optimizer=optimizer, ema_decay=config.train.ema_decay)
    if not config.init.checkpoint:
        return jax.jit(lambda key: create(trackers.init(model, key)), out_shardings=placement)(key)
    variables = jax.device_get(checkpoints.load_variables(config.init.checkpoint, config.model, rng=key))
    given = sharding.shardings(variables, mesh)
    return jax.jit(create, in_shardings=(given,), out_shardings=placement)(variables)


def validate(evaluate, variables, config, rows, mesh):
    """Means of eval_step over config.data.validation_pairs pairs (whole batches, one at least), always the same."""
    count = max(1, config.data.validation_pairs // config.train.batch_size)
    mean = metrics.Mean()
    batches = loader.batches(config, 0, rows, split="validation")
    for batch in itertools.islice(batches, count):
        scalars = jax.device_get(evaluate(variables, sharding.put_batch(batch, mesh)))
        mean.add({name: value.item() for name, value in scalars.items()})
    return {f"validation/{name}": value for name, value in mean.take().items()}


def batch_hash(batch):
    """SHA-1 of this process's rows of a batch (hex)."""
    digest = hashlib.sha1()
    for name in sorted(batch):
        digest.update(name.encode() + batch[name].tobytes())
    return digest.hexdigest()


def train(config, workdir, max_steps=None):
    """Trains, or goes on training, the run in `workdir`.

    Args:
      config: the whole config, locked or not. workdir: path. max_steps: stop after so many steps of the run.

    Returns: exit code, 0 or 143 (stopped by SIGTERM).

    Raises: InputError, UsageError for what is wrong with config, data, checkpoints, or a loss that is not finite.
    """
    primary = jax.process_index() == 0
    say = functools.partial(print, flush=True) if primary else lambda *_: None

    # What is computed, and where it lives: shapes and placements before any array exists.
    mesh = sharding.make_mesh(config.mesh)
    rows = sharding.process_rows(mesh, config.train.batch_size)
    model = trackers.build(config.model)
    objective = objectives.build(config.objective, model)
    optimizer, learning_rate = schedules.optimizer(config), schedules.learning_rate(config)
    init_key, _ = jax.random.split(jax.random.key(config.seed))
    create = functools.partial(state.create, optimizer=optimizer, ema_decay=config.train.ema_decay)
    shapes = jax.eval_shape(lambda key: create(trackers.init(model, key)), init_key)
    placement = sharding.shardings(shapes, mesh)
    target = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, placement)
    sharding.check_sharded(shapes.params, mesh, config.mesh.max_unsharded)
    leaf_names = [name for name, _ in state.named_leaves(shapes.params)]
    say(sharding.describe(shapes.params, mesh))

    batch_size, epoch = config.train.batch_size, schedules.steps_per_epoch(config)
    total = schedules.total_steps(config)
    last = min(total, max_steps or total)
    validate_every = round(config.train.validate_every_epochs * epoch)
    whole, split = sharding.replicated(mesh), sharding.batch_sharding(mesh)
    # Made on all processes at once: a key cannot be put onto devices of others.
    step_key = jax.jit(lambda: jax.random.split(jax.random.key(config.seed))[1], out_shardings=whole)()
    take_step = jax.jit(
        functools.partial(train_step, objective=objective, optimizer=optimizer, ema_decay=config.train.ema_decay),
        in_shardings=(placement, split, whole),
        out_shardings=(placement, whole),
        donate_argnums=0,
    )
    evaluate = jax.jit(functools.partial(eval_step, objective=objective), out_shardings=whole)

    checkpoints.claim_workdir(workdir, config)
    with checkpoints.Checkpoints(workdir, config, config.train.keep_checkpoints) as saved:
        # Where the run stands.
        train_state = saved.restore(target, say)
        start = 0 if train_state is None else int(jax.device_get(train_state.step))
        data = loader.batches(config, start, rows)
        if train_state is None:
            train_state = start_state(config, model, optimizer, target, mesh, init_key)
        say(f"{'resuming at' if start else 'starting at'} step {start} of {total} in {workdir}")

        late, mean, latest, began = metrics.Late(), metrics.Mean(), {}, time.monotonic()
        with (
            processes.Preemption() as preemption,
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
                    if rate:
                        latest.update(pairs_per_second=rate, pairs_per_second_per_device=rate / mesh.size)
                    writer.write(step, latest)
                    progress.report(step, latest, rate)

            def run_validation(step):
                """Validates and reports the state after `step` steps."""
                validation = validate(evaluate, state.evaluation_variables(train_state), config, rows, mesh)
                writer.write(step, validation)
                iou, wrong = validation["validation/iou"], validation["validation/wrong_template_iou"]
                progress.say(f"step {step}  validation IoU {iou:.4f}, with the wrong template {wrong:.4f}")
                progress.rate()
                return validation

            # The loop.
            validation, validated = {}, -1
            for step in range(start + 1, last + 1):
                batch = next(data)
                if config.train.debug_batch_hash:
                    writer.write(step, {"batch_hash": batch_hash(batch)})
                placed = sharding.put_batch(batch, mesh)
                with jax.transfer_guard("disallow"):
                    train_state, scalars = take_step(train_state, placed, step_key)
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
    result |= {"validation IoU": validation["validation/iou"]}
    result |= {"wrong-template IoU": validation["validation/wrong_template_iou"]}
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
