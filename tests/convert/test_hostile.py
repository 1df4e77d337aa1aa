"""Files made to run code, to read outside their data, or to exhaust the machine."""

import contextlib
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest

from tests.convert.torch_files import (
    Call,
    Global,
    New,
    Persistent,
    Raw,
    Storages,
    opcodes,
    ordered,
    pickled,
    view,
    write_legacy,
    write_zip,
)
from trackers.convert import read_checkpoint
from trackers.errors import InputError

WRITERS = {"zip": write_zip, "legacy": write_legacy}
HARMLESS_EVENTS = {"open", "object.__getattr__", "marshal.loads", "gc.collect"}


class Reduced:
    """A class that asks to be rebuilt by a function of its choice."""

    def __init__(self, function, *arguments):
        self.reduction = (function, arguments)

    def __reduce__(self):
        return self.reduction


def reduced(function, *arguments, protocol=2):
    return Raw(strip(pickle.dumps(Reduced(function, *arguments), protocol)))


def strip(whole):
    """The opcodes between the header (frames are legal only once) and the stop."""
    start = 11 if whole[1] >= 4 else 2
    return whole[start:-1]


def attacks(sentinel):
    """{name: value to pickle}: each makes the file `sentinel` when Python's own unpickler reads it."""
    touch, code = f"touch {sentinel}", f"open({str(sentinel)!r}, 'w').close()"
    system = Global("os", "system")
    name = system.name.encode()
    getattr_ = Global("builtins", "getattr")
    module = Call(Global("importlib", "import_module"), ("os",))
    dotted = b"\x8c\x08builtins\x8c\x0dopen.__call__\x93"
    return {
        "os.system": Call(system, (touch,)),
        "posix.system": Call(Global("posix", "system"), (touch,)),
        "eval": Call(Global("builtins", "eval"), (code,)),
        "eval of Python 2": Call(Global("__builtin__", "eval"), (code,)),
        "exec": Call(Global("builtins", "exec"), (code,)),
        "subprocess": Call(Global("subprocess", "check_call"), (["touch", str(sentinel)],)),
        "runpy": Call(Global("code", "InteractiveInterpreter.runsource"), (None, code)),
        "reduce": reduced(os.system, touch),
        "reduce, protocol 4": reduced(os.system, touch, protocol=4),
        "getattr chain": Call(Call(getattr_, (module, "system")), (touch,)),
        "dotted name": Raw(b"\x80\x04" + dotted + opcodes((str(sentinel), "w")) + b"R"),
        "INST": Raw(b"(" + opcodes(touch) + b"ios\nsystem\n"),
        "OBJ": Raw(b"(" + opcodes(system) + opcodes(touch) + b"o"),
        "NEWOBJ": Raw(opcodes(Global("subprocess", "Popen")) + opcodes((["touch", str(sentinel)],)) + b"\x81"),
        "memo": Raw(b"cos\n" + name + b"\nq\x050" + b"h\x05" + opcodes((touch,)) + b"R"),
        "nested in arguments": Call(Global("collections", "OrderedDict"), ([("k", Call(system, (touch,)))],)),
        "nested in a placeholder": New(Global("argparse", "Namespace"), {"k": Call(system, (touch,))}),
        "as a key": Raw(opcodes({})[:1] + opcodes(Call(system, (touch,))) + b"Ns"),
        "in a tensor": view(Call(system, (touch,)), 0, (1,), (1,)),
        "instead of rebuilding": Call(
            Global("torch._tensor", "_rebuild_from_type_v2"), (system, Global("torch", "Tensor"), (touch,), {})
        ),
        "persistent": Persistent(("storage", Call(system, (touch,)), "0", "cpu", 1)),
        "state": Raw(opcodes(Global("argparse", "Namespace")) + opcodes(Call(system, (touch,))) + b"b"),
        "map": Call(Global("builtins", "list"), (Call(Global("builtins", "map"), (system, [touch])),)),
        "result called": Call(Call(Global("functools", "partial"), (system, touch)), ()),
    }


# Python's unpickler refuses these or lacks torch: no control run.
NO_CONTROL = {"runpy", "NEWOBJ", "in a tensor", "instead of rebuilding", "persistent"}


@pytest.fixture(scope="session")
def events(tmp_path_factory):
    """A list that fills with Python's audit events while its attribute `on` is true."""
    log = type("Log", (list,), {"on": False})()
    for writer in WRITERS.values():  # so that what zipfile and epath import lazily is imported
        storages = Storages()
        read_checkpoint(
            writer(tmp_path_factory.mktemp("warm") / "f", {"w": storages.tensor(np.ones(1, np.float32))}, storages)
        )
    sys.addaudithook(lambda event, arguments: log.append(event) if log.on else None)
    return log


def read_watched(path, events):
    events.clear()
    events.on = True
    try:
        return read_checkpoint(path)
    finally:
        events.on = False


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", attacks("x"))
def test_nothing_is_executed(tmp_path, events, name, writer):
    sentinel = tmp_path / "sentinel"
    storages = Storages()
    array = np.arange(3, dtype=np.float32)
    value = {"before": attacks(sentinel)[name], "net": ordered({"w": storages.tensor(array)})}
    path = WRITERS[writer](tmp_path / "file.pth", value, storages)
    np.testing.assert_array_equal(read_watched(path, events)["w"], array)
    assert set(events) <= HARMLESS_EVENTS, set(events)
    assert not sentinel.exists()

    path = WRITERS[writer](tmp_path / "alone.pth", attacks(sentinel)[name], Storages())
    with pytest.raises(InputError):
        read_watched(path, events)
    assert set(events) <= HARMLESS_EVENTS, set(events)
    assert not sentinel.exists()


@pytest.mark.parametrize("name", [name for name in attacks("x") if name not in NO_CONTROL])
def test_the_attacks_are_real(tmp_path, name):
    sentinel = tmp_path / "sentinel"
    # What the call returned may be of no use to the unpickler, but the call has happened.
    with contextlib.suppress(TypeError, AttributeError, ValueError, pickle.UnpicklingError):
        pickle.loads(pickled(attacks(sentinel)[name]))
    assert sentinel.exists()


def test_weight_that_is_an_attack_is_left_out(tmp_path):
    storages = Storages()
    tensor = storages.tensor(np.ones(2, np.float32))
    state_dict = {"w": tensor, "v": Call(Global("os", "system"), ("true",))}
    assert list(read_checkpoint(write_zip(tmp_path / "f", state_dict, storages))) == ["w"]


def test_reading_leaves_nothing_behind(tmp_path):
    """A state set on a name (a class, a function) must not reach the reader's own tables."""
    storages = Storages()
    array = np.arange(3, dtype=np.float32)
    spoil = [
        Raw(opcodes(Global(*name)) + opcodes((None, {"__call__": 1, "__defaults__": (1,)})) + b"b")
        for name in (("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("torch", "FloatStorage"))
    ]
    value = {"spoil": spoil, "net": ordered({"w": storages.tensor(array)})}
    for _ in range(2):
        got = read_checkpoint(write_zip(tmp_path / "f", value, storages))
        np.testing.assert_array_equal(got["w"], array)


IMPOSSIBLE_VIEWS = {
    "offset": (12, (1,), (1,)),
    "negative offset": (-1, (1,), (1,)),
    "shape": (0, (13,), (1,)),
    "stride": (0, (2,), (12,)),
    "negative stride": (11, (2,), (-1,)),
    "negative shape": (0, (-1, -1), (1, 1)),
    "overflow": (2**62, (2**62, 4), (2**62, 1)),
    "far beyond 64 bits": (0, (2**70,), (2**70,)),
    "more shapes than strides": (0, (2, 2), (1,)),
    "not numbers": (0, ("2",), (1,)),
    "a fraction": (0.5, (2,), (1,)),
    "too many axes": (0, (1,) * 100, (1,) * 100),
    "endless repetition": (0, (2**62, 2**62), (0, 0)),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", IMPOSSIBLE_VIEWS)
def test_tensors_outside_their_storage(tmp_path, name, writer):
    storages = Storages()
    storage = storages.add(np.arange(12, dtype=np.float32))
    path = WRITERS[writer](tmp_path / "f", {"w": view(storage, *IMPOSSIBLE_VIEWS[name])}, storages)
    with pytest.raises(InputError, match=str(path)):
        read_checkpoint(path)


@pytest.mark.parametrize("writer", WRITERS)
def test_huge_view_of_one_number_is_refused_and_a_small_one_read(tmp_path, writer):
    """A position table of 9 million equal rows took 68 s before it was found not to fit."""
    for count in (2**40, 2**20):
        storages = Storages()
        value = {"w": view(storages.add(np.ones(1, np.float32)), 0, (count,), (0,))}
        path = WRITERS[writer](tmp_path / f"f{count}", value, storages)
        if count == 2**20:
            assert read_checkpoint(path)["w"].shape == (count,)
        else:
            with pytest.raises(InputError, match="f1099511627776: .*TRACKERS_MAX_EXPANSION"):
                read_checkpoint(path)


@pytest.mark.parametrize("size", [13, 2**62, -1, True, "12"])
def test_storages_that_declare_too_much(tmp_path, size):
    storages = Storages()
    storage = storages.add(np.arange(12, dtype=np.float32), size=size)
    path = write_zip(tmp_path / "f", {"w": view(storage, 0, (2,), (1,))}, storages)
    with pytest.raises(InputError, match="storage"):
        read_checkpoint(path)


def test_storages_that_are_not_there(tmp_path):
    absent = Storages.reference("../../secret", "FloatStorage", 4)
    path = write_zip(tmp_path / "f", {"w": view(absent, 0, (4,), (1,))}, Storages())
    with pytest.raises(InputError, match="secret"):
        read_checkpoint(path)
    path = write_legacy(tmp_path / "g", {"w": view(absent, 0, (4,), (1,))}, Storages())
    with pytest.raises(InputError, match="secret"):
        read_checkpoint(path)


def test_storage_of_two_types(tmp_path):
    storages = Storages()
    wide = storages.add(np.arange(12, dtype=np.float64), "DoubleStorage")
    narrow = storages.reference("0", "HalfStorage", 12)
    value = {"w": view(wide, 0, (4,), (1,)), "v": view(narrow, 0, (4,), (1,))}
    with pytest.raises(InputError, match="declared"):
        read_checkpoint(write_legacy(tmp_path / "f", value, storages))


def test_storage_class_outside_torch_is_inert(tmp_path):
    storages = Storages()
    storages.add(np.arange(12, dtype=np.float32))
    foreign = storages.reference("0", "FloatStorage", 12, module="torchvision_evil")
    with pytest.raises(InputError, match="no weights"):
        read_checkpoint(write_zip(tmp_path / "f", {"w": view(foreign, 0, (4,), (1,))}, storages))


def test_compressed_records_are_refused(tmp_path):
    storages = Storages()
    value = {"w": storages.tensor(np.zeros(1000, np.float32))}
    path = write_zip(tmp_path / "f", value, storages, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed"):
        read_checkpoint(path)


MALFORMED = {
    "deep tuple as a key": b"})" + b"\x85" * 200_000 + b"Ns",
    "deep list": b"]" * 200_000 + b"a" * 199_999,
    "list in itself": b"]q\x00h\x00a",
    "dict in itself": b"}q\x00(X\x03\x00\x00\x00neth\x00u",
    "nothing on the stack": b"0000R",
    "no mark": b"t",
    "unknown memo": b"h\x07",
    "odd items": b"}(NNNu",
    "append to text": opcodes("x") + b"Na",
    "item of a number": opcodes(3) + b"NNs",
    "extension registry": b"\x82\x01)R",
    "buffers": b"\x97",
    "very long number": b"I" + b"9" * 10_000 + b"\n",
    "text cut off": b"X\xff\xff\xff\x7fabc",
    "no stop": b"",
}


@pytest.mark.parametrize("code", MALFORMED.values(), ids=MALFORMED)
def test_malformed_pickles(tmp_path, code):
    for writer in WRITERS.values():
        with pytest.raises(InputError):
            read_checkpoint(writer(tmp_path / "f", Raw(code), Storages()))


@pytest.mark.parametrize("writer", WRITERS)
def test_random_damage_is_an_input_error(tmp_path, writer, events):
    storages = Storages()
    state_dict = ordered({f"w{i}": storages.tensor(np.full((2, i + 1), i, np.float32)) for i in range(4)})
    value = {"net": state_dict, "args": New(Global("argparse", "Namespace"), {"lr": 0.1, "steps": [1, (2, None)]})}
    rng = np.random.default_rng(0)
    good = pickled(value)
    bad = 0
    for _ in range(300):
        damaged = bytearray(good)
        for place in rng.integers(2, len(good), size=rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        path = WRITERS[writer](tmp_path / "f", Raw(bytes(damaged[2:-1])), storages)
        try:
            got = read_watched(path, events)
        except InputError:
            bad += 1
        else:
            assert all(isinstance(array, np.ndarray) for array in got.values())
        assert set(events) <= HARMLESS_EVENTS, set(events)
    assert 30 < bad < 300
