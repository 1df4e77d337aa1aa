"""Files of boxes to start from: what they say, and the one line about what they must not say."""

import pytest

from trackers.errors import InputError, UsageError
from trackers.io import target_files
from trackers.io.target_files import Start


@pytest.fixture
def read(tmp_path):
    """Function of a text -> what a file of it says."""

    def of(text):
        (tmp_path / "t.csv").write_text(text)
        return target_files.read_targets(tmp_path / "t.csv")

    return of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,3,4\n5,6,7,8\n", {1: Start([1, 2, 3, 4])}),
        ("x,y,w,h\n1 2 3 4\n", {1: Start([1, 2, 3, 4])}),
        ("7,1,2,3,4\n3,5,6,7,8\n", {7: Start([1, 2, 3, 4]), 3: Start([5, 6, 7, 8])}),
        ("name,x,y,w,h\n7,1,2,3,4\n", {7: Start([1, 2, 3, 4])}),
    ],
)
def test_files_without_frames(read, text, expected):
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5,7,1,2,3,4\n\n0,3,5,6,7,8\n", {7: (5, 1), 3: (0, 3)}),
        ("frame,id,x,y,w,h\n5,7,1,2,3,4\n0,3,5,6,7,8\n", {7: (5, 2), 3: (0, 3)}),
        ("\nid frame x y w h\n7 5 1 2 3 4\n3 0 5 6 7 8\n", {7: (5, 3), 3: (0, 4)}),
        ("frame,x,y,w,h\n5,1,2,3,4\n0,5,6,7,8\n", {1: (5, 2), 2: (0, 3)}),
    ],
)
def test_files_with_frames(read, tmp_path, text, expected):
    found = read(text)
    assert [start.box for start in found.values()] == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert list(found) == list(expected)
    for name, (frame, line) in expected.items():
        assert found[name].frame == frame and found[name].line == f"{tmp_path / 't.csv'}, line {line}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7,1,2,3,4\n7,5,6,7,8\n", "line 2: id 7 is there twice: give each target an id of its own"),
        ("1,7,1,2,3,4\n1,7,5,6,7,8\n", "line 2: id 7 is there twice: give"),
        ("4,7,1,2,3,4\n\n1,7,5,6,7,8\n", "line 3: id 7 starts in frame 4 and again in frame 1: give each target one"),
        ("frame,x,y,w,h\n2.5,1,2,3,4\n", r"line 2: frame '2.5' is not a whole number: give lines .*frame,id,x,y,w,h"),
        ("-1,7,1,2,3,4\n", "line 1: frame -1 is before the first one, 0: give lines"),
        ("1,2.5,1,2,3,4\n", "line 1: '2.5' is not a whole number: give lines"),
        ("1,7,1,2,3,4\n7,1,2,3,4\n", "line 2: 5 columns: give lines"),
        ("7,1,2,3,4\n1,2,3,4\n", "line 2: 4 columns: give lines"),
        ("1,7,1,2,3,4,1,-1,-1,-1\n", "line 1: 10 columns: give lines .*frames from 0"),
        ("id,class,x,y,w,h\n7,1,1,2,3,4\n", "line 2: 6 columns: give lines"),
        ("frame,class,x,y,w,h\n7,1,1,2,3,4\n", "line 1: columns frame,class before the box: give lines"),
        ("frame,id,x,y,w,h\n", "has no box: give lines"),
    ],
)
def test_files_that_are_refused(read, tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read(text)
    assert str(tmp_path / "t.csv") in str(caught.value)


BOX = [1, 2, 3, 4]
LATE = {7: Start(BOX, 5, "t, line 1"), 4: Start(BOX, 1, "t, line 2"), 9: Start(BOX, 5, "t, line 3")}


def test_targets_come_in_the_order_of_their_starts():
    found = target_files.in_order(LATE, every=2, length=6)
    assert [(name, start.frame) for name, start in found.items()] == [(4, 1), (7, 5), (9, 5)]
    assert found == target_files.in_order(LATE, first=1, every=4)
    plain = target_files.in_order({7: Start(BOX), 4: Start(BOX)}, first=3, every=2, length=1)
    assert [(name, start.frame) for name, start in plain.items()] == [(7, 3), (4, 3)]
    assert target_files.in_order({}) == {}


def test_frames_that_are_not_tracked_are_refused():
    with pytest.raises(InputError, match="line 1: target 7 starts in frame 5, and the video has frames 0 to 4: give"):
        target_files.in_order(LATE, length=5)
    with pytest.raises(UsageError, match="line 2: target 4 starts in frame 1, before --start_frame 2: give a smaller"):
        target_files.in_order(LATE, first=2)
    with pytest.raises(UsageError, match="line 1: target 7 .*--every 3 from frame 1 on leaves out: .* 4 or 7, or"):
        target_files.in_order(LATE, every=3)
    with pytest.raises(UsageError, match="line 2: target 4 .*--every 2 from frame 0 on leaves out: .* 0 or 2, or"):
        target_files.in_order(LATE, first=0, every=2)
