"""Output paths: refused in one line before work begins, and files that are there whole or not at all."""

import os
import resource
import subprocess
import sys

import pytest

from data_pipelines import annotations
from tests import forked, programs
from trackers.errors import InputError
from trackers.io import outputs, ownership

TINY = "--config=configs/grm.py:tiny"
WORDS = "--config=configs/ikun.py:tiny"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with inputs: sequences of a benchmark, a video, a tracks file, and a file where a folder is meant."""
    from tests.data_pipelines import layouts

    folder = tmp_path_factory.mktemp("outputs")
    layouts.frames(folder / "frames")
    (folder / "tracks.txt").write_text("1,1,1,1,20,20,1,-1,-1,-1\n")
    (folder / "file").write_text("")
    results = folder / "results" / "v" / "p"
    results.mkdir(parents=True)
    for name in ("gt.txt", "predict.txt"):
        (results / name).write_text("1,1,1,1,20,20,1,1,1\n")
    return folder


def _lines(place):
    """(program, arguments, flag of the output, whether it is a file) of every program that writes."""
    frames, images = place / "frames", f"--images={place / 'frames' / 'first'}"
    words = ["--phrases=a man", f"--tracks={place / 'tracks.txt'}", images]
    yield "eval.py", [TINY, f"--benchmark=frames:{frames}"], "out", False
    yield "eval.py", [TINY, f"--benchmark=frames:{frames}", "--starts=1"], "out", False
    yield "track.py", [TINY, images, "--box=1,1,20,20"], "out", False
    yield "track.py", [TINY, images, "--box=1,1,20,20", "--no-draw", "--attention=1"], "out", False
    yield "refer.py", [WORDS, *words], "out", False
    yield "refer.py", ["--config=configs/neural_kalman.py", f"--tracks={place / 'tracks.txt'}"], "out", False
    yield "refer.py", [WORDS, "--benchmark=synthetic_referring", "--tracks=truth"], "out", False
    yield "train.py", [TINY], "workdir", False
    yield "plan.py", [TINY, "--sweep=cpu:1"], "out", False
    yield "trackers.convert", [TINY, f"--checkpoint={place / 'tracks.txt'}"], "out", False
    yield "trackers.export", [TINY], "to", False
    yield "trackers.specialise", [TINY, f"--benchmark=frames:{frames}"], "out", False
    yield "trackers.evaluation", [f"--results={place / 'results'}"], "out", False
    yield "data_pipelines", ["sheet", TINY], "out", True
    yield "data_pipelines", ["synthetic"], "out", False
    yield "data_pipelines", ["shards", f"--source=frames:{frames}"], "out", False
    yield "data_pipelines", ["tfds", f"--source=frames:{frames}"], "out", False
    yield "data_pipelines", ["referring"], "out", False


def test_every_program_refuses_an_output_that_cannot_be_written(place):
    """Below a file, a file for a folder (or the reverse), names too long: one line each, exit code 1, nothing done."""
    given, failed = [], []
    for program, arguments, flag, file in _lines(place):
        wrong = [place / "file" / "below"] + ([place / "frames"] if file else [place / "file"])
        wrong = wrong if program == "data_pipelines" else wrong[-1:]
        for out in wrong:
            given.append((out, [program, *arguments, f"--{flag}={out}"]))
    for (out, words), done in zip(given, forked.run_all([words for _, words in given]), strict=True):
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        if done.returncode != 1 or len(lines) != 1 or "Traceback" in done.stderr or str(out) not in lines[0]:
            failed.append((words, done.returncode, done.stderr[-600:]))
    assert not failed, failed


def test_every_program_that_goes_on_writing_refuses_a_folder_that_another_owns(place, tmp_path):
    """Two at once would replace each other's files: one line that names the owner, and nothing is written."""
    many = ("eval.py", "track.py", "refer.py", "train.py", "trackers.convert", "trackers.export", "trackers.specialise")
    sets = {"synthetic", "shards", "tfds", "referring"}
    given = [line for line in _lines(place) if line[0] in many or sets & {*line[1]}]
    with ownership.hold(tmp_path), ownership.hold(tmp_path / "sot_frames"), ownership.hold(tmp_path / "train"):
        ended = forked.run_all([[program, *words, f"--{flag}={tmp_path}"] for program, words, flag, _ in given])
        left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    for done in ended:
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert done.returncode == 1 and len(lines) == 1 and f"process {os.getpid()} on" in lines[0], (done, lines)
    assert left == {ownership.FILE}


@pytest.mark.parametrize("claim", [outputs.claim_folder, outputs.claim_file])
@pytest.mark.parametrize("name", ["file/below", "ä" * 140, "/proc/nothing/here"])
def test_a_claim_names_flag_path_and_remedy(place, claim, name):
    with pytest.raises(InputError, match=r"^--out .* cannot be .*: "):
        claim(place / name)


def test_a_link_to_nothing_is_not_called_a_file_alone(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    for claim, path in ((outputs.claim_folder, "link"), (outputs.claim_file, "link/x.png")):
        with pytest.raises(InputError, match="a file, or a link to nothing, stands where a folder is meant"):
            claim(tmp_path / path)


def test_a_claim_leaves_nothing_behind(tmp_path):
    outputs.claim_folder(tmp_path / "a" / "b")
    outputs.claim_file(tmp_path / "c.png")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b"]
    with pytest.raises(InputError, match="is a folder: name a file in it"):
        outputs.claim_file(tmp_path / "a")


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path):
    (tmp_path / "kept").write_text("old")
    program = (
        "import sys; from trackers import errors; from trackers.io import outputs\n"
        "errors.run(lambda _: outputs.write_bytes(sys.argv[1], bytes(10**5)), sys.argv[:1])"
    )

    def little():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "kept")],
        cwd=programs.ROOT, env=programs.environ(PYTHONDONTWRITEBYTECODE="1"), preexec_fn=little, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith(f"error: {tmp_path / 'kept'} cannot be written: ") and done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["kept"] and (tmp_path / "kept").read_text() == "old"


def test_a_set_that_was_not_written_to_its_end_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt), outputs.unfinished(tmp_path):
        raise KeyboardInterrupt
    with pytest.raises(InputError, match="was not written to its end"):
        annotations.folder(tmp_path, "frames", "SEQUENCE")
    with outputs.unfinished(tmp_path):
        pass
    assert annotations.folder(tmp_path, "frames", "SEQUENCE")


def test_names_of_folders_keep_what_looks_like_an_ending(tmp_path):
    for name in ("cam1.left", "cam1.right"):
        (tmp_path / name).mkdir()
    (tmp_path / "cam1.mp4").write_bytes(b"")
    names = [outputs.name_of(tmp_path / name) for name in ("cam1.left", "cam1.right", "cam1.mp4")]
    assert names == ["cam1.left", "cam1.right", "cam1"]


def test_names_that_would_write_one_file_are_refused():
    outputs.check_distinct({"a": ["a.txt", "a_time.txt"], "b": ["b.txt"]})
    with pytest.raises(InputError, match="'a' and 'a_time' would both write a_time.txt"):
        outputs.check_distinct({"a": ["a.txt", "a_time.txt"], "a_time": ["a_time.txt"]})
