import functools
import textwrap
import time

import cv2
import pytest

from data_pipelines import sources
from tests import forked, programs
from tests.data_pipelines import benchmark_layouts, layouts

run = functools.partial(forked.run, "data_pipelines")


def test_check_reports_a_good_source(tmp_path):
    done = run("check", "--source", f"frames:{layouts.frames(tmp_path)}", "--decode=all")
    assert done.returncode == 0, done.stderr
    summary, layout = done.stdout.split("\n", 1)
    assert summary == "frames: 2 sequences, 48 frames, 2 sequences usable for training, 0 broken"
    assert layout.startswith("expected layout:\n    ROOT/SEQUENCE/{00000001.jpg ..., groundtruth.txt}\n")


def test_check_shows_the_published_sizes_and_the_first_bad_line(tmp_path):
    done = run("check", "--source", f"otb:{benchmark_layouts.otb(tmp_path / 'otb')}", "--split=test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "otb: 7 sequences, " in done.stdout and ", 0 broken\n" in done.stdout
    assert "test split: 7 sequences here; published: test 100\n" in done.stdout
    assert textwrap.indent(sources.tree("otb"), "    ") in done.stdout
    truth = benchmark_layouts.lasot(tmp_path / "lasot") / "tiger" / "tiger-6" / "groundtruth.txt"
    truth.write_text("1,2,3,4\n1,2,3,4,x\n")
    done = run("check", "--source", f"lasot:{tmp_path / 'lasot'},origin=zero", "--split=test")
    assert done.returncode == 1 and "lasot: 2 sequences, " in done.stdout and ", 1 broken\n" in done.stdout
    assert "test split: 2 sequences here; published: train 1120, test 280\n" in done.stdout
    assert f"problem: {truth}:2: '1" in done.stdout


def test_check_names_the_first_problem(tmp_path):
    layouts.frames(tmp_path, ("a", "b", "c"))
    image = tmp_path / "b" / "00000001.jpg"
    image.write_bytes(image.read_bytes()[:-50])
    (tmp_path / "c" / "00000002.jpg").unlink()
    done = run("check", "--source", f"frames:{tmp_path}")
    assert done.returncode == 1
    assert "3 sequences, 24 frames, 1 sequence usable for training, 2 broken" in done.stdout
    assert f"problem: image {image} is cut short" in done.stdout


def test_check_counts_images_damaged_inside(tmp_path):
    layouts.frames(tmp_path, ("a", "b"))
    damaged = [tmp_path / "b" / f"0000000{i}.jpg" for i in (2, 5)]
    for path in damaged:
        data = bytearray(cv2.imencode(".jpg", cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes())
        data[-len(data) // 3 : -40] = b"\x5a" * len(data[-len(data) // 3 : -40])
        path.write_bytes(data)
    done = run("check", "--source", f"frames:{tmp_path}", "--decode=all")
    assert done.returncode == 1
    assert "2 sequences, 24 frames, 1 sequence usable for training, 1 broken (2 images)" in done.stdout
    assert f"problem: image {damaged[0]} is damaged inside (Corrupt JPEG data" in done.stdout
    assert "Corrupt" not in done.stderr


def test_check_of_a_config(tmp_path):
    layouts.got10k(tmp_path)
    config = ["--config=configs/grm.py:b256_got10k"]
    done = run("check", *config, f"--config.data.got10k={tmp_path}")
    assert done.returncode == 0 and done.stdout.startswith("got10k: 2 sequences, 48 frames"), done.stdout + done.stderr
    done = run("check", *config)
    assert done.returncode == 1 and "--config.data.got10k=FOLDER" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: command '': use check, sheet, synthetic"),
        (["inspect"], "error: command 'inspect': use check, sheet, synthetic"),
        (["check"], "error: check: give either --source=LAYOUT:FOLDER or --config=FILE"),
        (["check", "--source=/data"], "error: --source=/data: write LAYOUT:FOLDER"),
        (["check", "--config=configs/grm.py:tiny", "--config.data.lasott=/x"], "error: "),
        (["sheet", "--config=configs/grm.py:tiny"], "error: sheet: give --config=FILE and --out=PNG"),
        (["sheet", "--config=configs/grm.py:tiny", "--out=x.png", "--split=val"], "error: --split=val: for a sheet it"),
        (["check", "--config=configs/grm.py:b256", "--split=val"], "error: --split=val: with --config it is train or"),
        (["synthetic"], "error: synthetic: give --out=FOLDER"),
        (["check", "--nonsense"], "error: "),
        (["referring"], "error: referring: give --out=FOLDER"),
        (["sheet", "--config=configs/grm.py:tiny", "--out=x.jpg"], "error: --out=x.jpg: the picture is a PNG: give a"),
        (["phrases", "--out=x.png"], "error: phrases: give --source=LAYOUT:FOLDER and --out=PNG"),
        (["examples", "--source=refer_kitti:/x"], "error: examples: give --source=LAYOUT:FOLDER and --out=PNG"),
        (
            ["phrases", "--out=x.png", "--source=lasot:/x"],
            "error: --source=lasot:/x: write LAYOUT:FOLDER, LAYOUT one of",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1


def test_missing_root_is_one_line():
    done = run("check", "--source=lasot:/nowhere/LaSOT")
    assert done.returncode == 1
    problem, heading, layout, *_ = done.stdout.splitlines()
    assert problem.startswith("problem: lasot: /nowhere/LaSOT is not a folder; expected")
    assert heading == "expected layout:" and layout.startswith("    ROOT/CATEGORY/SEQUENCE/")


def test_help_lists_the_commands():
    done = run("--help")
    assert done.returncode == 0 and "check  parses every sequence" in done.stdout


def test_sheet_of_a_data_set(tmp_path):
    layouts.frames(tmp_path / "f")
    ratio = ["--config.data.ratio.synthetic=0", "--config.data.ratio.frames=1"]
    out = tmp_path / "sheet.png"
    done = run("sheet", "--config=configs/grm.py:tiny", *ratio, f"--config.data.frames={tmp_path / 'f'}", "--out", out)
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(out)).shape == (2 * (32 + 4 + 64 + 4) + 4, 8 * (64 + 4) + 4, 3)


def test_check_of_a_referring_set(tmp_path):
    done = run("check", "--source", f"refer_kitti:{layouts.refer_kitti(tmp_path)}", "--decode=all")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "refer_kitti: 1 sequence, 24 frames, 2 objects usable for training, 0 broken"
    assert lines[-1] == "refer_kitti: differs from the training split of version 1: videos: 1 instead of 15"
    (tmp_path / "expression" / "0005" / "cars.json").write_text("{")
    done = run("check", "--source", f"refer_kitti:{tmp_path}", "--split=test")
    assert done.returncode == 1 and "cars.json:1: not JSON" in done.stdout


def test_referring_set_is_written_and_its_phrases_drawn(tmp_path):
    sizes = ["--train_videos=1", "--test_videos=1", "--length=10"]
    config = ["--config=configs/ikun.py:tiny"]
    config += [f"--config.data.synthetic_referring.{name}=64" for name in ("height", "width")]
    done = run("referring", "--out", tmp_path / "set", *sizes, *config)
    assert done.returncode == 0 and done.stdout.startswith("1 + 1 videos of 10 frames in "), done.stderr
    name = "synthetic0002"
    assert cv2.imread(str(tmp_path / "set" / "val" / name / "img1" / "00000010.jpg")).shape == (64, 64, 3)
    done = run("phrases", "--source", f"refer_dance:{tmp_path / 'set'}", "--out", tmp_path / "tail.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "refer_dance: 45 phrases to train, 17 to test, 9 of them new\n"
    assert cv2.imread(str(tmp_path / "tail.png")) is not None
    shown = ["--source", f"refer_dance:{tmp_path / 'set'}", "--pairs=2", "--out", tmp_path / "examples.png"]
    done = run("examples", *shown)
    assert done.returncode == 0 and done.stdout.startswith("2 phrases in "), done.stderr
    assert cv2.imread(str(tmp_path / "examples.png")).shape == (2 * 480, 3 * 480, 3)


def test_a_referring_set_killed_midway_does_not_pass(tmp_path):
    writing = programs.start("data_pipelines", "referring", "--out", tmp_path / "set", "--train_videos=200")
    while writing.poll() is None and len(list(tmp_path.glob("set/expression/*/*.json"))) < 4:
        time.sleep(0.05)
    writing.kill()
    programs.finish(writing)
    done = run("check", "--source", f"refer_dance:{tmp_path / 'set'}")
    assert done.returncode == 1 and "was not written to its end: wait" in done.stdout, done.stdout + done.stderr
