"""What pip installs: the wheel, the command onestream, and the clash with PyPI's package of the same import name."""

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile

import pytest

import trackers
from tests import programs
from tests.data_pipelines import layouts


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder as pip fills it, without what it downloads."""
    folder = tmp_path_factory.mktemp("installed")
    version = importlib.metadata.version("setuptools")
    if int(version.split(".")[0]) < 77:
        pytest.skip(f"setuptools {version} cannot build the wheel: pip install -r requirements/test.txt")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    # Built from a copy, as setuptools leaves its folders beside what it builds.
    copy = tmp_path_factory.mktemp("copy")
    for name in ("configs", "data_pipelines", "requirements", "trackers", "weights"):
        shutil.copytree(programs.ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in [*programs.ROOT.glob("*.py"), *map(programs.ROOT.joinpath, ("pyproject.toml", "README.md", "LICENSE"))]:
        shutil.copy(file, copy)
    subprocess.run([*command, f"--wheel-dir={copy / 'wheel'}", str(copy)], check=True, capture_output=True)
    (wheel,) = (copy / "wheel").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def _onestream(installed, folder, *words):
    return subprocess.run(
        [sys.executable, "-m", "trackers", *words],
        cwd=folder,
        env=programs.environ(PYTHONPATH=installed),
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_its_packages(installed):
    """Not Python's alone: a page's style, a vocabulary, weights."""
    for package in ("configs", "data_pipelines", "trackers", "weights"):
        ours, theirs = (
            {str(file.relative_to(root)) for file in (root / package).rglob("*") if file.is_file()}
            for root in (programs.ROOT, installed)
        )
        assert {name for name in ours if "__pycache__" not in name} == theirs


@pytest.mark.slow
def test_the_wheel_tracks_with_the_weights_it_holds(installed, tmp_path):
    assert sorted(path.name for path in installed.iterdir() if "dist-info" not in path.name) == sorted(
        ["configs", "data_pipelines", "trackers", "weights"]
        + [f"{name}.py" for name in ("eval", "plan", "refer", "track", "train")]
    )
    layouts.frames(tmp_path / "frames")
    track = ["track", f"--images={tmp_path / 'frames' / 'first'}", "--box=1,1,20,20", "--no-draw"]
    done = _onestream(installed, tmp_path, *track, "--out=out")
    assert done.returncode == 0, done.stderr
    here = programs.run("track.py", *track[1:], f"--out={tmp_path / 'here'}")
    assert here.returncode == 0, here.stderr
    assert (tmp_path / "out" / "boxes.csv").read_text() == (tmp_path / "here" / "boxes.csv").read_text()
    # A config of the house by the name that it has in a checkout.
    done = _onestream(installed, tmp_path, "train", "--config", "configs/absent.py:tiny", "--workdir=run")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "configs/absent.py" in done.stderr
    tiny = ["--config=configs/grm.py:tiny", "--max_steps=1", "--workdir=run"]
    done = _onestream(installed, tmp_path, "train", *tiny)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_a_namesake_in_the_same_folder_is_told(installed, tmp_path):
    copied = tmp_path / "site"
    shutil.copytree(installed, copied, ignore=shutil.ignore_patterns("weights"))
    (copied / "trackers-2.6.1.dist-info").mkdir()
    done = _onestream(copied, tmp_path, "--version")
    assert done.returncode == 0 and done.stderr.count("\n") == 1 and "environments of their own" in done.stderr
    (copied / "trackers" / "__init__.py").write_text("")  # what its installation leaves of ours
    done = _onestream(copied, tmp_path, "track")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "was installed over" in done.stderr


def test_onestream_names_its_programs(tmp_path):
    done = _onestream(programs.ROOT, tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"one-stream-trackers {trackers.__version__}\n")
    done = _onestream(programs.ROOT, tmp_path, "follow")
    assert done.returncode == 2 and done.stderr.startswith("error: onestream follow: choose among track, train")
    done = _onestream(programs.ROOT, tmp_path, "track", "--video=absent.mp4", "--box=1,1,2,2", "--out=out")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "absent.mp4" in done.stderr


@pytest.mark.parametrize("module, extra", [("matplotlib.figure", "eval"), ("tensorflow", "data")])
def test_a_part_that_is_not_installed_is_named(tmp_path, module, extra):
    code = f"import sys; from trackers import errors; sys.modules[{module.partition('.')[0]!r}] = None\n"
    code += f"errors.run(lambda _: __import__({module!r}), ['x'])"
    done = subprocess.run([sys.executable, "-c", code], env=programs.environ(), capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"pip install 'one-stream-trackers[{extra}]'" in done.stderr
