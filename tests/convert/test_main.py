"""python -m trackers.convert, as a user runs it."""

import jax
import numpy as np
import pytest

from configs import grm
from tests import forked, recipes
from trackers import convert, weights
from trackers.errors import InputError
from trackers.nn import stacking


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The recorded small GRM as a file."""
    manifest, _ = recipes.load("grm_tiny")
    path = tmp_path_factory.mktemp("published") / "grm.npz"
    np.savez(path, **recipes.weights(manifest))
    return path


def test_writes_what_weights_are_loaded_from(published, tmp_path):
    given = "--config=configs/grm.py:tiny", f"--checkpoint={published}", f"--out={tmp_path / 'out'}"
    done = forked.run("trackers.convert", *given)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    counts = {line.split("  ")[0]: int(line.split()[-1].replace(",", "")) for line in lines[:-1]}
    config = grm.get_config("tiny").model
    want = convert.to_variables(convert.read_checkpoint(published), config)
    got = weights.load(tmp_path / "out", config)
    a, b = map(stacking.flatten, (got, want))
    assert set(a) == set(b)
    for path in b:
        np.testing.assert_array_equal(a[path], b[path], strict=True)
    assert sum(counts.values()) == sum(leaf.size for leaf in b.values())
    # 2 layers of 192*384+384, 384*192+192, 192*2+2.
    assert counts["encoder/division"] == 2 * (192 * 384 + 384 + 384 * 192 + 192 + 192 * 2 + 2)
    assert lines[-1] == f"wrote {tmp_path / 'out'}"


def test_half_the_size_where_asked(published, tmp_path):
    given = "--config=configs/grm.py:tiny", f"--checkpoint={published}"
    ended = forked.run_all(
        [
            ["trackers.convert", *given, f"--out={tmp_path / out}", *more]
            for out, more in (("whole", ()), ("half", ("--half",)))
        ]
    )
    assert [done.returncode for done in ended] == [0, 0], ended
    config = grm.get_config("tiny").model
    whole, half = (stacking.flatten(weights.load(tmp_path / out, config)) for out in ("whole", "half"))
    for name, leaf in whole.items():
        rounded = np.asarray(leaf, np.float16) if name.startswith("params/") else leaf
        np.testing.assert_array_equal(half[name], np.asarray(rounded, np.float32), strict=True)
    sizes = [(tmp_path / out / weights.FILE).stat().st_size for out in ("whole", "half")]
    assert sizes[1] < 0.55 * sizes[0]


def test_the_mean_of_two(published, tmp_path):
    config = grm.get_config("tiny").model
    one = convert.to_variables(convert.read_checkpoint(published), config)
    weights.save(tmp_path / "other", jax.tree.map(lambda leaf: 3 * leaf, one), config)
    given = "--config=configs/grm.py:tiny", f"--checkpoint={published}", f"--mean_with={tmp_path / 'other'}"
    done = forked.run("trackers.convert", *given, f"--out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    mean = stacking.flatten(weights.load(tmp_path / "out", config))
    for name, leaf in stacking.flatten(one).items():
        np.testing.assert_allclose(mean[name], 2 * leaf, rtol=1e-6)
    done = forked.run("trackers.convert", *given[:2], f"--mean_with={tmp_path / 'no'}", f"--out={tmp_path / 'new'}")
    assert done.returncode == 1 and "no does not exist" in done.stderr and not (tmp_path / "new").exists()


def test_numbers_too_large_for_half_are_named(tmp_path):
    config = grm.get_config("tiny").model
    with pytest.raises(InputError, match="params/a holds numbers too large for float16"):
        weights.save(tmp_path, {"params": {"a": np.full(3, 1e6, np.float32)}}, config, half=True)
    assert not list(tmp_path.iterdir())


def test_bad_input_is_one_line(published, tmp_path):
    tiny, out = "--config=configs/grm.py:tiny", f"--out={tmp_path / 'new'}"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04" + bytes(100))
    cases = {
        "checkpoint of another size": (
            (tiny, f"--checkpoint={published}", out, "--config.model.width=48"),
            1,
            "misshapen",
        ),
        "missing file": ((tiny, "--checkpoint=absent.pth", out), 1, "absent.pth does not exist"),
        "truncated file": ((tiny, f"--checkpoint={tmp_path / 'cut.pth'}", out), 1, "cut.pth is damaged"),
        "folder in use": ((tiny, f"--checkpoint={published}", f"--out={tmp_path / 'full'}"), 1, "not empty"),
        "out is a file": ((tiny, f"--checkpoint={published}", f"--out={tmp_path / 'cut.pth'}"), 1, "a file stands"),
        "no checkpoint given": ((tiny, out), 2, "--checkpoint"),
        "unknown config key": ((tiny, "--checkpoint=x", out, "--config.model.widht=48"), 2, "widht"),
        "unknown variant": (("--config=configs/grm.py:huge", "--checkpoint=x", out), 2, "huge"),
    }
    ended = forked.run_all([["trackers.convert", *arguments] for arguments, _, _ in cases.values()])
    for (name, (_, code, message)), done in zip(cases.items(), ended, strict=True):
        assert done.returncode == code, (name, done.stderr)
        assert done.stdout == "", name
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, (name, done.stderr)
        assert message in done.stderr, name
    assert not (tmp_path / "new").exists()
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["notes.txt"]
