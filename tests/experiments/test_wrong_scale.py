"""experiments.wrong_scale as users call it."""

import functools

import pytest

from data_pipelines.procedural import video
from tests import forked

_run = functools.partial(forked.run, "experiments.wrong_scale")


@pytest.mark.slow
def test_a_larger_last_box_makes_the_size_seen_larger(tmp_path):
    video.write_sequences(tmp_path, 2, 5, seed=7)
    done = _run(f"--sequences={tmp_path}", "--scales=0.2,1,4", "--frames=3")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "(" in line]
    assert len(rows) == 2
    for row in rows:
        cells = [cell.split() for cell in row.strip("| ").split("|")[1:]]
        small, right, large = (float(ratio) for ratio, _ in cells)
        # Beyond what training shows; between half and twice the shipped weights see the size itself.
        assert small < right < large and 0.8 < right < 1.25
        # Shares of three frames.
        assert all(round(3 * float(share.strip("()"))) > 0 for _, share in cells)


@pytest.mark.parametrize(
    "arguments, code, named",
    [
        (["--sequences=/no/such"], 1, "/no/such"),
        (["--sequences=.", "--scales=1,0"], 2, "--scales 0"),
        ([], 2, "sequences"),
    ],
)
def test_wrong_usage(arguments, code, named):
    done = _run(*arguments)
    assert done.returncode == code and named in done.stderr
    assert "Traceback" not in done.stderr
