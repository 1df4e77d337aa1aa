"""eval.py --starts and --workdir as users call them."""

import functools
import json

import jax
import numpy as np
import pytest

import trackers
from configs import grm
from data_pipelines import sources
from tests import forked
from tests.training import support
from trackers import errors, weights
from trackers.evaluation import benchmark, starts
from trackers.training import checkpoints, state

cv2 = pytest.importorskip("cv2")
FRAMES = 4
_run = functools.partial(forked.run, "eval.py", "--config=configs/grm.py:tiny")


class Recorder:
    """In place of a benchmark.Runner: returns the true boxes and remembers the frames."""

    def __init__(self):
        self.frames = []

    def track(self, sequence, tick):
        self.frames.append(list(sequence.frames))
        tick()
        seconds = np.ones(len(sequence))
        return benchmark.Track(sequence.boxes, seconds, seconds, 1.0, (160, 120))


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
    table = functools.partial(_run, f"--benchmark=frames:{videos}", f"--checkpoint={run}", "--baselines=static")
    done = table("--starts=1", f"--out={tmp_path / 'once'}")
    assert done.returncode == 0, done.stderr
    # A box that stays overlaps one that moved by d pixels by (32 - d) / (32 + d); means of the sequences.
    moved = np.mean([(32 - 4 * t) / (32 + 4 * t) for t in range(1, FRAMES)])
    assert _row(done.stdout, "static")[0] == pytest.approx(50 + 50 * moved, abs=0.06)
    assert _row(done.stdout, "static")[3] == 100.0
    assert len(_row(done.stdout, "grm")) == 5 and _row(done.stdout, "stays")[1] == 100.0
    assert (tmp_path / "once" / "starts.md").read_text() == done.stdout

    # Backwards the target moves as far; from the middle it moves less far.
    several = table("--starts=2", "--length=10", f"--out={tmp_path / 'two'}")
    assert _row(several.stdout, "static")[0] == _row(done.stdout, "static")[0]
    middle = table("--starts=3", "--length=10", f"--out={tmp_path / 'three'}")
    assert _row(done.stdout, "static")[0] < _row(middle.stdout, "static")[0] < 100.0

    curve = _run(f"--benchmark=frames:{videos}", f"--workdir={run}", f"--out={tmp_path / 'out'}")
    assert curve.returncode == 0, curve.stderr
    points = json.loads((tmp_path / "out" / "curve.json").read_text())
    assert [point["step"] for point in points] == [3, 7]
    # The newest checkpoint is the one that the table took.
    assert 100 * points[-1]["AO"] == pytest.approx(_row(done.stdout, "grm")[0], abs=0.06)
    assert (tmp_path / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "curve.md").read_text() == curve.stdout


def test_the_untrained_network_is_a_baseline(videos, tmp_path):
    config = grm.get_config("tiny")
    model = trackers.build(config.model)
    random = jax.jit(lambda key: trackers.init(model, key))(jax.random.key(config.seed))
    weights.save(tmp_path / "weights", random, config.model)
    given = [f"--benchmark=frames:{videos}", f"--checkpoint={tmp_path / 'weights'}", f"--out={tmp_path / 'out'}"]
    done = _run(*given, "--starts=1", "--baselines=untrained")
    assert done.returncode == 0, done.stderr
    assert _row(done.stdout, "untrained")[:4] == _row(done.stdout, "grm")[:4]


def test_starts_need_true_boxes():
    boxes, visible = np.array([[40.0, 30, 32, 24]]), np.array([True])
    sequence = sources.Sequence("held", ["1.jpg", "2.jpg"], boxes, visible)
    with pytest.raises(errors.InputError, match="sequence held: --starts needs"):
        starts.judge(None, [sequence], "static", starts.Starts(2))


def test_pieces_go_both_ways_and_are_short():
    boxes = np.arange(80.0).reshape(20, 4)
    sequence = sources.Sequence("long", list(range(20)), boxes, np.ones(20, bool))
    recorder = Recorder()
    numbers, _ = starts.judge(recorder, [sequence], "recorder", starts.Starts(3, 10))
    assert recorder.frames == [
        list(range(10)),
        list(range(9, 19)),
        list(range(9, -1, -1)),
        list(range(19, 9, -1)),
    ]
    np.testing.assert_allclose(numbers, [[1.0, 1.0, numbers[0, 2], 1.0]])


@pytest.mark.parametrize(
    "arguments, code, named",
    [
        (["--benchmark=frames:/no/such", "--checkpoint=x", "--starts=1"], 1, "/no/such"),
        (["--benchmark=frames:VIDEOS", "--workdir=/no/such"], 1, "--workdir /no/such"),
        (["--benchmark=frames:VIDEOS", "--starts=1", "--baselines=moving"], 2, "moving"),
        (["--benchmark=frames:VIDEOS", "--starts=-1"], 2, "starts"),
        (["--benchmark=frames:VIDEOS", "--starts=2", "--draw"], 2, "--draw"),
    ],
)
def test_wrong_usage(videos, tmp_path, arguments, code, named):
    done = _run(*(text.replace("VIDEOS", str(videos)) for text in arguments), f"--out={tmp_path / 'out'}")
    assert done.returncode == code and named in done.stderr
    assert "Traceback" not in done.stderr


def test_repetitions_have_mean_and_spread(videos, tmp_path):
    """Random weights are drawn anew for each repetition; those of the tracker are what they are."""
    out, checkpoint = tmp_path / "out", tmp_path / "weights"
    config = grm.get_config("tiny")
    model = trackers.build(config.model)
    weights.save(checkpoint, jax.jit(lambda key: trackers.init(model, key))(jax.random.key(7)), config.model)
    given = (f"--checkpoint={checkpoint}", f"--benchmark=frames:{videos}", f"--out={out}", "--baselines=untrained")
    result = _run(*given, "--repeat=2")
    assert result.returncode == 0, result.stderr
    assert "grm: the same boxes in all 2 repetitions" in result.stdout
    assert "untrained: boxes of 2 of 2 sequences differ" in result.stdout and " ± " in result.stdout
    assert (out / "frames" / "grm_002" / "moves.txt").exists() and (out / "repetitions.md").read_text() in result.stdout
    assert list(json.loads((out / "results.json").read_text())["trackers"]) == ["grm", "untrained"]
    again = _run(*given)
    assert "4 of 4 are finished" in again.stdout, again.stdout  # the first repetition is the run without --repeat
    wrong = _run(*given, "--repeat=2", "--starts=2")
    assert wrong.returncode == 2 and "--repeat repeats whole sequences" in wrong.stderr
