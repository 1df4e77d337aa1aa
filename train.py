"""Trains a tracker: python train.py --config configs/grm.py:b256 --workdir DIR [--config.data.lasot=/data/lasot ...]

The workdir holds config.json, metrics.jsonl (and TensorBoard files) and checkpoints/. The same command resumes a run
that was stopped, at any moment and on any number of devices, and takes the very same steps.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable

import jax
import numpy as np
from absl import flags
from flax import linen as nn

import trackers
from data_pipelines import loader
from trackers import errors, objectives
from trackers.io import compiled
from trackers.training import (
    accumulation,
    checkpoints,
    chips,
    dispatch,
    flops,
    freezing,
    initial,
    metrics,
    packing,
    processes,
    ranges,
    schedules,
    sharding,
    state,
    tracing,
    updates,
)


def train_step(
    train_state, batch, key, teacher_variables=None,
    *, objective, optimizer, ema_decay=0.0, epoch_steps=1, frozen=(), accumulate=1, packing=None,
):  # fmt: skip
    """One step of training, pure.

    Args:
      train_state: TrainState.
      batch: dict of arrays (B, ...), as the objective takes it.
      key: the run's key; the step's own keys derive from it and train_state.step.
      teacher_variables: the teacher's, for objectives that have one.
      objective: objectives.Objective.
      optimizer: optax.GradientTransformation.
      ema_decay: decay of the moving average; read only where the state keeps one.
      epoch_steps: steps in an epoch.
      frozen: patterns of the parameters that are not trained (config.train.frozen).
      accumulate: parts that the batch is taken in, one after another (accumulation.py).
      packing: packing.Packing of a train_state that is packed.

    Returns: (TrainState, metrics): the objective's () float32 scalars, and those of updates.apply.
    """
    keys = jax.random.split(jax.random.fold_in(key, train_state.step), len(objectives.RNG_NAMES))
    rngs = {name: keys[i] for i, name in enumerate(objectives.RNG_NAMES)}
    context = {"epoch": train_state.step // epoch_steps + 1, "teacher_variables": teacher_variables}

    def loss(params, batch_stats, batch, rngs):
        return objective(freezing.stop(params, frozen), batch_stats, batch, rngs=rngs, train=True, **context)

    params = train_state.params if packing is None else packing.unpack(train_state.params)
    inputs = params, train_state.batch_stats, batch, rngs
    grads, scalars, batch_stats = accumulation.gradients(loss, *inputs, accumulate, objective.reduction)
    settings = {"optimizer": optimizer, "ema_decay": ema_decay, "packing": packing}
    train_state, norms = updates.apply(train_state, grads, batch_stats, **settings)
    return train_state, {**scalars, **norms}


def eval_step(variables, batch, epoch=1, teacher_variables=None, *, objective):
    """Metrics of a batch in inference mode, pure: the objective's, and those of its control (objectives.Validation):
    "wrong_template_iou" is the IoU when every search image is shown with its neighbor's template. A tracker that uses
    the template does much worse there.

    Args: variables {"params", "batch_stats"}; epoch () int32, counted from 1; the others as in train_step.

    Returns: dict of () float32.
    """
    context = {"train": False, "epoch": epoch, "teacher_variables": teacher_variables}
    run = functools.partial(objective, variables["params"], variables["batch_stats"], **context)
    _, (scalars, _) = run(batch)
    return {**scalars, **objective.validation.control(run, batch)}


@dataclasses.dataclass(frozen=True)
class Program:
    """What a run computes and where it lives; made by `assemble`, used by train and by what measures or plans a run.

    create: function of the model's variables -> TrainState before the first step.
    target, teacher_variables: shapes with placements of the TrainState and of the teacher's variables ({} without one).
    step: train_step with all settings, (train_state, batch, key, teacher_variables) -> (train_state, metrics).
    packing: what a loop of steps packs its TrainState with, and gives to `step`; None = nothing.
    take_step: the same jitted; the state is donated.
    """

    model: nn.Module
    objective: objectives.Objective
    schedule: schedules.Schedule
    create: Callable
    target: state.TrainState
    teacher_variables: dict
    step: Callable
    packing: packing.Packing | None
    take_step: Callable

    def inputs(self, shapes, batch_size, mesh):
        """Shapes with placements of all that take_step takes. shapes: {name: (shape, dtype)} of one row."""
        batch = sharding.abstract_batch(shapes, batch_size, mesh)
        return self.target, batch, jax.eval_shape(lambda: jax.random.key(0)), self.teacher_variables


def assemble(config, mesh):
    """The Program of a config on a mesh, from shapes alone: no array exists yet, nor need the mesh's devices.

    Raises: InputError, UsageError for what is wrong with the config, or does not fit the mesh.
    """
    ranges.check(config)
    model = sharding.model_on(mesh, config.model)
    teacher = sharding.model_on(mesh, config.teacher.model) if "teacher" in config else None
    objective = objectives.build(config.objective, model, teacher)
    schedule = schedules.schedule(config)
    optimizer = schedules.optimizer(config.train, schedule.learning_rate)
    create = functools.partial(state.create, optimizer=optimizer, ema_decay=config.train.ema_decay)

    def shapes(make):
        # A model is given one row to begin with, and what the mesh's kind of device has kernels for.
        return sharding.placed(jax.eval_shape(sharding.under(sharding.first_of(mesh), make), jax.random.key(0)), mesh)

    target = shapes(lambda key: create(trackers.init(model, key)))
    teacher_variables = shapes(lambda key: trackers.init(teacher, key)) if teacher else {}
    sharding.check_sharded(target.params, mesh, config.mesh.max_unsharded)
    sharding.check_parts(mesh, config.train.batch_size, config.accumulate)
    settings = {"objective": objective, "optimizer": optimizer, "epoch_steps": schedule.epoch}
    settings |= {"ema_decay": config.train.ema_decay, "frozen": config.train.frozen, "accumulate": config.accumulate}
    step = functools.partial(train_step, **settings)
    places, whole = sharding.places(target), sharding.replicated(mesh)
    take_step = jax.jit(
        sharding.under(mesh, step),
        in_shardings=(places, sharding.batch_sharding(mesh), whole, sharding.places(teacher_variables)),
        out_shardings=(places, whole),
        donate_argnums=0,
    )
    return Program(
        model=model, objective=objective, schedule=schedule, create=create,
        target=target, teacher_variables=teacher_variables, step=step, take_step=take_step,
        packing=packing.of_run(target.params, config.train, mesh),
    )  # fmt: skip


def model_flops(config, mesh, program, inputs):
    """FLOPs of a step on all chips that are the model's own: without what its remat policy computes twice.

    config: whole config. program, inputs: its Program on mesh, and what Program.inputs gives."""
    plain = {key: value for key, value in (("remat", "none"), ("kernels", "plain")) if key in config.model}
    if any(config.model[key] != value for key, value in plain.items()):
        config = config.copy_and_resolve_references()
        config.model.update(plain)
        program = assemble(config, mesh)
        inputs = (program.target, *inputs[1:])
    return flops.of_step(program, inputs)


def train(config, workdir, max_steps=None, allow_config_change=False):
    """Trains, or goes on training, the run in `workdir`.

    Args: config: the whole config, locked or not. workdir: path. max_steps: stop after so many steps of the run.
      allow_config_change: go on in the workdir of a run with other settings (training/identity.py).

    Returns: exit code, 0 or 143 (stopped by SIGTERM).

    Raises: InputError, UsageError for what is wrong with config, data, checkpoints, or a loss that is not finite.
    """
    trace = tracing.Trace(config.profile, workdir)
    primary = jax.process_index() == 0
    say = functools.partial(print, flush=True) if primary else lambda *_: None

    # What is computed, and where it lives: shapes and placements before any array exists.
    batch_size, seed = config.train.batch_size, config.seed
    mesh = sharding.make_mesh(config.mesh)
    rows = sharding.process_rows(mesh, batch_size)
    starts = initial.starts(config)
    program = assemble(config, mesh)
    source = dispatch.source(config, mesh, made := loader.on_device(config))
    with checkpoints.opened(workdir, config, allow_config_change, say) as saved:
        compiled.keep_of_run(config.get("compiled", "workdir"), workdir, say)  # not in another run's workdir
        teacher_variables = initial.teacher_variables(program, starts.get("teacher"), jax.random.key(seed))
        leaf_names = [name for name, _ in state.named_leaves(program.target.params)]
        say(sharding.describe(program.target.params, mesh))
        chip, pair_flops = chips.published(jax.devices()[0]), 0.0
        if chip is not None:
            inputs = program.inputs(loader.shapes(config), batch_size, mesh)
            pair_flops = model_flops(config, mesh, program, inputs) / batch_size
        schedule, objective, whole = program.schedule, program.objective, sharding.replicated(mesh)
        last = min(schedule.total, max_steps or schedule.total)
        validate_every = round(config.train.validate_every_epochs * schedule.epoch)
        # Made on all processes at once: a key cannot be put onto devices of others.
        step_key = jax.jit(lambda: jax.random.split(jax.random.key(seed))[1], out_shardings=whole)()
        evaluate = jax.jit(sharding.under(mesh, functools.partial(eval_step, objective=objective)), out_shardings=whole)
        rates = np.asarray(schedule.learning_rate(np.arange(last)))  # now, while the device has nothing else to do
        # Where the run stands.
        train_state = saved.restore(program.target, say)
        if train_state is None:
            train_state = initial.train_state(program, starts["init"], jax.random.split(jax.random.key(seed))[0])
        start = int(jax.device_get(train_state.step))
        say(f"{'resuming at' if start else 'starting at'} step {start} of {schedule.total} in {workdir}")

        threads = 0 if made else config.data.get("threads", 0)
        late, waits, mean, latest = metrics.Late(), metrics.Waits(threads), metrics.Mean(), {}
        with (
            processes.Preemption() as preemption,
            trace,
            metrics.Writer(workdir, start, primary) as writer,
            metrics.Progress(last * batch_size, start * batch_size, primary) as progress,
        ):

            def record(finished):
                """Checks and logs steps, dispatched together, whose metrics have arrived."""
                for step, scalars in finished:
                    bad = scalars.pop("bad_leaf")
                    metrics.check_finite(step, scalars, leaf_names[bad] if bad >= 0 else None, workdir)
                    mean.add(scalars)
                if not finished:
                    return
                progress.advance(batch_size * len(finished))
                if step % config.train.log_every_steps == 0 or step == last:
                    rate, memory = progress.rate(), metrics.memory(jax.local_devices()[0])
                    latest.update(mean.take() | waits.take(batch_size, rate), learning_rate=float(rates[step - 1]))
                    latest.update(epoch=step / schedule.epoch, examples_seen=step * batch_size, **memory)
                    latest.update(metrics.throughput(rate, mesh.size, pair_flops, chip and chip.flops))
                    writer.write(step, latest)
                    progress.report(step, latest, rate)

            @progress.pause()
            def validate(step):
                """Reports the state after `step` steps, by means over the same whole batches; not once SIGTERM came."""
                variables = state.evaluation_variables(train_state)
                epoch = np.int32(max(0, step - 1) // schedule.epoch + 1)
                batches = preemption.until(loader.batches(config, 0, rows, split="validation"))
                placed = (sharding.put_batch(batch, mesh) for batch in itertools.islice(batches, schedule.validation))
                means = metrics.means(evaluate(variables, batch, epoch, teacher_variables) for batch in placed)
                if preemption.reached():
                    return {}
                summary = objective.validation.summary(means)
                writer.write(step, {f"validation/{name}": value for name, value in summary.items()})
                figures = {label: summary[name] for label, name in objective.validation.shown.items()}
                progress.say(f"step {step}  {', '.join(f'{label} {value:.4f}' for label, value in figures.items())}")
                return figures

            if source is None:
                finish = loader.finish(config)
                data = (loader.batches if finish is None else loader.unfinished_batches)(config, start, rows)
                if config.train.debug_batch_hash:
                    data = metrics.hashed(data, start, writer, mesh)
                work = dispatch.FromHost(program, data, mesh, finish)
            else:
                work = dispatch.OnDevice(program, source, batch_size, config.train.steps_per_dispatch, mesh)
            ends = (config.train.log_every_steps, config.train.checkpoint_every_steps, validate_every, *work.ends)
            figures, validated, step, began = {}, -1, start, time.monotonic()
            for steps in preemption.until(dispatch.spans(start, last, work.size, ends)):
                step, inputs = steps[-1], waits.data(work.inputs, steps)
                trace.before(steps)
                with jax.transfer_guard("disallow"):
                    train_state, scalars = work.take(train_state, inputs, step_key, teacher_variables)
                trace.after(steps, scalars)
                record(waits.device(late.push, steps, scalars))
                if step == last or step % config.train.checkpoint_every_steps == 0:
                    record(late.flush())  # a state is kept only after its loss has been seen to be finite
                    saved.save(train_state, step)
                if validate_every and step % validate_every == 0:
                    record(late.flush())  # the speed up to here is known only now
                    figures, validated = validate(step), step
            if validated != last:
                figures = validate(step)
            if preemption.reached():
                record(late.flush())
                saved.save(train_state, step)
                saved.wait()
                progress.say(f"SIGTERM: saved step {step} in {workdir}; the same command resumes there")
                return 143
        saved.wait()

    result = {"steps": step, "pairs": step * batch_size, "seconds": time.monotonic() - began}
    result |= {name: latest[name] for name in ("loss", "iou", "pairs_per_second") if name in latest}
    say(metrics.table(result | figures))
    return 0


def define_flags():
    """The command line; not done on import, so that other programs can use this module's functions."""
    help_config = "Config file and variant, e.g. configs/grm.py:b256; --config.KEY=VALUE overrides a setting."
    errors.define_config(help_config)
    flags.DEFINE_string("workdir", None, "Folder of the run (gs:// too); a run found there is resumed.")
    flags.DEFINE_integer("max_steps", None, "Stop after so many steps of the run, schedules unchanged.", lower_bound=1)
    flags.DEFINE_bool("allow_config_change", False, "Go on in --workdir with settings that make it another run.")
    flags.mark_flags_as_required(["config", "workdir"])


def main(argv):
    del argv
    processes.join()
    return train(*(flags.FLAGS[name].value for name in ("config", "workdir", "max_steps", "allow_config_change")))


if __name__ == "__main__":
    define_flags()
    errors.run(main)
