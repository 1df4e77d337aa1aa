"""NVIDIA cards that are not here: what a training step should take by formula, as no compiler for them is at hand.

A card does one kernel after another. Of the step's jaxpr, with all attention in fused kernels:

  compute = FLOPs of matrix products / (MATRIX peak) + FLOPs of attention / (ATTENTION peak)
  memory  = (operands and results of the matrix products + twice the state and the gradients) / (MEMORY bandwidth)
  links   = all-reduce of the gradients: a ring over NVLink within a node, over the network between nodes
  step    = compute + memory + links

What lies between two products reads the results of the one and writes the operands of the other, once each: so their
bytes stand for the traffic of norms, activations and sums; that of the products themselves is hidden by their work.
"""

import re

import jax

from trackers.errors import UsageError
from trackers.planning import prediction, reports, steps
from trackers.training import chips, flops, schedules, sharding

# Stated, not fitted. The best that is reported for large bfloat16 products on an H100 is about 0.79 of the data sheet
# (780 TFLOP/s), those of a network are smaller; FlashAttention-2 reaches 0.35 there by the abstract of FlashAttention-3
# (Shah et al., 2024); long copies reach 0.9.
MATRIX, ATTENTION, MEMORY = 0.7, 0.35, 0.9
# A fused backward pass computes the logits again: 7 products in place of 6.
_AGAIN = 7 / 6
# Cards of a node, and bytes/s each way between nodes for each card (data sheets of DGX A100, H100, H200).
NODE, NETWORK = 8, {"A100": 25e9, "H100": 50e9, "H200": 50e9}
# Seconds from one card or node to the next: an assumption.
_HOP = 5e-6
_NAMES = re.compile(r"gpu:(a100|h100|h200)(?:x([1-9][0-9]*))?")


def named(name):
    """(chips.Chip, number of cards) of "gpu:h100x8", or None for another name.

    Raises: UsageError for a number of cards that does not fill its last node.
    """
    match = _NAMES.fullmatch(name)
    if match is None:
        return None
    count = int(match[2] or 1)
    if count > NODE and count % NODE:
        raise UsageError(f"topology {name}: more than {NODE} cards come in nodes of {NODE}")
    return next(chip for chip in chips.CHIPS if chip.name == match[1].upper()), count


def make_plan(assemble, shapes, config, config_name, topology, mesh_sizes, batch, measured=None):
    """The reports.Plan of a config on cards that are not here; memory is not predicted.

    Args:
      assemble: train.assemble. shapes: {name: (shape, dtype)} of one row.
      config: whole config. config_name, topology: names. mesh_sizes: as plan.mesh_sizes gives; data parallel only.
      batch: rows over all cards, 0 = the config's.
      measured: (seconds of a step that was measured on one card, its rows), which all times but the links' are scaled
        to, or None.

    Raises: UsageError for another mesh, or a batch that does not divide.
    """
    chip, count = named(topology)
    batch = batch or config.train.batch_size
    if mesh_sizes["fsdp"] != 1 or mesh_sizes["tensor"] != 1 or mesh_sizes["data"] not in (-1, count):
        raise UsageError(f"topology {topology}: cards that are not here are planned with --mesh data={count} alone")
    if batch % count:
        raise UsageError(f"topology {topology}: {batch} pairs do not divide over {count} cards (--global_batch)")
    program, inputs, work = _work(assemble, shapes, config, batch // count)
    compute, memory = seconds(work, chip)
    if measured:
        alone = work if measured[1] == batch // count else _work(assemble, shapes, config, measured[1])[2]
        share = measured[0] / sum(seconds(alone, chip))
        compute, memory = compute * share, memory * share
    whole = config.copy_and_resolve_references()
    with whole.unlocked():
        whole.train.batch_size = batch
    gradients = 4.0 * steps.parameters(program)
    links = all_reduce(gradients, chip, count)
    state = program.target
    return reports.Plan(
        name=config_name, topology=topology, chip=chip, mesh={"data": count, "fsdp": 1, "tensor": 1}, batch=batch,
        parameters=steps.parameters(program), params=steps.bytes_on_each(state.params),
        optimizer=steps.bytes_on_each(state.opt_state), average=steps.bytes_on_each(state.ema),
        rest=steps.bytes_on_each((state.batch_stats, inputs[1], inputs[3])), saved=0.0,
        model_flops=count * (work["products"] + work["attention"]), steps=schedules.schedule(whole).total,
        executed_flops=work["products"] + work["attention"] * _AGAIN,
        times=prediction.Times(compute, memory, links, compute + memory + links, None),
        collectives={("all-reduce", "data"): (1, gradients, False)} if count > 1 else {},
    )  # fmt: skip


def _work(assemble, shapes, config, rows):
    """(train.Program, its inputs, {"products", "attention": FLOPs, "bytes"}) of a step of so many rows on one card."""
    config = config.copy_and_resolve_references()
    plain = {"remat": "none", "kernels": "plain"}
    with config.unlocked():
        config.train.batch_size, config.accumulate = rows, 1
        config.model.update({key: value for key, value in plain.items() if key in config.model})
        if config.model.get("dtype") == "auto":
            config.model.dtype = "bfloat16"
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices("cpu")[:1])
    program = assemble(config, mesh)
    inputs = program.inputs(shapes, rows, mesh)
    state = program.target
    kept = sum(steps.bytes_on_each(tree) for tree in (state.params, state.opt_state, state.ema))
    work = {"products": 0.0, "attention": 0.0, "bytes": 2 * kept + 2 * steps.bytes_on_each(state.params)}
    for times, equation in flops.products(program.take_step, *inputs):
        if is_attention(equation):
            work["attention"] += 2 * times * flops.of_product(equation)
        else:
            arrays = (each.aval for each in (*equation.invars, *equation.outvars))
            work["bytes"] += times * sum(array.size * array.dtype.itemsize for array in arrays)
            work["products"] += 2 * times * flops.of_product(equation)
    return program, inputs, work


def is_attention(equation):
    """Whether a product is of attention: of samples and heads one by one, both as axes that are not summed over."""
    if equation.primitive.name != "dot_general":
        return False
    return len(equation.params["dimension_numbers"][1][0]) >= 2


def seconds(work, chip):
    """(compute, memory) of a step on one card; work: as _work gives."""
    compute = work["products"] / MATRIX + work["attention"] * _AGAIN / ATTENTION
    return compute / chip.flops, work["bytes"] / (MEMORY * chip.bandwidth)


def all_reduce(size, chip, count):
    """Seconds of an all-reduce of `size` bytes over `count` cards: scattered within nodes, reduced over them, gathered.

    Each card of a node takes its part of the array to its like in the other nodes, over a network port of its own.
    """
    inside, nodes = min(count, NODE), max(1, count // NODE)
    within = 2 * (inside - 1) * (size / inside / chip.link + _HOP)
    between = 2 * (nodes - 1) * (size / inside / nodes / NETWORK[chip.name] + _HOP)
    return within + between
