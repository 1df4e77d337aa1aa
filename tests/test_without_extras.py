"""With the core install alone: what an extra brings is asked for before the work, or left out, which is said first."""

import subprocess
import sys

import jax
import pytest

import plan
import trackers
from configs import grm
from tests import forked, programs
from tests.data_pipelines import layouts
from tests.planning.test_plan import made_up
from trackers import errors, weights

NEEDED = "matplotlib is not installed: pip install 'one-stream-trackers[eval]'"
# A program as it runs where matplotlib is not installed.
PROGRAM = """
import runpy, sys
sys.modules["matplotlib"] = None
sys.argv = sys.argv[1:]
run = runpy.run_path if sys.argv[0].endswith(".py") else runpy.run_module
run(sys.argv[0], run_name="__main__")
"""


def _run_all(*lines):
    """The finished processes of command lines, two at a time."""
    command = [sys.executable, "-c", PROGRAM]
    settings = {"cwd": programs.ROOT, "env": programs.environ(), "text": True}
    settings |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    done = []
    for first in range(0, len(lines), 2):
        running = [subprocess.Popen([*command, *map(str, line)], **settings) for line in lines[first : first + 2]]
        done += [programs.finish(process) for process in running]
    return done


def test_an_evaluation_does_without_plots_and_says_so_first(tmp_path):
    config = grm.get_config("tiny")
    model = trackers.build(config.model)
    weights.save(tmp_path / "weights", jax.jit(lambda key: trackers.init(model, key))(jax.random.key(0)), config.model)
    videos = layouts.frames(tmp_path / "videos")
    given = [f"--checkpoint={tmp_path / 'weights'}", f"--benchmark=frames:{videos}"]
    given = ["eval.py", "--config=configs/grm.py:tiny", *given]
    done = _run_all([*given, f"--out={tmp_path / 'out'}"], [*given, f"--out={tmp_path / 'starts'}", "--starts=1"])
    for each in done:
        assert each.returncode == 0, each.stderr
    assert done[0].stderr.startswith(f"plots (PNG) are left out, as {NEEDED}\n")
    assert {"report.html", "results.json", "table.md"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert "report.html" in done[0].stdout and ".png" not in done[0].stdout
    assert not list((tmp_path / "out").glob("*.png"))
    assert NEEDED not in done[1].stderr, "a table of starts has no plots"


def test_what_is_all_about_a_picture_is_refused_before_anything_is_read(tmp_path):
    layouts.frames(tmp_path / "videos")
    spec, out = f"frames:{tmp_path / 'videos'}", tmp_path / "out"
    track = ["track.py", f"--images={tmp_path / 'videos' / 'first'}", "--box=1,1,20,20", f"--out={out}"]
    done = _run_all(
        [*track, "--attention=1"],
        ["experiments.where_it_loses", f"--benchmark={spec}", f"--out={out}"],
        ["experiments.reliability", f"--out={out}/x.png"],
        ["benchmarks.curves", f"--out={out}/x.png", tmp_path / "run"],
        ["data_pipelines", "phrases", f"--source=refer_dance:{tmp_path}", f"--out={out}/x.png"],
    )
    assert [(each.returncode, each.stderr) for each in done] == [(1, f"error: {NEEDED}\n")] * len(done)
    assert not out.exists()


def test_a_sweep_does_without_its_picture(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = []
    plan.sweep(lambda name, sizes, batch: made_up(batch, 4), "x", ["v5e:2x2"], "", 8, 0, tmp_path, said.append)
    assert said[0] == f"sweep.png is left out, as {NEEDED}" and len(said) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"sweep.json", "sweep.md"}


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert errors.missing("matplotlib") == NEEDED
    monkeypatch.undo()
    assert errors.missing("matplotlib") is None and errors.missing("numpy") is None
    with pytest.raises(ModuleNotFoundError):
        errors.missing("no_such_module_of_any_extra")


def test_videos_need_an_encoder_before_anything_is_tracked(tmp_path):
    """eval.py and refer.py draw when all is tracked."""
    videos, people = layouts.frames(tmp_path / "videos"), layouts.refer_dance(tmp_path / "people")
    referring = ["refer.py", "--config=configs/ikun.py:tiny"]
    lines = [
        ["eval.py", f"--benchmark=frames:{videos}", "--draw"],
        [*referring, f"--benchmark=refer_dance:{people}", "--tracks=truth", "--draw"],
        [*referring, f"--images={videos / 'first'}", f"--tracks={tmp_path / 'tracks.txt'}", "--phrases=a man"],
    ]
    (tmp_path / "tracks.txt").write_text("1,1,5,5,20,20,1,-1,-1,-1\n")
    absent = {"IMAGEIO_FFMPEG_EXE": tmp_path / "absent", "PATH": tmp_path}
    out = f"--out={tmp_path / 'out'}"
    for done in forked.run_all([[*line, out, f"--checkpoint={tmp_path}"] for line in lines], **absent):
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and "no ffmpeg to write video" in done.stderr
