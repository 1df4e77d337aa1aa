"""A disk that takes no more, through every program that writes: one line, and nothing half-written passes for whole."""

from pathlib import Path

import jax
import pytest

import trackers
from configs import grm, ikun
from tests import forked
from tests.data_pipelines import layouts
from trackers import weights
from trackers.evaluation import records

GRM, IKUN = "--config=configs/grm.py:tiny", "--config=configs/ikun.py:tiny"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of inputs: sequences, tracks, results, and weights of two models."""
    folder = tmp_path_factory.mktemp("full")
    layouts.frames(folder / "frames")
    (folder / "tracks.txt").write_text("1,1,1,1,20,20,1,-1,-1,-1\n")
    (folder / "results" / "v" / "p").mkdir(parents=True)
    for name in ("gt.txt", "predict.txt"):
        (folder / "results" / "v" / "p" / name).write_text("1,1,1,1,20,20,1,1,1\n")
    for name in ("first", "second"):
        layouts.write_boxes(folder / "boxes" / f"{name}.txt", layouts.boxes())
    for name, family in (("grm", grm), ("ikun", ikun)):
        model = family.get_config("tiny").model
        weights.save(folder / name, trackers.init(trackers.build(model), jax.random.key(0)), model)
    return folder


def _lines(place):
    """(bytes that a file may have, the file that is named, what then lies there whole, program and arguments)."""
    frames, first, out = f"frames:{place}/frames", f"--images={place}/frames/first", f"--out={place}"
    one = [GRM, f"--checkpoint={place}/grm", first, "--box=1,1,20,20"]
    words = [IKUN, f"--checkpoint={place}/ikun", first, f"--tracks={place}/tracks.txt", "--phrases=man"]
    few = ["--train_videos=1", "--test_videos=1", "--length=2"]
    yield 1000, "config.json", [], ["train.py", GRM, f"--workdir={place}/train", "--max_steps=1"]
    evaluated = [GRM, f"--checkpoint={place}/grm", f"--benchmark={frames}", "--sequences=first"]
    yield 400, "first.txt", ["first_time.txt"], ["eval.py", *evaluated, f"{out}/eval"]
    yield 400, "boxes.csv", ["boxes.csv"], ["track.py", *one, f"{out}/track", "--no-draw"]
    yield 1500, "tracked.mp4", ["boxes.csv"], ["track.py", *one, f"{out}/drawn"]
    yield 600, "similarity.npz", [], ["refer.py", *words, f"{out}/refer"]
    yield 600, "00000001.jpg", ["UNFINISHED"], ["data_pipelines", "synthetic", f"{out}/synthetic"]
    yield 600, "000001.jpg", ["UNFINISHED"], ["data_pipelines", "referring", *few, f"{out}/referring"]
    yield 600, "train", [], ["data_pipelines", "shards", f"--source={frames}", f"{out}/shards"]
    yield 600, "sot_frames", [], ["data_pipelines", "tfds", f"--source={frames}", f"{out}/tfds"]
    yield 600, "sheet.png", [], ["data_pipelines", "sheet", GRM, "--pairs=2", f"{out}/sheet.png"]
    yield (
        9000,
        "weights.safetensors",
        ["config.json"],
        ["trackers.convert", GRM, f"--checkpoint={place}/grm", f"{out}/w"],
    )
    yield 100, "table.md", [], ["trackers.evaluation", f"--results={place}/results", f"{out}/scores"]
    boxes = f"--results={place}/boxes"
    yield 100, "rules.md", [], ["trackers.evaluation.rules", boxes, f"--benchmark={frames}", f"{out}/rules"]
    yield 100, "r.zip", [], ["trackers.evaluation.servers", "--kind=trackingnet", boxes, f"{out}/packed/r.zip"]


@pytest.fixture(scope="module")
def ended(place):
    """{the program's last argument: its finished process}, of _lines."""
    lines = list(_lines(place))
    done = forked.run_all([words for *_, words in lines], [size for size, *_ in lines])
    return list(zip(lines, done, strict=True))


def test_every_program_says_so_in_one_line(ended):
    for (_, named, _, words), done in ended:
        said = [line for line in done.stderr.splitlines() if "error: " in line]
        assert done.returncode == 1 and len(said) == 1 and "Traceback" not in done.stderr, (words, done.stderr[-2000:])
        assert named in said[0] and said[0].startswith("error: "), (words, said)


def test_what_was_half_written_is_not_taken_for_whole(ended, place):
    kept = ("boxes.csv", "config.json", "first_time.txt", "UNFINISHED")
    assert not list(place.rglob("*.part")) and not list(place.rglob("tracked.mp4"))
    assert records.Records(place / "eval", "frames", "grm", run=None).finished("first", 24) is None
    for (_, _, whole, words), _ in ended:
        folder = next(word for word in words if word.startswith(("--out=", "--workdir="))).partition("=")[2]
        assert sorted(file.name for file in Path(folder).rglob("*") if file.name in kept) == sorted(whole), words
    readers = [
        ["data_pipelines", "check", f"--source=frames:{place}/synthetic"],
        ["data_pipelines", "check", f"--source=refer_dance:{place}/referring"],
        ["data_pipelines", "check", f"--source=shards:{place}/shards"],
        ["trackers.convert", GRM, f"--checkpoint={place}/converted", f"--out={place}/again"],
    ]
    for words, done in zip(readers, forked.run_all(readers), strict=True):
        said = (done.stdout + done.stderr).partition("expected layout:")[0]
        assert done.returncode == 1 and said.count("\n") == 1, (words, said)
