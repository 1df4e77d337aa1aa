"""eval.py as users call it."""

import json
import shutil
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest

import trackers
from configs import grm
from tests import forked, programs
from tests.io.test_ownership import holder
from trackers import weights

cv2 = pytest.importorskip("cv2")
FRAMES = 5


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    config = grm.get_config("tiny")
    model = trackers.build(config.model)
    folder = tmp_path_factory.mktemp("checkpoint")
    weights.save(folder, jax.jit(lambda key: trackers.init(model, key))(jax.random.key(0)), config.model)
    return folder


def _write(root, name, size=(120, 160), boxes=FRAMES):
    rng = np.random.default_rng(len(name))
    patch = rng.integers(0, 256, (24, 32, 3), np.uint8)
    folder = root / name
    folder.mkdir(parents=True)
    truth = [(40 + 3 * t, 30, 32, 24) for t in range(FRAMES)]
    for t, (x, y, w, h) in enumerate(truth):
        frame = rng.integers(90, 110, (*size, 3), np.uint8)
        frame[y : y + h, x : x + w] = patch
        cv2.imwrite(str(folder / f"{t + 1:08d}.jpg"), frame)
    (folder / "groundtruth.txt").write_text("".join(f"{x},{y},{w},{h}\n" for x, y, w, h in truth[:boxes]))


@pytest.fixture
def videos(tmp_path):
    root = tmp_path / "videos"
    _write(root, "one")
    _write(root, "three", size=(200, 300))
    return root


def _run(benchmark, out, checkpoint, *arguments, **changes):
    given = [f"--checkpoint={checkpoint}", f"--benchmark={benchmark}", f"--out={out}", *arguments]
    return forked.run("eval.py", "--config=configs/grm.py:tiny", *given, **changes)


def _error(result, code):
    """The error line, the only one on stderr beside progress bars."""
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and result.stderr.rstrip().endswith(lines[0])
    return lines[0]


def test_tracks_scores_reports_and_resumes(videos, tmp_path, checkpoint):
    out = tmp_path / "out"
    result = _run(f"uav:{videos}", out, checkpoint, "--baselines=static,kcf")
    assert result.returncode == 0, result.stderr
    assert "model.division.threshold=0.55 for uav (config.tracking.benchmarks.uav)" in result.stdout
    assert "30/30" in result.stderr and "frame/s" in result.stderr  # progress with a rate
    table = (out / "table.md").read_text()
    assert table.strip() in result.stdout
    assert [line.split()[1] for line in table.splitlines() if line.startswith("| ")][1:4] == ["grm", "static", "kcf"]
    for name in ("success.png", "precision.png", "overlap.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert (out / "report.html").read_text().count("data:image/jpeg") == 2 * FRAMES  # all frames of both sequences
    assert set(json.loads((out / "curves.json").read_text())["trackers"]["kcf"]) == {"one", "three"}
    assert (out / "sequences.csv").read_text().count("\n") == 1 + 3 * 2

    found = json.loads((out / "results.json").read_text())
    assert found["benchmark_settings"] == {"model.division.threshold": 0.55}
    assert found["trackers"]["static"]["scores"]["got10k"]["sequences"]["one"]["frames"] == FRAMES - 1
    # The patch walks 3 pixels a frame: the box that stays overlaps it by (32 - 3t) / (32 + 3t).
    expected = np.mean([(32 - 3 * t) / (32 + 3 * t) for t in range(1, FRAMES)])
    assert found["trackers"]["static"]["scores"]["got10k"]["overall"]["AO"] == pytest.approx(expected)
    assert found["trackers"]["kcf"]["scores"]["got10k"]["overall"]["AO"] > expected + 0.1
    assert found["trackers"]["grm"]["speed"]["tracker_fps"] > found["trackers"]["grm"]["speed"]["end_to_end_fps"] > 0
    boxes = (out / "uav" / "grm" / "one.txt").read_text()
    assert len(boxes.splitlines()) == FRAMES and boxes.splitlines()[0] == "40.000,30.000,32.000,24.000"

    # One sequence is lost, the others are kept; --draw works from what is on disk.
    (out / "uav" / "grm" / "one.txt").unlink()
    before = (out / "uav" / "grm" / "three.txt").stat().st_mtime_ns
    again = _run(f"uav:{videos}", out, checkpoint, "--baselines=static,kcf", "--draw")
    assert again.returncode == 0, again.stderr
    assert "5 of 6 are finished" in again.stdout and "5/5" in again.stderr
    assert (out / "uav" / "grm" / "one.txt").read_text() == boxes
    assert (out / "uav" / "grm" / "three.txt").stat().st_mtime_ns == before
    repeated = json.loads((out / "results.json").read_text())
    for name, tracker in found["trackers"].items():
        assert repeated["trackers"][name]["scores"] == tracker["scores"]
    assert {path.name for path in (out / "videos").iterdir()} == {"one.mp4", "three.mp4"}

    # Another setting of the tracker is another run.
    other = _run(f"uav:{videos}", out, checkpoint, "--sequences=one", "--config.tracking.window=0.5")
    assert other.returncode == 0, other.stderr
    assert "are finished" not in other.stdout
    assert json.loads((out / "results.json").read_text())["sequences"] == 1


def test_many_at_a_time_give_the_same_boxes_and_resume(videos, tmp_path, checkpoint):
    _write(videos, "eleven", size=(400, 300))
    out = tmp_path / "out"
    files = [out / "frames" / "grm" / f"{name}.txt" for name in ("one", "three", "eleven")]
    # Two devices, so three slots become four.
    result = _run(
        f"frames:{videos}",
        out,
        checkpoint,
        "--batch=3",
        "--frames_per_dispatch=2",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
    assert result.returncode == 0, result.stderr
    assert "15/15" in result.stderr and "frame/s" in result.stderr
    boxes = [np.loadtxt(file, delimiter=",") for file in files]

    # One run continues the other, whichever way it tracks.
    for file in files[1:]:
        file.unlink()
    result = _run(f"frames:{videos}", out, checkpoint)
    assert "1 of 3 are finished" in result.stdout and "10/10" in result.stderr
    for many, file in zip(boxes, files, strict=True):
        assert many.shape == (FRAMES, 4)
        np.testing.assert_allclose(np.loadtxt(file, delimiter=","), many, atol=2e-3)  # three decimals are written

    # A frame that cannot be read takes nothing from the sequence beside it.
    for file in files[1:]:
        file.unlink()
    broken = videos / "three" / "00000003.jpg"
    broken.write_bytes(broken.read_bytes()[:-100])
    line = _error(_run(f"frames:{videos}", out, checkpoint, "--batch=2"), 1)
    assert str(broken) in line and "cut short" in line
    assert [file.exists() for file in files] == [True, False, True]


def test_opencvs_trained_trackers_stand_in_the_same_table(videos, tmp_path, checkpoint, peers):
    files = ",".join(str(peers / "nanotrack" / f"v2_{part}.onnx") for part in ("backbone", "head"))
    given = [f"frames:{videos}", tmp_path / "out", checkpoint, f"--baselines=static,nano:{files}"]
    result = _run(*given, "--batch=2")
    assert result.returncode == 0 and "global" not in result.stderr, result.stderr
    assert "| nano(v2_backbone) " in (tmp_path / "out" / "table.md").read_text()
    scored = json.loads((tmp_path / "out" / "results.json").read_text())["trackers"]
    assert scored["nano(v2_backbone)"]["scores"]["got10k"]["overall"]["AO"] > 0.3
    assert len((tmp_path / "out" / "frames" / "nano(v2_backbone)" / "one.txt").read_text().splitlines()) == FRAMES
    again = _run(*given, "--starts=1")
    assert again.returncode == 0 and "| nano(v2_backbone) " in again.stdout, again.stderr


def test_withheld_ground_truth_gives_files_for_the_server(tmp_path, checkpoint):
    root = tmp_path / "test"
    _write(root, "GOT-10k_Test_000001", boxes=1)
    (root / "list.txt").write_text("GOT-10k_Test_000001\n")
    result = _run(f"got10k:{root}", tmp_path / "out", checkpoint)
    assert result.returncode == 0, result.stderr
    assert "only the first box of a sequence is published" in result.stdout
    with zipfile.ZipFile(tmp_path / "out" / "got10k" / "grm.zip") as archive:
        text = archive.read("GOT-10k_Test_000001/GOT-10k_Test_000001_001.txt").decode()
    assert len(text.splitlines()) == FRAMES
    assert "scores" not in json.loads((tmp_path / "out" / "results.json").read_text())["trackers"]["grm"]


def test_a_truncated_frame_is_named_and_all_other_sequences_are_tracked(videos, tmp_path, checkpoint):
    broken = videos / "one" / "00000003.jpg"
    broken.write_bytes(broken.read_bytes()[:-100])
    _write(videos, "two")
    (videos / "two" / "00000004.jpg").write_bytes(b"")
    line = _error(_run(f"frames:{videos}", tmp_path / "out", checkpoint, "--baselines=static"), 1)
    assert "2 of 3 sequences have a frame that cannot be read: one, two; the first: " in line and str(broken) in line
    for tracker in ("grm", "static"):
        tracked = {path.name for path in (tmp_path / "out" / "frames" / tracker).iterdir()}
        assert tracked == {"three.txt", "three_time.txt"}
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize(
    ("box", "said"), [("40,30,0,24", "has no area"), ("900,30,32,24", "outside the frame"), ("nan,30,32,24", "finite")]
)
def test_an_impossible_first_box(videos, tmp_path, checkpoint, box, said):
    truth = videos / "one" / "groundtruth.txt"
    truth.write_text("\n".join([box, *truth.read_text().splitlines()[1:]]) + "\n")
    line = _error(_run(f"frames:{videos}", tmp_path / "out", checkpoint, "--sequences=one"), 1)
    assert "sequence one" in line and said in line


@pytest.mark.parametrize("arguments", [(), ("--batch=2",), ("--starts=1",)])
def test_sequences_that_cannot_start_are_named_before_any_is_tracked(videos, tmp_path, checkpoint, arguments):
    _write(videos, "two")
    for name, box in (("three", "0,0,0,0"), ("two", "nan,nan,nan,nan")):
        truth = videos / name / "groundtruth.txt"
        truth.write_text("\n".join([box, *truth.read_text().splitlines()[1:]]) + "\n")
    line = _error(_run(f"frames:{videos}", tmp_path / "out", checkpoint, *arguments), 1)
    assert "2 of 3 sequences have no usable first frame or box: three, two;" in line and "--sequences" in line
    assert not list((tmp_path / "out").rglob("*.txt"))


def test_a_checkpoint_of_another_size(videos, tmp_path, checkpoint):
    line = _error(_run(f"frames:{videos}", tmp_path / "out", checkpoint, "--config.model.width=48"), 1)
    assert "another model or size" in line and str(checkpoint) in line


def _missing_root(videos):
    return f"got10k:{videos}/nowhere", f"{videos}/nowhere"


def _empty_sequence(videos):
    for frame in (videos / "one").glob("*.jpg"):
        frame.unlink()
    return f"frames:{videos}", "sequence one: no frames"


def _count_mismatch(videos):
    (videos / "one" / "00000005.jpg").unlink()
    return f"frames:{videos}", "4 frames"


def _no_sequences(videos):
    shutil.rmtree(videos)
    videos.mkdir()
    return f"otb:{videos}", str(videos)


@pytest.mark.parametrize("spoil", [_missing_root, _empty_sequence, _count_mismatch, _no_sequences])
def test_what_is_wrong_on_disk_is_named(videos, tmp_path, checkpoint, spoil):
    spec, said = spoil(videos)
    assert said in _error(_run(spec, tmp_path / "out", checkpoint), 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--benchmark=imagenet:/data"], "imagenet"),
        (["--baselines=siamfc"], "siamfc"),
        (["--sequences=seven"], "seven"),
        (["--batch=0"], "--batch"),
        (["--batch=2", "--starts=1"], "--batch"),
        (["--config.model.depht=3"], "depht"),
        (["--no_such_flag=1"], "no_such_flag"),
    ],
)
def test_wrong_usage(videos, tmp_path, checkpoint, arguments, said):
    assert said in _error(_run(f"frames:{videos}", tmp_path / "out", checkpoint, *arguments), 2)


def test_no_tensorflow_is_needed():
    code = "import eval, sys; assert not {'tensorflow', 'cv2', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=programs.ROOT, check=True, timeout=120)


def test_a_folder_that_another_evaluation_writes_to_is_refused(videos, tmp_path, checkpoint):
    running = holder(tmp_path / "out")
    try:
        refused = _error(_run(f"frames:{videos}", tmp_path / "out", checkpoint), 1)
    finally:
        running.kill()
        running.wait()
    assert f"process {running.pid}" in refused and "owner.lock" in refused
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["owner.lock"]
