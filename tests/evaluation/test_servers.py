"""Results packed for servers and toolkits: their files, and that the validator accepts them."""

import importlib.util
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import yaml

from data_pipelines import sources
from tests import programs
from tests.data_pipelines import benchmark_layouts as made
from tests.evaluation import submissions
from trackers.errors import InputError
from trackers.evaluation import records, servers, submission

FRAMES = submissions.FRAMES


def _recorded(name, root, out):
    """OUT with recorded boxes of every sequence of a benchmark, its spec and its sequences."""
    _, spec = submissions.MADE[submission.KINDS[name]](root)
    _, sequences = sources.open_sequences(spec)
    store = records.Records(out, name, "grm", run=None)
    for sequence in sequences:
        boxes = sequence.boxes[0] + np.arange(FRAMES)[:, None] * [0.1234, 0, 0, 0]
        store.write(sequence.name, boxes, np.full(FRAMES, 0.1))
    return spec, sequences


def _read(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_got10k_and_trackingnet_are_zipped_where_the_truth_is_withheld(tmp_path):
    expected = {
        "got10k": ("GOT-10k_Test_000001/GOT-10k_Test_000001_001.txt", "10.123,8.000,14.000,12.000"),
        "trackingnet": ("-e_0.txt", "10.12,8.00,14.00,12.00"),
    }
    for name, (file, line) in expected.items():
        spec, sequences = _recorded(name, tmp_path / name, tmp_path)
        path = servers.of_evaluation(spec, name, "grm", sequences, tmp_path)
        assert path == tmp_path / name / "grm.zip"
        files = _read(path)
        assert len(files) == (4 if name == "got10k" else 2)
        assert files[file].splitlines()[1] == line
        assert submission.check(path, None, spec) == 0
        again = path.read_bytes()
        assert servers.of_evaluation(spec, name, "grm", sequences, tmp_path).read_bytes() == again
        # Only what was tracked.
        servers.of_evaluation(spec, name, "grm", sequences[:1], tmp_path)
        assert len(_read(path)) == len(files) // 2
    public = [type(s)(s.name, s.frames, np.repeat(s.boxes, FRAMES, 0), np.ones(FRAMES, bool)) for s in sequences]
    assert servers.of_evaluation(spec, "trackingnet", "grm", public, tmp_path) is None
    assert servers.of_evaluation(spec, "otb", "grm", public, tmp_path) is None


@pytest.mark.parametrize(("option", "corner"), [("", "10.000,8.000"), (",origin=zero", "11.000,9.000")])
def test_lasot_in_its_toolkits_layout_counts_pixels_from_one(tmp_path, option, corner):
    spec, sequences = _recorded("lasot", tmp_path / "lasot", tmp_path)
    path = servers.of_evaluation(f"{spec}{option}", "lasot", "grm", sequences, tmp_path)
    assert path == tmp_path / "lasot" / "tracking_results" / "grm_tracking_result"
    assert sorted(file.name for file in path.iterdir()) == ["monkey-17.txt", "tiger-6.txt"]
    assert (path / "tiger-6.txt").read_text().splitlines()[0] == f"{corner},14.000,12.000"
    assert submission.check(path, None, spec) == 0


def _on_disk(kind, root, folder):
    """A folder of results as a tracker leaves them: the files of an accepted upload without what packing adds."""
    files, spec = submissions.MADE[kind](root)
    for name, text in files.items():
        if name != "manifest.yml":
            place = folder / name.removeprefix("tracker/").removeprefix("grm_tracking_result/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text.replace(",", "\t") if kind == "trackingnet" else text)
    return files, spec


@pytest.mark.parametrize("kind", servers.PACKERS)
def test_results_on_disk_are_packed_by_one_command(tmp_path, kind, monkeypatch, capsys):
    results = tmp_path / "workspace" / "results" / "grm"
    files, spec = _on_disk(kind, tmp_path / "data", results)
    (tmp_path / "workspace" / "config.yaml").write_text("stack: tests/basic\n")
    (results / "notes.md").write_text("not to be packed")
    out = tmp_path / "out" / ("results.zip" if kind != "lasot" else "tracking_results")
    options = {"kind": kind, "results": str(results), "out": str(out), "benchmark": spec}
    monkeypatch.setattr(servers, "FLAGS", type("Flags", (), options))
    assert servers.main(["servers"]) == 0
    assert f"accepted as {kind}" in capsys.readouterr().out
    packed = {file.relative_to(out).as_posix() for file in out.rglob("*.txt")} if kind == "lasot" else set(_read(out))
    assert packed == set(files)
    if kind == "vot":
        manifest = yaml.safe_load(_read(out)["manifest.yml"])
        assert (manifest["identifier"], manifest["stack"]) == ("grm", "tests/basic")
        assert _read(out)["baseline/ants1/ants1_001.txt"] == files["baseline/ants1/ants1_001.txt"]


@pytest.mark.skipif(importlib.util.find_spec("vot") is None, reason="vot-toolkit is not installed")
def test_a_vot_pack_holds_what_the_toolkits_own_does(tmp_path):
    data, workspace = tmp_path / "data", tmp_path / "workspace"
    files, _ = submissions.vot(data)
    for name, text in files.items():
        if "/bag2013_001" in name:
            made.lines(workspace / "results" / "grm" / name, [[text.rstrip()]])
    shutil.copytree(data / "sequences" / "bag2013", workspace / "sequences" / "bag2013" / "color")
    folder = workspace / "sequences" / "bag2013"
    (folder / "color" / "groundtruth.txt").rename(folder / "groundtruth.txt")
    (folder / "sequence").write_text(f"name=bag2013\nfps=30\nchannels.color=color/%08d.jpg\nlength={FRAMES}\n")
    (workspace / "sequences" / "list.txt").write_text("bag2013\n")
    experiment = {"baseline": {"type": "unsupervised", "repetitions": 1}}
    (workspace / "stack.yaml").write_text(yaml.safe_dump({"title": "x", "dataset": None, "experiments": experiment}))
    (workspace / "config.yaml").write_text("stack: ./stack.yaml\nregistry: [./trackers.ini]\n")
    (workspace / "trackers.ini").write_text("[grm]\nprotocol = python\ncommand = nothing:Tracker\n")
    command = [sys.executable, "-m", "vot", "pack", "--workspace", ".", "grm"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=120)
    assert "packaging successful" in done.stdout + done.stderr
    packed = next(workspace.glob("grm_*.zip"))
    theirs, ours = _read(packed), servers.vot(workspace / "results" / "grm")
    assert set(theirs) == set(ours)
    assert all(theirs[name] == ours[name].decode() for name in theirs if name != "manifest.yml")
    said, known = yaml.safe_load(theirs["manifest.yml"]), yaml.safe_load(ours["manifest.yml"])
    assert set(said) == set(known)
    assert (said["identifier"], said["stack"]) == (known["identifier"], known["stack"])
    assert submission.check(packed, None, f"vot:{workspace}") == 0


def test_an_incomplete_pack_ends_with_the_faults(tmp_path):
    results = tmp_path / "tracks" / "data"
    _, spec = _on_disk("mot", tmp_path / "data", results)
    (results / "MOT17-03-FRCNN.txt").unlink()
    arguments = (f"--results={results.parent}", f"--out={tmp_path / 'r.zip'}", f"--benchmark={spec}")
    done = programs.run("trackers.evaluation.servers", "--kind=mot", *arguments)
    assert done.returncode == 1 and "MOT17-03-FRCNN.txt: sequence is missing" in done.stdout
    assert set(_read(tmp_path / "r.zip")) == {"MOT17-01-FRCNN.txt"}


def test_what_cannot_be_packed_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    for pack in servers.PACKERS.values():
        with pytest.raises(InputError, match="results .*absent"):
            pack(tmp_path / "absent")
        with pytest.raises(InputError, match="no results to pack"):
            pack(tmp_path / "empty")
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "a.txt").write_text("1,2,3\n")
    with pytest.raises(InputError, match=r"a\.txt:1"):
        servers.trackingnet(tmp_path / "boxes")
