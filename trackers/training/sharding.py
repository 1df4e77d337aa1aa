"""Where arrays live: the mesh, and one ordered list of rules that places every parameter of every model.

Mesh axes: "data" (batch only), "fsdp" (batch, and each large parameter split along one of its axes), "tensor" (heads
and hidden units split, the batch not).
"""

import functools
import math
import re

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import trackers
from trackers.errors import UsageError
from trackers.io.numbers import counted
from trackers.nn import kernels
from trackers.nn.placement import BATCH_AXES
from trackers.training.state import named_leaves, path_name

AXES = ("data", "fsdp", "tensor")

# (regex searched in the parameter's path, placement of its own axes); first match wins. The leading layer axis of
# stacked layers (blocks_a_b) is not written here and never split. Moments and averages end in the same paths as their
# parameters, so the same rules place them.
RULES = (
    (r"attention/qkv/kernel$", P("fsdp", None, "tensor", None)),
    (r"attention/qkv/bias$", P(None, "tensor", None)),
    (r"(attention|local_global|visual_textual)/out/kernel$", P("tensor", None, "fsdp")),
    (r"score/attention\d/(query|key|value)/kernel$", P("fsdp", "tensor", None)),
    (r"score/attention\d/out/kernel$", P("tensor", None, "fsdp")),
    (r"qkv_kernel$", P("fsdp", None, "tensor", None)),
    (r"qkv_bias$", P(None, "tensor", None)),
    (r"(visual_head|text_hidden|text_head|knowledge/words)/kernel$", P("fsdp", None)),
    (r"knowledge/(kernel|mix)/kernel$", P(None, None, "fsdp")),
    (r"knowledge/position_\w+$", P()),
    (r"(^|/)(token_embedding|projection)$", P(None, "fsdp")),
    (r"(mlp/fc1|division/hidden1)/kernel$", P("fsdp", "tensor")),
    (r"(mlp/fc1|division/hidden1)/bias$", P("tensor")),
    (r"(mlp/fc2|division/hidden2)/kernel$", P("tensor", "fsdp")),
    (r"division/logits/kernel$", P("fsdp", None)),
    (r"patch_embed/(conv\d+/)?kernel$", P(None, None, None, "fsdp")),
    (r"position_\w+$", P(None, "fsdp")),
    (r"(^|/)(bottleneck|box_position/fc\d)/kernel$", P(None, "fsdp")),
    (r"(^|/)(head/(shared|left|right|top|bottom)|score)/fc\d/kernel$", P("fsdp", None)),
    (r"(conv\d+|shortcut_conv)/kernel$", P(None, None, "fsdp", None)),
    (r"attention/[qkv]/kernel$", P("fsdp", "tensor", None)),
    (r"attention/[qkv]/bias$", P("tensor", None)),
    (r"attention/kv/kernel$", P("fsdp", None, "tensor", None)),
    (r"attention/kv/bias$", P(None, "tensor", None)),
    (r"(attention/reduction|embed_\d+/conv)/kernel$", P(None, None, None, "fsdp")),
    (r"merge_\d+/reduction/kernel$", P(None, "fsdp")),
    (r"(transformer|decoder)/\w+/fc1/kernel$", P("fsdp", "tensor")),
    (r"(transformer|decoder)/\w+/fc1/bias$", P("tensor")),
    (r"(transformer|decoder)/\w+/fc2/kernel$", P("tensor", "fsdp")),
    (r"", P()),
)
_STACKED = re.compile(r"(^|/)blocks_\d+_\d+/")


def mesh_shape(config_mesh, devices):
    """(data, fsdp, tensor) with -1 filled in so that all `devices` (a count) are used.

    Raises: UsageError where the axes do not multiply to the number of devices.
    """
    sizes = [int(config_mesh[axis]) for axis in AXES]
    asked = " x ".join(f"{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
        raise UsageError(f"config.mesh {asked}: sizes are at least 1, one may be -1 (whatever is left)")
    if -1 in sizes:
        sizes[sizes.index(-1)] = devices // math.prod(size for size in sizes if size != -1)
    if math.prod(sizes) != devices:
        raise UsageError(f"config.mesh {asked} does not use the {counted(devices, 'device')} here: set e.g. data=-1")
    return tuple(sizes)


def make_mesh(config_mesh, devices=None):
    """The mesh over all devices of the run (or `devices`), axes ("data", "fsdp", "tensor").

    Raises: UsageError as mesh_shape.
    """
    devices = jax.devices() if devices is None else list(devices)
    shape = mesh_shape(config_mesh, len(devices))
    mesh = jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)
    if _rows_contiguous(mesh):
        return mesh
    # A topology-aware order may interleave the hosts along the batch, but a loader reads one range of rows.
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(np.asarray(ordered).reshape(shape), AXES, axis_types=(AxisType.Auto,) * 3)


def _batch_places(mesh):
    # Process index of each device, one line for each shard of the batch.
    return np.vectorize(lambda device: device.process_index)(mesh.devices).reshape(-1, mesh.shape["tensor"])


def _rows_contiguous(mesh):
    places = _batch_places(mesh)
    for process in np.unique(places):
        mine = np.flatnonzero((places == process).any(axis=1))
        if mine[-1] - mine[0] + 1 != len(mine):
            return False
    return True


def model_on(mesh, config_model):
    """The module of a model section, its layers laid out as `mesh`'s devices are best given (kernels.stacks_layers)."""
    model = trackers.build(config_model)
    if getattr(model, "scan_layers", False) is not None:
        return model
    return model.clone(scan_layers=kernels.stacks_layers(None, mesh.devices.flat[0].platform))


def first_of(mesh):
    """The mesh of the first device of `mesh` alone, with the same axes."""
    return jax.sharding.Mesh(mesh.devices[:1, :1, :1], mesh.axis_names)


def under(mesh, function):
    """`function`, to be jitted, with its activations placed on `mesh` where the models say so (nn/placement.py)."""

    @functools.wraps(function)
    def placed(*args, **kwargs):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*args, **kwargs)

    return placed


def check_parts(mesh, batch_size, parts):
    """Refuses a batch that does not divide into `parts` parts for the mesh's batch shards (config.accumulate).

    Raises: UsageError.
    """
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    if parts < 1 or batch_size % (shards * parts):
        raise UsageError(
            f"config.train.batch_size {batch_size} does not divide into config.accumulate={parts} parts for {shards} "
            f"batch shards: use a multiple of {shards * max(1, parts)}"
        )


def process_rows(mesh, batch_size, process=None):
    """The range of global batch rows that this process (or `process`) has to supply.

    Raises: UsageError where the batch does not divide over the mesh's data and fsdp axes.
    """
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % shards:
        raise UsageError(
            f"config.train.batch_size {batch_size} does not divide over {shards} batch shards "
            f"(mesh data={mesh.shape['data']} x fsdp={mesh.shape['fsdp']}): use a multiple of {shards}"
        )
    process = jax.process_index() if process is None else process
    mine = np.flatnonzero((_batch_places(mesh) == process).any(axis=1))
    each = batch_size // shards
    return range(int(mine[0]) * each, (int(mine[-1]) + 1) * each)


def batch_sharding(mesh):
    """Placement of every array of a batch: leading axis over data and fsdp."""
    return NamedSharding(mesh, P(BATCH_AXES))


def replicated(mesh):
    """Placement of scalars, keys and metrics: whole on every device."""
    return NamedSharding(mesh, P())


def put_batch(batch, mesh):
    """This process's rows {name: numpy array} as global arrays; the global batch is the processes' rows in order."""
    sharding = batch_sharding(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, np.asarray(rows)) for name, rows in batch.items()}


def abstract_batch(shapes, batch_size, mesh):
    """A global batch of `batch_size` rows as shapes with placements. shapes: {name: (shape, dtype)} of one row."""
    sharding = batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct((batch_size, *shape), dtype, sharding=sharding)
        for name, (shape, dtype) in shapes.items()
    }


def spec(name, shape, mesh, rules=RULES):
    """PartitionSpec of the leaf `name` with `shape`.

    An axis that its mesh axis does not divide stays whole; mesh axes of one device are left out.

    Raises: ValueError where the matching rule is for another number of axes.
    """
    placement = next(value for pattern, value in rules if re.search(pattern, name))
    if not placement:
        return P()
    if _STACKED.search(name):
        placement = P(None, *placement)
    if len(placement) != len(shape):
        raise ValueError(f"sharding rule {placement} does not fit {name} of shape {tuple(shape)}")
    pairs = zip(placement, shape, strict=True)
    split = [axis if axis and mesh.shape[axis] > 1 and size % mesh.shape[axis] == 0 else None for axis, size in pairs]
    return P(*split) if any(split) else P()


def shardings(tree, mesh, rules=RULES):
    """NamedSharding of every leaf of `tree` (arrays or shapes: params, optimizer state, a whole TrainState)."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: NamedSharding(mesh, spec(path_name(path), leaf.shape, mesh, rules)), tree
    )


def placed(shapes, mesh, rules=RULES):
    """A tree of shapes as jax.ShapeDtypeStruct with their placements."""

    def leaf(path, shape):
        place = NamedSharding(mesh, spec(path_name(path), shape.shape, mesh, rules))
        return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=place)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def places(tree):
    """The placement of every leaf of a tree of arrays, or of shapes from `placed`."""
    return jax.tree.map(lambda leaf: leaf.sharding, tree)


def check_sharded(params, mesh, max_unsharded, rules=RULES):
    """Refuses a run in which parameters are by accident not split along fsdp.

    Args:
      params: tree of arrays or shapes.
      max_unsharded: share of the parameters' bytes that may stay whole, 0..1.

    Raises: UsageError naming the largest leaves that stay whole.
    """
    if mesh.shape["fsdp"] == 1:
        return
    leaves = named_leaves(params)
    total = sum(_bytes(leaf) for _, leaf in leaves)
    whole = [(_bytes(leaf), name) for name, leaf in leaves if "fsdp" not in spec(name, leaf.shape, mesh, rules)]
    share = sum(size for size, _ in whole) / total
    if share > max_unsharded:
        largest = ", ".join(f"{name} ({size / total:.1%})" for size, name in sorted(whole, reverse=True)[:5])
        raise UsageError(
            f"{share:.1%} of the parameters' bytes stay unsharded on fsdp={mesh.shape['fsdp']}, more than "
            f"config.mesh.max_unsharded={max_unsharded:.1%}: {largest}; choose a size that divides them"
        )


def _bytes(leaf):
    return math.prod(leaf.shape) * leaf.dtype.itemsize


def describe(params, mesh, rules=RULES):
    """How parameters are placed, as text: mesh, a line for each kind of split leaf (equal layers once), totals."""
    shape = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    kinds, total, local, whole = {}, 0, 0, 0
    for name, leaf in named_leaves(params):
        placement, size = spec(name, leaf.shape, mesh, rules), _bytes(leaf)
        pieces = math.prod(mesh.shape[axis] for axis in placement if axis)
        total, local = total + size, local + size // pieces
        whole += size if pieces == 1 else 0
        if pieces > 1:
            split = zip(leaf.shape, placement, strict=True)
            axes = ", ".join(f"{length} {axis}" if axis else str(length) for length, axis in split)
            kind = f"{re.sub(r'block_[0-9]+/', 'block_*/', name)}  ({axes})"
            kinds[kind] = kinds.get(kind, 0) + 1
    lines = [f"  {kind}{f'  {count} times' if count > 1 else ''}" for kind, count in kinds.items()]
    totals = f"parameters {total / 2**20:.1f} MiB, {local / 2**20:.1f} MiB on each device, {whole / total:.1%} unsplit"
    return "\n".join([f"mesh {shape}", *lines, totals])
