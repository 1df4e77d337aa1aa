import pytest

from trackers.planning import groups

AXES = ("data", "fsdp", "tensor")


@pytest.mark.parametrize(
    ("written", "group"),
    [
        ("replica_groups={{0,1},{2,3}}, x=1", (0, 1)),
        ("replica_groups={{0,2},{1,3}}", (0, 2)),
        ("replica_groups=[2,4]<=[8]", (0, 1, 2, 3)),
        ("replica_groups=[4,2]<=[2,4]T(1,0), x", (0, 4)),
        ("replica_groups=mesh['axis_0'=8] {'axis_0'}, use_global_device_ids=true", tuple(range(8))),
        ("replica_groups=mesh['a'=2,'b'=4] {'b'}", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}", (0, 4)),
        ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'a','c'}", (0, 1, 4, 5)),
        ("replica_groups=mesh['a'=8] {'a':(1)2}", (0, 4)),
        ("replica_groups=mesh['a'=8] {'a':(2)2}", (0, 2)),
        ("replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}", (0, 2, 4, 6)),
        ("replica_groups=mesh['a'=2,'b'=4], device_ids=([8]<=[4,2]T(1,0)) {'b'}", (0, 2, 4, 6)),
        ("replica_groups=mesh['a'=1,'b'=2,'c'=4], device_ids=([2,2,2]T(1,0,2)) {'b'}", (0, 2)),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=(0,3,1,2) {'b'}", (0, 3)),
        ("source_target_pairs={{0,0},{1,3},{3,1}}", (1, 3)),
    ],
)
def test_the_ways_of_writing_a_group(written, group):
    assert groups.read(written) == group


def test_an_unknown_way_is_named():
    with pytest.raises(ValueError, match="replica_groups=<strange>"):
        groups.read("replica_groups=<strange>, x=1")


@pytest.mark.parametrize(
    ("group", "axes"),
    [((0, 1), "tensor"), ((0, 2), "fsdp"), ((0, 4), "data"), ((0, 2, 4, 6), "data+fsdp"), ((3,), "none")],
)
def test_axes_along_which_a_group_lies(group, axes):
    assert groups.axes_of(group, (2, 2, 2), AXES) == axes
