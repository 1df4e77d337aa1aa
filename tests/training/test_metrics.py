import contextlib
import hashlib
import json
import os
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trackers.errors import InputError
from trackers.training import metrics, sharding


def _lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_metrics_arrive_one_dispatch_late():
    late = metrics.Late()
    assert late.push(range(1, 2), {"loss": jnp.float32(1.5), "bad_leaf": jnp.int32(-1)}) == []
    assert late.push(range(2, 4), {"loss": jnp.array([2.5, 3.5, 0.0])}) == [(1, {"loss": 1.5, "bad_leaf": -1})]
    assert late.flush() == [(2, {"loss": 2.5}), (3, {"loss": 3.5})]
    assert late.flush() == []


def test_means_start_anew_after_each_take():
    mean = metrics.Mean()
    mean.add({"loss": 1.0})
    mean.add({"loss": 2.0})
    assert mean.take() == {"loss": 1.5}
    mean.add({"loss": 4.0})
    assert mean.take() == {"loss": 4.0}
    assert mean.take() == {}


def test_resumed_writer_drops_the_steps_taken_again(tmp_path):
    with metrics.Writer(tmp_path) as writer:
        for step in range(1, 6):
            writer.write(step, {"loss": step / 2})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')  # torn by a kill
    with metrics.Writer(tmp_path, step=3) as writer:
        writer.write(4, {"loss": 9.0, "batch_hash": "ab"})
    assert [line["step"] for line in _lines(tmp_path)] == [1, 2, 3, 4]
    assert _lines(tmp_path)[-1] == {"step": 4, "loss": 9.0, "batch_hash": "ab"}
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_other_processes_write_nothing(tmp_path):
    with metrics.Writer(tmp_path, enabled=False) as writer:
        writer.write(1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_progress_without_a_terminal(monkeypatch, capsys):
    now = iter([10.0, 12.0, 13.0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(now))
    with metrics.Progress(total=8000, done=800) as progress:
        assert progress.rate() == 0.0
        progress.advance(100)  # the step that compiled: the clock starts after it
        progress.advance(100)
        rate = progress.rate()
        assert rate == 50.0
        progress.report(10, {"loss": 1.25, "iou": 0.5, "l1": 0.1}, rate)
        progress.say("a line")
        progress.advance(100)
        assert progress.rate() == 100.0
    out = capsys.readouterr().out.splitlines()
    assert out == ["step 10 (12%)  loss 1.2500  iou 0.5000  50 pairs/s  0:02:20 left", "a line"]


def test_progress_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(metrics.sys.stderr, "isatty", lambda: True, raising=False)
    with metrics.Progress(total=800) as progress:
        progress.advance(400)
        progress.report(4, {"loss": 1.25}, 50.0)
        progress.say("a line")
    shown = capsys.readouterr()
    assert "a line" in shown.out + shown.err
    assert "loss=1.250" in shown.err and "50%" in shown.err


def test_throughput():
    assert metrics.throughput(0.0, 4) == {}
    assert metrics.throughput(100.0, 4) == {"pairs_per_second": 100.0, "pairs_per_second_per_chip": 25.0}
    known = metrics.throughput(100.0, 4, pair_flops=2e12, peak=200e12)
    assert known["model_tflops_per_chip"] == pytest.approx(50.0) and known["mfu"] == pytest.approx(0.25)


def test_what_the_loop_waits_for(monkeypatch, capsys):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(metrics, "time", types.SimpleNamespace(monotonic=lambda: clock.now))

    def lasting(seconds):
        def call(steps):
            clock.now += seconds
            return steps

        return call

    waits = metrics.Waits(3)
    assert waits.take(8, 4.0) == {}
    assert waits.data(lasting(50), range(1, 2)) == range(1, 2)  # the stream begins
    waits.device(lasting(0.6), None)
    for step in range(2, 6):
        waits.data(lasting(0.01), range(step, step + 1))
        waits.device(lasting(0.25), None)
    assert waits.take(8, 32.0) == {"data_wait_ms": pytest.approx(10), "device_wait_ms": pytest.approx(400)}
    assert not capsys.readouterr().err
    # Two dispatches of two steps; half of the time goes to waiting, which is said once.
    for _ in range(2):
        waits.data(lasting(1), range(6, 8))
        assert waits.take(8, 8.0)["data_wait_ms"] == pytest.approx(500)
    assert capsys.readouterr().err.splitlines() == [
        f"50% of the time the steps wait for data: raise --config.data.threads (now 3; {os.cpu_count()} cores), or see"
        " Waiting for data in docs/training.md"
    ]


def test_memory():
    stats = {"bytes_in_use": 2**30, "peak_bytes_in_use": 3 * 2**30, "bytes_limit": 2**34}
    chip = types.SimpleNamespace(platform="tpu", memory_stats=lambda: stats)
    assert metrics.memory(chip) == {"memory_gib": 1.0, "memory_peak_gib": 3.0}
    silent = types.SimpleNamespace(platform="tpu", memory_stats=lambda: None)
    for device in (silent, jax.devices()[0]):
        assert 0.05 < metrics.memory(device)["host_memory_peak_gib"] < 1000


def test_hash_of_a_batch_is_that_of_its_rows():
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    batch = {"b": np.arange(6, dtype=np.int32).reshape(3, 2), "a": np.ones((3, 1), np.uint8)}
    rows = [hashlib.sha1(batch["a"][i].tobytes() + batch["b"][i].tobytes()).digest() for i in range(3)]
    take = metrics.BatchHash(mesh)
    assert take(batch) == hashlib.sha1(b"".join(rows)).hexdigest()
    assert take({**batch, "b": batch["b"][::-1]}) != take(batch)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with metrics.Writer(tmp_path) as writer:
        monkeypatch.setattr(type(writer._path), "open", full)
        with pytest.raises(InputError, match="metrics.jsonl cannot be written .No space left on device"):
            writer.write(1, {"loss": 1.0})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_that_ended_the_board_is_named_and_ends(tmp_path):
    """The board's thread dies of it; its queue then blocked for ever."""
    pytest.importorskip("tensorboardX")

    def full(_):
        raise OSError(28, "No space left on device")

    with metrics.Writer(tmp_path) as writer:
        board = writer._board.file_writer.event_writer
        board._ev_writer.write_event = full
        with contextlib.suppress(InputError):  # the board's own first event may have ended its thread already
            writer.write(1, {"loss": 0.5})
        board._worker.join(10)
        with pytest.raises(InputError, match="metrics.jsonl cannot be written"):
            for step in range(2, 1000):
                writer.write(step, {"loss": 0.5})
