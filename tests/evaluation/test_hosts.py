"""Evaluations on several hosts: shares of the sequences, and two processes that make one result, over gloo."""

import concurrent.futures
import json
import threading

import cv2
import jax
import numpy as np
import pytest

import trackers
from configs import grm
from data_pipelines import sources
from tests import programs
from tests.training.test_processes_run import free_port, slurm
from trackers import weights
from trackers.errors import InputError
from trackers.evaluation import benchmark, hosts
from trackers.io import image_files
from trackers.tracking import single_object

FRAMES = {"long": 9, "middle": 6, "short": 4, "tiny": 3}


def test_shares_are_even_and_whole():
    assert hosts.shares([9, 4, 6, 3], 2) == [[0, 3], [2, 1]]
    assert hosts.shares([5], 3) == [[0], [], []] and hosts.shares([], 2) == [[], []]
    lengths = np.random.default_rng(0).integers(50, 2000, 200).tolist()
    given = hosts.shares(lengths, 7)
    assert sorted(number for share in given for number in share) == list(range(200))
    frames = [sum(lengths[number] for number in share) for share in given]
    assert max(frames) - min(frames) < 100  # of 31,000 each


@pytest.mark.parametrize(("ending", "said"), [(SystemExit(143), "terminated"), (KeyboardInterrupt(), "interrupted")])
def test_the_others_hear_in_words_why_one_has_ended(tmp_path, monkeypatch, ending, said):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(hosts, "_agree_on_run", lambda number: 7)
    with pytest.raises(type(ending)), hosts.hold(tmp_path):
        raise ending
    with pytest.raises(InputError, match=f"process 1 failed: {said}$"):
        hosts.Hosts(tmp_path, 7).wait_for(1)


@pytest.fixture
def meeting(monkeypatch):
    """Threads that stand for two processes: each says which it is, `meeting.index = 0`."""
    here, given, barrier = threading.local(), [None, None], threading.Barrier(2, timeout=5)

    def gathered(value):
        given[here.index] = value
        barrier.wait()
        found = np.array(given)
        barrier.wait()
        return found

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: here.index)
    monkeypatch.setattr(hosts.multihost_utils, "process_allgather", gathered)
    monkeypatch.setattr(hosts.multihost_utils, "broadcast_one_to_all", gathered)
    monkeypatch.setattr(hosts, "_LOOK_EVERY_SECONDS", 0.01)
    return here


@pytest.mark.parametrize("broken", [0, 1])
def test_one_that_cannot_begin_to_track_does_not_keep_the_others_waiting(tmp_path, meeting, broken):
    """As with weights that are not there on one of two hosts."""

    def ended(index):
        meeting.index = index
        with pytest.raises(InputError) as failure, hosts.hold(tmp_path) as crew:
            if index == broken:
                raise InputError("no weights")
            crew.agree(np.ones(3))
        return str(failure.value)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        said = list(pool.map(ended, range(2)))
    assert said[broken] == "no weights" and said[1 - broken] == f"process {broken} failed: no weights"


@pytest.mark.parametrize("broken", [{0}, {1}, {0, 1}])
def test_one_that_cannot_open_the_benchmark_does_not_keep_the_others_waiting(tmp_path, meeting, broken):
    """As with data that is not there on one of two hosts."""

    def ended(index):
        meeting.index = index
        with pytest.raises(InputError) as failure:
            with hosts.opening():
                if index in broken:
                    raise InputError(f"no data {index}")
            with hosts.hold(tmp_path):
                raise AssertionError("it began")
        return str(failure.value)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        said = list(pool.map(ended, range(2)))
    told = f"process {min(broken)} cannot begin: see its message"
    assert said == [f"no data {index}" if index in broken else told for index in range(2)]


@pytest.fixture
def videos(tmp_path):
    noise = np.random.default_rng(0)
    for name, count in FRAMES.items():
        folder = tmp_path / "videos" / name
        folder.mkdir(parents=True)
        for number in range(count):
            frame = noise.integers(0, 256, (80, 100, 3), np.uint8)
            assert cv2.imwrite(str(folder / f"{number + 1:08d}.jpg"), frame)
        (folder / "groundtruth.txt").write_text("30,20,24,24\n" * count)
    return tmp_path / "videos"


def _start(count, *arguments):
    """The finished processes of one evaluation."""
    port = free_port()
    running = [
        programs.start("eval.py", "--config=configs/grm.py:tiny", *arguments, **slurm(count, index, port))
        for index in range(count)
    ]
    try:
        return [programs.finish(process) for process in running]
    finally:
        for process in running:
            process.kill()


@pytest.mark.slow
def test_two_processes_track_a_share_each_and_one_scores_all(videos, tmp_path):
    config = grm.get_config("tiny")
    model = trackers.build(config.model)
    variables = jax.jit(lambda key: trackers.init(model, key))(jax.random.key(0))
    weights.save(tmp_path / "checkpoint", variables, config.model)
    given = [f"--benchmark=frames:{videos}", f"--checkpoint={tmp_path / 'checkpoint'}", "--baselines=static"]

    # A frame that cannot be read fails both, after what could be tracked was tracked.
    frame = videos / "long" / "00000005.jpg"
    whole = frame.read_bytes()
    frame.write_bytes(whole[:-300])
    both = _start(2, *given, f"--out={tmp_path / 'two'}", "--batch=2")
    for process in both:
        lines = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
        assert process.returncode == 1 and len(lines) == 1 and str(frame) in lines[0], process.stderr
        assert "Traceback" not in process.stderr
    kept = tmp_path / "two" / "frames" / "grm"
    assert {name: (kept / f"{name}.txt").exists() for name in FRAMES} == {name: name != "long" for name in FRAMES}
    assert not (tmp_path / "two" / "results.json").exists()

    # Started again, they go on; one of them writes the scores.
    frame.write_bytes(whole)
    (kept / "short.txt").unlink()
    before = (kept / "middle.txt").stat().st_mtime_ns
    both = _start(2, *given, f"--out={tmp_path / 'two'}", "--batch=2")
    assert [process.returncode for process in both] == [0, 0], both[0].stderr + both[1].stderr
    assert (kept / "middle.txt").stat().st_mtime_ns == before
    assert "are finished in" in both[0].stdout and "wrote" in both[0].stdout and "wrote" not in both[1].stdout
    for index, process in enumerate(both):
        assert f"process {index} of 2" in process.stderr and "frame/s" in process.stderr

    # As one process, one by one.
    tracker = single_object.Tracker(model, config.tracking)
    alone = benchmark.Runner(tracker, variables, image_files.read_image)
    scored = json.loads((tmp_path / "two" / "results.json").read_text())["trackers"]["grm"]["scores"]["got10k"]
    assert set(scored["sequences"]) == set(FRAMES)
    for sequence, track in alone.tracks(sources.open_sequences(f"frames:{videos}")[1]):
        together = np.loadtxt(kept / f"{sequence.name}.txt", delimiter=",")
        np.testing.assert_allclose(together, track.boxes, atol=2e-3)  # three decimals are written
