"""benchmarks/wrong_scale.py as users call it."""

import functools

import pytest

from data_pipelines.sources import synthetic
from tests.benchmarks import programs

_run = functools.partial(programs.run, "wrong_scale.py")


def test_the_weights_that_come_along_see_the_size_whatever_the_last_box(tmp_path):
    synthetic.write_sequences(tmp_path, 2, 5, seed=7)
    done = _run(f"--sequences={tmp_path}", "--scales=0.5,1,2", "--frames=3")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "(" in line]
    assert len(rows) == 2
    for row in rows:
        cells = [cell.split() for cell in row.strip("| ").split("|")[1:]]
        assert len(cells) == 3 and all(0.8 < float(ratio) < 1.25 for ratio, _ in cells)
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
