"""A pickle reader that calls nothing: PyTorch's tensors are noted down, everything else becomes an inert object.

Python's own unpickler looks names up and calls what it finds. This one is a small stack machine over the opcodes that
`pickletools` decodes: no import, no attribute access, no call. The few names PyTorch uses to rebuild a tensor are
recognized by their spelling; any other class or function becomes a `Global`, what it would have made an `Inert`.
"""

import pickletools
from dataclasses import dataclass
from typing import Any

STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}


@dataclass(frozen=True, eq=False, slots=True)
class Global:
    """The name of a class or function; never looked up."""

    module: str
    name: str


@dataclass(eq=False, slots=True)
class Inert:
    """Stands where an object of an unknown class would be. `state` is what the file wanted to put into it."""

    state: Any = None


@dataclass(frozen=True, eq=False, slots=True)
class Storage:
    """A stretch of numbers kept outside the pickle.

    key: its name in the container; dtype: a name of STORAGES' values; start, size: the part that is meant, in elements.
    """

    key: str
    dtype: str
    start: int
    size: int


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """A view of a storage, not yet checked nor read; dtype, offset and strides as in PyTorch (elements)."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple
    strides: tuple


class Malformed(ValueError):
    """The pickle breaks its own rules or describes an impossible tensor."""


def load(stream):
    """Reads one pickle (protocol 0 to 5).

    Args:
      stream: binary file object; left behind the pickle's end.

    Returns: (value, storages): dicts, lists, tuples, scalars, strings, Tensor, Global, Inert; {key: Storage} seen.

    Raises ValueError (Malformed, or what pickletools says) where it is not a well-formed pickle.
    """
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name not in _ACTIONS:
            raise Malformed(f"pickle opcode {opcode.name} is not one that checkpoints use")
        _ACTIONS[opcode.name](machine, argument)
    return machine.pop(), machine.storages


_MARK = object()
_SCALAR = (str, bytes, int, float, type(None))


class _Machine:
    """Stack, memo and the storages met so far; each method that takes an argument is what one opcode does."""

    def __init__(self):
        self.stack, self.memo, self.storages = [], {}, {}

    def push(self, value):
        self.stack.append(value)

    def pop(self):
        if not self.stack or self.stack[-1] is _MARK:
            raise Malformed("a pickle opcode finds nothing on the stack")
        return self.stack.pop()

    def top(self):
        self.push(self.pop())
        return self.stack[-1]

    def pop_to_mark(self):
        items = []
        while self.stack and self.stack[-1] is not _MARK:
            items.append(self.stack.pop())
        if not self.stack:
            raise Malformed("a pickle opcode misses its mark")
        self.stack.pop()
        return items[::-1]

    def pop_tuple(self, length):
        return tuple([self.pop() for _ in range(length)][::-1])

    def discard(self, _):
        """POP, which also takes a mark."""
        if not self.stack:
            raise Malformed("a pickle opcode finds nothing on the stack")
        self.stack.pop()

    def put(self, index):
        self.memo[index] = self.top()

    def get(self, index):
        if index not in self.memo:
            raise Malformed("a pickle opcode asks for what was never stored")
        self.push(self.memo[index])

    def extend(self, items):
        target = self.top()
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Inert):
            raise Malformed("a pickle appends to what is not a list")

    def update(self, items):
        target = self.top()
        if len(items) % 2:
            raise Malformed("a pickle sets a key without a value")
        if isinstance(target, dict):
            # Weights are found by name; hashing other keys (deeply nested tuples) could overflow the C stack.
            target.update((k, v) for k, v in zip(items[::2], items[1::2], strict=True) if isinstance(k, _SCALAR))
        elif not isinstance(target, Inert):
            raise Malformed("a pickle sets an item of what is not a dict")

    def new_dict(self, _):
        items = self.pop_to_mark()
        self.push({})
        self.update(items)

    def inert(self, operands):
        for _ in range(operands):
            self.pop()
        self.push(Inert())

    def inert_from_mark(self, _):
        self.pop_to_mark()
        self.push(Inert())

    def name(self, argument):
        module, _, name = argument.partition(" ")
        self.push(Global(module, name))

    def name_from_stack(self, _):
        module, name = self.pop_tuple(2)
        if not (isinstance(name, str) and isinstance(module, str)):
            raise Malformed("a pickle names a class by what is not text")
        self.push(Global(module, name))

    def reduce(self, _):
        function, arguments = self.pop_tuple(2)
        self.push(_rebuild(function, arguments))

    def build(self, _):
        state = self.pop()
        target = self.top()
        if isinstance(target, Inert):
            target.state = state

    def storage(self, _):
        storage = _storage(self.pop())
        if isinstance(storage, Storage):
            known = self.storages.setdefault(storage.key, storage)
            if known.dtype != storage.dtype:
                raise Malformed(f"storage {storage.key!r} is declared as {known.dtype} and as {storage.dtype}")
        self.push(storage)


_PUSH = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)

_ACTIONS = {
    **dict.fromkeys(_PUSH, _Machine.push),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda m, _: None),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "MARK": lambda m, _: m.push(_MARK),
    "POP": _Machine.discard,
    "POP_MARK": lambda m, _: m.pop_to_mark(),
    "DUP": lambda m, _: m.push(m.top()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m, _: m.push(m.pop_tuple(1)),
    "TUPLE2": lambda m, _: m.push(m.pop_tuple(2)),
    "TUPLE3": lambda m, _: m.push(m.pop_tuple(3)),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "LIST": lambda m, _: m.push(m.pop_to_mark()),
    "APPEND": lambda m, _: m.extend([m.pop()]),
    "APPENDS": lambda m, _: m.extend(m.pop_to_mark()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "DICT": _Machine.new_dict,
    "SETITEM": lambda m, _: m.update(m.pop_tuple(2)),
    "SETITEMS": lambda m, _: m.update(m.pop_to_mark()),
    "EMPTY_SET": lambda m, _: m.push(Inert()),
    "ADDITEMS": lambda m, _: m.extend(m.pop_to_mark()),
    "FROZENSET": _Machine.inert_from_mark,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "NEWOBJ": lambda m, _: m.inert(2),
    "NEWOBJ_EX": lambda m, _: m.inert(3),
    **dict.fromkeys(("OBJ", "INST"), _Machine.inert_from_mark),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4", "PERSID"), lambda m, _: m.inert(0)),
    "BINPERSID": _Machine.storage,
}


def _is_count(value):
    return type(value) is int and value >= 0


def _storage(persistent_id):
    """('storage', class, key, device, size[, (view key, start, size) or None]) -> Storage, or Inert."""
    if not isinstance(persistent_id, tuple) or len(persistent_id) < 5 or persistent_id[0] != "storage":
        return Inert()
    _, kind, key, _, size = persistent_id[:5]
    view = persistent_id[5] if len(persistent_id) > 5 else None
    if not isinstance(kind, Global) or kind.name not in STORAGES or kind.module.split(".")[0] != "torch":
        return Inert()
    start = 0
    if isinstance(view, tuple) and len(view) == 3:
        _, start, size = view
    if not (isinstance(key, str | int) and _is_count(size) and _is_count(start)):
        raise Malformed("a storage is declared with an impossible name or size")
    return Storage(str(key), STORAGES[kind.name], start, size)


def _rebuild_tensor(arguments):
    """(storage, offset, shape, strides, ...) and, of an untyped storage, the dtype in seventh place."""
    if len(arguments) < 4:
        raise Malformed("a tensor is described by too few values")
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage):
        return Inert()
    lists = isinstance(shape, tuple | list) and isinstance(strides, tuple | list) and len(shape) == len(strides)
    if not (lists and all(map(_is_count, (offset, *shape, *strides)))):
        raise Malformed("a tensor has an impossible offset, shape or stride")
    return Tensor(storage, storage.dtype, offset, tuple(shape), tuple(strides))


def _rebuild_tensor_v3(arguments):
    tensor = _rebuild_tensor(arguments)
    if not isinstance(tensor, Tensor) or len(arguments) < 7 or not isinstance(arguments[6], Global):
        return Inert()
    return Tensor(tensor.storage, arguments[6].name, tensor.offset, tensor.shape, tensor.strides)


def _first(arguments):
    return arguments[0] if arguments else Inert()


def _ordered_dict(arguments):
    """OrderedDict() and, of old Pythons, OrderedDict([[key, value], ...])."""
    pairs = arguments[0] if arguments else []
    if not isinstance(pairs, list) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        raise Malformed("an OrderedDict is made of what is not pairs")
    return {k: v for k, v in pairs if isinstance(k, _SCALAR)}


_REBUILDERS = {
    "torch._utils _rebuild_tensor": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils _rebuild_parameter": _first,
    "torch._utils _rebuild_parameter_with_state": _first,
    "torch._tensor _rebuild_from_type_v2": lambda a: _rebuild(a[0], a[2]) if len(a) == 4 else Inert(),
    "torch Size": _first,
    "collections OrderedDict": _ordered_dict,
    "torch.jit._pickle build_intlist": _first,
    "torch.jit._pickle build_tensorlist": _first,
    "torch.jit._pickle restore_type_tag": _first,
}


def _rebuild(function, arguments):
    """What calling `function` would have made, where it is one of PyTorch's ways to write a tensor; else Inert."""
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        return Inert()
    rebuild = _REBUILDERS.get(f"{function.module} {function.name}")
    return rebuild(arguments) if rebuild else Inert()
