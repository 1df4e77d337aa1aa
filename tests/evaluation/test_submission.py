"""What the validator says of results that servers accept, and of every kind of fault in them."""

import shutil
import zipfile

import numpy as np
import pytest

from tests import programs
from tests.evaluation import submissions
from trackers import errors
from trackers.evaluation import phrase_results, server_rules, submission
from trackers.io import mot_files
from trackers.io.numbers import counted


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """Function of a kind -> (its files, a copy; benchmark)."""
    known = {}

    def get(kind):
        if kind not in known:
            known[kind] = submissions.MADE[kind](tmp_path_factory.mktemp(kind))
        files, benchmark = known[kind]
        return dict(files), benchmark

    return get


def _pack(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def _replace(old, new, count=1):
    return lambda text: text.replace(old, new, count)


def _line(number, line):
    def change(text):
        lines = text.splitlines()
        lines[number - 1 : number] = [] if line is None else [line]
        return "\n".join(lines) + "\n"

    return change


@pytest.mark.parametrize("kind", submission.CHECKS)
@pytest.mark.parametrize("as_zip", [True, False])
def test_valid_results_are_accepted_and_their_kind_is_told(valid, tmp_path, capsys, kind, as_zip):
    files, benchmark = valid(kind)
    if as_zip:
        path = _pack(tmp_path / "results.zip", files)
    else:
        path = tmp_path / "results"
        for name, text in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text)
    assert submission.check(path, None, benchmark) == 0
    assert capsys.readouterr().out.endswith(f"{path}: accepted as {kind}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trackers.evaluation.server_rules.GOT10K", {name.split("/")[0] for name in files})
        patch.setattr("trackers.evaluation.server_rules.TRACKINGNET_VIDEOS", len(files))
        patch.setattr("data_pipelines.published.LASOT_TEST", {"monkey-17", "tiger-6"})
        assert submission.findings(path).faults == []
        assert submission.findings(path).kind == kind


ONE, TWO = "GOT-10k_Test_000001/GOT-10k_Test_000001", "GOT-10k_Test_000002/GOT-10k_Test_000002"
M17, T6 = "grm_tracking_result/monkey-17.txt", "grm_tracking_result/tiger-6.txt"
ANTS, CATS = "baseline/ants1/ants1", "baseline/cat-vots/cat-vots"
M1, D3, CARS = "MOT17-01-FRCNN.txt", "tracker/dancetrack0003.txt", "0005/cars/predict.txt"
# kind, file to change (None: none), how (None: taken out; a str: another name), what the line says.
FAULTS = [
    ("got10k", f"{ONE}_001.txt", _line(3, None), f"{ONE}_001.txt: 5 boxes for 6 frames"),
    ("got10k", f"{ONE}_001.txt", lambda text: text + "1,2,3,4\n", f"{ONE}_001.txt: 7 boxes for 6 frames"),
    ("got10k", f"{ONE}_001.txt", _replace(",", "\t", -1), f"{ONE}_001.txt:1: not separated by commas"),
    ("got10k", f"{ONE}_001.txt", _replace(",", "  ", -1), "(and 5 more lines)"),
    ("got10k", f"{ONE}_001.txt", _line(2, "1,2,3"), f"{ONE}_001.txt:2: not x,y,w,h: 3 numbers"),
    ("got10k", f"{ONE}_001.txt", _line(2, "a,2,3,4"), f"{ONE}_001.txt:2: not a number: 'a'"),
    ("got10k", f"{ONE}_001.txt", _line(2, "inf,2,3,4"), f"{ONE}_001.txt:2: not a number: 'inf'"),
    # numpy passes over empty lines, and counts them not; lines of spaces it stops at.
    ("got10k", f"{ONE}_001.txt", _line(2, ""), f"{ONE}_001.txt: 5 boxes for 6 frames"),
    ("got10k", f"{ONE}_001.txt", _line(2, "  "), f"{ONE}_001.txt:2: a blank line"),
    ("got10k", f"{ONE}_001.txt", lambda text: text + " \n", f"{ONE}_001.txt:7: a blank line"),
    ("got10k", f"{ONE}_001.txt", lambda text: "#x\n\n" + _line(2, "nan,2,3,4")(text), f"{ONE}_001.txt:4: nan"),
    (
        "got10k",
        f"{ONE}_001.txt",
        lambda text: "\n" + _line(1, "3,8,1,1")(text),
        f"{ONE}_001.txt:2: not the given first",
    ),
    ("got10k", f"{ONE}_time.txt", _line(3, " \t"), f"{ONE}_time.txt:3: a blank line"),
    ("trackingnet", "ddd.txt", lambda text: "\n" + _line(3, "#x")(text), "ddd.txt:4: not x,y,w,h: 1 number in '#x'"),
    ("got10k", f"{ONE}_001.txt", _line(4, "nan,nan,nan,nan"), f"{ONE}_001.txt:4: nan"),
    ("got10k", f"{ONE}_001.txt", lambda text: "", f"{ONE}_001.txt: 0 boxes for 6 frames"),
    ("got10k", f"{ONE}_001.txt", lambda text: "\udcff", f"{ONE}_001.txt: is not text"),
    ("got10k", f"{ONE}_001.txt", _line(1, "30,8,14,12"), f"{ONE}_001.txt:1: not the given first box: that is 10.000"),
    ("got10k", f"{ONE}_001.txt", _line(1, "10.4,8,14,12"), f"{ONE}_001.txt:1: rounded: the given first box is 10.000"),
    ("got10k", f"{ONE}_001.txt", None, "GOT-10k_Test_000001: GOT-10k_Test_000001_001.txt is missing"),
    ("got10k", f"{ONE}_001.txt", f"{ONE}_002.txt", "repetitions count from 001"),
    ("got10k", f"{ONE}_001.txt", f"{ONE}.txt", f"{ONE}.txt: surplus file"),
    ("got10k", f"{ONE}_time.txt", None, "GOT-10k_Test_000001_time.txt is missing"),
    ("got10k", f"{ONE}_time.txt", _line(3, None), f"{ONE}_time.txt: 5 lines for 6 frames"),
    ("got10k", f"{ONE}_time.txt", _line(3, "0.1,0.1"), f"{ONE}_time.txt:3: not seconds"),
    ("got10k", f"{ONE}_001.txt", "x/y/z/a_001.txt", "x/y/z/a_001.txt: wrong depth"),
    ("got10k", f"{ONE}_001.txt", "GOT-10k_Test_000001_001.txt", "GOT-10k_Test_000001_001.txt: wrong depth"),
    (
        "got10k",
        f"{TWO}_001.txt",
        "GOT-10k_Test_000003/GOT-10k_Test_000003_001.txt",
        "the server knows no such sequence",
    ),
    ("got10k", f"{ONE}_001.txt", "../up.txt", "../up.txt: leads outside"),
    ("mot", M1, f"a\\{M1}", f"a\\{M1}: leads outside"),
    ("mot", M1, f"/{M1}", f"/{M1}: leads outside"),
    ("rmot", CARS, f"./../{CARS}", f"./../{CARS}: leads outside"),
    ("got10k", f"{ONE}_001.txt", lambda text: "\ufeff" + text, f"{ONE}_001.txt: begins with a byte order mark"),
    ("trackingnet", "ddd.txt", None, "ddd: video is missing"),
    ("trackingnet", "ddd.txt", _line(3, None), "ddd.txt: 5 boxes for 6 frames"),
    ("trackingnet", "ddd.txt", lambda text: "x,y,w,h\n" + text, "ddd.txt:1: not a number: 'x'"),
    ("trackingnet", "ddd.txt", _replace(",", " ", -1), "ddd.txt:1: not separated by commas"),
    ("trackingnet", "ddd.txt", _line(2, "1,nan,3,4"), "ddd.txt:2: nan"),
    ("trackingnet", "ddd.txt", _line(1, "10,8,24,20"), "ddd.txt:1: not the given first box"),
    ("trackingnet", "ddd.txt", lambda text: "", "ddd.txt: is empty"),
    ("trackingnet", "ddd.txt", "other.txt", "other.txt: surplus file"),
    ("lasot", M17, _line(3, None), f"{M17}: 5 boxes for 6 frames"),
    ("lasot", M17, None, f"{M17}: sequence is missing"),
    ("lasot", M17, _line(1, "nan,nan,nan,nan"), f"{M17}:1: nan"),
    ("lasot", M17, _line(2, "1 2 3"), f"{M17}:2: not x,y,w,h"),
    ("lasot", M17, "monkey-17.txt", "monkey-17.txt: wrong depth or folder"),
    ("lasot", T6, "grm_tracking_result/cat-1.txt", f"{T6}: sequence is missing"),
    ("lasot", M17, _replace(",", ";", -1), f"{M17}:1: not x,y,w,h"),
    ("vot", "manifest.yml", None, "manifest.yml: is missing"),
    ("vot", "manifest.yml", lambda text: "a: [", "manifest.yml: is not YAML"),
    ("vot", "manifest.yml", _replace("stack", "stock"), "manifest.yml: has no key stack"),
    ("vot", f"{ANTS}_001.txt", _line(3, None), f"{ANTS}_001.txt: 5 regions for 6 frames"),
    (
        "vot",
        f"{ANTS}_00000002.txt",
        lambda text: text[:2],
        f"{ANTS}_00000002.txt: 1 region, where 4 follow the anchor",
    ),
    ("vot", f"{ANTS}_001.txt", _line(1, "1,2,3,4"), f"{ANTS}_001.txt: no line is 1"),
    ("vot", f"{ANTS}_001.txt", _line(2, "1,2,3"), f"{ANTS}_001.txt:2: not a region"),
    ("vot", f"{ANTS}_001.txt", _line(2, "m1,2,3"), f"{ANTS}_001.txt:2: not a region"),
    ("vot", f"{ANTS}_001.txt", _line(2, "1 2 3 4"), f"{ANTS}_001.txt:2: not a region"),
    ("vot", f"{ANTS}_001.txt", _line(2, "1,2,3,4,"), f"{ANTS}_001.txt:2: not a region"),
    ("vot", f"{ANTS}_001.txt", _line(2, "m1,2,2,2,3,2"), "a mask of 2x2 pixels whose runs have 5"),
    ("vot", f"{ANTS}_001.txt", lambda text: text + "\n", f"{ANTS}_001.txt:7: not a region"),
    ("vot", f"{ANTS}_001.txt", lambda text: "", f"{ANTS}_001.txt: is empty"),
    ("vot", f"{ANTS}_001.txt", "ants1/ants1_001.txt", "ants1/ants1_001.txt: wrong depth"),
    ("vot", f"{ANTS}_001.txt", "baseline/ants1/cat_001.txt", "baseline/ants1/cat_001.txt: surplus file"),
    ("vot", f"{ANTS}_001.txt", f"{ANTS}_00000009.txt", f"{ANTS}_00000009.txt: starts from frame 9 of 6"),
    ("vot", f"{ANTS}_001_time.value", _line(3, None), f"{ANTS}_001_time.value: 5 lines for 6 regions"),
    ("vot", f"{CATS}_2_001.txt", None, "baseline/cat-vots_2: sequence is missing"),
    ("vot", f"{CATS}_2_001.txt", f"{CATS}_3_001.txt", "baseline/cat-vots_3: the data set has no such"),
    ("mot", M1, None, f"{M1}: sequence is missing"),
    ("mot", M1, "a/MOT17-01-FRCNN.txt", "a/MOT17-01-FRCNN.txt: wrong depth or folder"),
    ("mot", M1, "MOT17-02-FRCNN.txt", "MOT17-02-FRCNN.txt: surplus file"),
    ("mot", M1, "MOT17-01-FRCNN.csv", "MOT17-01-FRCNN.csv: surplus file"),
    ("mot", M1, _replace(",", " ", -1), f"{M1}:1: not separated by commas"),
    ("mot", M1, _line(1, "0,1,10,8,14,12,1,-1,-1,-1"), f"{M1}:1: no such frame: 0"),
    ("mot", M1, _line(1, "7,1,10,8,14,12,1,-1,-1,-1"), f"{M1}:1: no such frame: 7, where frames count from 1 to 6"),
    ("mot", M1, _line(2, "1,1,10,8,14,12,1,-1,-1,-1"), f"{M1}:2: twice: id 1 in frame 1"),
    ("mot", M1, _line(1, "1,1.5,10,8,14,12,1,-1,-1,-1"), f"{M1}:1: not whole"),
    ("mot", M1, _line(1, "1,1,nan,8,14,12,1,-1,-1,-1"), f"{M1}:1: nan"),
    ("mot", M1, _line(1, "1,1,10,8,14,12"), f"{M1}:1: not frame,id,x,y,w,h,confidence"),
    ("mot", M1, _line(1, "1,1,10,8,14,12,1,3,-1,-1"), f"{M1}:1: class 3"),
    # As TrackEval stops at them.
    ("mot", M1, _line(1, "1,1,10,8,14,12,1"), f"{M1}:2: other columns: 10, where frame 1 has lines of 7"),
    ("mot", M1, lambda text: text + "\n", f"{M1}:13: a blank line"),
    ("mot", M1, lambda text: "\n", f"{M1}:1: a blank line"),
    ("mot", M1, lambda text: "\ufeff" + text, f"{M1}: begins with a byte order mark"),
    ("rmot", "0005/cars/gt.txt", lambda text: "6,1,4,3,10,13,1\n", "0005/cars/gt.txt:1: not frame,id"),
    ("rmot", "0005/cars/gt.txt", lambda text: "6,1,4,3,10,13,1,-1,1\n", "0005/cars/gt.txt:1: class -1: only boxes of"),
    ("rmot", CARS, _line(1, "1,1,10,8,14,12,1,3,-1,-1"), f"{CARS}:1: class 3: only pedestrians"),
    ("rmot", "seqmap.txt", lambda text: "\ufeff" + text, "seqmap.txt: begins with a byte order mark"),
    ("dancetrack", D3, "dancetrack0003.txt", "dancetrack0003.txt: wrong depth or folder: expected tracker/"),
    ("dancetrack", D3, None, f"{D3}: sequence is missing"),
    ("rmot", "seqmap.txt", None, "seqmap.txt: is missing"),
    ("rmot", "seqmap.txt", lambda text: "name\n" + text, "seqmap.txt:1: 'name' is a heading"),
    ("rmot", "seqmap.txt", _line(1, "0005 cars"), "seqmap.txt:1: '0005 cars' is not VIDEO+PHRASE"),
    ("rmot", "seqmap.txt", lambda text: text + "0005+cars\n", "seqmap.txt:4: '0005+cars' is there twice"),
    ("rmot", "seqmap.txt", _line(1, None), "0005/cars: phrase is missing"),
    ("rmot", "seqmap.txt", lambda text: text + "0005+nobody\n", "0005/nobody: the data set has no such phrase"),
    ("rmot", CARS, None, f"{CARS}: is missing"),
    ("rmot", "0005/cars/gt.txt", None, "0005/cars/gt.txt: is missing"),
    ("rmot", CARS, _line(1, "9,1,10,8,14,12,1,-1,-1,-1"), f"{CARS}:1: no such frame: 9"),
]


@pytest.mark.parametrize(("kind", "file", "change", "said"), FAULTS)
def test_every_kind_of_fault_is_named(valid, tmp_path, capsys, kind, file, change, said):
    files, benchmark = valid(kind)
    text = files.pop(file)
    if isinstance(change, str):
        files[change] = text
    elif change is not None:
        files[file] = change(text).encode(errors="surrogateescape")
    path = _pack(tmp_path / "results.zip", files)
    assert submission.check(path, kind, benchmark) == 1
    *faults, last = capsys.readouterr().out.splitlines()
    assert any(said in line for line in faults), faults
    shown = [line for line in faults if not line.startswith("note: ")]
    assert last == f"{path}: rejected, {counted(len(shown), 'fault')}"


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("got10k", {f"{ONE}_001.txt": _line(2, "1,2,0,4")}, f"{ONE}_001.txt:2: a box without area"),
        ("got10k", {f"{ONE}_001.txt": _replace("\n", "\r\n\r\n")}, f"{ONE}_001.txt:2: passed over: a blank line"),
        ("got10k", {f"{ONE}_001.txt": lambda text: "# x,y\n" + text}, f"{ONE}_001.txt:1: passed over: '# x,y'"),
        (
            "got10k",
            {f"{ONE}_time.txt": _replace("\n", "\n\n", -1)},
            f"{ONE}_time.txt:2: passed over: a blank line (and 4",
        ),
        ("got10k", {f"{ONE}_001.txt": lambda text: text + "\r\n\n"}, None),
        ("trackingnet", {"ddd.txt": _replace("\n", "\n \t\n")}, "ddd.txt:2: passed over: a blank line"),
        ("trackingnet", {"ddd.txt": lambda text: text + "  \n\n"}, None),
        ("trackingnet", {"ddd.txt": _line(2, "1,2,0.4,4")}, "ddd.txt:2: a box without area"),
        ("lasot", {M17: lambda text: text + "1,2,3,4\n"}, f"{M17}: 1 surplus box: the toolkit cuts"),
        ("lasot", {M17: _line(2, "nan nan\tnan,nan")}, None),
        ("vot", {f"{ANTS}_001.txt": _line(2, "m10,8,4,3,1,2,2,2,5")}, None),
        ("mot", {M1: lambda text: ""}, f"{M1}: is empty: no boxes"),
        ("mot", {M1: lambda text: text.replace(",-1", "")}, f"{M1}:1: 7 columns"),
        ("mot", {M1: _replace("\n", ",\r\n", -1)}, None),
        (
            "lasot",
            {"grm_tracking_result/tiger-6_time.txt": lambda text: "x"},
            "grm_tracking_result/tiger-6_time.txt: is no",
        ),
        ("lasot", {"readme.md": lambda text: "x"}, "readme.md: is no SEQUENCE.txt"),
        (
            "lasot",
            {"grm_tracking_result/cat-1.txt": lambda text: "x"},
            "grm_tracking_result/cat-1.txt: the data set has no",
        ),
        ("trackingnet", {"ddd.txt": lambda text: "\ufeff" + text + "\n"}, None),
        ("rmot", {"0005/other/predict.txt": lambda text: ""}, "0005/other: is not in seqmap.txt"),
        # Its server reads the zip as it is, by the files' names.
        ("trackingnet", {"ddd.txt": None, "grm\\ddd.txt": None}, "grm\\ddd.txt: leads outside of where it is unpacked"),
        ("trackingnet", {"ddd.txt": None, "/ddd.txt": None}, "/ddd.txt: leads outside of where it is unpacked"),
        ("trackingnet", {"__MACOSX/ddd.txt": lambda text: "x"}, None),
        ("trackingnet", {"readme.md": lambda text: "x"}, "readme.md: is no .txt"),
    ],
)
def test_what_is_odd_is_a_note_and_accepted(valid, tmp_path, capsys, kind, change, said):
    files, benchmark = valid(kind)
    if None in change.values():
        old, new = change
        files[new] = files.pop(old)
    else:
        files |= {name: how(files.get(name, "")) for name, how in change.items()}
    assert submission.check(_pack(tmp_path / "results.zip", files), kind, benchmark) == 0
    out = capsys.readouterr().out
    assert f"note: {said}" in out if said else "note:" not in out


def test_whole_pixels_throughout_are_a_note_for_got10k(valid, tmp_path):
    files, _ = valid("got10k")
    files = {name: "10,8,14,12\n" * 6 if name.endswith("_001.txt") else text for name, text in files.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trackers.evaluation.server_rules.GOT10K", {name.split("/")[0] for name in files})
        found = submission.findings(_pack(tmp_path / "results.zip", files))
    assert found.notes == ["results.zip: all boxes are whole pixels: three decimals score better"]


def test_a_name_that_ends_in_another_hides_both_from_trackingnets_server(valid, tmp_path):
    files, benchmark = valid("trackingnet")
    files["a/ddd.txt"] = files["ddd.txt"]
    found = submission.findings(_pack(tmp_path / "results.zip", files), None, benchmark)
    assert found.faults == ["ddd.txt: ddd.txt is there 2 times for the server: it takes none of them"]


def test_what_macos_adds_is_one_line_and_hides_nothing_else(valid, tmp_path):
    for kind in ("got10k", "vot", "dancetrack"):
        files, benchmark = valid(kind)
        top = "grm/" if kind == "got10k" else ""
        files = {f"{top}{name}": text for name, text in files.items()}
        files |= {f"__MACOSX/{name}": "\0" for name in files} | {".DS_Store": "\0"}
        found = submission.findings(_pack(tmp_path / "results.zip", files), kind, benchmark)
        assert [fault.partition(":")[0] for fault in found.faults] == [".DS_Store"], kind
        assert "is what macOS adds" in found.faults[0] and "more files" in found.faults[0]


def test_a_file_above_the_folders_is_the_only_one_at_a_wrong_depth(valid, tmp_path):
    files, benchmark = valid("got10k")
    files = {f"grm/{name}": text for name, text in files.items()} | {"readme.txt": "x", "grm/notes.txt": "x"}
    found = submission.findings(_pack(tmp_path / "results.zip", files), None, benchmark)
    assert [fault.partition(":")[0] for fault in found.faults] == ["grm/notes.txt", "readme.txt"]


def test_a_damaged_mask_of_vot_and_files_that_cannot_be_read_are_named(valid, tmp_path):
    files, benchmark = valid("vot")
    files[f"{ANTS}_002.bin"] = "mask" * 9
    path = _pack(tmp_path / "results.zip", files)
    data = bytearray(path.read_bytes())
    data[data.rindex(f"{ANTS}_002.bin".encode()) - 30] ^= 1  # its CRC
    path.write_bytes(data)
    found = submission.findings(path, None, benchmark)
    assert len(found.faults) == 1 and found.faults[0].startswith(f"{ANTS}_002.bin: is damaged (Bad CRC-32")
    locked = bytearray(_pack(tmp_path / "locked.zip", {"MOT17-01.txt": "1"}).read_bytes())
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(errors.InputError, match=r"locked\.zip: MOT17-01\.txt is encrypted"):
        submission.findings(tmp_path / "locked.zip")


@pytest.mark.parametrize(
    ("kind", "change"),
    [("vot", {"manifest.yml": None}), ("trackingnet", {"ddd.txt": "tracker/ddd.txt"}), ("mot", {M1: "empty"})],
)
def test_kinds_whose_names_look_like_others(valid, tmp_path, kind, change):
    files, benchmark = valid(kind)
    for old, new in change.items():
        text = files.pop(old)
        files |= {old: ""} if new == "empty" else {new: text} if new else {}
    assert submission.findings(_pack(tmp_path / "results.zip", files)).kind == kind


def test_wrapped_folders_and_repetitions_of_got10k(valid, tmp_path):
    files, benchmark = valid("got10k")
    files |= {name.replace("_001", "_002"): text for name, text in files.items() if "_001" in name}
    files = {f"grm/{name}": "0.1,0.1\n" * 6 if "_time" in name else text for name, text in files.items()}
    assert submission.findings(_pack(tmp_path / "results.zip", files), None, benchmark).faults == []


@pytest.mark.parametrize("kind", ["got10k", "vot", "mot", "rmot"])
def test_files_of_more_lines_than_any_sequence_has(valid, tmp_path, monkeypatch, kind):
    monkeypatch.setattr("trackers.evaluation.server_rules.MOST_LINES", 5)
    files, benchmark = valid(kind)
    found = submission.findings(_pack(tmp_path / "results.zip", files), kind, benchmark)
    assert any("has more than 5 lines, which no sequence has" in fault for fault in found.faults)


def test_many_faults_are_counted_and_names_are_printable(tmp_path, capsys):
    files = {f"v{number:02d}.txt": "1,2\n" for number in range(50)} | {"a\nb.txt": "1,2\n"}
    assert submission.check(_pack(tmp_path / "results.zip", files), "trackingnet") == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 41 and lines[-1].endswith("rejected, 52 faults, 12 of them not shown")
    assert lines[0] == "results.zip: 51 videos: the test set has 511"


def test_nothing_at_all_is_rejected(tmp_path):
    path = _pack(tmp_path / "results.zip", {})
    for kind in submission.CHECKS:
        assert submission.findings(path, kind).faults, kind


def test_missing_sequences_are_named_up_to_ten(tmp_path):
    found = submission.findings(_pack(tmp_path / "results.zip", {f"{ONE}_001.txt": "1,2,3,4\n"}), "got10k")
    missing = [fault for fault in found.faults if "missing" in fault and "time" not in fault]
    assert len(missing) == 11 and missing[-1] == "GOT-10k_Test_000012: and 168 more sequences are missing, too"
    for count, last in ((11, "s11: sequence is missing"), (12, "s11: and 1 more sequence is missing, too")):
        found = server_rules.Findings()
        server_rules.missing_as({f"s{number:02d}" for number in range(1, count + 1)}, found)
        assert (len(found.faults), found.faults[-1]) == (11, last)


@pytest.mark.parametrize(
    ("benchmark", "error", "said"),
    [
        ("vot:P/vot", errors.UsageError, "--kind=mot: the results of vot:P/vot are of kind vot"),
        ("mot17:P/absent", errors.InputError, "absent is not a folder"),
        ("dancetrack:P/empty", errors.UsageError, "--kind=mot"),
        ("mot17:P/empty", errors.InputError, "no videos in"),
        ("mot17:P/short", errors.InputError, "seqinfo.ini has no line seqLength=NUMBER"),
    ],
)
def test_data_sets_that_do_not_fit_or_cannot_be_read(tmp_path, benchmark, error, said):
    submissions.vot(tmp_path / "vot")
    (tmp_path / "empty").mkdir()
    (tmp_path / "short" / "MOT17-01-FRCNN").mkdir(parents=True)
    (tmp_path / "short" / "MOT17-01-FRCNN" / "seqinfo.ini").write_text("[Sequence]\n")
    with pytest.raises(error) as refused:
        submission.findings(tmp_path / "empty", "mot", benchmark.replace("P", str(tmp_path)))
    assert said.replace("P", str(tmp_path)) in str(refused.value)


def test_what_refer_writes_is_accepted(tmp_path):
    rows = mot_files.from_rows([1, 2], [3, 3], [[1, 2, 30, 40]] * 2)
    for phrase, found in (("a-man", rows), ("a-woman", mot_files.empty())):
        phrase_results.write(tmp_path, "0005", phrase, found, rows)
    phrase_results.write_seqmap(tmp_path, [("0005", "a-man"), ("0005", "a-woman")])
    (tmp_path / "results.json").write_text("{}")
    found = submission.findings(tmp_path)
    assert (found.kind, found.faults, found.notes) == ("rmot", [], ["0005/a-woman/predict.txt: is empty: no boxes"])


@pytest.mark.parametrize("kind", ["vot", "rmot"])
def test_damage_anywhere_is_a_fault_or_a_refusal(valid, tmp_path, kind):
    files, benchmark = valid(kind)
    data = _pack(tmp_path / "results.zip", files).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data[: random.integers(1, len(data))] if random.random() < 0.2 else data)
        for place in random.integers(0, len(damaged), random.integers(1, 6)):
            damaged[place] = random.integers(256)
        (tmp_path / "damaged.zip").write_bytes(damaged)
        try:
            found = submission.findings(tmp_path / "damaged.zip", kind, benchmark)
        except errors.InputError as error:
            assert "damaged.zip" in str(error)
        else:
            assert all(isinstance(fault, str) for fault in found.faults)


def test_the_program_ends_with_its_exit_code(valid, tmp_path):
    files, benchmark = valid("dancetrack")
    path = _pack(tmp_path / "results.zip", files)
    done = programs.run("trackers.evaluation.submission", path, f"--benchmark={benchmark}")
    assert (done.returncode, done.stdout) == (0, f"{path}: accepted as dancetrack\n")
    shutil.move(path, tmp_path / "other.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "a") as archive:
        archive.writestr("tracker/seqmap.txt", "name\n")
    done = programs.run("trackers.evaluation.submission", f"--benchmark={benchmark}", tmp_path / "other.zip")
    assert done.returncode == 1 and "tracker/seqmap.txt: surplus file" in done.stdout
