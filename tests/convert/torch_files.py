"""Writes files as PyTorch does, opcode by opcode, so that the tests need no PyTorch."""

import io
import pickle
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass
class Global:
    """A class or function by name."""

    module: str
    name: str


@dataclass
class Call:
    """function(*arguments)."""

    function: Any
    arguments: tuple = ()


@dataclass
class New:
    """An instance of a class with a state."""

    kind: Global
    state: Any


@dataclass
class Persistent:
    """An object kept outside the pickle."""

    identity: tuple


@dataclass
class Raw:
    """Opcodes that leave one value on the stack."""

    opcodes: bytes


def opcodes(value):
    """The opcodes (protocol 2) that push a value."""
    if isinstance(value, Raw):
        return value.opcodes
    if isinstance(value, Global):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, Call):
        return opcodes(value.function) + opcodes(value.arguments) + b"R"
    if isinstance(value, New):
        return opcodes(value.kind) + b")\x81" + opcodes(value.state) + b"b"
    if isinstance(value, Persistent):
        return opcodes(value.identity) + b"Q"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(opcodes, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(opcodes, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(opcodes(k) + opcodes(v) for k, v in value.items()) + b"u"
    # Scalars and text: what Python writes, without the protocol header and the final stop.
    return pickle.dumps(value, 2)[2:-1]


def pickled(value):
    """A whole pickle."""
    return b"\x80\x02" + opcodes(value) + b"."


class Storages:
    """Numbers kept outside the pickle, and the tensors that view them."""

    def __init__(self):
        self.records, self.counts = {}, {}

    def add(self, numbers, kind="FloatStorage", size=None):
        """The persistent reference of a new storage holding a 1-D array's bytes."""
        key = str(len(self.records))
        self.records[key] = numbers.tobytes()
        self.counts[key] = numbers.size
        return self.reference(key, kind, numbers.size if size is None else size)

    @staticmethod
    def reference(key, kind, size, *view, module="torch"):
        return Persistent(("storage", Global(module, kind), key, "cuda:0", size, *view))

    def tensor(self, array, kind="FloatStorage"):
        """A contiguous tensor of its own storage."""
        array = np.asarray(array, order="C")
        strides = tuple(n // array.itemsize for n in array.strides)
        return view(self.add(array.reshape(-1), kind), 0, array.shape, strides)


def view(storage, offset, shape, strides):
    """A tensor as torch.save writes it."""
    arguments = (storage, offset, tuple(shape), tuple(strides), False, ordered({}))
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), arguments)


def ordered(items):
    """An OrderedDict with a state, as module.state_dict() is."""
    filled = opcodes(Call(Global("collections", "OrderedDict"))) + opcodes(items)[1:]
    return Raw(filled + opcodes({"_metadata": Call(Global("collections", "OrderedDict"))}) + b"b")


def write_zip(path, value, storages, byteorder=None, root="archive/", constants=False, compression=zipfile.ZIP_STORED):
    """torch.save's format since PyTorch 1.6; with constants torch.jit.save's."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{root}data.pkl", pickled(value))
        if constants:
            archive.writestr(f"{root}constants.pkl", pickled(()))
        if byteorder is not None:
            archive.writestr(f"{root}byteorder", byteorder)
        for key, data in storages.records.items():
            archive.writestr(f"{root}data/{key}", data)
        archive.writestr(f"{root}version", "3\n")
    return path


def write_legacy(path, value, storages):
    """torch.save's format before PyTorch 1.6."""
    out = io.BytesIO()
    for header in (LEGACY_MAGIC, 1001, {"protocol_version": 1001, "little_endian": True}, value):
        out.write(pickled(header))
    out.write(pickled(list(storages.records)))
    for key, data in storages.records.items():
        out.write(struct.pack("<q", storages.counts[key]) + data)
    path.write_bytes(out.getvalue())
    return path
