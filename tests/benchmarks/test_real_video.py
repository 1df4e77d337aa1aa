"""benchmarks/real_video.py as users call it."""

import functools
import json

import jax
import numpy as np
import pytest

import trackers
from configs import grm
from tests import programs
from tests.training import support
from trackers.training import checkpoints, state

cv2 = pytest.importorskip("cv2")
FRAMES = 4
_run = functools.partial(programs.run, "benchmarks.real_video", "--config=configs/grm.py:tiny")


@pytest.fixture
def videos(tmp_path):
    """Folder of two sequences: one target moves by 4 pixels a frame, one stays."""
    rng = np.random.default_rng(0)
    patch = rng.integers(0, 256, (24, 32, 3), np.uint8)
    for name, step in (("moves", 4), ("stays", 0)):
        folder = tmp_path / "videos" / name
        folder.mkdir(parents=True)
        lines = []
        for t in range(FRAMES):
            frame = rng.integers(90, 110, (120, 160, 3), np.uint8)
            frame[30:54, 40 + step * t : 72 + step * t] = patch
            cv2.imwrite(str(folder / f"{t + 1:08d}.jpg"), frame)
            lines.append(f"{40 + step * t},30,32,24\n")
        (folder / "groundtruth.txt").write_text("".join(lines))
    return tmp_path / "videos"


def _row(text, name):
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} "))
    return [float(cell) for cell in line.strip("| ").split("|")[1:]]


def test_table_and_curve_of_a_run(videos, tmp_path):
    config = grm.get_config("tiny")
    _, _, optimizer = support.parts(config)
    run = tmp_path / "run"
    with checkpoints.Checkpoints(run, config) as saved:
        for step in (3, 7):
            variables = jax.jit(lambda key: trackers.init(trackers.build(config.model), key))(jax.random.key(step))
            saved.save(state.create(variables, optimizer), step)
    done = _run(f"--sequences={videos}", f"--checkpoint={run}", "--baselines=static")
    assert done.returncode == 0, done.stderr
    # A box that stays overlaps one that moved by d pixels by (32 - d) / (32 + d); means of the sequences.
    moved = np.mean([(32 - 4 * t) / (32 + 4 * t) for t in range(1, FRAMES)])
    assert _row(done.stdout, "static")[0] == pytest.approx(50 + 50 * moved, abs=0.06)
    assert _row(done.stdout, "static")[3] == 100.0
    assert len(_row(done.stdout, "grm")) == 5 and _row(done.stdout, "stays")[1] == 100.0

    # Backwards the target moves as far; from the middle it moves less far.
    several = _run(f"--sequences={videos}", f"--checkpoint={run}", "--baselines=static", "--starts=2", "--length=10")
    assert _row(several.stdout, "static")[0] == _row(done.stdout, "static")[0]
    middle = _run(f"--sequences={videos}", f"--checkpoint={run}", "--baselines=static", "--starts=3", "--length=10")
    assert _row(done.stdout, "static")[0] < _row(middle.stdout, "static")[0] < 100.0

    curve = _run(f"--sequences={videos}", f"--workdir={run}", f"--out={tmp_path / 'out'}")
    assert curve.returncode == 0, curve.stderr
    points = json.loads((tmp_path / "out" / "curve.json").read_text())
    assert [point["step"] for point in points] == [3, 7]
    # The newest checkpoint is the one that the table took.
    assert 100 * points[-1]["AO"] == pytest.approx(_row(done.stdout, "grm")[0], abs=0.06)
    assert (tmp_path / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments, code, named",
    [
        (["--sequences=/no/such", "--checkpoint=x"], 1, "/no/such"),
        (["--sequences=.", "--workdir=x"], 2, "--out"),
        (["--checkpoint=x"], 2, "sequences"),
    ],
)
def test_wrong_usage(arguments, code, named):
    done = _run(*arguments)
    assert done.returncode == code and named in done.stderr
    assert "Traceback" not in done.stderr
