"""Which devices take part in a collective, from the ways in which XLA writes it."""

import re

import numpy as np

_LISTED = re.compile(r"(?:replica_groups|source_target_pairs)=\{\{([\d,{} ]*)\}\}")
_IOTA = re.compile(r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(r"replica_groups=@?\w*mesh\[([^\]]*)\](?:, ?device_ids=\(([^)]*\)?)\))? ?\{([^}]*)\}")
_SUB_AXIS = re.compile(r"'?([\w.\-]+)'?(?::\((\d+)\)(\d+))?")


def read(attrs):
    """Positions of the devices in the first group (all groups are alike); for a permutation, sender and receiver.

    Args:
      attrs: attributes of a collective: replica_groups as lists, as a reshaped and transposed range, or as axes of a
        mesh; or source_target_pairs.

    Raises: ValueError for another way of writing.
    """
    iota = _IOTA.search(attrs)
    if iota:
        count, size, dims, order = int(iota[1]), int(iota[2]), _numbers(iota[3]), iota[4]
        return tuple(_range(dims, _numbers(order) if order else None).reshape(count, size)[0].tolist())
    listed = _LISTED.search(attrs)
    if listed:
        pairs = [_numbers(group) for group in re.split(r"\} *, *\{", listed[1])]
        if "source_target_pairs" in listed[0]:
            return next((tuple(pair) for pair in pairs if pair[0] != pair[1]), ())
        return tuple(pairs[0])
    mesh = _MESH.search(attrs)
    if mesh:
        return _from_mesh(*mesh.groups())
    devices = re.search(r"(replica_groups|source_target_pairs)=[^ ]{0,60}", attrs)
    raise ValueError(f"a collective's devices are written in an unknown way: {devices[0] if devices else attrs[:60]}")


def axes_of(group, mesh_shape, axes):
    """Names of the mesh axes along which the devices of a group differ, "data+fsdp"; a device is its position.

    Args: group: positions. mesh_shape: sizes. axes: names.
    """
    places = np.array(np.unravel_index(list(group), mesh_shape))
    return "+".join(name for name, along in zip(axes, places, strict=True) if np.ptp(along)) or "none"


def _numbers(text):
    return [int(number) for number in re.findall(r"\d+", text)]


def _range(dims, order):
    devices = np.arange(np.prod(dims)).reshape(dims)
    return (devices if order is None else devices.transpose(order)).reshape(-1)


def _from_mesh(axes, device_ids, used):
    """axes: "'a'=2,'b'=4"; device_ids: "[2,4]T(1,0)" or None; used: "'b'" or, a part of an axis, "'b':(1)2"."""
    sizes = {name: int(size) for name, size in re.findall(r"'?([\w.\-]+)'?=(\d+)", axes)}
    count = int(np.prod(list(sizes.values())))
    devices = np.arange(count)
    if device_ids:
        reshaped = re.fullmatch(r"(?:\[\d+\]<=)?\[([\d,]+)\](?:T\(([\d,]+)\))?", device_ids)
        if reshaped:
            devices = _range(_numbers(reshaped[1]), _numbers(reshaped[2]) if reshaped[2] else None)
        else:
            devices = np.array(_numbers(device_ids))
    devices = devices.reshape(list(sizes.values()))
    index = [0] * devices.ndim
    for name, before, size in _SUB_AXIS.findall(used):
        axis = list(sizes).index(name)
        if not size:
            index[axis] = slice(None)
            continue
        step = sizes[name] // (int(before) * int(size))
        index[axis] = slice(0, step * int(size), step)
    return tuple(devices[tuple(index)].reshape(-1).tolist())
