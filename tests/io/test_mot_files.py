"""MOT files: read and written alike, and one line about whatever is wrong in them."""

import numpy as np
import pytest

from trackers.errors import InputError
from trackers.io import mot_files


def test_there_and_back(tmp_path):
    tracks = mot_files.from_rows([3, 1, 1], [7, 9, 7], [[1, 2, 3, 4], [-5, 6, 7, 8], [0.25, 1, 1, 1]], [0.5, 1, 0.25])
    mot_files.write(tmp_path / "a" / "t.txt", tracks)
    assert (tmp_path / "a" / "t.txt").read_text().splitlines()[0] == "1,9,-5.00,6.00,7.00,8.00,1,-1,-1,-1"
    again = mot_files.read(tmp_path / "a" / "t.txt")
    for name in ("frames", "ids", "boxes", "confidence"):
        np.testing.assert_array_equal(getattr(again, name), getattr(tracks, name))
    assert tracks.frames.tolist() == [1, 1, 3]


@pytest.mark.parametrize("text", ["1,2,3,4,5,6\n", "1 2 3 4 5 6 \n\n", "1.0, 2.0, 3, 4, 5, 6, 0.5, -1, -1, -1"])
def test_forms_that_are_understood(tmp_path, text):
    (tmp_path / "t.txt").write_text(text)
    tracks = mot_files.read(tmp_path / "t.txt")
    assert (tracks.frames.tolist(), tracks.ids.tolist(), tracks.boxes.tolist()) == ([1], [2], [[3, 4, 5, 6]])


def test_an_empty_file_has_no_rows(tmp_path):
    (tmp_path / "t.txt").write_text("")
    assert len(mot_files.read(tmp_path / "t.txt")) == 0


@pytest.mark.parametrize(
    "text,message",
    [
        ("1,2,3,4,5\n", "line 1: 5 columns"),
        ("1,2,3,4,5,6\nframe,id,x\n", "line 2: 'frame,id,x' is not"),
        ("1,2,3,4,5,6\n2,2,3,4,5,6\n1,2,9,9,9,9\n", "id 2 is twice in frame 1"),
        ("1,2,nan,4,5,6\n", "row 1 has a box that is not finite"),
        ("1.5,2,3,4,5,6\n", "row 1 has frame 1.5"),
        ("1,1e300,3,4,5,6\n", r"row 1 has id 1e\+300"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        mot_files.read(tmp_path / "t.txt")


def test_not_a_text_file(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"\xff\xfe\x00\x81")
    for path in (tmp_path / "t.txt", tmp_path / "absent.txt", tmp_path):
        with pytest.raises(InputError, match="cannot be read: give a text file"):
            mot_files.read(path)


def test_merging_moves_ids_as_the_program_does():
    cars = mot_files.from_rows([1, 2], [1, 4], np.ones((2, 4)))
    people = mot_files.from_rows([1, 1], [1, 2], np.ones((2, 4)))
    assert mot_files.merge([cars, people]).ids.tolist() == [1, 5, 6, 4]
    assert len(mot_files.merge([mot_files.empty(), people])) == 2


def test_pieces():
    assert mot_files.pieces([3, 4, 5, 9, 11, 12]) == [slice(0, 3), slice(3, 4), slice(4, 6)]
    assert mot_files.pieces([]) == []


@pytest.mark.parametrize("cell", ["1_0", "１２", "1²", "inf", "1e400", "1e200", "0x1"])
@pytest.mark.parametrize("column", range(7))
def test_one_rule_for_numbers(tmp_path, cell, column):
    row = ["1", "2", "3", "4", "5", "6", "0.5"]
    row[column] = cell
    (tmp_path / "t.txt").write_text("\n1,1,3,4,5,6,1\n" + ",".join(row) + "\n")
    if column == 6 and cell == "1e200":
        return  # a finite confidence
    with pytest.raises(InputError, match=r"t\.txt line 3: "):
        mot_files.read(tmp_path / "t.txt")


def test_a_confidence_that_is_not_finite(tmp_path):
    (tmp_path / "t.txt").write_text("1,1,3,4,5,6,nan\n")
    with pytest.raises(InputError, match=r"t\.txt line 1: row 1 has a confidence that is not finite"):
        mot_files.read(tmp_path / "t.txt")


def test_frames_before_the_first(tmp_path):
    (tmp_path / "t.txt").write_text("0,1,3,4,5,6\n1,1,3,4,5,6\n")
    assert len(mot_files.read(tmp_path / "t.txt")) == len(mot_files.read(tmp_path / "t.txt", first_frame=0)) == 2
    with pytest.raises(InputError, match=r"t\.txt line 1: frame 0 is before the first frame, 1: give --first_frame,"):
        mot_files.read(tmp_path / "t.txt", first_frame=1)
