"""One flipped bit in any file of a checkpoint, a run's or an exported one, is found, or changes no number."""

import json
import shutil
import threading

import numpy as np
import pytest

from tests import programs
from tests.training import support
from tests.training.test_checkpoints import _save, run  # noqa: F401
from trackers import weights
from trackers.errors import InputError
from trackers.io import digests
from trackers.training import checkpoints, state


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _flip(file, numbers):
    """Flips one bit; returns the bytes before."""
    before = file.read_bytes()
    changed = bytearray(before)
    changed[numbers.integers(len(before))] ^= 1 << numbers.integers(8)
    file.write_bytes(changed)
    return before


@pytest.fixture(scope="module")
def two(run, tmp_path_factory):  # noqa: F811
    """(config, state, target, folder of a run that saved steps 1 and 2)."""
    config, made, _, target = run
    folder = tmp_path_factory.mktemp("two")
    _save(config, folder, made, (1, 2))
    return config, made, target, folder


def test_a_flipped_bit_in_any_file_is_found_by_its_digest(two):
    _, _, _, folder = two
    numbers, checkpoint, found, flips = np.random.default_rng(0), folder / "checkpoints" / "2", 0, 0
    later = ("commit_success.txt", "_CHECKPOINT_METADATA")
    files = [file for file in _files(checkpoint) if file.name not in later or file.parent != checkpoint]
    for file in files:
        for _ in range(4):
            before = _flip(file, numbers)
            flips += 1
            try:
                digests.verify(checkpoint)
            except digests.Damaged as error:
                found += file.name in str(error) or file.name == digests.FILE
            file.write_bytes(before)
    assert digests.verify(checkpoint) and len(files) >= 40
    # A flip in the digests' own white space leaves them as they are.
    assert found >= flips - 2


def test_no_flipped_bit_is_read_silently(two, tmp_path):
    config, made, target, folder = two
    expected = state.evaluation_variables(made)
    numbers = np.random.default_rng(1)
    whole = folder / "checkpoints" / "2"
    places = (whole / "_CHECKPOINT_METADATA", whole / "commit_success.txt", *_files(whole / "ema")[-3:])
    for number, place in enumerate(places):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        _flip(copy / place.relative_to(folder), numbers)
        assert not support.leaves_equal(weights.load(copy, config.model), expected)
        said = []
        with checkpoints.Checkpoints(copy, config) as saved:
            restored = saved.restore(target, said.append)
        assert not support.leaves_equal(restored.replace(step=made.step), made)
        assert int(restored.step) == (1 if said or list((copy / "checkpoints").glob("*.broken")) else 2)


def _emptied(checkpoint):
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        _emptied,
        lambda checkpoint: shutil.rmtree(checkpoint / "batch_stats"),
        lambda checkpoint: shutil.rmtree(checkpoint / "ema"),
        lambda checkpoint: (checkpoint / digests.FILE).write_text('{"sha256": {}}'),
    ],
)
def test_a_checkpoint_of_which_parts_are_gone_is_not_used(two, tmp_path, damage, capsys):
    config, made, target, folder = two
    shutil.copytree(folder, tmp_path / "run")
    damage(tmp_path / "run" / "checkpoints" / "2")
    assert not support.leaves_equal(weights.load(tmp_path / "run", config.model), state.evaluation_variables(made))
    assert "2 is broken" in capsys.readouterr().out
    with checkpoints.Checkpoints(tmp_path / "run", config) as saved:
        assert int(saved.restore(target).step) == 1


def test_a_checkpoint_that_was_renamed_to_another_step_is_refused(two, tmp_path):
    config, _, target, folder = two
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "2").rename(tmp_path / "run" / "checkpoints" / "9")
    refused = pytest.raises(InputError, match="holds step 2: name it 2 again, or remove it")
    with checkpoints.Checkpoints(tmp_path / "run", config) as saved, refused:
        saved.restore(target)


@pytest.mark.parametrize("program", ["weights.load", "restore"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_taken(two, tmp_path, capsys, program):
    config, made, target, folder = two
    shutil.copytree(folder, tmp_path / "run")
    kept = tmp_path / "run" / "checkpoints"
    for step in (2, 1):
        largest = max(_files(kept / str(step) / "ema"), key=lambda file: file.stat().st_size)
        _flip(largest, np.random.default_rng(step))
        (kept / f"{step}.broken").mkdir()  # of an earlier damage
        if step == 2:
            if program == "restore":
                with checkpoints.Checkpoints(tmp_path / "run", config) as saved:
                    assert int(saved.restore(target).step) == 1
            else:
                weights.load(tmp_path / "run", config.model)
            lines = capsys.readouterr().out.splitlines()
            assert len(lines) == 1 and "checkpoints/2 is broken (ema/" in lines[0] and "now 2.broken.1" in lines[0]
            assert (kept / "2.broken.1" / "ema").exists() and not (kept / "2").exists()
    for _ in range(2):  # nothing is left: not a new run, now or the next time
        with pytest.raises(InputError, match="no checkpoint"):
            if program == "restore":
                with checkpoints.Checkpoints(tmp_path / "run", config) as saved:
                    saved.restore(target)
            else:
                weights.load(tmp_path / "run", config.model)


def test_a_checkpoint_without_digests_is_taken_and_said_to_be(two, tmp_path, capsys):
    config, made, _, folder = two
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "2" / digests.FILE).unlink()
    assert not support.leaves_equal(weights.load(tmp_path / "run", config.model), state.evaluation_variables(made))
    assert capsys.readouterr().out.strip().endswith("checkpoints/2 has no digests.json: taken unchecked")


def test_exported_weights_are_whole_or_refused(run, tmp_path):  # noqa: F811
    config, made, _, _ = run
    weights.save(tmp_path / "out", {"params": made.params, "batch_stats": made.batch_stats}, config.model)
    numbers = np.random.default_rng(0)
    for name in (weights.FILE, weights.CONFIG_FILE):
        for _ in range(3):
            before = _flip(tmp_path / "out" / name, numbers)
            for path in (tmp_path / "out", tmp_path / "out" / weights.FILE):
                with pytest.raises(InputError, match=f"{name} is not what was written"):
                    weights.load(path, config.model)
            (tmp_path / "out" / name).write_bytes(before)
    kept = json.loads((tmp_path / "out" / digests.FILE).read_text())
    del kept["sha256"][weights.FILE]
    (tmp_path / "out" / digests.FILE).write_text(json.dumps(kept))
    with pytest.raises(InputError, match=r"digests.json does not tell of all that is there\): copy or convert"):
        weights.load(tmp_path / "out", config.model)
    (tmp_path / "out" / digests.FILE).unlink()
    weights.load(tmp_path / "out", config.model)


def test_the_shipped_weights_have_digests():
    assert digests.verify(programs.ROOT / "weights" / "grm_t128")


def test_digests_are_written_while_training_goes_on(run, tmp_path, monkeypatch):  # noqa: F811
    """`save` returns before the digests are begun."""
    config, made, _, _ = run
    write, returned, seen = digests.write, threading.Event(), []

    def late(folder):
        seen.append(returned.wait(30))
        write(folder)

    with checkpoints.Checkpoints(tmp_path, config) as saved:
        monkeypatch.setattr(digests, "write", late)
        saved.save(made.replace(step=np.int32(1)), 1)
        returned.set()
        saved.wait()
    assert seen == [True]
    assert digests.verify(tmp_path / "checkpoints" / "1")
