"""The got-10k toolkit itself, where it is installed (requirements/toolkits.txt), on the same files."""

import numpy as np
import pytest

from tests.data_pipelines import layouts
from tests.recipes import REFERENCE
from trackers.evaluation import records, scores

SYNTHETIC = REFERENCE / "metrics" / "sot"
NAMES, SIZE = ("synth_a", "synth_b"), (640, 480)


def _read(path):
    return np.loadtxt(path, delimiter=",", ndmin=2)


@pytest.mark.parametrize("tracker", ["jitter", "drift", "lostzero"])
def test_ao_and_success_rates_equal_the_package(tmp_path, monkeypatch, tracker):
    experiments = pytest.importorskip(
        "got10k.experiments", reason="the got10k package is not installed: requirements/toolkits.txt"
    )
    monkeypatch.setenv("MPLBACKEND", "agg")
    root, covers, parts = tmp_path / "GOT-10k", {}, []
    store = records.Records(tmp_path / "results", "got10k", tracker, run=None)
    for name in NAMES:
        truth, folder = _read(SYNTHETIC / "synth_groundtruth" / f"{name}.txt"), root / "val" / name
        layouts.write_boxes(folder / "groundtruth.txt", truth)
        for number in range(len(truth)):
            (folder / f"{number + 1:08d}.jpg").write_bytes(b"")
        covers[name] = np.where(np.arange(len(truth)) % 7 == 3, 0, 8)
        layouts.write_flags(folder / "cover.label", covers[name])
        for label in ("absence", "cut_by_image"):
            layouts.write_flags(folder / f"{label}.label", np.zeros(len(truth), int))
        (folder / "meta_info.ini").write_text(f"[METAINFO]\nresolution: {SIZE}\n")
        boxes = _read(SYNTHETIC / f"synth_{tracker}" / f"{name}.txt")
        store.write(name, boxes, np.full(len(boxes), 0.1))
    (root / "val" / "list.txt").write_text("\n".join(NAMES) + "\n")

    # The files that we write are its files.
    experiment = experiments.ExperimentGOT10k(str(root), "val", str(tmp_path), str(tmp_path / "reports"))
    experiment.result_dir = str(tmp_path / "results" / "got10k")
    monkeypatch.setattr(type(experiment), "plot_curves", lambda *_: None)
    report = experiment.report([tracker])[tracker]

    for name in NAMES:
        truth = _read(SYNTHETIC / "synth_groundtruth" / f"{name}.txt")
        parts.append(scores.got10k(_read(store.paths(name)[0]), truth, SIZE, covers[name]))
        seen = report["seq_wise"][name]
        assert parts[-1].values["AO"] == pytest.approx(seen["ao"], abs=1e-12)
        assert parts[-1].values["SR0.5"] == pytest.approx(seen["sr"], abs=1e-12)
    overall = scores.combine(parts)
    assert overall.values["AO"] == pytest.approx(report["overall"]["ao"], abs=1e-12)
    assert overall.curves["success"] == pytest.approx(np.array(report["overall"]["succ_curve"]), abs=1e-12)
