"""refer.py, and its old entrances in track.py and eval.py, as users call them, on a small synthetic set."""

import json
import shutil

import jax
import numpy as np
import pytest

import trackers
from configs import ikun, neural_kalman
from data_pipelines import phrase_annotations, wording
from data_pipelines.procedural import people
from tests import forked
from trackers import weights
from trackers.errors import InputError, UsageError
from trackers.evaluation import mot, phrase_results
from trackers.io import mot_files, video_files

pytest.importorskip("tokenizers")
IKUN = "--config=configs/ikun.py:tiny"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set") / "words"
    size = people.ReferringSetConfig(train_videos=1, test_videos=2, length=10, height=64, width=96)
    people.write_set(folder, size, 0)
    return folder


def _checkpoint(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("checkpoint")
    model = trackers.build(config.model)
    weights.save(folder, trackers.init(model, jax.random.key(0)), config.model)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return _checkpoint(tmp_path_factory, ikun.get_config("tiny"))


def _test_folder(dataset):
    """(folder of one test video, its name)."""
    name = sorted(folder.name for folder in (dataset / "val").iterdir())[0]
    return dataset / "val" / name, name


def test_track(checkpoint, dataset, tmp_path):
    video, _ = _test_folder(dataset)
    truth = video / "gt" / "gt.txt"
    run = [
        IKUN, f"--checkpoint={checkpoint}", f"--images={video / 'img1'}", f"--tracks={truth}",
        "--phrases=person moving left;person with red shirt", "--config.tracking.threshold=-2.0",
    ]  # fmt: skip
    result = forked.run("refer.py", *run, f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    out = tmp_path / "img1"
    assert (tmp_path / "seqmap.txt").read_text().splitlines() == [
        "img1+person-moving-left",
        "img1+person-with-red-shirt",
    ]
    tracks = mot_files.read(truth)
    kept = mot_files.read(out / "person-moving-left" / "predict.txt")
    # Below the least cosine everything is meant; what is drawn is as long as the video.
    assert len(kept) == len(tracks)
    assert len(list(video_files.Video(out / "person-moving-left" / "tracked.mp4"))) == 10
    with np.load(out / "similarity.npz") as written:
        assert written["similarity"].shape == (len(tracks), 2) and np.abs(written["similarity"]).max() <= 1 + 1e-6
    assert "2 phrases encoded" in result.stdout
    old = forked.run("track.py", *run, f"--out={tmp_path / 'old'}", "--no-draw")
    assert old.returncode == 0, old.stderr
    for name in ("seqmap.txt", "img1/similarity.json", "img1/person-moving-left/predict.txt"):
        assert (tmp_path / "old" / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_folders_with_a_dot_in_their_names_keep_results_of_their_own(checkpoint, dataset, tmp_path):
    """cam1.left and cam1.right: what looks like a file's ending is a part of a folder's name."""
    video, _ = _test_folder(dataset)
    for name in ("cam1.left", "cam1.right"):
        shutil.copytree(video / "img1", tmp_path / name)
        run = [IKUN, f"--checkpoint={checkpoint}", f"--images={tmp_path / name}", f"--tracks={video / 'gt' / 'gt.txt'}"]
        done = forked.run("refer.py", *run, "--phrases=person moving left", f"--out={tmp_path / 'out'}", "--no-draw")
        assert done.returncode == 0, done.stderr
    written = sorted(str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("predict.txt"))
    assert written == [f"{name}/person-moving-left/predict.txt" for name in ("cam1.left", "cam1.right")]


def test_phrases_too_long_for_a_folder_are_refused_before_work_begins(dataset, tmp_path):
    """255 bytes are taken, 256 not, however few letters that are."""
    video, _ = _test_folder(dataset)
    given = ["refer.py", IKUN, f"--images={video / 'img1'}", f"--tracks={video / 'gt' / 'gt.txt'}"]
    just, over = ("x" * 255, "é" * 127, "红" * 85), ("x" * 256, "é" * 128, "红" * 86, "a man in red " * 20)
    ended = forked.run_all(
        [[*given, f"--out={tmp_path / str(n)}", f"--phrases=a man;{phrase}"] for n, phrase in enumerate(just + over)]
    )
    for phrase, done in zip(just, ended[:3], strict=True):  # what is said is about the model's tokens
        assert done.returncode == 1 and "tokens" in done.stderr and done.stderr.count("\n") == 1, (phrase, done.stderr)
    for phrase, done in zip(over, ended[3:], strict=True):
        assert done.returncode == 1 and done.stderr.count("\n") == 1, (phrase, done.stderr)
        assert phrase[:60] in done.stderr and "disks take 255: shorten it" in done.stderr


def test_evaluate(checkpoint, dataset, tmp_path):
    run = [IKUN, f"--checkpoint={checkpoint}", f"--benchmark=refer_dance:{dataset}", f"--out={tmp_path}"]
    run += [f"--config.data.vocabulary={dataset / 'merges.txt'}", "--tracks=truth", "--config.tracking.threshold=-2.0"]
    result = forked.run("refer.py", *run)
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "results.json").read_text())
    assert "ikun" in (tmp_path / "report.html").read_text()
    pairs = (tmp_path / "seqmap.txt").read_text().splitlines()
    assert sorted(written["phrases"]) == sorted(pairs)
    # All true boxes for every phrase: all that is meant is found, where it is.
    assert written["combined"]["DetRe"] == 1 and 0 < written["combined"]["DetPr"] < 1
    assert written["combined"] == phrase_results.score(tmp_path).combined
    # The same numbers where single-object results have theirs, and by the command that judges tracks.
    (entry,) = written["trackers"].values()
    judged = mot.score(tmp_path, tmp_path, tmp_path / "seqmap.txt", preprocessing="none")
    assert entry["scores"]["trackeval"]["overall"] == judged["COMBINED"]
    rows = entry["speed"]["rows"]
    assert entry["speed"]["rows_per_second"] > 0 and f"{rows}/{rows}" in result.stderr and "row/s" in result.stderr
    assert f"{rows} rows, pairs of a clip and a phrase, in 2 videos" in result.stdout
    # The ground truth is that of the set's own writer.
    for pair in pairs[:5]:
        video, phrase = pair.split("+")
        ours, theirs = (
            mot_files.read(root / video / phrase / "gt.txt") for root in (tmp_path, dataset / "gt_template")
        )
        keys = [sorted(zip(tracks.frames.tolist(), tracks.ids.tolist(), strict=True)) for tracks in (ours, theirs)]
        assert keys[0] == keys[1]
    # The old entrance goes on in the same folder, as after a kill: one video is finished there.
    video = pairs[0].split("+")[0]
    kept, unfinished = np.load(tmp_path / video / "similarity.npz")["similarity"], tmp_path / video / "similarity.npz"
    unfinished.unlink()
    again = forked.run("eval.py", *run, "--convention=published")
    assert again.returncode == 0 and again.stdout.count("is finished in") == 1, again.stderr
    np.testing.assert_array_equal(np.load(unfinished)["similarity"], kept)


def test_a_frame_that_cannot_be_read_ends_its_own_video_only(checkpoint, dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "set")
    first, second = sorted(folder.name for folder in (tmp_path / "set" / "val").iterdir())
    frame = sorted((tmp_path / "set" / "val" / first / "img1").iterdir())[4]
    frame.write_bytes(b"")
    run = [IKUN, f"--checkpoint={checkpoint}", f"--benchmark=refer_dance:{tmp_path / 'set'}"]
    done = forked.run("refer.py", *run, f"--out={tmp_path / 'out'}", "--tracks=truth")
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and f"image {frame} is cut short" in line and "--sequences" in line
    assert [(tmp_path / "out" / name / "similarity.npz").exists() for name in (first, second)] == [False, True]


def test_smooth(tmp_path_factory, dataset, tmp_path):
    folder = _checkpoint(tmp_path_factory, neural_kalman.get_config("tiny"))
    video, _ = _test_folder(dataset)
    run = ["--config=configs/neural_kalman.py:tiny", f"--checkpoint={folder}", f"--out={tmp_path}"]
    for program in ("track.py", "refer.py"):
        result = forked.run(program, *run, f"--tracks={video / 'gt' / 'gt.txt'}")
        assert result.returncode == 0, result.stderr
    given, smoothed = mot_files.read(video / "gt" / "gt.txt"), mot_files.read(tmp_path / "tracks.txt")
    assert smoothed.frames.tolist() == given.frames.tolist()


def test_phrases_and_vocabulary_that_cannot_be_used(dataset, tmp_path):
    config = ikun.get_config("tiny")
    assert wording.tokens(config, ["person moving left"]).shape == (1, 12)
    with pytest.raises(InputError, match="has 42 tokens, the model takes 12: shorten it"):
        wording.tokens(config, ["person " * 40])
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.data.vocabulary = str(tmp_path / "absent")
    with pytest.raises(InputError, match="absent does not exist"):
        wording.tokens(config, ["person"])
    with config.unlocked():
        config.data.vocabulary, config.model.transformer.vocabulary = str(dataset / "merges.txt"), 99
    with pytest.raises(InputError, match="model.transformer.vocabulary is 99"):
        wording.tokens(config, ["person"])
    with pytest.raises(InputError, match="config.data.vocabulary is not set"):
        wording.tokens(ikun.get_config("none"), ["person"])


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        (["--sequences=absent"], 2, "the benchmark has no 'absent'; it has synthetic0002"),
        (["--checkpoint=absent"], 1, "checkpoint absent does not exist"),
    ],
)
def test_unknown_videos_and_weights_are_one_line(dataset, checkpoint, tmp_path, arguments, code, says):
    run = [IKUN, f"--checkpoint={checkpoint}", f"--benchmark=refer_dance:{dataset}", f"--out={tmp_path}"]
    result = forked.run("refer.py", *run, "--tracks=truth", *arguments)
    assert result.returncode == code and says in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_benchmark_and_a_video_at_once_are_refused(tmp_path):
    result = forked.run("refer.py", IKUN, f"--out={tmp_path}", "--benchmark=refer_dance:absent", "--video=v.mp4")
    assert result.returncode == 2 and "leave out --video, --images and --phrases" in result.stderr


@pytest.mark.parametrize("program", ["train.py", "eval.py", "track.py", "refer.py", "plan.py"])
def test_help_is_complete(program):
    result = forked.run(program, "--help")
    assert result.returncode == 0 and "--config" in result.stdout
    if program in ("eval.py", "track.py", "refer.py"):
        assert "--checkpoint" in result.stdout and "--tracks" in result.stdout and "--out" in result.stdout


@pytest.mark.parametrize("benchmark", [[], ["--benchmark=refer_dance:absent"]])
def test_a_tracker_of_one_object_is_refused(tmp_path, benchmark):
    result = forked.run("refer.py", f"--out={tmp_path}", "--tracks=truth", *benchmark)
    assert result.returncode == 2 and "for one object take track.py and eval.py" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_benchmarks_and_tracks_that_are_not_there(dataset, tmp_path):
    config = ikun.get_config("tiny")
    for spec in ("lasot:/data", "refer_kitti", "synthetic_referring:/data"):
        with pytest.raises(UsageError, match="for tracking with words it is refer_kitti:FOLDER"):
            wording.open_benchmark(config, spec)
    with pytest.raises(InputError, match="no tracks of video v: expected"):
        wording.read_tracks(tmp_path, "v")


def test_tracks_of_a_tracker(dataset, tmp_path):
    """One file a video, a MOT folder, or cars and pedestrians apart, counted from 0."""
    video, name = _test_folder(dataset)
    whole = wording.read_tracks(dataset / "val", name)
    mot_files.write(tmp_path / f"{name}.txt", whole)
    assert len(wording.read_tracks(tmp_path, name)) == len(whole) > 0
    for kind, rows in (("car", whole.ids % 2 == 0), ("pedestrian", whole.ids % 2 == 1)):
        mot_files.write(tmp_path / "v" / kind / "predict.txt", mot_files.renumber(whole.select(rows), -1))
    apart = wording.read_tracks(tmp_path, "v", first_frame=0)
    assert len(apart) == len(whole) and apart.frames.min() == whole.frames.min() == 1
    # The video has 10 frames; a line of a frame that it has not is named before anything is tracked.
    last = int(whole.frames.max())
    for first, length, said in (
        (1, last - 1, "is after the last of the video"),
        (2, 10, "is before the first frame, 2"),
    ):
        with pytest.raises(InputError, match=rf"{name}.txt line [0-9]+: frame [0-9]+ {said}"):
            wording.read_tracks(tmp_path, name, first, length)


def test_frequencies_and_calibration(dataset, tmp_path):
    """Shares of meant boxes; a phrase of the training set gets its own share (tau is large), others what is near."""
    config = ikun.get_config("tiny").copy_and_resolve_references()
    _, videos = wording.open_benchmark(config, f"refer_dance:{dataset}", "train")
    shares = wording.frequencies(videos)
    assert sum(shares.values()) == pytest.approx(1) and len(shares) > 1
    small = {"vocabulary": 596, "length": 16, "width": 32, "depth": 2, "heads": 2}
    with config.unlocked():
        config.calibration.model.update({"transformer": small, "features": 32, "scan_layers": False})
    model = trackers.build(config.calibration.model)
    weights.save(tmp_path, trackers.init(model, jax.random.key(0)), config.calibration.model)
    known = max(shares, key=shares.get)
    shift = wording.calibration_shift(config, tmp_path, videos, [known, "person moving left"])
    assert shift.shape == (2,) and np.isfinite(shift).all()
    low, high = (8 * edge(shares.values()) - 0.1 for edge in (min, max))
    assert (low - 1e-9 <= shift).all() and (shift <= high + 1e-9).all()


def test_a_users_phrase_is_read_as_the_data_sets_are():
    assert wording.sentence("  light color vehicles in the left ") == "light-color car in the left"
    assert wording.sentence("two persons") == phrase_annotations.convert("two-persons") == "two pedestrian"
