import dataclasses
import types

import pytest

from trackers.planning import prediction, program, topologies
from trackers.training import chips

V5E = next(chip for chip in chips.CHIPS if chip.name == "v5e")
V4 = next(chip for chip in chips.CHIPS if chip.name == "v4")


def slice_of(chip, *sides):
    """A Topology with made-up devices on a grid."""
    places = [(x, y, z) for z in range(sides[2]) for y in range(sides[1]) for x in range(sides[0])]
    devices = [types.SimpleNamespace(id=i, coords=place) for i, place in enumerate(places)]
    return topologies.Topology(chip.name, tuple(devices), chip)


@pytest.mark.parametrize(
    ("chip", "sides", "group", "speed", "hops"),
    [
        (V5E, (4, 4, 1), range(16), 2 * 50e9, 6),  # two lines
        (V5E, (16, 16, 1), range(256), 4 * 50e9, 16),  # two rings
        (V5E, (16, 16, 1), range(16), 2 * 50e9, 8),  # one ring
        (V5E, (16, 16, 1), range(8), 50e9, 7),  # half of a ring is a line
        (V4, (4, 4, 4), range(64), 6 * 50e9, 6),
        (V4, (2, 2, 1), range(4), 2 * 50e9, 2),
        (V4, (4, 4, 4), (0, 1), 50e9, 1),
    ],
)
def test_links_of_a_group(chip, sides, group, speed, hops):
    assert topologies.links(slice_of(chip, *sides), list(group)) == (speed, hops)


@pytest.mark.parametrize(
    ("kind", "share"), [("all-reduce", 2 * 15 / 16), ("all-gather", 15 / 16), ("reduce-scatter", 15 / 16)]
)
def test_a_collective_takes_what_an_optimal_ring_takes(kind, share):
    one = program.Collective(kind=kind, bytes=1e9, times=1, group=tuple(range(16)), overlaps=False)
    turns = 2 if kind == "all-reduce" else 1
    seconds = prediction.collective_seconds(one, slice_of(V5E, 4, 4, 1), one.group)
    assert seconds == pytest.approx(share * 1e9 / 100e9 + turns * 6e-6)


def operation(name, flops, size, overlaps=False, cycles=0.0):
    return program.Operation(name=name, times=2, flops=flops, bytes=size, overlaps=overlaps, cycles=cycles)


def times(where, order=None, **contents):
    """prediction.times of a program with these operations and collectives, on the devices of a slice in some order."""
    made_up = program.Program(**{"operations": (), "collectives": ()} | contents)
    return prediction.times(made_up, where, where.devices if order is None else order)


def test_terms_and_step():
    """Two rounds of: 1 ms of products that read for 0.1 ms, 2 ms of reading, 0.5 ms of copies beside them."""
    ops = (
        operation("product", 197e9, 0.1e-3 * 819e9, cycles=3e6),
        operation("reading", 0, 2e-3 * 819e9),
        operation("copy", 0, 0.5e-3 * 819e9, overlaps=True),
    )
    reduce = program.Collective(kind="all-reduce", bytes=1e8, times=2, group=tuple(range(16)), overlaps=False)
    where = slice_of(V5E, 4, 4, 1)
    blocking = times(where, operations=ops, collectives=(reduce,))
    links = 2 * (2 * 15 / 16 * 1e8 / 100e9 + 12e-6)
    assert blocking.compute == pytest.approx(2e-3)
    assert blocking.memory == pytest.approx(2 * 2.6e-3)
    assert blocking.links == pytest.approx(links)
    assert blocking.step == pytest.approx(2 * 3e-3 + links)
    assert blocking.least == pytest.approx(5.2e-3) and blocking.bound == "memory"
    assert blocking.most == pytest.approx(2e-3 + 5.2e-3 + links)
    assert blocking.compiler == pytest.approx(6e6 / V5E.clock + links)
    beside = dataclasses.replace(reduce, overlaps=True)
    assert times(where, operations=ops, collectives=(beside,)).step == pytest.approx(6e-3)


def test_kernels_have_no_cycles_and_count_at_a_share_of_the_peak():
    ops = (operation("product", 197e9, 0.0, cycles=3e6), operation("kernel", 197e9 * prediction.KERNELS, 0.0))
    assert times(slice_of(V5E, 1, 1, 1), operations=ops).compiler == pytest.approx(6e6 / V5E.clock + 2e-3)


def test_positions_follow_the_mesh_not_the_topology():
    """The group (0, 1) of a mesh whose devices 0 and 1 lie four apart on a line."""
    where = slice_of(V5E, 8, 1, 1)
    order = [where.devices[i] for i in (0, 4, 1, 5, 2, 6, 3, 7)]
    one = program.Collective(kind="collective-permute", bytes=0.0, times=1, group=(0, 3), overlaps=False)
    assert times(where, order, collectives=(one,)).links == pytest.approx(1e-6)


def test_lack_of_memory_is_read_from_the_compilers_error():
    message = "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 24.27G"
    lack = prediction.lack_of_memory(message + " of 15.75G hbm. Exceeded hbm capacity by 8.52G.")
    assert (lack.needed, lack.limit) == (24.27 * 2**30, 15.75 * 2**30)
    assert prediction.lack_of_memory("something else") is None


def test_published_clocks_and_peaks_agree():
    """A matrix unit of 128 x 128 does so many multiply-adds a cycle; v5e has 4 of them, v4 and v5p 8."""
    units = {"v4": 8, "v5e": 4, "v5p": 8}
    for chip in chips.CHIPS:
        if chip.name in units:
            assert units[chip.name] * 128**2 * 2 * chip.clock == pytest.approx(chip.flops, rel=2e-3)
