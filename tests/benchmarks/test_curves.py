"""Loss and scores of runs over their epochs, from what runs leave in their folders."""

import functools
import json
import types

import jax
import numpy as np
import pytest

from benchmarks import curves
from configs import simtrack
from tests import forked
from tests.training import support
from trackers import errors
from trackers.evaluation import plots, starts
from trackers.training import checkpoints, metrics, state

cv2 = pytest.importorskip("cv2")
pytest.importorskip("matplotlib")
STEPS, EPOCH = (4, 8), 8


def _config():
    config = simtrack.get_config("tiny").unlock()
    config.model.update({"width": 16, "depth": 1, "template_size": 32, "search_size": 48, "foveal_size": 0})
    config.model.head.channels = 8
    return config


def _log(folder, offset=0.0):
    """A log as a run writes it, with a line that a kill tore."""
    lines = [{"step": step, "epoch": step / EPOCH, "loss": offset + 4.0 / step} for step in range(1, 9)]
    lines.append({"step": 8, "validation/iou": 0.25 + offset / 10})
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9, "lo'
    (folder / metrics.METRICS_FILE).write_text(text)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir with a log, a config and two checkpoints of different weights."""
    folder, config = tmp_path_factory.mktemp("runs") / "simtrack", _config()
    model, _, optimizer = support.parts(config)
    _log(folder)
    checkpoints.claim_workdir(folder, config)
    with checkpoints.Checkpoints(folder, config) as saved:
        for step in STEPS:
            variables = jax.tree.map(lambda leaf, step=step: leaf * step, support.filled(model))
            saved.save(state.create(variables, optimizer), step)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos") / "stays"
    folder.mkdir()
    for t in range(3):
        frame = np.random.default_rng(t).integers(0, 256, (90, 120, 3), np.uint8)
        cv2.imwrite(str(folder / f"{t + 1:08d}.jpg"), frame)
    (folder / "groundtruth.txt").write_text("40,30,32,24\n" * 3)
    return folder.parent


def _main(monkeypatch, *runs, **flags):
    monkeypatch.setattr(curves, "FLAGS", types.SimpleNamespace(**{"benchmark": None, "score": "AUC", **flags}))
    curves.main(["curves", *map(str, runs)])


def test_losses_and_validations_of_runs(run, tmp_path, monkeypatch, capsys):
    _log(tmp_path / "other" / "simtrack", 1.0)
    drawn = {}
    monkeypatch.setattr(plots, "runs", lambda *given: drawn.update(zip(("path", "losses", "scores"), given)))  # noqa: B905
    other = tmp_path / "other" / "simtrack"
    _main(monkeypatch, run, other, out=str(tmp_path / "runs.png"))
    assert list(drawn["losses"]) == [str(run), str(other)], "both end alike"
    assert drawn["losses"][str(run)] == [(step / EPOCH, 4.0 / step) for step in range(1, 9)]
    assert drawn["scores"] == {str(run): [(1.0, 0.25)], str(other): [(1.0, 0.35)]}
    rows = [line.split("|")[2:-1] for line in capsys.readouterr().out.splitlines()[2:4]]
    assert [[cell.strip() for cell in row] for row in rows] == [["1.0", "25.0"], ["1.0", "35.0"]]


def test_every_kept_checkpoint_is_scored_once(run, videos, tmp_path, monkeypatch, capsys):
    judged = []

    def judge(runner, sequences, label, real=starts.judge, **settings):
        judged.append(label)
        return real(runner, sequences, label, **settings)

    monkeypatch.setattr(starts, "judge", judge)
    call = functools.partial(_main, monkeypatch, run, benchmark=f"frames:{videos}", out=str(tmp_path / "runs.png"))
    call()
    first = capsys.readouterr().out
    assert judged == ["simtrack step 4", "simtrack step 8"]
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((run / curves.CACHE).read_text())
    assert len(kept) == 2 and all(set(scores) == set(starts.HEADS) for scores in kept.values())
    epochs = [line.split("|")[2].strip() for line in first.splitlines()[2:4]]
    assert epochs == ["0.5", "1.0"]

    call()
    assert len(judged) == 2 and capsys.readouterr().out == first, "nothing is tracked again"
    (run / curves.CACHE).write_text("{torn")
    call()
    assert len(judged) == 4 and capsys.readouterr().out == first
    # Other true boxes are another benchmark.
    (videos / "stays" / "groundtruth.txt").write_text("41,30,32,24\n" * 3)
    call()
    assert len(judged) == 6 and len(json.loads((run / curves.CACHE).read_text())) == 4


def test_runs_of_one_score_none_or_many_are_drawn(tmp_path):
    many = [(step / 100, 1 / (1 + step)) for step in range(1000)]
    losses = {"a": many, "b": many[:1], "c": []}
    plots.runs(tmp_path / "runs.png", losses, {"a": [(1, 0.2), (2, 0.4)]}, "AUC")
    image = cv2.imread(str(tmp_path / "runs.png"))[..., ::-1]
    found, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    colors = {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in found[counts > 20]}
    assert image.shape[1] > 2 * image.shape[0] and {"#1f6fc4", "#e07b26", "#2a9d72"} <= colors


def test_wrong_usage_is_one_line(run, tmp_path, monkeypatch):
    out = tmp_path / "runs.png"
    refused = functools.partial(_main, monkeypatch, out=str(out))
    with pytest.raises(errors.UsageError, match="name the workdirs of runs"):
        refused()
    with pytest.raises(errors.InputError, match="^/no/such/metrics.jsonl: No such file .* name the workdir of a run"):
        refused("/no/such")
    with pytest.raises(errors.UsageError, match="write NAME:PATH"):
        refused(run, benchmark="otb")
    (tmp_path / metrics.METRICS_FILE).write_text("")
    with pytest.raises(errors.InputError, match=f"^{tmp_path} has not logged a step yet"):
        refused(tmp_path)
    done = forked.run("benchmarks.curves", run, "--score=mAP", f"--out={out}")
    assert done.returncode == 2 and "--score=mAP" in done.stderr, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and not out.exists()


def test_a_run_of_phrases_has_no_sequences(tmp_path, videos):
    _log(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model": {"name": "text"}, "tracking": {}}))
    with pytest.raises(errors.InputError, match="holds no tracker of one object"):
        curves.Judge(f"frames:{videos}").scores(tmp_path, "text")
