"""experiments.where_it_loses as users call it: the tracker's own boxes, and those of finished evaluations."""

import csv

import numpy as np
import pytest

from data_pipelines import sources
from data_pipelines.procedural import video
from tests import forked
from trackers.evaluation import records


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loses") / "videos"
    video.write_sequences(folder, 2, 4, seed=7)
    return folder


def _evaluated(out, videos, shift, tracker="grm"):
    """Boxes as eval.py leaves them: as wide as the truth, half as high, `shift` pixels too far right."""
    _, sequences = sources.open_sequences(f"frames:{videos}")
    store = records.Records(out, "frames", tracker, "a run")
    for sequence in sequences:
        boxes = sequence.boxes * [1, 1, 1, 0.5] + [shift, 0, 0, 0]
        store.write(sequence.name, boxes, np.zeros(len(boxes)), image_size=[320, 240])
    return out


def _rows(out):
    with open(out / "where_it_loses.csv", newline="") as file:
        return {(row["tracker"], row["sequence"]): row for row in csv.DictReader(file)}


def test_boxes_that_were_kept_and_those_of_peers(tmp_path, videos):
    results, peers = _evaluated(tmp_path / "own", videos, 0), _evaluated(tmp_path / "other", videos, 3)
    _evaluated(peers, videos, 500, "static")
    out = tmp_path / "out"
    done = forked.run(
        "experiments.where_it_loses", f"--benchmark=frames:{videos}", f"--results={results}", f"--peers={peers}",
        f"--out={out}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = _rows(out)
    assert {tracker for tracker, _ in rows} == {"grm", "grm (other)", "static"}
    own = rows["grm", "mean of sequences"]
    # Half the height is half the overlap; the true size at the center of the upper half covers three quarters.
    assert float(own["AO [%]"]) == pytest.approx(50, abs=0.1)
    assert float(own["true size [%]"]) == pytest.approx(100 * 0.75 / 1.25, abs=0.1)
    assert float(own["true center [%]"]) == pytest.approx(50, abs=0.1) and float(own["touches [%]"]) == 100
    assert float(rows["static", "mean of sequences"]["touches [%]"]) == 0
    assert done.stdout.strip() in (out / "where_it_loses.md").read_text()
    assert (out / "where_it_loses.png").stat().st_size > 5000


def test_the_shipped_tracker_runs(tmp_path, videos):
    done = forked.run("experiments.where_it_loses", f"--benchmark=frames:{videos}", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    mean = _rows(tmp_path)["grm", "mean of sequences"]
    assert 30 < float(mean["AO [%]"]) < float(mean["true size [%]"]) <= 100


def test_wrong_usage(tmp_path, videos):
    results = _evaluated(tmp_path / "results", videos, 0)
    [first, *_] = records.Records(results, "frames", "grm", None).paths("synthetic_0001")
    first.write_text("1,2,3,4\n")
    named = f"--benchmark=frames:{videos}", f"--out={tmp_path / 'out'}"
    cases = {
        (1, "--peers", "holds no boxes on frames"): [*named, f"--peers={tmp_path}"],
        (1, "--results", "no finished boxes for the 4 frames of synthetic_0001"): [*named, f"--results={results}"],
        (2, "--checkpoint", "--results"): [*named, f"--results={results}", "--checkpoint=/x"],
        (1, "/no/such"): ["--benchmark=frames:/no/such", f"--out={tmp_path / 'other'}"],
    }
    done = forked.run_all([["experiments.where_it_loses", *arguments] for arguments in cases.values()])
    for (code, *words), each in zip(cases, done, strict=True):
        assert each.returncode == code and all(word in each.stderr for word in words), each.stderr
        assert "Traceback" not in each.stderr
