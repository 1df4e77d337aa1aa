import io
import json
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from tests.convert.torch_files import (
    Call,
    Global,
    New,
    Raw,
    Storages,
    opcodes,
    ordered,
    pickled,
    view,
    write_legacy,
    write_zip,
)
from trackers.convert import read_checkpoint, reader
from trackers.errors import InputError

KINDS = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "ComplexFloatStorage": np.complex64,
}
WRITERS = {"zip": write_zip, "legacy": write_legacy}
NAMESPACE = New(Global("argparse", "Namespace"), {"lr": 0.1, "inner": New(Global("lib.train.admin", "Settings"), {})})


def numbers(dtype, shape=(3, 4)):
    return (np.random.default_rng(0).standard_normal(shape) * 50).astype(dtype)


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    return lambda value, storages: WRITERS[request.param](tmp_path / "file.pth", value, storages)


def assert_same(got, want):
    assert list(got) == list(want)
    for name in want:
        assert got[name].dtype == want[name].dtype, name
        np.testing.assert_array_equal(got[name], want[name], strict=True)


def test_every_dtype(write):
    storages = Storages()
    want = {kind: numbers(dtype) for kind, dtype in KINDS.items()}
    path = write({kind: storages.tensor(array, kind) for kind, array in want.items()}, storages)
    assert_same(read_checkpoint(path), want)


def test_bfloat16_becomes_float32(write):
    storages = Storages()
    exact = np.array([1.0, -2.5, 3.140625, 0.0, np.inf, 2.0**-120], np.float32)
    halves = (exact.view(np.uint32) >> 16).astype(np.uint16)
    path = write({"w": storages.tensor(halves.reshape(2, 3), "BFloat16Storage")}, storages)
    assert_same(read_checkpoint(path), {"w": exact.reshape(2, 3)})


def test_views_of_a_shared_storage(write):
    storages = Storages()
    base = numbers(np.float32, (6, 8))
    shared = storages.add(base.reshape(-1))
    value = {
        "base": view(shared, 0, (6, 8), (8, 1)),
        "transposed": view(shared, 0, (8, 6), (1, 8)),
        "strided": view(shared, 10, (2, 6), (16, 1)),
        "expanded": view(shared, 3, (4, 2), (0, 1)),
        "scalar": view(shared, 47, (), ()),
        "empty": view(shared, 0, (0, 8), (8, 1)),
    }
    got = read_checkpoint(write(value, storages))
    want = {
        "base": base,
        "transposed": base.T,
        "strided": base[1:5:2, 2:],
        "expanded": np.broadcast_to(base[0, 3:5], (4, 2)),
        "scalar": base[5, 7],
        "empty": np.zeros((0, 8), np.float32),
    }
    assert_same(got, {name: np.asarray(array) for name, array in want.items()})
    assert np.shares_memory(got["base"], got["transposed"])


def test_legacy_view_of_a_storage(tmp_path):
    storages = Storages()
    data = numbers(np.float32, (20,))
    storages.add(data)
    part = storages.reference("0", "FloatStorage", 20, ("view", 5, 10))
    path = write_legacy(tmp_path / "f", {"w": view(part, 2, (4,), (1,))}, storages)
    assert_same(read_checkpoint(path), {"w": data[7:11]})


def test_byte_order_record(tmp_path):
    for byteorder, order in (("little", "<"), ("big", ">")):
        storages = Storages()
        want = {"w": numbers(np.float32), "h": np.array([1.5, -2.0], np.float32)}
        upper = (want["h"].view(np.uint32) >> 16).astype(f"{order}u2")
        value = {
            "w": storages.tensor(want["w"].astype(f"{order}f4")),
            "h": storages.tensor(upper, "BFloat16Storage"),
        }
        assert_same(read_checkpoint(write_zip(tmp_path / byteorder, value, storages, byteorder)), want)
    with pytest.raises(InputError, match="byteorder"):
        read_checkpoint(write_zip(tmp_path / "odd", value, storages, "middle"))


def test_parameters_and_newer_ways_to_write_a_tensor(write):
    storages = Storages()
    array = numbers(np.float32)
    tensor = storages.tensor(array)
    untyped = storages.add(array.reshape(-1).view(np.uint8), "UntypedStorage")
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    value = {
        "parameter": Call(Global("torch._utils", "_rebuild_parameter"), (tensor, True, ordered({}))),
        "untyped": Call(
            Global("torch._utils", "_rebuild_tensor_v3"),
            (untyped, 0, (3, 4), (4, 1), False, ordered({}), Global("torch", "float32"), None),
        ),
        "tagged": Call(
            Global("torch._tensor", "_rebuild_from_type_v2"),
            (rebuild, Global("torch.nn.parameter", "Parameter"), tensor.arguments, {"tag": "x"}),
        ),
    }
    assert_same(read_checkpoint(write(value, storages)), dict.fromkeys(value, array))


@pytest.mark.parametrize("key", ["net", "model", "state_dict", "model_state_dict", None])
def test_finds_the_state_dict(write, key):
    storages = Storages()
    want = {"a.weight": numbers(np.float32), "b": numbers(np.float32, (2,))}
    state_dict = ordered({**{name: storages.tensor(array) for name, array in want.items()}, "_extra_state": NAMESPACE})
    if key:
        moments = {0: {"step": storages.tensor(np.float32(3))}}
        state_dict = {"epoch": 300, "settings": NAMESPACE, "optimizer": {"state": moments}, key: state_dict}
    assert_same(read_checkpoint(write(state_dict, storages)), want)


def test_common_module_prefix_is_taken_off(write):
    for names, want in ((["module.a", "module.b"], ["a", "b"]), (["module.a", "b"], ["module.a", "b"])):
        storages = Storages()
        value = {name: storages.tensor(numbers(np.float32)) for name in names}
        assert list(read_checkpoint(write(value, storages))) == want


@pytest.mark.parametrize(
    "names",
    [
        ["_orig_mod.a.w", "_orig_mod.b"],
        ["module._orig_mod.a.w", "module._orig_mod.b"],
        ["_orig_mod.module.a.w", "_orig_mod.module.b"],
        ["module.module.a.w", "module.module.b"],
        ["a._orig_mod.w", "_fsdp_wrapped_module.b"],
        ["n_averaged", "module.a.w", "module.b"],
        ["n_averaged", "module._orig_mod.a.w", "module._orig_mod.b"],
        ["n_averaged", "a.w", "b"],
        ["decay", "num_updates", "module.a.w", "module.b"],
    ],
)
def test_wrappers_are_taken_off(write, names):
    storages = Storages()
    value = {
        name: storages.tensor(np.int64(3), "LongStorage") if name in ("n_averaged", "decay", "num_updates")
        else storages.tensor(numbers(np.float32)) for name in names
    }  # fmt: skip
    assert list(read_checkpoint(write(value, storages))) == ["a.w", "b"]


@pytest.mark.parametrize(
    "names", [["module.a.w", "a.w"], ["module", "module."], ["_orig_mod.a", "a"], ["module.a", "b.c"]]
)
def test_wrappers_that_are_none_stay(write, names):
    storages = Storages()
    value = {name: storages.tensor(numbers(np.float32)) for name in names}
    assert list(read_checkpoint(write(value, storages))) == names


@pytest.mark.parametrize(
    "keys", [("ema",), ("model_ema",), ("state_dict_ema",), ("ema", "module"), ("state_dict", "model"), ("net", "net")]
)
def test_finds_averages_and_nested_state_dicts(write, keys):
    storages = Storages()
    want = {"a.weight": numbers(np.float32), "b": numbers(np.float32, (2,)), "c": numbers(np.float32, (3,))}
    value = {name: storages.tensor(array) for name, array in want.items()}
    for key in reversed(keys):
        value = {"epoch": 3, key: value, "weights": {"loss": storages.tensor(np.float32(2))}}
    value["n_averaged"] = storages.tensor(np.int64(2), "LongStorage")
    assert_same(read_checkpoint(write(value, storages)), want)


def whole_model(storages, want):
    """A torch.nn.Module as torch.save(model) pickles it, {"backbone.weight", "backbone.mean"} in one inner module."""

    def module(parameters, buffers, modules):
        names = {"_parameters": parameters, "_buffers": buffers, "_modules": modules}
        return New(Global("lib.models", "Node"), {"training": True, **{key: ordered(names[key]) for key in names}})

    weight = Call(Global("torch._utils", "_rebuild_parameter"), (storages.tensor(want["a.weight"]), True, ordered({})))
    inner = module({"weight": weight, "bias": None}, {"mean": storages.tensor(want["a.mean"])}, {})
    return module({}, {}, {"a": inner, "absent": None})


@pytest.mark.parametrize("key", [None, "net", "ema"])
def test_a_model_that_was_saved_whole(write, key):
    storages = Storages()
    want = {"a.weight": numbers(np.float32), "a.mean": numbers(np.float32, (3,))}
    model = whole_model(storages, want)
    assert_same(read_checkpoint(write({"epoch": 1, key: model} if key else model, storages)), want)


@pytest.mark.parametrize("protocol", ["half", "one storage", "subclass"])
def test_further_ways_in_which_pytorch_was_seen_to_write_weights(write, protocol):
    storages, array = Storages(), numbers(np.float32)
    if protocol == "half":
        tensor, array = storages.tensor(array.astype(np.float16), "HalfStorage"), array.astype(np.float16)
    elif protocol == "one storage":  # a flat vector of all weights, of which each tensor is a view
        flat = storages.add(np.concatenate([np.zeros(5, np.float32), array.reshape(-1)]))
        tensor = view(flat, 5, array.shape, tuple(n // 4 for n in array.strides))
    else:
        rebuild = Global("torch._utils", "_rebuild_tensor_v2")
        arguments = (rebuild, Global("__main__", "Sub"), storages.tensor(array).arguments, {})
        tensor = Call(Global("torch._tensor", "_rebuild_from_type_v2"), arguments)
    assert_same(read_checkpoint(write({"net": {"a.weight": tensor}}, storages)), {"a.weight": array})


@pytest.mark.parametrize("kind", ["sparse", "quantized", "meta"])
def test_tensors_that_hold_no_plain_numbers_are_left_out(write, kind):
    """As PyTorch writes them; a model that needs them names them as missing."""
    storages, layout = Storages(), Global("torch", "sparse_coo")
    inner = None if kind == "meta" else storages.tensor(numbers(np.float32))
    name, arguments = {
        "sparse": ("_rebuild_sparse_tensor", (layout, (inner, inner))),
        "quantized": ("_rebuild_qtensor", (inner, 0, (3, 4), (4, 1), ())),
        "meta": ("_rebuild_meta_tensor_no_storage", (Global("torch", "float32"), (3, 4))),
    }[kind]
    tensor = Call(Global("torch._utils", name), arguments)
    want = {"b": numbers(np.float32, (2,))}
    assert_same(read_checkpoint(write({"net": {"a": tensor, "b": storages.tensor(want["b"])}}, storages)), want)


def torchscript(storages, want):
    """A module `visual` with a submodule `conv`, as torch.jit.save pickles it."""
    conv = New(
        Global("__torch__.torch.nn", "Conv2d"),
        {"training": False, "stride": Call(Global("torch.jit._pickle", "build_intlist"), ([2, 2],)),
         "weight": storages.tensor(want["visual.conv.weight"], "HalfStorage")},
    )  # fmt: skip
    visual = New(Global("__torch__", "Visual"), {"proj": storages.tensor(want["visual.proj"]), "conv": conv})
    scale = storages.tensor(want["logit_scale"])
    return New(Global("__torch__.clip", "CLIP"), {"training": False, "visual": visual, "logit_scale": scale})


def test_torchscript_archive(tmp_path):
    storages = Storages()
    want = {
        "logit_scale": np.asarray(numbers(np.float32, ())),
        "visual.proj": numbers(np.float32, (4, 2)),
        "visual.conv.weight": numbers(np.float16, (2, 3, 1, 1)),
    }
    path = write_zip(tmp_path / "RN50.pt", torchscript(storages, want), storages, root="RN50/", constants=True)
    assert_same(read_checkpoint(path), want)


def test_torchscript_modules_without_end(tmp_path):
    # Two modules, each holding the next one twice, 60 levels deep: 2^60 attribute paths.
    module = New(Global("__torch__", "Leaf"), {"w": Storages().tensor(numbers(np.float32))})
    code = opcodes(module) + b"q\x00"
    for i in range(60):
        inner = Raw(b"h" + bytes([i]))
        code += b"0" + opcodes(New(Global("__torch__", "M"), {"a": inner, "b": inner})) + b"q" + bytes([i + 1])
    path = write_zip(tmp_path / "bomb.pt", Raw(code), Storages(), constants=True)
    with pytest.raises(InputError, match="without end"):
        read_checkpoint(path)


def test_safetensors(tmp_path):
    want = {"a": numbers(np.float32), "b": numbers(np.int64), "c": numbers(np.float16), "d": numbers(np.float64) > 0}
    safetensors.numpy.save_file(want, tmp_path / "m.safetensors")
    assert_same(dict(sorted(read_checkpoint(tmp_path / "m.safetensors").items())), want)
    exact = np.array([[1.0, -0.15625]], np.float32)
    halves = (exact.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = json.dumps({"w": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "bf16").write_bytes(struct.pack("<Q", len(header)) + header + halves)
    assert_same(read_checkpoint(tmp_path / "bf16"), {"w": exact})


def test_npz(tmp_path):
    want = {"a.weight": numbers(np.float32), "b": numbers(np.int64)}
    np.savez(tmp_path / "m.npz", **want)
    assert_same(read_checkpoint(tmp_path / "m.npz"), want)
    np.savez(tmp_path / "objects.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(InputError, match="allow_pickle"):
        read_checkpoint(tmp_path / "objects.npz")


def test_unusable_files_are_named(tmp_path):
    storages = Storages()
    value = {"w": storages.tensor(numbers(np.float32))}
    whole = write_zip(tmp_path / "whole.pth", value, storages).read_bytes()
    legacy = write_legacy(tmp_path / "legacy.pth", value, storages).read_bytes()
    tar, other = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    contents = {
        "truncated.pth": (whole[: len(whole) // 2], "damaged or not a checkpoint"),
        "flipped.pth": (whole.replace(numbers(np.float32).tobytes()[:8], b"\0" * 8), "CRC"),
        "truncated_legacy.pth": (legacy[:-20], "less than it declares"),
        "empty.pth": (b"", "empty"),
        "text.pth": (b"<!DOCTYPE html><html>Not found</html>", "not a PyTorch"),
        "old.tar": (tar.getvalue(), "tar archive"),
        "other.zip": (other.getvalue(), "neither"),
        "pickle.pth": (pickled({"w": 1}), "plain pickle"),
        "header.safetensors": (b"\xff\xff\0\0\0\0\0\0{", "damaged"),
    }
    for name, (content, message) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as error:
            read_checkpoint(tmp_path / name)
        assert name in str(error.value)
        assert "\n" not in str(error.value)
    for path, message in ((tmp_path / "absent.pth", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(InputError, match=message):
            read_checkpoint(path)


def test_files_without_weights(write):
    for value, message in (({"epoch": 3}, "'epoch'"), ([1], "not a dictionary"), (NAMESPACE, "not a dictionary")):
        with pytest.raises(InputError, match=message):
            read_checkpoint(write(value, Storages()))


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def refuse(stream):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.pth").write_bytes(b"")
    monkeypatch.setattr(reader, "_read", refuse)
    with pytest.raises(InputError, match="a.pth cannot be read: Permission denied: name a place"):
        read_checkpoint(tmp_path / "a.pth")
