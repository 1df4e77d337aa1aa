"""Published checkpoint files -> {name: array}, without PyTorch and without executing anything.

PyTorch's zip format (torch.save since 1.6, torch.jit.save), its legacy format, safetensors and NumPy's .npz are told
apart by their first bytes, not by the file's name. Only the weights that are asked for are read from the disk.
"""

import io
import math
import re
import struct
import zipfile

import numpy as np
from etils import epath

from trackers.convert import pickles, wrappers
from trackers.errors import InputError, os_reason
from trackers.io import array_files, limits, plain_text

# Where published files keep their weights: GRM, SimTrack, MixFormer; MAE, DeiT; Lightning; others; averages.
STATE_DICT_KEYS = (
    *("net", "model", "state_dict", "model_state_dict", "network", "module", "params", "weights"),
    *("ema", "model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "params_ema", "shadow"),
)

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_PLAIN = (
    *("float64", "float32", "float16", "complex128", "complex64"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
)
_NUMBERS = "biufc"
_STORED_AS = {**{name: name for name in _PLAIN}, "bfloat16": "uint16", "bool": "uint8"}
_SAFETENSORS_KINDS = str.maketrans({"F": "float", "I": "int", "U": "uint"})
# Of these keys inside one another.
_MAX_CONTAINERS = 4
# Far above any network; a hostile file can repeat one module inside itself without end.
_MAX_MODULES, _MAX_MODULE_DEPTH = 100_000, 100


def read_checkpoint(path):
    """Reads the weights of a checkpoint file; nothing in it is executed.

    Args:
      path: .pth, .pt, .tar (PyTorch zip, TorchScript or legacy), .safetensors or .npz; any path etils.epath knows.

    Returns: {published name: np.ndarray}, in the file's order, in PyTorch's layouts and the file's dtypes, but bfloat16
      as float32; views of the file's bytes where possible, not to be written into. The state dict is looked for under
      STATE_DICT_KEYS, in this order, also inside one another, and at the top; a model that was saved whole is taken for
      its state dict. Names are without what wrappers put into them (wrappers.py). Entries that are not arrays are left
      out.

    Raises: InputError where the file is missing, damaged, hostile or not a checkpoint.
    """
    path = epath.Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a checkpoint file in it")
    if not path.exists():
        raise InputError(f"checkpoint {path} does not exist")
    try:
        with path.open("rb") as stream:
            weights = _read(stream)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}") from None
    except PermissionError as error:
        raise InputError(f"checkpoint {path} cannot be read: {os_reason(error)}") from None
    except plain_text.DAMAGE as error:
        reason = plain_text.reason(error)
        raise InputError(f"checkpoint {path} is damaged or not a checkpoint: {reason}") from error
    return wrappers.unwrapped(weights)


def _read(stream):
    start, size = stream.read(512), stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if not start:
        raise InputError("the file is empty")
    if start.startswith(b"PK\x03\x04"):
        return _read_zip(stream, size)
    if start[8:9] == b"{":
        return _read_safetensors(stream)
    if start[257:262] == b"ustar":
        raise InputError("a tar archive (PyTorch before 0.4): save it again with a newer PyTorch, or unpack it")
    if start[:1] == b"\x80":
        return _read_legacy(_Bounded(stream, size))
    raise InputError("not a PyTorch, safetensors or npz file (told by its first bytes); was the download complete?")


def _read_zip(stream, size):
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        limits.check_expansion("the file", sum(info.file_size for info in archive.infolist()), size)
        roots = [match[1] for match in (re.fullmatch(r"([^/]*/|)data\.pkl", name) for name in names) if match]
        if not roots:
            if names and all(name.endswith(".npy") for name in names):
                arrays = array_files.read_npz(stream, "the file")
                return {name: array for name, array in arrays.items() if array.dtype.kind in _NUMBERS}
            raise InputError("a zip file that holds neither PyTorch's data.pkl nor NumPy arrays")
        root = roots[0]

        def record(name):
            info = archive.getinfo(root + name)
            # PyTorch stores its records plain; a compressed one could be a bomb.
            if info.compress_type != zipfile.ZIP_STORED:
                raise InputError(f"record {name} is compressed, which PyTorch never does")
            return archive.read(info)

        order = "<"
        if root + "byteorder" in names:
            byteorder = record("byteorder").strip()
            if byteorder not in (b"little", b"big"):
                raise InputError("its byteorder record is neither little nor big")
            order = ">" if byteorder == b"big" else "<"
        value, _ = pickles.load(io.BytesIO(record("data.pkl")))
        reader = _Storages(lambda key: record(f"data/{key}"), order)
        if root + "constants.pkl" in names:
            return reader.arrays(_module_tensors(value))
        return reader.arrays(_find_state_dict(value))


def _read_safetensors(stream):
    try:
        import safetensors
    except ImportError:
        raise InputError("reading .safetensors needs the package safetensors: pip install safetensors") from None
    limits.HEADER.check("the file", int.from_bytes(stream.read(8), "little"))
    stream.seek(0)
    try:
        entries = safetensors.deserialize(stream.read())
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from None

    def dtype(code):
        return {"BF16": "bfloat16", "BOOL": "bool"}.get(code, code.translate(_SAFETENSORS_KINDS))

    return {name: _decode(e["data"], dtype(e["dtype"]), "<").reshape(e["shape"]) for name, e in entries}


def _read_legacy(stream):
    magic, _ = pickles.load(stream)
    if magic != _LEGACY_MAGIC:
        raise InputError("a plain pickle, not a file of torch.save")
    protocol, _ = pickles.load(stream)
    if protocol != _LEGACY_PROTOCOL:
        raise InputError(f"PyTorch's legacy format of version {protocol!r} is not known, only {_LEGACY_PROTOCOL}")
    pickles.load(stream)  # sizes of the C types of the machine that wrote it
    value, declared = pickles.load(stream)
    keys, _ = pickles.load(stream)
    if not isinstance(keys, list):
        raise InputError("its list of storages is missing")
    # The storages follow one another: element count (int64), then the elements, always little-endian.
    places = {}
    for key in map(str, keys):
        (count,) = struct.unpack("<q", stream.read(8))
        if key not in declared or count < 0:
            raise InputError(f"storage {key} is not described by the file, or of negative size")
        length = count * _item_size(declared[key].dtype)
        places[key] = (stream.tell(), length)
        stream.seek(length, io.SEEK_CUR)

    def storage(key):
        start, length = places[key]
        stream.seek(start)
        return stream.read(length)

    return _Storages(storage, "<").arrays(_find_state_dict(value))


def _find_state_dict(value):
    """{name: pickles.Tensor} of the unpickled value."""
    if _is_whole_model(value):
        return _module_tensors(value)
    if not isinstance(value, dict):
        raise InputError("its top level is not a dictionary of weights: save what model.state_dict() gives")
    found = list(_dictionaries(value))
    most = max(map(len, found), default=0)
    # A dictionary of few tensors is something else, such as the weights of a loss or an average's count.
    chosen = next((tensors for tensors in found if 2 * len(tensors) > most), None)
    if chosen is None:
        keys = ", ".join(repr(key) for key in list(value)[:10])
        places = ", ".join(STATE_DICT_KEYS)
        raise InputError(f"no weights at its top or under {places}; it holds {keys or 'nothing'}")
    return chosen


def _dictionaries(value, depth=0):
    """The dictionaries of tensors in a dictionary, those under STATE_DICT_KEYS first."""
    for key in STATE_DICT_KEYS if depth < _MAX_CONTAINERS else ():
        if isinstance(inner := value.get(key), dict):
            yield from _dictionaries(inner, depth + 1)
        elif _is_whole_model(inner):
            yield _module_tensors(inner)
    tensors = {k: v for k, v in value.items() if isinstance(v, pickles.Tensor) and isinstance(k, str)}
    if tensors:
        yield tensors


def _module_tensors(root):
    """{attribute path: pickles.Tensor} of a module, pickled as its attributes: TorchScript's, or a whole model."""
    tensors, pending, visits = {}, [("", root, 0)], 0
    while pending:
        prefix, module, depth = pending.pop()
        visits += 1
        if visits > _MAX_MODULES or depth > _MAX_MODULE_DEPTH:
            raise InputError("a model whose modules contain one another without end")
        children = []
        for name, value in _attributes(module).items():
            if isinstance(value, pickles.Tensor):
                tensors[f"{prefix}{name}"] = value
            elif _is_module(value):
                children.append((f"{prefix}{name}.", value, depth + 1))
        pending.extend(reversed(children))
    if not tensors:
        raise InputError("a model without tensors: save what model.state_dict() gives")
    return tensors


def _attributes(module):
    """{name: tensor or module, among other things} of a module; of a whole model what its state_dict() would name."""
    if not _is_module(module):
        return {}
    if not _is_whole_model(module):
        return module.state
    parts = [module.state.get(part) for part in ("_parameters", "_buffers", "_modules")]
    return {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}


def _is_module(value):
    return isinstance(value, pickles.Inert) and isinstance(value.state, dict)


def _is_whole_model(value):
    """Whether it is a torch.nn.Module that was saved itself, torch.save(model)."""
    return _is_module(value) and "_modules" in value.state


class _Bounded:
    """A stream whose reads are never asked for more than the file has: memory is taken for what is asked for."""

    def __init__(self, stream, size):
        self._stream, self._size = stream, size
        self.tell, self.seek, self.readline = stream.tell, stream.seek, stream.readline

    def read(self, count):
        return self._stream.read(min(count, max(0, self._size - self.tell())))


class _Storages:
    """Makes arrays of pickles.Tensor; each storage is read once and shared by its views.

    read: function of a storage's key to bytes; order: "<" or ">", how its numbers are written.
    """

    def __init__(self, read, order):
        self._read, self._order, self._cache = read, order, {}

    def arrays(self, tensors):
        # A view can repeat one number without end: memory goes with its shape once it is computed with.
        named = sum(math.prod(tensor.shape) * _item_size(tensor.dtype) for tensor in tensors.values())
        storages = {(tensor.storage.key, tensor.storage.start): tensor.storage for tensor in tensors.values()}
        stored = sum(storage.size * _item_size(storage.dtype) for storage in storages.values())
        limits.check_expansion("the file", named, stored)
        return {name: self._array(name, tensor) for name, tensor in tensors.items()}

    def _array(self, name, tensor):
        storage, dtype = tensor.storage, tensor.dtype
        if (storage.key, dtype) not in self._cache:
            self._cache[storage.key, dtype] = _decode(self._read(storage.key), dtype, self._order)
        numbers = self._cache[storage.key, dtype]
        size = storage.size * _item_size(storage.dtype) // _item_size(dtype)
        if storage.start + size > numbers.size:
            raise InputError(f"storage {storage.key} of {name} holds {numbers.size} numbers, less than it declares")
        numbers = numbers[storage.start : storage.start + size]
        if 0 in tensor.shape:
            return np.empty(tensor.shape, numbers.dtype)
        last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
        if last >= numbers.size:
            raise InputError(f"{name} of shape {tensor.shape} reaches outside its storage of {numbers.size} numbers")
        strides = [stride * numbers.itemsize for stride in tensor.strides]
        return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False)


def _item_size(dtype):
    if dtype not in _STORED_AS:
        raise InputError(f"numbers of type {dtype} are not supported")
    return np.dtype(_STORED_AS[dtype]).itemsize


def _decode(data, dtype, order):
    """Bytes -> (n,) array in the machine's byte order; bfloat16 as float32."""
    whole = len(data) // _item_size(dtype) * _item_size(dtype)
    stored = np.dtype(_STORED_AS[dtype]).newbyteorder(order)
    numbers = np.frombuffer(memoryview(data)[:whole], stored).astype(stored.newbyteorder("="), copy=False)
    if dtype == "bfloat16":
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers != 0 if dtype == "bool" else numbers
