"""experiments.own_footage as users call it; the training itself takes minutes and has its pieces' tests elsewhere."""

import functools

import pytest

from data_pipelines.procedural import video
from tests import programs

_run = functools.partial(programs.run, "experiments.own_footage")


@pytest.mark.parametrize("case", ["held out", "nowhere", "of another footage", "no benchmark"])
def test_wrong_usage(tmp_path, case):
    video.write_sequences(tmp_path / "videos", 2, 3, seed=7)
    first, second = sorted(path.name for path in (tmp_path / "videos").iterdir())
    folder, run = tmp_path / "videos", tmp_path / "run"
    arguments = [f"--benchmark=frames:{folder}", f"--sequences={first}", f"--workdir={run}"]
    if case == "held out":
        done = _run(f"--footage={folder / second},{folder}", *arguments)
        assert done.returncode == 2 and f"{folder} holds {first}, which is held out" in done.stderr
    elif case == "nowhere":
        done = _run("--footage=/no/such", *arguments)
        assert done.returncode == 1 and "--footage: /no/such is not a folder" in done.stderr
    elif case == "of another footage":
        (run / "footage").mkdir(parents=True)
        (run / "footage" / "0-other").symlink_to(tmp_path)
        done = _run(f"--footage={folder / second}", *arguments)
        assert done.returncode == 2 and f"--workdir={run} is of other footage" in done.stderr
    else:
        done = _run("--footage=.", f"--workdir={run}")
        assert done.returncode == 2 and "--benchmark" in done.stderr
    assert "Traceback" not in done.stderr
