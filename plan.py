"""What training will cost on hardware that is not here, from the program its own compiler makes of the real step:

python plan.py --config configs/grm.py:b256 --topology v5e:16x16 --mesh data=256 [--global_batch 8192]

--topology is a TPU slice (v4:, v5e:, v5p:, v6e: and its sides; needs requirements/plan.txt, no TPU), NVIDIA cards
(gpu:h100x8, a100, h200; needs XLA's compiler for them, docs/scaling.md, no GPU), cpu:N or gpu; on the last two the step
is also run and its time compared.
--find_batch searches the largest batch a chip can hold.
--sweep plans several topologies and writes a table and a picture of weak and strong scaling.
"""

import functools
import json
import time

import jax
from absl import flags

import train
from data_pipelines import loader
from trackers import errors
from trackers.io import numbers, outputs, plain_text
from trackers.planning import cards, prediction, reports, steps, sweep_plots, topologies
from trackers.planning import program as programs
from trackers.training import flops, sharding

# --find_batch stops when the largest batch known to fit is within this share of the smallest known not to.
_CLOSE = 0.06


def make_plan(config, name, topology, mesh_sizes, batch, compare=True, scale=1.0):
    """The reports.Plan of a config.

    Args:
      config: whole config. name: the config's, for the report. topology: topologies.Topology.
      mesh_sizes: {"data", "fsdp", "tensor": size}, one may be -1. batch: rows over all chips, 0 = the config's.
      compare: run the step, too, where the devices are here. scale: of prediction.times.

    Raises: InputError where the compiler fails, or a library is missing that it needs.
    """
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.train.batch_size = batch or config.train.batch_size
        config.mesh.update(mesh_sizes)
    batch = config.train.batch_size
    mesh = sharding.make_mesh(config.mesh, topology.devices)
    sharding.process_rows(mesh, batch, topology.devices[0].process_index)
    program, shapes = train.assemble(config, mesh), loader.shapes(config)
    inputs = program.inputs(shapes, batch, mesh)
    state = program.target
    at_once = batch / (mesh.shape["data"] * mesh.shape["fsdp"] * config.accumulate)
    known = {
        "name": name, "topology": topology.name, "chip": topology.chip, "mesh": dict(mesh.shape), "batch": batch,
        "parameters": steps.parameters(program), "params": steps.bytes_on_each(state.params),
        "optimizer": steps.bytes_on_each(state.opt_state), "average": steps.bytes_on_each(state.ema),
        "rest": steps.bytes_on_each((state.batch_stats, inputs[1], inputs[3])),
        "saved": steps.saved_for_backward(program, shapes, at_once, mesh),
        "model_flops": train.model_flops(config, mesh, program, inputs),
        "steps": program.schedule.total,
    }  # fmt: skip
    began = time.monotonic()
    try:
        shared = flops.of_step(program, inputs) / mesh.size
        compiled = _compile(program.take_step.lower(*inputs))
    except RuntimeError as error:
        lack, missing = prediction.lack_of_memory(error), cards.missing_library(error)
        if not (lack or missing or isinstance(error, jax.errors.JaxRuntimeError)):
            raise
        if lack is None:
            raise errors.InputError(
                f"{topology.name}: {missing or f'the compiler failed: {str(error)[:300]}'}"
            ) from None
        return reports.Plan(**known, executed_flops=shared, lack=lack, seconds=time.monotonic() - began)
    known["seconds"] = time.monotonic() - began
    read = programs.read(compiled.as_text())
    # A library's matrix products do not show in the text of a program for a GPU or CPU that is here.
    executed = max(read.flops, shared) if topology.present else read.flops
    known |= {"executed_flops": executed, "memory": prediction.memory(compiled, topology.chip)}
    known["collectives"] = reports.collectives(read, mesh.shape)
    known["times"] = prediction.times(read, topology, list(mesh.devices.flat), executed, scale)
    known["kernels"] = sum(op.times for op in read.operations)
    if topology.present and compare:
        rows = steps.synthetic_batch(shapes, batch)
        known["measured"] = min(steps.measure(program, compiled, rows, mesh, repeats=3))
    return reports.Plan(**known)


def _compile(lowered):
    """The compiled program, with other options for the compiler where its own fail by a known fault."""
    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if (options := cards.options_for(error)) is None:
            raise
    return lowered.compile(compiler_options=options)


def find_batch(plan_of, start, shards, say=print):
    """The plan of the largest batch that fits.

    Args:
      plan_of: function of a global batch -> reports.Plan. start: rows on each batch shard to begin with, at least 1.
      shards: batch shards of the mesh. say: called with a line for each batch tried.

    Raises: InputError where one row a shard is too much.
    """
    fits, too_many, best, each = 0, None, None, start
    while too_many is None or too_many - fits > max(1, _CLOSE * fits):
        plan = plan_of(each * shards)
        needed = plan.lack.needed if plan.lack else plan.memory.total
        inside = not plan.lack and plan.memory.fits
        say(f"{each} a shard: {needed / 2**30:.2f} GiB of {plan.chip.memory / 2**30:.4g}, {'fits' if inside else 'no'}")
        if inside:
            fits, best = each, plan
        else:
            too_many = each
        if too_many is None:
            each *= 2
        elif fits == 0 and too_many == 1:
            raise errors.InputError(
                f"not even one row a shard fits: {needed / 2**30:.2f} GiB; shard with fsdp or remat"
            )
        else:
            each = max(1, (fits + too_many) // 2)
    return best


def sweep(plan_of, config_name, names, mesh_text, per_chip, batch, out, say=print):
    """Plans each topology at `per_chip` rows a chip (weak scaling) and at `batch` rows in all (strong scaling).

    OUT/sweep.json keeps every plan's numbers: what is there is not compiled again. OUT/sweep.md and, with matplotlib,
    sweep.png are written after every plan. A topology may carry a mesh of its own: "v5e:4x4/fsdp=16".

    Args:
      plan_of: function of (topology name, mesh sizes, global batch) -> reports.Plan. config_name: for the report.
      names: list of str. mesh_text: as --mesh has it. per_chip, batch: rows, 0 = leave that kind out. out: folder.

    Returns: list of reports.summary, all that OUT has of this config.
    """
    out = outputs.claim_folder(out)
    if said := errors.missing("matplotlib"):
        say(f"sweep.png is left out, as {said}")
    store = out / "sweep.json"
    kept, mine = {}, []
    if store.exists():
        with plain_text.naming(store, "remove it"):
            kept = plain_text.read_json(store, "plans of a sweep")
            reports.table(list(kept.values()))  # all of them can be shown
    for item in names:
        name, _, own = item.partition("/")
        sizes, chips = mesh_sizes(own or mesh_text), topologies.size(name)
        for rows in dict.fromkeys([per_chip * chips, batch]):
            key = f"{config_name} {item} {own or mesh_text} {rows}"
            if not rows or rows % chips:
                continue
            if key not in kept:
                kept[key] = reports.summary(plan_of(name, sizes, rows))
                outputs.write_text(store, json.dumps(kept, indent=1))
            say(reports.table([kept[key]]).splitlines()[-1])
            mine = [row for key, row in kept.items() if key.startswith(f"{config_name} ")]
            outputs.write_text(out / "sweep.md", reports.table(mine) + "\n")
            if not said:
                sweep_plots.scaling(out / "sweep.png", mine, per_chip, batch)
    return mine


def mesh_sizes(text):
    """{"data": -1, "fsdp": 8, "tensor": 1} of "fsdp=8,data=-1"; what is not named is 1, data the rest.

    Raises: UsageError for another axis or no number.
    """
    sizes = {"data": -1, "fsdp": 1, "tensor": 1}
    for item in text.split(",") if text else ():
        axis, _, size = item.partition("=")
        if axis not in sizes or not numbers.is_digits(size.removeprefix("-")):
            raise errors.UsageError(f"--mesh {text!r}: write e.g. fsdp=8,data=-1 with {', '.join(sizes)}")
        sizes[axis] = int(size)
    return sizes


def _fitting_batch(config, sizes, topology):
    """The config's batch, or the next multiple of the mesh's shards, saying so."""
    shape = sharding.mesh_shape(sizes, len(topology.devices))
    shards, batch = shape[0] * shape[1] * config.accumulate, config.train.batch_size
    fitting = -(-batch // shards) * shards
    if fitting != batch:
        print(f"planned for {fitting} pairs a step: the config's {batch} do not fill {shards} shards (--global_batch)")
    return fitting


def define_flags():
    help_config = "Config file and variant, e.g. configs/grm.py:b256; --config.KEY=VALUE overrides a setting."
    errors.define_config(help_config)
    flags.DEFINE_string("topology", None, "v5e:16x16 (v4:, v5p:, v6e: too), cpu:N, gpu, or gpu:h100x8.")
    flags.DEFINE_string("mesh", "", "Devices along the mesh's axes, e.g. fsdp=8,data=-1; default: the config's.")
    flags.DEFINE_integer(
        "global_batch", 0, "Pairs in a step over all chips; 0 = the config's, or the next that fit.", lower_bound=0
    )
    flags.DEFINE_boolean("find_batch", False, "Search the largest batch that fits, starting from --per_chip_batch.")
    flags.DEFINE_list("sweep", [], "Topologies to plan one after another, each as NAME or NAME/fsdp=N.")
    flags.DEFINE_integer("per_chip_batch", 8, "Pairs on each chip, of --sweep's weak scaling.", lower_bound=0)
    flags.DEFINE_float(
        "anchor_ms", 0.0, "Measured milliseconds of --per_chip_batch pairs on one card, for --sweep's gpu:h100xN.", 0.0
    )
    flags.DEFINE_string("out", None, "Folder for --sweep's table and picture.")
    flags.DEFINE_boolean("compare", True, "On devices that are here: run the step and compare its time.")
    flags.mark_flags_as_required(["config"])


def main(argv):
    del argv
    args = flags.FLAGS
    config, name = args.config, str(flags.FLAGS["config"].config_filename).removeprefix("configs/")
    if args.sweep:
        if not args.out:
            raise errors.UsageError("--sweep writes a table and a picture: say where with --out=FOLDER")
        errors.leave_out(["topology", "find_batch"], "has no use with --sweep")
        if not any(cards.named(each.partition("/")[0]) for each in args.sweep):
            errors.leave_out(["anchor_ms"], "is of gpu:h100xN, which --sweep does not name")
        if not args.per_chip_batch:
            errors.leave_out(["anchor_ms"], "is the time of --per_chip_batch pairs, of which there are none")

        @functools.cache
        def scale_of(card):
            """The measured time over the predicted one, of a step on one card of this kind."""
            one = make_plan(config, name, topologies.find(card), mesh_sizes(""), args.per_chip_batch)
            return args.anchor_ms / 1e3 / one.times.step

        def plan_of(topology, sizes, batch):
            scale = scale_of(topology.partition("x")[0]) if args.anchor_ms and cards.named(topology) else 1.0
            return make_plan(config, name, topologies.find(topology), sizes, batch, args.compare, scale)

        sweep(plan_of, name, args.sweep, args.mesh, args.per_chip_batch, args.global_batch, args.out)
        return 0
    if not args.topology:
        raise errors.UsageError(
            "--topology is missing: what hardware to plan for, e.g. v5e:16x16, gpu:h100x8, cpu:8 or gpu"
        )
    errors.leave_out(["out", "anchor_ms"], "is of --sweep")
    if args.find_batch:
        errors.leave_out(["global_batch"], "is what --find_batch searches")
    else:
        errors.leave_out(["per_chip_batch"], "is of --sweep and --find_batch")
    topology = topologies.find(args.topology)
    sizes = mesh_sizes(args.mesh) if args.mesh else {axis: config.mesh[axis] for axis in sharding.AXES}
    if args.find_batch:
        shape = sharding.mesh_shape(sizes, len(topology.devices))

        def with_batch(batch):
            return make_plan(config, name, topology, sizes, batch, False)

        plan = find_batch(with_batch, max(1, args.per_chip_batch), shape[0] * shape[1])
    else:
        batch = args.global_batch or _fitting_batch(config, sizes, topology)
        plan = make_plan(config, name, topology, sizes, batch, args.compare)
    print(reports.text(plan), flush=True)
    return 0


if __name__ == "__main__":
    define_flags()
    errors.run(main)
