"""The smaller benchmarks as users call them; train_step and torch_step: tests/planning/test_benchmarks.py."""

import importlib.util

import pytest

from tests import forked


def test_masked_and_separate_attention_are_timed():
    sizes = ["--width=16", "--heads=2", "--template=4", "--search=8", "--batch=2", "--repeats=1"]
    done = forked.run("benchmarks.masking", *sizes)
    assert done.returncode == 0, done.stderr
    assert "batch 2, 12 tokens, 2 heads, width 16" in done.stdout and done.stdout.count("\n| ") == 5


def test_multiply_adds_of_several_configs():
    done = forked.run("benchmarks.multiply_adds", "configs/grm.py:tiny", "configs/mixformer_v2.py:tiny")
    assert done.returncode == 0, done.stderr
    names = [line.split()[1] for line in done.stdout.splitlines()[2:]]
    assert names == ["grm.py:tiny", "mixformer_v2.py:tiny"]


@pytest.mark.slow
def test_tracking_is_timed_one_by_one_and_batched():
    sizes = [
        "--configs=configs/grm.py:tiny",
        "--batch=1,2",
        "--frames=3",
        "--size=160x120",
        "--set=model.dtype=float32",
        "--frames_per_dispatch=2",
    ]
    done = forked.run("benchmarks.tracking", *sizes)
    assert done.returncode == 0, done.stderr
    assert "JPEGs of 160x120 pixels" in done.stdout and "model.dtype=float32" in done.stdout
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| grm.py:tiny")]
    assert [row[1].strip() for row in rows] == ["1", "2"]
    assert all(float(cell) > 0 for row in rows for cell in row[2:10])
    assert all(float(cell) >= 0 for row in rows for cell in row[10:13])  # the shares


def test_loaders_are_timed_by_what_they_read():
    sizes = ["--pairs=2", "--rounds=1", "--batch=2", "--videos=1", "--frames=20", "--size=160x120", "--cores=1"]
    done = forked.run("benchmarks.data", "--config=configs/grm.py:tiny", *sizes)
    assert done.returncode == 0, done.stderr
    assert "1 videos of 20 frames, 160x120, 1 cores" in done.stdout
    lines = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| ")]
    rows = {cells[1].strip(): cells for cells in lines}
    assert {"files, whole", "files, part", "files, shrunk", "ArrayRecord, part", "packed shards"} <= set(rows)
    assert all(float(cells[4]) > 0 for name, cells in rows.items() if name.startswith(("files", "packed")))
    assert float(rows["files, part, on the device"][6]) > 0
    has_torch = importlib.util.find_spec("torch") is not None
    assert ("PyTorch, files" in rows) == has_torch != ("PyTorch is not installed" in done.stdout)


@pytest.mark.slow
def test_shapes_of_networks_are_timed():
    done = forked.run("benchmarks.network_shapes", "--shapes=fast192,patch16_192px", "--frames=1")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[4:]]
    assert [row[:3] for row in rows] == [["fast192", "12x12", "192"], ["patch16_192px", "12x12", "192"]]
    assert all(float(cell) > 0 for row in rows for cell in row[3:])


@pytest.mark.parametrize("config", [[], ["--config=configs/ikun.py:tiny"]])
def test_words_once_and_pair_by_pair_are_the_same(config):
    done = forked.run("benchmarks.referring_rate", *config, "--tracks=2", "--phrases=2", "--frames=3")
    assert done.returncode == 0, done.stderr
    assert "2 tracks x 2 phrases, 3 frames" in done.stdout
    assert float(done.stdout.split()[-1]) < 1e-5


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["benchmarks.multiply_adds"], "name the configs"),
        (["benchmarks.multiply_adds", "--papers", "configs/grm.py:tiny"], "or give --papers"),
        (["benchmarks.multiply_adds", "configs/absent.py:tiny"], "configs/absent.py"),
        (["benchmarks.multiply_adds", "configs/grm.py:huge"], "huge"),
        (["benchmarks.multiply_adds", "configs/variants.py"], "configs/variants.py"),
        (["benchmarks.train_step", "configs/grm.py:tiny", "--batch=8,x"], "--batch=8,x"),
        (["benchmarks.train_step", "configs/grm.py:tiny", "--batch", "8", "32"], "--batch=8,32"),
        (["benchmarks.mixformer_cpu", "--variant=huge"], "huge"),
        (["benchmarks.network_shapes", "--shapes=round"], "'round'"),
        (["benchmarks.referring_rate", "--config=configs/grm.py:tiny"], "--config"),
        (["benchmarks.procedural_rate", "--batch_sizes=0"], "--batch_sizes=0"),
        (["benchmarks.masking", "16"], "16"),
        (["benchmarks.tracking", "--configs=configs/ikun.py:tiny"], "configs/ikun.py:tiny"),
        (["benchmarks.tracking", "--size=720"], "--size=720"),
        (["benchmarks.data", "--size=720"], "--size=720"),
        (["benchmarks.data", "--config=configs/ikun.py:tiny"], "--config"),
    ],
)
def test_wrong_usage_is_one_line(command, named):
    done = forked.run(*command)
    assert done.returncode == 2 and named in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
