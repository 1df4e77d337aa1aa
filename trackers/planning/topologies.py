"""Devices that need not be here, a slice of TPU chips or NVIDIA cards, and how fast groups of them can talk."""

import dataclasses
import math
import os
import re

import jax
import numpy as np
from jax.experimental import topologies as jax_topologies

from trackers.errors import InputError, UsageError
from trackers.io.numbers import counted
from trackers.planning import cards
from trackers.training import chips

# Time that a message takes to the next chip, seconds: an assumption ("about a microsecond", How to Scale Your Model).
HOP = 1e-6
# A processor stands in for no more devices than these: each takes memory of its own.
_MOST_DEVICES = 4096
_NAMES = re.compile(r"(v4|v5e|v5p|v6e):([0-9]+)x([0-9]+)(?:x([0-9]+))?")


@dataclasses.dataclass(frozen=True)
class Topology:
    """name: as asked for. devices: jax devices, here or only for a compiler. chip: what each of them is."""

    name: str
    devices: tuple
    chip: chips.Chip

    @property
    def present(self):
        """Whether a program can run here, not only be compiled."""
        return not (_NAMES.fullmatch(self.name) or cards.named(self.name))


def find(name):
    """The Topology of a name: "v5e:4x4" (v4, v5e, v5p, v6e; chips along each axis), "gpu:h100x8" (a100, h200 too),
    "cpu:N" or "gpu[:N]".

    cpu:N is N devices of this machine's processor, so it must be asked for before jax is used otherwise.

    Raises: UsageError for another name, InputError where the compiler for it is not installed or the devices are not
      here.
    """
    if _NAMES.fullmatch(name) or cards.named(name):
        devices = cards.devices(name) if cards.named(name) else _tpu_devices(name)
        return Topology(name, devices, chips.of_device(devices[0]))
    match = re.fullmatch(r"(cpu|gpu)(?::([1-9][0-9]*))?", name)
    if match is None:
        raise UsageError(f"topology {name!r}: give e.g. v5e:4x4 (or v4:, v5p:, v6e:), gpu:h100x8, cpu:8 or gpu")
    if int(match[2] or 0) > _MOST_DEVICES:
        raise UsageError(f"topology {name}: give at most {_MOST_DEVICES} devices, or a TPU's, such as v5e:16x16")
    platform, count = match[1], int(match[2] or 0)
    if platform == "cpu" and count > 1:
        _virtual_devices(count)
    try:
        devices = jax.devices(platform)
    except RuntimeError:
        raise InputError(f"topology {name}: no {platform.upper()} that jax can use is here") from None
    if count > len(devices):
        raise InputError(f"topology {name}: only {counted(len(devices), 'device')} here")
    devices = tuple(devices[: count or len(devices)])
    return Topology(name, devices, chips.of_device(devices[0], len(devices) if platform == "cpu" else 1))


def size(name):
    """Devices of a topology, from its name where that says it."""
    if match := _NAMES.fullmatch(name):
        return math.prod(int(side or 1) for side in match.groups()[1:])
    card = cards.named(name)
    return card[1] if card else len(find(name).devices)


def _virtual_devices(count):
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        if jax.device_count("cpu") < count:
            raise UsageError(f"topology cpu:{count} must be the first that a process plans for") from None


def _tpu_devices(name):
    # Without it libtpu asks a metadata server that exists on Google's machines only, for minutes.
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    # What it would otherwise complain not to find; a compiler without chips makes no use of it.
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    # Its lock keeps two programs off the same chips; here there are none, and two plans may run side by side.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    try:
        import libtpu  # noqa: F401
    except ImportError:
        raise InputError(
            f"planning for {name} needs TPU's compiler: pip install -r requirements/plan.txt (libtpu; no TPU is needed)"
        ) from None
    try:
        return tuple(jax_topologies.get_topology_desc(platform="tpu", topology_name=name, **_options(name)).devices)
    except Exception as error:
        raise UsageError(f"topology {name}: {str(error).splitlines()[0]}") from None


def _options(name):
    # As on the machines themselves: the two cores of a v4 or v5p chip are one device.
    return {"chip_config_name": "megacore"} if name.startswith(("v4", "v5p")) else {}


@dataclasses.dataclass(frozen=True)
class Ring:
    """members: of a group that take part in it. speed: bytes/s at which each sends to its neighbors. turn: seconds that
    a message takes to all of them. share: of a collective's bytes that goes over it."""

    members: int
    speed: float
    turn: float
    share: float = 1.0


def rings(topology, positions):
    """The rings, one after another, over which a group's collective goes, a list of Ring.

    One for TPU chips and for cards of a node. Where cards of several nodes take part, those of a node do what they can
    among themselves first, and each takes its part of the array to its like in the other nodes.

    Args:
      topology: Topology. positions: indices of the group's devices in topology.devices.
    """
    chip, count = topology.chip, len(positions)
    if chip.ring != "switch":
        speed, hops = links(topology, positions)
        return [Ring(count, speed, hops * HOP)]
    if not cards.knows(chip):
        return [Ring(count, chip.link, HOP)]
    nodes = len({position // cards.NODE for position in positions}) if cards.named(topology.name) else 1
    inside = count // nodes
    within = [Ring(inside, chip.link, cards.latency(inside))] if inside > 1 else []
    between = [Ring(nodes, cards.NETWORK[chip.name], cards.latency(nodes), 1 / inside)] if nodes > 1 else []
    return within + between


def links(topology, positions):
    """(bytes/s at which each chip of a group can send to its neighbors in the group, hops once around it), of a TPU.

    A group that lies along several axes of the torus uses all of them at once. An axis counts twice where it closes to
    a ring, since both directions are free; on a line one of them takes the data back.

    Args:
      topology: Topology. positions: indices of the group's devices in topology.devices.
    """
    chip = topology.chip
    coords = np.array([device.coords for device in topology.devices])
    mine, sides = coords[list(positions)], coords.max(axis=0) + 1
    speed, hops = 0.0, 0
    for axis in np.flatnonzero(np.ptp(mine, axis=0)):
        extent = len(np.unique(mine[:, axis]))
        ring = extent == sides[axis] and (extent == 16 if chip.ring == "full" else extent % 4 == 0)
        speed += chip.link * (2 if ring else 1)
        hops += extent // 2 if ring else extent - 1
    return max(speed, chip.link), max(hops, 1)
