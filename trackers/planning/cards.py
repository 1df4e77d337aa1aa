"""NVIDIA cards that are not here: what a training step should take by formula, as no compiler for them is at hand.

A card does one kernel after another. card_kernels.py says which kernels a step should be, from its jaxpr; each takes

  max(bytes / (MEMORY bandwidth), arithmetic) + KERNEL
  arithmetic = (products' FLOPs / peak + vector operations / VECTOR + special operations / SPECIAL) / ARITHMETIC

as in one kernel the products wait for what is computed element by element, and this for them (FlashAttention-3, Shah et
al., 2024, is about what is lost so). The step is their sum and the links': an all-reduce of the gradients, a ring over
NVLink within a node, over the network between nodes; nothing of it is hidden. Not counted: products too small to fill
the card or their tiles, arrays that stay in the card's cache, what addresses and loops take.
"""

import re

import jax

from trackers.errors import UsageError
from trackers.nn import kernels
from trackers.planning import card_kernels, prediction, reports, steps
from trackers.training import chips, flops, schedules, sharding

# Stated, not fitted to a step. The best that is reported for large bfloat16 products on an H100 is about 0.79 of the
# data sheet (780 TFLOP/s), those of a network are smaller; the same is taken for arithmetic of other kinds. Long copies
# reach 0.9.
ARITHMETIC, MEMORY = 0.7, 0.9
# Operations/s. Vector: half of the data sheets' float32 FLOP/s, as a multiply-add counts two there. Special: 16 a clock
# and multiprocessor (CUDA programming guide, throughput of instructions; the H100's 3.9e12 is also FlashAttention-3's).
VECTOR = {"A100": 9.75e12, "H100": 33.5e12, "H200": 33.5e12}
SPECIAL = {"A100": 2.4e12, "H100": 3.9e12, "H200": 3.9e12}
# Seconds that a kernel takes however little it does, an assumption ("a few microseconds"), within CUDA graphs, too.
KERNEL = 3e-6
# What a backward pass in one kernel computes again: FlashAttention-2 has 7 products in all for the 6 that are counted,
# nn/fused_attention.py 9 (it takes the logits and their gradients twice); 8 stand for both, as does the arithmetic.
_AGAIN = 8 / 6
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
    compute, memory, starts, step = seconds(work, chip)
    if measured:
        alone = work if measured[1] == batch // count else _work(assemble, shapes, config, measured[1])[2]
        share = measured[0] / seconds(alone, chip)[3]
        compute, memory, starts, step = compute * share, memory * share, starts * share, step * share
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
        model_flops=count * sum(each.times * _flops(each) for each in work), steps=schedules.schedule(whole).total,
        executed_flops=sum(each.times * _flops(each) * _again(each) for each in work),
        times=prediction.Times(compute, memory, links, step + links, None, starts),
        collectives={("all-reduce", "data"): (1, gradients, False)} if count > 1 else {},
    )  # fmt: skip


def _work(assemble, shapes, config, rows):
    """(train.Program, its inputs, its card_kernels.Kernel) of a step of so many rows on one card."""
    config = config.copy_and_resolve_references()
    # With XLA's operations alone, as card_kernels.py finds attention and norms in them, and layers as a GPU has them.
    plain = {"remat": "none", "kernels": "plain"}
    with config.unlocked():
        config.train.batch_size, config.accumulate = rows, 1
        config.model.update({key: value for key, value in plain.items() if key in config.model})
        if config.model.get("dtype") == "auto":
            config.model.dtype = "bfloat16"
        if config.model.get("scan_layers", False) is None:
            config.model.scan_layers = kernels.stacks_layers(None, "gpu")
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices("cpu")[:1])
    program = assemble(config, mesh)
    inputs = program.inputs(shapes, rows, mesh)
    return program, inputs, card_kernels.of_function(program.take_step, *inputs)


def seconds(work, chip):
    """(arithmetic alone, memory alone, their starts alone, all) of kernels on one card, one after another.

    Args: work: list of card_kernels.Kernel. chip: chips.Chip of a card.
    """
    compute = memory = starts = step = 0.0
    for each in work:
        units = _flops(each) / chip.flops + each.vector / VECTOR[chip.name] + each.special / SPECIAL[chip.name]
        arithmetic, traffic = units * _again(each) / ARITHMETIC, each.bytes / (MEMORY * chip.bandwidth)
        compute, memory = compute + each.times * arithmetic, memory + each.times * traffic
        starts += each.times * KERNEL
        step += each.times * (max(arithmetic, traffic) + KERNEL)
    return compute, memory, starts, step


def _flops(kernel):
    return 2.0 * sum(map(flops.of_product, kernel.products))


def _again(kernel):
    return _AGAIN if kernel.attention else 1.0


def all_reduce(size, chip, count):
    """Seconds of an all-reduce of `size` bytes over `count` cards: scattered within nodes, reduced over them, gathered.

    Each card of a node takes its part of the array to its like in the other nodes, over a network port of its own.
    """
    inside, nodes = min(count, NODE), max(1, count // NODE)
    within = 2 * (inside - 1) * (size / inside / chip.link + _HOP)
    between = 2 * (nodes - 1) * (size / inside / nodes / NETWORK[chip.name] + _HOP)
    return within + between
