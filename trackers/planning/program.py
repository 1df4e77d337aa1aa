"""What a compiled program executes on one device, read from its text: products, memory traffic and collectives, each as
often as it runs.

XLA's own cost analysis counts the body of a loop once, however often it runs; here a body counts with its trip count,
which the compiler notes or the loop's condition shows. The text is that of jax's Compiled.as_text().
"""

import dataclasses
import functools
import math
import re

from trackers.planning import convolutions, elementwise, groups, libraries

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_LEAF = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,<=]*)\](\{[^{}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|condition|true_computation|false_computation)=%([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")

# What a kernel (Pallas) tells the compiler.
_STATED = re.compile(r'"cost_estimate":\{"flops":"(\d+)"')

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# Nothing is moved, or it is counted where it starts.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id",
         "opt-barrier", "while", "call", "conditional", "domain", "add-dependency"}  # fmt: skip
_FREE_CALLS = ("AllocateBuffer", "ConcatBitcast")
_ASYNC_START, _ASYNC_DONE = (f'custom_call_target="AsyncCollective{end}"' for end in ("Start", "Done"))
_SLICES = ("dynamic-slice", "slice", "gather")


@dataclasses.dataclass(frozen=True)
class Leaf:
    """An array of an instruction's type. bits: of one element. dims: tuple. main: in main memory, not on the chip."""

    bits: int
    dims: tuple
    main: bool

    @property
    def bytes(self):
        return math.prod(self.dims) * self.bits / 8


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of the text. leaves: arrays of its type, tuples taken apart. operands: names. attrs: what follows."""

    name: str
    opcode: str
    leaves: tuple
    operands: tuple
    literal: str
    attrs: str
    root: bool


@dataclasses.dataclass(frozen=True)
class Operation:
    """An instruction that takes time. flops and bytes of one execution on one device, and how often it runs.

    wide: those of the flops that multiply float32 numbers. vector, special: operations on single numbers besides, by
    the units for all and by those for exponentials, roots and the like (elementwise.py).
    overlaps: it runs beside others (a copy that is started and awaited later). cycles: the compiler's own estimate, 0
    for kernels, of which it knows no more than the FLOPs that they state.
    """

    name: str
    times: int
    flops: float
    bytes: float
    overlaps: bool
    cycles: float
    wide: float = 0.0
    vector: float = 0.0
    special: float = 0.0


@dataclasses.dataclass(frozen=True)
class Collective:
    """kind: a name of COLLECTIVES. bytes: size of the whole array that is reduced, gathered or sent. times: executions.

    group: positions of one group of devices in the mesh. overlaps: other work can go on meanwhile. beside: the
    operations that are computed between its start and where it is waited for, None where the text does not say.
    """

    kind: str
    bytes: float
    times: int
    group: tuple
    overlaps: bool
    beside: tuple | None = None


@dataclasses.dataclass(frozen=True)
class Program:
    """operations, collectives: what one execution does on one device."""

    operations: tuple
    collectives: tuple

    @property
    def flops(self):
        """FLOPs of matrix products and convolutions, a multiply-add being two, and those that kernels state."""
        return sum(op.flops * op.times for op in self.operations)

    @property
    def bytes(self):
        """Bytes read from and written to main memory."""
        return sum(op.bytes * op.times for op in self.operations)

    @property
    def cycles(self):
        """The compiler's own estimate, 0 where it makes none (only TPU's does)."""
        return sum(op.cycles * op.times for op in self.operations)


def read(text):
    """The Program of a compiled module's text.

    Raises: ValueError where a loop's trip count cannot be found.
    """
    computations, entry = _parse(text)
    reader = _Reader(computations)
    reader.walk(entry, 1)
    return Program(tuple(reader.operations), tuple(reader.collectives))


def _parse(text):
    computations, entry, current = {}, None, None
    for line in text.splitlines():
        head = _COMPUTATION.match(line) if line and not line[0].isspace() else None
        if head:
            current = computations[head[2]] = {}
            entry = head[2] if head[1] else entry
            continue
        match = _INSTRUCTION.match(line) if current is not None else None
        if match:
            instruction = _instruction(match, line[match.end() :])
            current[instruction.name] = instruction
    return computations, entry


def _instruction(match, rest):
    """rest: "TYPE opcode(operands), attributes"."""
    end = _closing(rest) if rest.startswith("(") else rest.index(" ")
    kind, rest = rest[:end], rest[end:].lstrip()
    opcode, rest = rest.split("(", 1)
    end = _closing("(" + rest) - 1
    operands = _NAME.findall(rest[: end - 1])
    leaves = tuple(_leaf(*array.groups()) for array in _LEAF.finditer(kind))
    return Instruction(match[2], opcode, leaves, tuple(operands), rest[: end - 1], rest[end:], bool(match[1]))


def _closing(text):
    """Index after the bracket that closes the one at the start."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return i + 1
    raise ValueError(f"unbalanced brackets in the program's text: {text[:80]}")


def _leaf(kind, dims, layout):
    bits = 8 if kind == "pred" else int((re.search(r"\d+", kind) or ["0"])[0])
    sizes = tuple(int(size.removeprefix("<=")) for size in dims.split(",") if size)
    return Leaf(bits, sizes, not re.search(r"S\([1-9]\)", layout or ""))


class _Reader:
    """Walks a parsed module as it is executed."""

    def __init__(self, computations):
        self.computations = computations
        self.operations, self.collectives = [], []

    def walk(self, name, times, fused=False):
        """Adds what a computation does, `times` over; of a fused one only its collectives."""
        body, started = self.computations[name], {}
        for instruction in body.values():
            for start in {*instruction.operands} & {*started} if instruction.opcode.endswith("-done") else ():
                at, operations = started[start]
                beside = tuple(self.operations[operations:])
                self.collectives[at] = dataclasses.replace(self.collectives[at], beside=beside)
            kind = instruction.opcode.removesuffix("-start")
            if kind in COLLECTIVES:
                known = len(self.collectives)
                self._add_collective(instruction, body, kind, times, name if fused else None)
                if len(self.collectives) > known and instruction.opcode.endswith("-start"):
                    started[instruction.name] = known, len(self.operations)
            elif not fused:
                self._add_operation(instruction, body, times)
            for called, count in self._called(instruction, body):
                inner = fused or instruction.opcode in ("fusion", "custom-call")
                self.walk(called, times * count, inner)

    def _called(self, instruction, body):
        """[(computation, how often one execution runs it)]."""
        if instruction.opcode == "while":
            count = self._trips(instruction, body)
            return [(re.search(r"body=%([\w.\-]+)", instruction.attrs)[1], count)]
        if instruction.opcode == "conditional":
            branches = _BRANCHES.search(instruction.attrs)
            names = _NAME.findall(branches[1]) if branches else _CALLED.findall(instruction.attrs)
            return [(max(names, key=self._products_of), 1)]
        if instruction.opcode in ("fusion", "call", "async-start") or "called_computations" in instruction.attrs:
            return [(name, 1) for name in _CALLED.findall(instruction.attrs) if name in self.computations]
        return []

    def _trips(self, instruction, body):
        noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', instruction.attrs)
        if noted:
            return int(noted[1])
        name = re.search(r"condition=%([\w.\-]+)", instruction.attrs)[1]
        condition = self.computations[name]
        root = next(line for line in condition.values() if line.root)
        while root.opcode == "fusion":  # a compare of its own in a wrapper
            inner = self.computations[_CALLED.search(root.attrs)[1]]
            limits = [condition[operand] for operand in root.operands if condition[operand].opcode == "constant"]
            root = next(line for line in inner.values() if line.root)
            if limits and "direction=LT" in root.attrs:
                return int(limits[0].literal)
        limits = [condition[operand] for operand in root.operands if condition[operand].opcode == "constant"]
        if root.opcode == "compare" and "direction=LT" in root.attrs and limits:
            return int(limits[0].literal)
        raise ValueError(f"how often the loop {instruction.name} runs is not to be seen in the program's text")

    def _add_operation(self, instruction, body, times):
        if instruction.opcode in _FREE or instruction.opcode.endswith(("-done", "-update")):
            return
        if any(f'custom_call_target="{name}"' in instruction.attrs for name in _FREE_CALLS):
            return
        overlaps = instruction.opcode.endswith("-start")
        moved = _started(instruction) if overlaps else self._moved(instruction, body)
        cycles = re.search(r'"estimated_cycles":"(\d+)"', instruction.attrs)
        flops, wide = self._products(instruction, body)
        cycles = float(cycles[1]) if cycles and int(cycles[1]) < 2**40 else 0.0
        vector, special = self._elementwise(instruction, body)
        known = {"wide": wide, "vector": vector, "special": special}
        self.operations.append(Operation(instruction.name, times, flops, moved, overlaps, cycles, **known))

    def _add_collective(self, instruction, body, kind, times, fused):
        """fused: name of the fused computation that the instruction is in, or None.

        TPU's compiler writes a collective that runs beside other work as a chain of fusions, each with a copy of it;
        only the first one counts.
        """
        chained = fused and any(_ASYNC_START in line.attrs for line in body.values())
        if fused and not chained and _is_link(fused, body):
            return
        size = sum(leaf.bytes for leaf in instruction.leaves)
        if instruction.opcode.endswith("-start") and kind != "all-reduce":
            # (operands, results, ...): the larger of the first two is the whole array.
            size = max(leaf.bytes for leaf in instruction.leaves[:2])
        if kind == "reduce-scatter":
            size = sum(leaf.bytes for name in instruction.operands for leaf in body[name].leaves)
        users = {line.opcode for line in body.values() if instruction.name in line.operands}
        if fused and kind == "all-reduce" and users and users <= {"dynamic-slice", "slice"}:
            kind = "reduce-scatter"  # so it is executed where only a part of the result is used
        group = groups.read(instruction.attrs)
        if len(group) > 1:
            waited = '"is_sync":true' in instruction.attrs
            overlaps = bool(chained) or (instruction.opcode.endswith("-start") and not waited)
            self.collectives.append(Collective(kind, size, times, group, overlaps))

    # Products.

    def _products(self, instruction, body):
        """(FLOPs, those of them that multiply float32 numbers) of one execution."""
        if instruction.opcode == "fusion":
            return _sums(self._products_of(name) for name in _CALLED.findall(instruction.attrs))
        operands = [body[name].leaves[0] for name in instruction.operands if name in body and body[name].leaves]
        flops = self._flops(instruction, operands)
        return flops, flops if operands and operands[0].bits >= 32 else 0.0

    @functools.cache  # noqa: B019
    def _products_of(self, name):
        body = self.computations[name]
        return _sums(self._products(instruction, body) for instruction in body.values())

    def _flops(self, instruction, operands):
        """operands: Leaf of each."""
        if instruction.opcode == "convolution":
            return convolutions.flops(instruction.attrs, *operands[:2], instruction.leaves[0])
        if instruction.opcode == "dot":
            contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.attrs)
            inner = math.prod(operands[0].dims[int(i)] for i in contracted[1].split(",") if i) if contracted else 1
            return 2.0 * math.prod(instruction.leaves[0].dims) * inner
        if instruction.opcode == "custom-call":
            stated = _STATED.search(instruction.attrs)
            return float(stated[1]) if stated else libraries.flops(instruction, operands)
        return 0.0

    def _elementwise(self, instruction, body):
        """(vector, special) operations of one execution."""
        if instruction.opcode == "custom-call":
            return libraries.elementwise(instruction)
        if instruction.opcode == "fusion":
            return _sums(self._elementwise_of(name) for name in _CALLED.findall(instruction.attrs))
        results = sum(math.prod(leaf.dims) for leaf in instruction.leaves)
        read = sum(math.prod(leaf.dims) for name in instruction.operands if name in body for leaf in body[name].leaves)
        return elementwise.operations(instruction.opcode, results, read)

    @functools.cache  # noqa: B019
    def _elementwise_of(self, name):
        body = self.computations[name]
        return _sums(self._elementwise(instruction, body) for instruction in body.values())

    # Memory traffic.

    def _moved(self, instruction, body):
        """Bytes of main memory that one execution reads and writes."""
        opcode = instruction.opcode
        operands = [body[name] for name in instruction.operands if name in body]
        results = sum(leaf.bytes for leaf in instruction.leaves if leaf.main)
        if opcode in _SLICES:
            return results + (results if operands and _in_main(operands[0]) else 0)
        if opcode == "dynamic-update-slice":
            update = sum(leaf.bytes for leaf in operands[1].leaves)
            return update * (_in_main(instruction) + _in_main(operands[1]))
        called = _CALLED.search(instruction.attrs) if opcode == "fusion" else None
        if called is None:
            return results + sum(leaf.bytes for operand in operands for leaf in operand.leaves if leaf.main)
        inner = self.computations[called[1]]
        parameters = sorted(
            (line for line in inner.values() if line.opcode == "parameter"), key=lambda line: int(line.literal)
        )
        read = 0.0
        for operand, parameter in zip(operands, parameters, strict=False):
            if _in_main(operand):
                read += self._read(called[1], parameter.name)
        root = next(line for line in inner.values() if line.root)
        written = self._written(called[1], root.name, instruction.leaves)
        return read + written

    def _read(self, computation, name):
        """Bytes that a fused computation reads of its value `name`; where that is sliced, only the slices."""
        body = self.computations[computation]
        whole, parts = sum(leaf.bytes for leaf in body[name].leaves), 0.0
        for user in body.values():
            if name not in user.operands or _only_passes(user):
                continue
            if user.opcode == "bitcast":
                parts += self._read(computation, user.name)
            elif user.opcode in _SLICES and user.operands[0] == name:
                parts += sum(leaf.bytes for leaf in user.leaves)
            elif user.opcode == "dynamic-update-slice" and user.operands[0] == name:
                continue
            elif user.opcode == "fusion":
                called = _CALLED.search(user.attrs)[1]
                inner = [line for line in self.computations[called].values() if line.opcode == "parameter"]
                places = [i for i, operand in enumerate(user.operands) if operand == name]
                parts += sum(self._read(called, line.name) for line in inner if int(line.literal) in places)
            else:
                return whole
        return min(whole, parts)

    def _written(self, computation, name, leaves):
        """Bytes that a fused computation writes as its result `name`; where an array is updated, only the update."""
        body = self.computations[computation]
        line = body[name]
        if line.opcode == "tuple" and len(line.operands) == len(leaves):
            pairs = zip(line.operands, leaves, strict=True)
            return sum(self._written(computation, operand, (leaf,)) for operand, leaf in pairs)
        size = sum(leaf.bytes for leaf in leaves if leaf.main)
        if line.opcode == "parameter" or _only_passes(line):
            return 0.0
        if line.opcode == "bitcast":
            return self._written(computation, line.operands[0], leaves)
        if line.opcode == "dynamic-update-slice":
            return min(size, sum(leaf.bytes for leaf in body[line.operands[1]].leaves))
        if line.opcode == "fusion":
            called = _CALLED.search(line.attrs)[1]
            inner = next(line.name for line in self.computations[called].values() if line.root)
            return self._written(called, inner, leaves)
        return size


def _sums(pairs):
    """(sum of the first, sum of the second) numbers of pairs."""
    return tuple(map(sum, zip((0.0, 0.0), *pairs, strict=True)))


def _is_link(name, body):
    """Whether a fused computation is a later part of a collective's chain."""
    return name.startswith("async_collective_fusion") or any(_ASYNC_DONE in line.attrs for line in body.values())


def _only_passes(instruction):
    """Whether it hands its operands on, or over the links: no traffic of a fusion's own."""
    chain = instruction.opcode == "custom-call" and "AsyncCollective" in instruction.attrs
    return chain or instruction.opcode == "tuple" or instruction.opcode in COLLECTIVES


def _in_main(instruction):
    return any(leaf.main for leaf in instruction.leaves)


def _started(instruction):
    """Bytes of main memory that an asynchronous copy touches: its first two arrays are source and destination."""
    ends = instruction.leaves[:2]
    return min((leaf.bytes for leaf in ends), default=0.0) * sum(leaf.main for leaf in ends)
