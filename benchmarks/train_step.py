"""Time of a training step on what is here, with made-up arrays: the step of train.py, any config, mesh and dtype.

    python -m benchmarks.train_step configs/grm.py:b256 [--batch 32,64] [--set model.dtype=float32]
        [--set model.remat=dots] [--mesh fsdp=2,data=-1] [--devices 8] [--repeats 10]

Prints step ms (median and range), pairs/s/chip, model TFLOP/s and MFU, for each of the batches given. The model's FLOPs
are those of matrix products and convolutions, two for a multiply-add, forward and backward, without recomputation
(trackers/planning/steps.py). MFU is against the chip's published bfloat16 peak, or against the rate of a large matrix
product measured here where there is none (trackers/training/chips.py); `measured` has that rate beside a published one.
"""

import ast
import contextlib
import statistics

import jax
from absl import flags

import plan
import train
from benchmarks import timing
from configs import variants
from data_pipelines import loader
from trackers import errors
from trackers.evaluation import tables
from trackers.planning import steps, topologies
from trackers.training import chips, sharding

FLAGS = flags.FLAGS
HEADS = ["config", "batch", "mesh", "step ms", "range", "pairs/s/chip", "model TFLOP/s", "MFU %", "of measured %"]


def changed(config, settings):
    """The config with "key.key=value" settings, values as Python writes them or plain words.

    Raises: UsageError for a key that the config does not have, or a value of another type than it has there.
    """
    config = config.copy_and_resolve_references()
    for item in settings:
        key, _, value = item.partition("=")
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value)
        try:
            config.update_from_flattened_dict({key: value})
        except (AttributeError, KeyError):
            raise errors.UsageError(f"--set {item}: the config has no setting {key}") from None
        except TypeError:
            raise errors.UsageError(f"--set {item}: {value!r} is not of the type that {key} has") from None
    return config


def measure(config, topology, mesh_text, batch, repeats):
    """(seconds of each step, model FLOPs of a step on all chips, mesh).

    Raises: UsageError for a mesh or batch that does not divide over the devices.
    """
    with config.unlocked():
        config.train.batch_size = batch
        config.mesh.update(plan.mesh_sizes(mesh_text))
    mesh = sharding.make_mesh(config.mesh, topology.devices)
    sharding.process_rows(mesh, batch)
    program, shapes = train.assemble(config, mesh), loader.shapes(config)
    inputs = program.inputs(shapes, batch, mesh)
    compiled = program.take_step.lower(*inputs).compile()
    seconds = steps.measure(program, compiled, steps.synthetic_batch(shapes, batch), mesh, repeats)
    return seconds, train.model_flops(config, mesh, program, inputs), mesh


def define_flags():
    flags.DEFINE_list("batch", [], "Pairs in a step over all devices, one row each; empty: the config's.")
    flags.DEFINE_multi_string("set", [], "A setting of the config, KEY=VALUE; may be given several times.")
    flags.DEFINE_string("mesh", "", "Sizes of the mesh's axes, as fsdp=2,data=-1.")
    flags.DEFINE_integer("devices", 0, "Virtual devices on a CPU; 0: what is here.", lower_bound=0)
    flags.DEFINE_integer("repeats", 10, "Timed steps of each row.", lower_bound=1)


def main(argv):
    if len(argv) != 2:
        raise errors.UsageError("name one config, e.g. configs/grm.py:b256; several batches are --batch=8,32")
    config = changed(variants.load(argv[1]), FLAGS["set"].value)
    batches = timing.counts("batch", FLAGS.batch) or [config.train.batch_size]
    platform = f"cpu:{FLAGS.devices}" if FLAGS.devices else jax.default_backend()
    topology = topologies.find(platform)
    chip = topology.chip
    real = chip if chip.source.startswith("measured") else chips.measured(topology.devices[0])
    name, rows = " ".join([argv[1], *FLAGS["set"].value]), []
    for batch in batches:
        seconds, work, mesh = measure(config, topology, FLAGS.mesh, batch, FLAGS.repeats)
        rows.append(_row(name, batch, mesh, seconds, work, (chip.flops, real.flops)))
    print(f"{topology.devices[0].device_kind} x {mesh.size}; peak: {chip.source}; here {real.source}")
    print(tables.markdown(HEADS, rows))


def _row(name, batch, mesh, seconds, work, peaks):
    median = statistics.median(seconds)
    rate = work / median / mesh.size
    axes = " ".join(f"{axis}={size}" for axis, size in mesh.shape.items() if size > 1) or "1"
    ms = [f"{1e3 * median:.1f}", f"{1e3 * min(seconds):.1f}-{1e3 * max(seconds):.1f}"]
    shares = [f"{100 * rate / peak:.1f}" for peak in peaks]
    rates = [f"{batch / median / mesh.size:.1f}", f"{rate / 1e12:.3f}"]
    return [name.removeprefix("configs/"), str(batch), axes, *ms, *rates, *shares]


if __name__ == "__main__":
    define_flags()
    errors.run(main, positional=True)
