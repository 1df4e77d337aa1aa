"""What the benchmarks share: timing in turns, medians, lists of numbers."""

import pytest

from benchmarks import timing
from trackers.errors import UsageError


def test_calls_take_turns_after_one_each_to_compile():
    order = []
    times = timing.take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, at_once=2)
    assert "".join(order) == "ab" + "aabb" * 2
    assert [len(times[name]) for name in "ab"] == [4, 4]
    assert all(elapsed.wall >= 0 and elapsed.cores >= 0 for elapsed in times["a"])


def test_medians_of_both_clocks():
    times = [timing.Elapsed(*pair) for pair in ((1.0, 9.0), (5.0, 2.0), (2.0, 3.0))]
    assert timing.median(times) == (2.0, 3.0)


def test_counts_name_their_flag():
    assert timing.counts("batch", ["8", "32"]) == [8, 32] and timing.counts("batch", []) == []
    for wrong in (["8", "x"], ["0"], ["-1"], [""]):
        with pytest.raises(UsageError, match="--batch="):
            timing.counts("batch", wrong)
