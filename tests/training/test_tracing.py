import jax
import jax.numpy as jnp
import pytest

from trackers.errors import UsageError
from trackers.training import tracing


def test_steps():
    assert tracing.steps("") is None
    assert tracing.steps("10:14") == (10, 14)


@pytest.mark.parametrize("text", ["10", "10:", ":4", "0:3", "5:4", "a:b", "1:2:3"])
def test_wrong_steps_are_named(text):
    with pytest.raises(UsageError, match="FIRST:LAST"):
        tracing.steps(text)


def test_traces_the_steps_asked_for(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append(folder))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    with tracing.Trace("2:3", tmp_path) as trace:
        for step in range(1, 5):
            trace.before(range(step, step + 1))
            calls.append(step)
            trace.after(range(step, step + 1), jnp.zeros(()))
    assert calls == [1, str(tmp_path), 2, 3, "stop", 4]


def test_steps_dispatched_together_are_traced_together(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    with tracing.Trace("5:9", tmp_path) as trace:
        for steps in (range(1, 4), range(4, 7), range(7, 10), range(10, 13)):
            trace.before(steps)
            calls.append(steps[0])
            trace.after(steps, jnp.zeros(()))
    assert calls == [1, "start", 4, 7, "stop", 10]


def test_a_run_that_ends_early_still_writes(tmp_path):
    with pytest.raises(RuntimeError), tracing.Trace("1:9", tmp_path) as trace:
        trace.before(range(1, 2))
        jax.block_until_ready(jnp.ones(8) + 1)
        raise RuntimeError
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))
