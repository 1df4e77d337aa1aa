"""How long a compiled step should take at a chip's published peaks, and what it needs in memory: predictions.

  compute = executed FLOPs / peak, memory = bytes / bandwidth, links = sum over collectives of (bytes / speed + hops)

on one chip. A step takes at least the largest of them (everything overlaps) and, at these peaks, at most their sum
(nothing does). Between them lies the step that is predicted: a chip does one operation of the program after another,

  step = max(sum over operations of max(their FLOPs / peak, their bytes / bandwidth), memory) + collectives that block

where copies that the program starts and awaits later, and collectives of that kind, run beside the operations. NVIDIA's
cards reach less than their data sheets say, and starting a kernel takes them time: there cards.py says what an
operation takes, the starts of kernels are a fourth term, and what is computed between a collective's start and its end
hides as much of it.
"""

import dataclasses
import re

from trackers.planning import cards, topologies

# Share of the peak at which the compiler's estimate counts kernels (Pallas), as the compiler estimates none: what the
# bundles that it schedules for those of attention come to (benchmarks/attention_ahead.py, docs/scaling.md).
KERNELS = 0.15
# (bytes that a chip sends over its links, turns around the group) of a collective of S bytes over n chips, as parts of
# S; an optimal ring: an all-reduce is a reduce-scatter and an all-gather.
_RINGS = {
    "all-reduce": (lambda n: 2 * (n - 1) / n, 2),
    "all-gather": (lambda n: (n - 1) / n, 1),
    "reduce-scatter": (lambda n: (n - 1) / n, 1),
    # Each pair of chips exchanges S/n; on a ring the way is n/4 links long on average.
    "all-to-all": (lambda n: max(1.0, n / 4) * (n - 1) / n, 1),
    "collective-permute": (lambda n: 1.0, 1),
}


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of one step on one chip: compute, memory, links as above; step, predicted; compiler: from the compiler's
    own cycle estimates and the chip's clock, kernels at KERNELS of the peak and collectives added, or None where either
    is missing. starts: of a card's kernels, during which it does nothing else (cards.py); 0 on a TPU."""

    compute: float
    memory: float
    links: float
    step: float
    compiler: float | None
    starts: float = 0.0

    @property
    def terms(self):
        """{name: seconds} of what a step is made of."""
        return {name: getattr(self, name) for name in ("compute", "memory", "links", "starts")}

    @property
    def least(self):
        return max(self.terms.values())

    @property
    def most(self):
        return sum(self.terms.values())

    @property
    def bound(self):
        """Which of the terms is the largest."""
        return max(self.terms, key=self.terms.get)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on each chip. arguments: state and batch; temporaries: what lives within a step; outputs: what is not
    written over the arguments; code: the program itself. total: their sum. limit: the chip's memory."""

    arguments: float
    temporaries: float
    outputs: float
    code: float
    total: float
    limit: float

    @property
    def fits(self):
        return self.total <= self.limit


class DoesNotFit(Exception):
    """The compiler gave up for lack of memory. needed, limit: bytes on each chip."""

    def __init__(self, needed, limit):
        super().__init__(f"needs {needed / 2**30:.2f} GiB of {limit / 2**30:.2f} GiB")
        self.needed, self.limit = needed, limit


def times(program, topology, mesh_devices, flops=None, scale=1.0):
    """Times of one step.

    Args:
      program: program.Program. topology: Topology.
      mesh_devices: the mesh's devices in order, a list; collectives name their positions in it.
      flops: executed FLOPs on one chip, in place of the program's where its text does not show them.
      scale: of a card, what all times but the links' are multiplied with.
    """
    chip = topology.chip
    place = {device.id: i for i, device in enumerate(topology.devices)}
    order = [place[device.id] for device in mesh_devices]
    all_links = blocking = 0.0
    for one in program.collectives:
        seconds = one.times * collective_seconds(one, topology, [order[i] for i in one.group])
        all_links += seconds
        if cards.knows(chip) and one.beside is not None:
            blocking += max(0.0, seconds - one.times * scale * cards.seconds(one.beside, chip)[3])
        elif not one.overlaps:
            blocking += seconds
    if cards.knows(chip):
        compute, memory, starts, serial = (scale * each for each in cards.seconds(program.operations, chip))
        return Times(compute, memory, all_links, max(serial, all_links - blocking) + blocking, None, starts)
    flops = program.flops if flops is None else flops
    compute, memory = flops / chip.flops, program.bytes / chip.bandwidth
    blocks = (op for op in program.operations if not op.overlaps)
    serial = sum(op.times * max(op.flops / chip.flops, op.bytes / chip.bandwidth) for op in blocks)
    step = max(serial, compute, memory, all_links - blocking) + blocking
    kernels = (op for op in program.operations if op.flops and not op.cycles)
    stated = sum(op.times * max(op.flops / chip.flops / KERNELS, op.bytes / chip.bandwidth) for op in kernels)
    compiler = program.cycles / chip.clock + stated + blocking if chip.clock and program.cycles else None
    return Times(compute, memory, all_links, step, compiler)


def collective_seconds(collective, topology, positions):
    """Seconds of one execution of a program.Collective; positions: where its group stands in topology.devices."""
    share, turns = _RINGS[collective.kind]
    return sum(
        collective.bytes * ring.share * share(ring.members) / ring.speed + turns * ring.turn
        for ring in topologies.rings(topology, positions)
    )


def memory(compiled, chip):
    """Memory of a jax Compiled on chip."""
    stats = compiled.memory_analysis()
    outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
    arguments, temporaries = stats.argument_size_in_bytes, stats.temp_size_in_bytes
    code = stats.generated_code_size_in_bytes
    return Memory(arguments, temporaries, outputs, code, arguments + outputs + temporaries + code, chip.memory)


def lack_of_memory(error):
    """The DoesNotFit that a compiler's error means, or None. TPU: "Used 20.1G of 15.75G hbm"."""
    sizes = re.search(r"[Uu]sed ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm", str(error))
    if sizes is None:
        return None
    scale = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    return DoesNotFit(float(sizes[1]) * scale[sizes[2]], float(sizes[3]) * scale[sizes[4]])
