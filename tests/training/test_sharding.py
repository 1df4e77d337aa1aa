"""Placements. Meshes here are abstract in size: eight virtual devices are tried in test_devices.py."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from trackers.errors import UsageError
from trackers.training import sharding


def mesh_of(data, fsdp, tensor, processes=1):
    """What the placement functions read of a mesh, for devices that are not here."""
    count = data * fsdp * tensor
    devices = [types.SimpleNamespace(id=i, process_index=i * processes // count) for i in range(count)]
    shape = {"data": data, "fsdp": fsdp, "tensor": tensor}
    return types.SimpleNamespace(shape=shape, size=count, devices=np.array(devices).reshape(data, fsdp, tensor))


def test_mesh_shape_fills_in_the_rest():
    assert sharding.mesh_shape({"data": -1, "fsdp": 2, "tensor": 1}, 8) == (4, 2, 1)
    assert sharding.mesh_shape({"data": 2, "fsdp": -1, "tensor": 2}, 8) == (2, 2, 2)


@pytest.mark.parametrize("sizes", [(3, 1, 1), (-1, 3, 1), (-1, 16, 1)])
def test_mesh_that_does_not_fit_the_devices(sizes):
    with pytest.raises(UsageError, match="8 devices"):
        sharding.mesh_shape(dict(zip(sharding.AXES, sizes, strict=True)), 8)


def test_mesh_sizes_must_make_sense():
    with pytest.raises(UsageError, match="one may be -1"):
        sharding.mesh_shape({"data": -1, "fsdp": -1, "tensor": 1}, 8)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("params/encoder/block_0/attention/qkv/kernel", (96, 3, 4, 24), P("fsdp", None, "tensor", None)),
        ("params/encoder/blocks_1_3/attention/qkv/kernel", (3, 96, 3, 4, 24), P(None, "fsdp", None, "tensor", None)),
        ("opt_state/1/mu/encoder/block_0/mlp/fc2/kernel", (384, 96), P("tensor", "fsdp")),
        ("ema/encoder/block_1/division/hidden1/kernel", (192, 384), P("fsdp", "tensor")),
        ("params/encoder/blocks_0_1/mlp/fc1/bias", (2, 384), P(None, "tensor")),
        ("params/encoder/position_search", (16, 96), P(None, "fsdp")),
        ("params/head/score/conv1/kernel", (3, 3, 96, 32), P(None, None, "fsdp", None)),
        ("params/head/score/conv5/kernel", (1, 1, 3, 1), P()),  # 3 input channels do not divide
        ("params/encoder/block_0/attention/qkv/kernel", (96, 3, 3, 32), P("fsdp", None, None, None)),  # nor do 3 heads
        ("batch_stats/head/score/norm1/mean", (32,), P()),
        ("params/encoder/norm/scale", (96,), P()),
        ("opt_state/1/count", (), P()),
        ("step", (), P()),
    ],
)
def test_rules(name, shape, expected):
    assert sharding.spec(name, shape, mesh_of(2, 2, 2)) == expected


def test_axes_of_one_device_are_left_out():
    mesh = mesh_of(8, 1, 1)
    assert sharding.spec("encoder/block_0/mlp/fc1/kernel", (96, 384), mesh) == P()


def test_rule_for_another_number_of_axes_is_an_error():
    with pytest.raises(ValueError, match="does not fit encoder/block_0/mlp/fc1/kernel"):
        sharding.spec("encoder/block_0/mlp/fc1/kernel", (96, 4, 96), mesh_of(1, 8, 1))


def test_rows_of_each_process():
    mesh = mesh_of(2, 2, 2, processes=4)
    assert [sharding.process_rows(mesh, 16, process) for process in range(4)] == [
        range(0, 4), range(4, 8), range(8, 12), range(12, 16),
    ]  # fmt: skip
    # A tensor axis over two processes: both supply the same rows.
    mesh = mesh_of(1, 1, 8, processes=2)
    assert [sharding.process_rows(mesh, 16, process) for process in range(2)] == [range(16), range(16)]


def test_batch_that_does_not_divide():
    with pytest.raises(UsageError, match="batch_size 12 does not divide over 8 batch shards"):
        sharding.process_rows(mesh_of(4, 2, 1), 12)


def test_interleaved_hosts_are_noticed():
    mesh = mesh_of(4, 1, 1, processes=2)
    assert sharding._rows_contiguous(mesh)
    mesh.devices = mesh.devices[[0, 2, 1, 3]]
    assert not sharding._rows_contiguous(mesh)


def test_unsharded_parameters_stop_a_run():
    leaf = jax.ShapeDtypeStruct((96, 384), jnp.float32)
    odd = jax.ShapeDtypeStruct((97, 384), jnp.float32)
    block = {"attention": {"out": {"bias": jax.ShapeDtypeStruct((96,), jnp.float32)}}, "mlp": {"fc1": {"kernel": leaf}}}
    sharding.check_sharded({"encoder": {"block_0": block}}, mesh_of(1, 8, 1), 0.02)
    block["mlp"]["fc1"]["kernel"] = odd
    with pytest.raises(UsageError, match=r"encoder/block_0/mlp/fc1/kernel \(99.7%\)"):
        sharding.check_sharded({"encoder": {"block_0": block}}, mesh_of(1, 8, 1), 0.02)
    sharding.check_sharded({"encoder": {"block_0": block}}, mesh_of(8, 1, 1), 0.02)


def test_describe_counts_bytes_and_folds_layers():
    leaf = jax.ShapeDtypeStruct((64, 4096), jnp.float32)
    params = {"encoder": {f"block_{i}": {"mlp": {"fc1": {"kernel": leaf}}} for i in range(4)}}
    text = sharding.describe(params, mesh_of(2, 2, 2))
    assert "encoder/block_*/mlp/fc1/kernel  (64 fsdp, 4096 tensor)  4 times" in text
    assert "parameters 4.0 MiB, 1.0 MiB on each device, 0.0% unsplit" in text
