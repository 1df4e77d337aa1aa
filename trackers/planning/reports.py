"""A plan as text."""

import dataclasses

from trackers.evaluation import tables
from trackers.planning import groups, prediction


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is known of one configuration on one topology. Bytes and FLOPs on each chip where not said otherwise.

    name: the config's. topology: its name. chip: chips.Chip. mesh: {axis: size}. batch: rows over all chips.
    parameters: number. params, optimizer, average, rest: bytes of the state's parts. saved: bytes kept for the backward
    pass, before the compiler's savings. model_flops: FLOPs of a step on all chips. times, memory, collectives: None
    where the program does not fit. lack: prediction.DoesNotFit or None. seconds: what compiling took. kernels: number
    of operations of a step on a chip. steps: number of them in the whole run. measured: seconds of a step that was run,
    or None.
    """

    name: str
    topology: str
    chip: object
    mesh: dict
    batch: int
    parameters: int
    params: float
    optimizer: float
    average: float
    rest: float
    saved: float
    model_flops: float
    executed_flops: float
    steps: int
    seconds: float = 0.0
    times: prediction.Times | None = None
    memory: prediction.Memory | None = None
    collectives: dict | None = None
    lack: prediction.DoesNotFit | None = None
    kernels: int = 0
    measured: float | None = None

    @property
    def chips(self):
        return self.mesh["data"] * self.mesh["fsdp"] * self.mesh["tensor"]

    @property
    def rate(self):
        """Pairs a second on each chip."""
        return self.batch / self.times.step / self.chips

    def utilization(self, seconds=None):
        """MFU: the model's FLOPs over what the chips could do at their peak in a step."""
        return self.model_flops / self.chips / self.chip.flops / (seconds or self.times.step)


def text(plan):
    """The report of one plan, several lines."""
    chip, mesh = plan.chip, " x ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    lines = [
        f"{plan.name} on {plan.topology}: {plan.chips} x {chip.kind}, mesh {mesh}, {plan.batch} pairs a step"
        f" ({plan.batch / plan.chips:g} a chip)",
        f"peaks of a chip: {chip.flops / 1e12:.4g} TFLOP/s, {chip.memory / 2**30:.4g} GiB at {chip.bandwidth / 1e9:.4g}"
        f" GB/s, {chip.link / 1e9:.4g} GB/s a link and direction  [{chip.source}]",
        f"compiled in {plan.seconds:.0f} s",
        "",
        f"parameters            {plan.parameters / 1e6:.2f} M",
        *_memory(plan),
        "",
        f"model FLOPs           {_count(plan.model_flops)} a step, {_count(plan.model_flops / plan.batch)} a pair"
        " (matrix products and convolutions, multiply-add = 2, forward and backward)",
        f"executed FLOPs        {_count(plan.executed_flops)} a step on a chip, of the model's"
        f" {_count(plan.model_flops / plan.chips)}",
    ]
    return "\n".join(lines + (_times(plan) if plan.times else []))


def _size(size):
    return f"{size / 2**30:.3f} GiB" if size >= 2**30 else f"{size / 2**20:.2f} MiB"


def _count(flops):
    return f"{flops / 1e12:.4g} T" if flops >= 1e12 else f"{flops / 1e9:.4g} G"


def _memory(plan):
    def gib(size):
        return f"{_size(size):>12s}"

    lines = [
        "on each chip",
        f"  parameters          {gib(plan.params)}",
        f"  optimizer           {gib(plan.optimizer)}",
        *([f"  moving average      {gib(plan.average)}"] if plan.average else []),
        f"  batch and others    {gib(plan.rest)}",
    ]
    kept = f"  activations         {gib(plan.saved)}  kept for the backward pass before the compiler's savings,"
    if plan.lack:
        lines.append(f"{kept} among too many temporaries")
        over = plan.lack.needed - plan.lack.limit
        return lines + [f"DOES NOT FIT: {plan.lack}, {_size(over)} too much"]
    memory = plan.memory
    lines.append(f"{kept} a part of:")
    lines.append(f"  temporaries         {gib(memory.temporaries)}  as compiled: activations, gradients, work space")
    lines.append(f"  program, outputs    {gib(memory.code + memory.outputs)}")
    share = f"{memory.total / memory.limit:.1%} of {_size(memory.limit)}"
    verdict = "fits" if memory.fits else f"DOES NOT FIT, {_size(memory.total - memory.limit)} too much"
    return lines + [f"  in all              {gib(memory.total)}  {verdict} ({share})"]


def _times(plan):
    times, ms = plan.times, lambda seconds: f"{1e3 * seconds:9.4g} ms"
    lines = ["collectives in the program, on a chip and step"]
    for (kind, axes), (count, size, overlaps) in sorted(plan.collectives.items()):
        way = "beside other work" if overlaps else "blocking"
        lines.append(f"  {kind:18s} {axes:18s} {count:5d} times {_size(size):>12s}  {way}")
    hours = plan.steps * times.step / 3600
    lines += [
        *([] if plan.collectives else ["  none"]),
        "",
        f"PREDICTION from the peaks above (trackers/planning/{'cards' if times.starts else 'prediction'}.py has the"
        " formula), not a measurement",
        f"  compute             {ms(times.compute)}",
        f"  memory              {ms(times.memory)}",
        f"  links               {ms(times.links)}",
        *([f"  starts of kernels   {ms(times.starts)}  of {plan.kernels}"] if times.starts else []),
        f"  step                {ms(times.step)}  at least {1e3 * times.least:.4g} (largest term: {times.bound}),"
        f" without any overlap {1e3 * times.most:.4g}",
    ]
    if times.compiler:
        lines.append(
            f"  compiler's estimate {ms(times.compiler)}  from its cycle counts; MFU"
            f" {plan.utilization(times.compiler):.1%}"
        )
    lines += [
        f"  throughput          {plan.rate:9.1f} pairs/s/chip, {plan.rate * plan.chips:.0f} pairs/s",
        f"  MFU                 {plan.utilization():9.1%}",
        f"  whole run           {hours:9.3g} hours for {plan.steps} steps",
    ]
    if plan.measured:
        lines += [
            "",
            f"MEASURED here         {ms(plan.measured)}  {plan.measured / times.step:.2f} x the prediction, MFU"
            f" {plan.utilization(plan.measured):.1%} of the peak above",
        ]
    return lines


def summary(plan):
    """What a sweep keeps of a plan: a dict of numbers and strings, for JSON. Times in seconds, memory in bytes."""
    kept = {"config": plan.name, "topology": plan.topology, "chip": plan.chip.name, "mesh": plan.mesh}
    kept |= {"chips": plan.chips, "batch": plan.batch, "limit": plan.chip.memory, "compiled_in": plan.seconds}
    if plan.lack:
        return kept | {"memory": plan.lack.needed, "limit": plan.lack.limit, "fits": False}
    times = {**plan.times.terms, "step": plan.times.step, "compiler": plan.times.compiler}
    kept |= {"memory": plan.memory.total, "fits": plan.memory.fits, "times": times, "bound": plan.times.bound}
    kept |= {"rate": plan.rate, "mfu": plan.utilization(), "hours": plan.steps * plan.times.step / 3600}
    kept["collectives"] = [[*key, *value] for key, value in sorted(plan.collectives.items())]
    return kept | {"compiler_mfu": plan.utilization(times["compiler"]) if times["compiler"] else None}


HEADS = ["config", "topology", "mesh", "chips", "pairs", "a chip", "GiB", "compute", "memory", "links", "step ms",
         "compiler ms", "pairs/s/chip", "MFU %", "hours"]  # fmt: skip


def table(rows):
    """A markdown table of summaries by chip, mesh and size; times in ms; one that does not fit says by how many GiB."""

    def place(row):
        return row["chip"], row["mesh"]["fsdp"], row["mesh"]["tensor"], row["chips"], -row["batch"]

    return tables.markdown(HEADS, [_cells(row) for row in sorted(rows, key=place)])


def _cells(row):
    mesh = " ".join(f"{axis}={size}" for axis, size in row["mesh"].items() if size > 1) or "1"
    name, chips, batch = row["config"].removesuffix(".py").replace(".py", ""), row["chips"], row["batch"]
    cells = [name, row["topology"], mesh, str(chips), str(batch), f"{batch / chips:g}"]
    cells.append(f"{row['memory'] / 2**30:.1f}")
    if not row["fits"]:
        cells[-1] += f" (+{(row['memory'] - row['limit']) / 2**30:.1f})"
    if "times" not in row:
        return cells + ["-"] * 8
    cells += [f"{1e3 * row['times'][name]:.1f}" for name in ("compute", "memory", "links", "step")]
    cells.append(f"{1e3 * row['times']['compiler']:.1f}" if row["times"]["compiler"] else "-")
    return cells + [f"{row['rate']:.0f}", f"{100 * row['mfu']:.1f}", f"{row['hours']:.3g}"]


def collectives(program, mesh_shape):
    """Collectives of the same kind along the same mesh axes taken together.

    Args:
      program: program.Program. mesh_shape: {axis: size} of the mesh, in order.

    Returns: {(kind, "data" or "data+fsdp"...): (executions, bytes in all, whether all run beside other work)}.
    """
    rows = {}
    for one in program.collectives:
        key = one.kind, groups.axes_of(one.group, tuple(mesh_shape.values()), tuple(mesh_shape))
        times, size, overlaps = rows.get(key, (0, 0.0, True))
        rows[key] = times + one.times, size + one.bytes * one.times, overlaps and one.overlaps
    return rows
