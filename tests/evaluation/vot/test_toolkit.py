"""The official toolkit's own commands, on miniature workspaces without a download. Needs requirements/vot.txt."""

import json

import numpy as np
import pytest

pytest.importorskip("vot", reason="vot-toolkit is not installed (requirements/vot.txt)")

from etils import epath  # noqa: E402

from data_pipelines import sources  # noqa: E402
from tests import families, programs  # noqa: E402
from tests.data_pipelines import layouts  # noqa: E402
from trackers.evaluation import benchmark  # noqa: E402
from trackers.evaluation.vot import multistart_scores, workspace  # noqa: E402
from trackers.io import image_files  # noqa: E402
from trackers.tracking import single_object  # noqa: E402

LOW, HIGH = 2, 10
MULTIOBJECT = """\
title: several targets
experiments:
  baseline:
    type: unsupervised
    repetitions: 1
    multiobject: True
    analyses:
      - {type: average_accuracy, name: Quality, burnin: 0, ignore_unknown: False, weighted: False}
"""


def _vot(root, command, *more):
    """A command of the toolkit for the tracker `grm`."""
    result = programs.run("vot", command, "--workspace", str(root), *more, "grm")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def _workspace(root, arguments, sequences, stack):
    workspace.create(root, stack, LOW, HIGH)
    config = json.loads(epath.Path(arguments["config"]).read_text())
    workspace.add_tracker(root, "grm", config, arguments["checkpoint"])
    workspace.write_sequences(root, sequences, 8)
    return epath.Path(root)


def _sequences(root):
    layouts.got10k(root, split="val", length=12)
    return sources.open_sequences(f"got10k:{root}/val")[1]


def _boxes(file):
    """(T, 4) of the rectangles in a file of the toolkit's, in order, codes left out."""
    from vot.region import Rectangle
    from vot.region.io import read_trajectory

    regions = [region for region in read_trajectory(str(file)) if isinstance(region, Rectangle)]
    return np.array([(region.x, region.y, region.width, region.height) for region in regions])


def _runner():
    model, variables = families.tiny("grm")
    return benchmark.Runner(single_object.Tracker(model, {"window": 0.5}), variables, image_files.read_image)


def test_evaluate_analysis_and_report_of_a_local_stack(tmp_path, arguments):
    sequences = _sequences(tmp_path / "got10k")
    root = _workspace(tmp_path / "W", arguments, sequences, "vot2022/shorttermbox")
    chosen = ("--experiments", "baseline,unsupervised")
    assert "Evaluation concluded" in _vot(root, "evaluate", *chosen)
    assert "Analysis successful" in _vot(root, "analysis", "--name", "a", "--format", "json", *chosen)
    assert "Report generation successful" in _vot(root, "report", "--name", "r", "--format", "html", *chosen)
    assert "EAO" in (root / "reports" / "r" / "report.html").read_text()

    # The boxes are eval.py's.
    name = sequences[0].name
    expected = _runner().track(sequences[0]).boxes[1:]
    for experiment, file in (("baseline", f"{name}_00000000.bin"), ("unsupervised", f"{name}_001.bin")):
        np.testing.assert_allclose(_boxes(root / "results" / "grm" / experiment / name / file), expected, atol=1e-3)

    # Its numbers are ours.
    results = json.loads((root / "analysis" / "a.json").read_text())["results"]["baseline"]["results"]
    ours = multistart_scores.score(root / "results" / "grm" / "baseline", root / "sequences", LOW, HIGH)
    assert ours.eao == pytest.approx(results[0][0][0], abs=1e-6)
    assert [ours.accuracy, ours.robustness] == pytest.approx(results[2][0][:2], abs=1e-6)


def test_several_targets_with_masks(tmp_path, arguments):
    """VOTS: the truth are masks, and the second target appears in frame 5."""
    sequences = _sequences(tmp_path / "got10k")[:1]
    (tmp_path / "stack.yaml").write_text(MULTIOBJECT)
    root = _workspace(tmp_path / "W", arguments, sequences, str(tmp_path / "stack.yaml"))
    name, length = sequences[0].name, len(sequences[0])
    folder = root / "sequences" / name
    (folder / "groundtruth.txt").unlink()
    for target, first in ((1, 0), (2, 5)):
        lines = ["0"] * first + ["m20,10,16,12,0,192"] * (length - first)
        (folder / f"groundtruth_{target}.txt").write_text("\n".join(lines) + "\n")
    assert "Evaluation concluded" in _vot(root, "evaluate")
    assert "Analysis successful" in _vot(root, "analysis", "--name", "a", "--format", "json")
    quality = json.loads((root / "analysis" / "a.json").read_text())["results"]["baseline"]["results"][0][0][0]
    assert 0 < quality < 1

    for target, first in ((1, 0), (2, 5)):
        frames = [sequences[0].frames[i] for i in range(first, length)]
        boxes = np.tile([[20.0, 10, 16, 12]], (length - first, 1))
        piece = type(sequences[0])(name, frames, boxes, np.ones(length - first, bool))
        found = _boxes(root / "results" / "grm" / "baseline" / name / f"{name}_{target}_001.bin")
        # The second one's file has the box that it starts from, too: the toolkit marks the start in frame 0 only.
        np.testing.assert_allclose(found, _runner().track(piece).boxes[0 if first else 1 :], atol=1e-3)
