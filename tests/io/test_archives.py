"""Folders and zips of results, read alike; zips that are damaged or mean harm."""

import stat
import struct
import zipfile

import pytest

from trackers.errors import InputError
from trackers.io import archives


def _zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_a_folder_and_a_zip_are_alike(tmp_path):
    folder = tmp_path / "results"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "b.txt").write_text("1\n")
    (folder / "c.txt").write_text("2\n")
    packed = _zip(tmp_path / "results.zip", [("c.txt", "2\n"), ("a/b.txt", "1\n"), ("a/", "")])
    for path, is_zip in ((folder, False), (packed, True)):
        with archives.open_tree(path) as tree:
            assert (tree.names, tree.faults, tree.is_zip) == (["a/b.txt", "c.txt"], {}, is_zip)
            assert [tree.read(name) for name in tree.names] == [b"1\n", b"2\n"]


@pytest.mark.parametrize("name", ["../up.txt", "/etc/up.txt", "a/../../up.txt", "C:/up.txt", "a\\up.txt", "a//up.txt"])
def test_names_that_lead_elsewhere_are_faults_and_nothing_is_written(tmp_path, name):
    packed = _zip(tmp_path / "x.zip", [(name, "1"), ("fine.txt", "2")])
    with archives.open_tree(packed) as tree:
        assert list(tree.outside) == [next(other for other in tree.names if other != "fine.txt")]
        assert "leads outside" in next(iter(tree.outside.values()))
        assert tree.read("fine.txt") == b"2"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["x.zip"]


def test_links_twins_and_huge_members_are_faults(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKERS_MAX_TEXT_MB", "0.001")
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.warns(UserWarning, match="Duplicate name"):
        packed = _zip(
            tmp_path / "x.zip", [(link, "/etc/passwd"), ("a.txt", "1"), ("a.txt", "2"), ("b.txt", "0" * 5000)]
        )
    with archives.open_tree(packed) as tree:
        said = {name: what.split(":")[0] for name, what in tree.faults.items()}
        assert set(said) == {"link.txt", "a.txt", "b.txt"}
        assert said["link.txt"] == "is a link" and said["a.txt"] == "is in the zip twice"
        assert "unpacks to" in said["b.txt"]
        with pytest.raises(InputError, match=r"b\.txt unpacks to"):
            tree.read("b.txt")


def test_a_member_that_is_larger_than_it_says_is_stopped(tmp_path, monkeypatch):
    packed = _zip(tmp_path / "x.zip", [("a.txt", "0" * 100_000)])
    data = bytearray(packed.read_bytes())
    # The size in the list of files at the end, which is what is believed at first.
    place = data.rindex(b"PK\x01\x02") + 24
    assert struct.unpack_from("<I", data, place) == (100_000,)
    struct.pack_into("<I", data, place, 10)
    packed.write_bytes(data)
    monkeypatch.setenv("TRACKERS_MAX_TEXT_MB", "0.001")
    with archives.open_tree(packed) as tree, pytest.raises(InputError, match=r"a\.txt"):
        tree.read("a.txt")


def test_encrypted_and_damaged(tmp_path):
    packed = _zip(tmp_path / "x.zip", [("a.txt", "1,2,3,4\n" * 50)], zipfile.ZIP_STORED)
    data = bytearray(packed.read_bytes())
    locked = data.copy()
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + offset] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with archives.open_tree(tmp_path / "locked.zip") as tree:
        assert tree.faults["a.txt"].startswith("is encrypted")
    strong = data.copy()
    strong[strong.index(b"PK\x01\x02") + 8] |= 0x40
    (tmp_path / "strong.zip").write_bytes(strong)
    with archives.open_tree(tmp_path / "strong.zip") as tree:
        assert tree.faults["a.txt"].startswith("is encrypted")
    data[60] ^= 1
    packed.write_bytes(data)
    with archives.open_tree(packed) as tree, pytest.raises(InputError, match=r"a\.txt is damaged .*CRC"):
        tree.read("a.txt")


@pytest.mark.parametrize(("method", "named"), [(9, "deflate64"), (93, "number 93"), (95, "number 95"), (1, "shrink")])
def test_compressions_that_python_has_not(tmp_path, method, named):
    """As Windows has them for large files, and 7-Zip where one asks for it."""
    data = bytearray(_zip(tmp_path / "x.zip", [("a.txt", "1,2,3,4\n")]).read_bytes())
    struct.pack_into("<H", data, data.index(b"PK\x01\x02") + 10, method)
    (tmp_path / "x.zip").write_bytes(data)
    with archives.open_tree(tmp_path / "x.zip") as tree:
        assert tree.faults["a.txt"].startswith(f"is compressed by method {named}, which few programs read")


def test_a_part_of_a_split_zip(tmp_path):
    data = bytearray(_zip(tmp_path / "x.zip", [("a.txt", "1,2,3,4\n")]).read_bytes())
    struct.pack_into("<H", data, data.index(b"PK\x01\x02") + 34, 2)
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.zip is one part of a split zip"), archives.open_tree(tmp_path / "x.zip"):
        pass


def test_members_of_zip64(tmp_path):
    """Zip64, which Python writes where a size is not known at first."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, archive.open("a.txt", "w", force_zip64=True) as member:
        member.write(b"1\n")
    with archives.open_tree(tmp_path / "x.zip") as tree:
        assert (tree.faults, tree.read("a.txt")) == ({}, b"1\n")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"1,2,3,4\n" * 99])
def test_what_is_no_zip(tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.zip is no zip"), archives.open_tree(tmp_path / "x.zip"):
        pass
    with pytest.raises(InputError, match="absent is missing"), archives.open_tree(tmp_path / "absent"):
        pass
