import numpy as np
import pytest
from etils import epath

from data_pipelines import annotations
from tests.data_pipelines import layouts
from trackers.errors import InputError


@pytest.mark.parametrize(
    "text", ["1,2,3,4\n5,6,7,8\n", "1\t2\t3\t4\r\n5\t6\t7\t8", "1 2  3 4\n 5 6 7 8 \n\n", "1;2;3;4\n5;6;7;8"]
)
def test_read_boxes_takes_every_separator(tmp_path, text):
    (tmp_path / "b.txt").write_text(text)
    np.testing.assert_array_equal(annotations.read_boxes(tmp_path / "b.txt"), [[1, 2, 3, 4], [5, 6, 7, 8]])


def test_read_boxes_keeps_nan(tmp_path):
    (tmp_path / "b.txt").write_text("NaN,NaN,NaN,NaN\n1,2,3,4\n")
    boxes = annotations.read_boxes(tmp_path / "b.txt")
    assert np.isnan(boxes[0]).all() and boxes[1].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "bad",
    [
        "1,2,3",
        "1,2,3,4,5",
        "1,2,x,4",
        "1,,3,4",
        "1,2,inf,4",
        "1,2,3,4,5,6,7,8",
        "",
        "1,2,3,1_0",
        "1,2,3,４",
        "1,2,3,1e200",
        "1\xa02 3 4",
    ],
)
def test_malformed_line_is_named(tmp_path, bad):
    (tmp_path / "b.txt").write_text(f"1,2,3,4\n5,6,7,8\n{bad}\n1,2,3,4\n")
    with pytest.raises(InputError, match=r"b\.txt:3: "):
        annotations.read_boxes(tmp_path / "b.txt")


def test_every_line_malformed_alike(tmp_path):
    (tmp_path / "b.txt").write_text("1,2,3\n4,5,6\n")
    with pytest.raises(InputError, match=r"b\.txt:1: '1,2,3' is not a box"):
        annotations.read_boxes(tmp_path / "b.txt")


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_box_file(tmp_path, text):
    (tmp_path / "b.txt").write_text(text)
    with pytest.raises(InputError, match=r"b\.txt is empty"):
        annotations.read_boxes(tmp_path / "b.txt")


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InputError, match=r"b\.txt is missing: expected one line"):
        annotations.read_boxes(tmp_path / "b.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="not text"):
        annotations.read_boxes(tmp_path / "b.txt")


@pytest.mark.parametrize("bad", ["1_0", "１", "²", "1.0", "nan", "9" * 30, "true"])
def test_flags_are_whole_numbers(tmp_path, bad):
    (tmp_path / "f.txt").write_text(f"0\n{bad}\n1\n")
    with pytest.raises(InputError, match=r"f\.txt: "):
        annotations.read_flags(tmp_path / "f.txt", 3)


def test_names_with_digits_of_other_scripts_sort(tmp_path):
    assert sorted(["a²", "a１0", "a10", "a9"], key=annotations.natural_key) == ["a9", "a10", "a²", "a１0"]


def test_read_flags(tmp_path):
    file = tmp_path / "f.txt"
    for text in ("0,1,0", "0\n1\n0\n"):
        file.write_text(text)
        assert annotations.read_flags(file, 3).tolist() == [0, 1, 0]
    with pytest.raises(InputError, match=r"f\.txt has 3 values: expected 4"):
        annotations.read_flags(file, 4)
    file.write_text("0,maybe,1")
    with pytest.raises(InputError, match=r"f\.txt: line 1: 'maybe' is not a whole number"):
        annotations.read_flags(file, 3)


@pytest.mark.parametrize(
    "names",
    [["0001.jpg", "0002.jpg"], ["8.jpg", "9.jpg", "10.jpg"], ["a7.png", "b1.png"], ["07.jpg", "09.jpg"], ["x.jpg"]],
)
def test_frames_are_the_files_in_natural_order(tmp_path, names):
    for name in reversed(names):
        (tmp_path / name).touch()
    (tmp_path / ".hidden.jpg").touch()
    (tmp_path / "groundtruth.txt").touch()
    path = epath.Path(tmp_path)
    frames = annotations.Frames(path, annotations.image_names(path))
    assert [frame.name for frame in frames] == names
    assert [frame.name for frame in frames[::-1]] == names[::-1]
    assert frames[-1].name == names[-1] and frames[0].exists()
    with pytest.raises(IndexError):
        frames[len(names)]


def test_video_flags_and_visibility(tmp_path):
    layouts.write_frames(tmp_path / "v", 4)
    values = layouts.boxes(4)
    values[1, 2], values[2] = 0, np.nan
    layouts.write_boxes(tmp_path / "v" / "groundtruth.txt", values)
    video = annotations.video(
        "v", epath.Path(tmp_path / "v"), tmp_path / "v" / "groundtruth.txt", lambda n: np.arange(n) == 3
    )
    assert video.visible.tolist() == [True, False, False, False]
    assert len(video) == 4 and not video.truth_withheld and video.boxes.dtype == np.float64


def test_video_without_frames_or_with_another_number_of_boxes(tmp_path):
    path = epath.Path(tmp_path / "v")
    layouts.write_boxes(tmp_path / "v" / "groundtruth.txt", layouts.boxes(5))
    with pytest.raises(InputError, match="sequence v: no frames in"):
        annotations.video("v", path, path / "groundtruth.txt")
    layouts.write_frames(tmp_path / "v", 4)
    with pytest.raises(InputError, match="sequence v: 4 frames in .* but 5 boxes in"):
        annotations.video("v", path, path / "groundtruth.txt")
    layouts.write_boxes(tmp_path / "v" / "groundtruth.txt", layouts.boxes(1))
    with pytest.raises(InputError, match="4 frames in .* but 1 box in"):
        annotations.video("v", path, path / "groundtruth.txt")
    assert annotations.video("v", path, path / "groundtruth.txt", first_box_only=True).truth_withheld


@pytest.mark.parametrize("other", ["1.png", "01.jpg", "0001.PNG"])
def test_one_frame_in_two_kinds_of_image_is_refused(tmp_path, other):
    for name in ("1.jpg", other, "2.jpg"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"has .*\b1.jpg.*keep one of the two kinds") as one:
        annotations.image_names(tmp_path)
    assert other in str(one.value)
    (tmp_path / other).unlink()
    assert annotations.image_names(tmp_path) == ["1.jpg", "2.jpg"]
