"""Compiled programs are kept where they should be, and nothing ever depends on it."""

import os
import sys

import pytest

from tests import programs

# Compiles one program that jax has to be asked to keep, and says its result and what jax read.
PROGRAM = """
import sys
import jax
from jax import monitoring
from trackers.io import compiled
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
hits = []
monitoring.register_event_listener(lambda name, **_: hits.append(name) if name.endswith("/cache_hits") else None)
what, *arguments = sys.argv[1:]
getattr(compiled, what)(*arguments)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
print(float(jax.jit(lambda x: x * 3)(2.0)), len(hits) > 0)
"""


def start(*arguments, **environ):
    """Output lines of a process that compiles after `arguments`, a function of the module and what it takes."""
    without = {"JAX_COMPILATION_CACHE_DIR": None, "ONESTREAM_CACHE": None}
    done = programs.subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env=programs.environ(**{**without, **environ}), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.splitlines()


def entries(folder):
    return sorted(folder.rglob("*-cache"))


def test_a_run_finds_its_programs_again_and_compiles_what_is_damaged(tmp_path):
    assert start("keep_of_run", "workdir", tmp_path) == ["6.0 False"]
    assert entries(tmp_path / "compiled")
    assert start("keep_of_run", "workdir", tmp_path) == ["6.0 True"]
    for entry in entries(tmp_path):
        entry.write_bytes(entry.read_bytes()[:20])
    assert start("keep_of_run", "workdir", tmp_path)[-1].startswith("6.0")


def test_a_folder_may_be_named_or_none(tmp_path):
    start("keep_of_run", "", tmp_path / "run")
    start("keep_of_run", tmp_path / "elsewhere", tmp_path / "run")
    assert entries(tmp_path / "elsewhere") and not (tmp_path / "run").exists()
    # What the user has told jax stands.
    start("keep_of_run", "workdir", tmp_path / "run", JAX_COMPILATION_CACHE_DIR=tmp_path / "theirs")
    assert entries(tmp_path / "theirs") and not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_to_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    said, result = start("keep_of_run", tmp_path / "file" / "in", tmp_path)
    assert said.startswith("compiled programs: ") and "every start compiles" in said and result == "6.0 False"


def test_the_users_folder_follows_the_environment(tmp_path):
    start("keep_of_user", HOME=tmp_path / "home", XDG_CACHE_HOME=None)
    assert entries(tmp_path / "home" / ".cache" / "onestream" / "compiled")
    start("keep_of_user", HOME=tmp_path / "none", XDG_CACHE_HOME=tmp_path / "xdg")
    assert entries(tmp_path / "xdg" / "onestream" / "compiled")
    start("keep_of_user", HOME=tmp_path / "none", ONESTREAM_CACHE=tmp_path / "own")
    assert entries(tmp_path / "own")
    start("keep_of_user", HOME=tmp_path / "none", XDG_CACHE_HOME=None, ONESTREAM_CACHE="")
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_to_is_no_matter(tmp_path):
    tmp_path.chmod(0o500)
    assert start("keep_of_user", HOME=tmp_path, XDG_CACHE_HOME=None) == ["6.0 False"]
