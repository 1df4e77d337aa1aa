"""Results that servers accept, for tiny made-up data sets: {kind: (files {name: text}, benchmark NAME:PATH)}."""

import numpy as np

from tests.data_pipelines import benchmark_layouts as made
from tests.data_pipelines import layouts
from trackers.evaluation import submission

FRAMES = 6


def _text(boxes, number="%.3f"):
    return "".join(",".join(number % value for value in box) + "\n" for box in boxes)


def _moved(first, frames):
    """Boxes (frames, 4) that begin with `first` and are no whole pixels."""
    return np.array(first) + 0.125 * np.arange(frames)[:, None] * [1, 1, 0, 0]


def _mot(ids, frames):
    return "".join(
        f"{t},{one},{10 + t}.25,8.00,14.00,12.00,0.9,-1,-1,-1\n" for t in range(1, frames + 1) for one in ids
    )


def got10k(root):
    layouts.got10k(root, "test", ("GOT-10k_Test_000001", "GOT-10k_Test_000002"), FRAMES)
    files = {}
    for name in ("GOT-10k_Test_000001", "GOT-10k_Test_000002"):
        files[f"{name}/{name}_001.txt"] = _text(_moved(layouts.boxes(1)[0], FRAMES))
        files[f"{name}/{name}_time.txt"] = "0.10000000\n" * FRAMES
    return files, f"got10k:{root / 'test'}"


def trackingnet(root):
    for name, seed in (("ddd", 0), ("-e_0", 1)):
        layouts.write_frames(root / "TEST" / "frames" / name, FRAMES, "{}.jpg", 0, seed)
        layouts.write_boxes(root / "TEST" / "anno" / f"{name}.txt", layouts.boxes(1))
    boxes = _moved(layouts.boxes(1)[0], FRAMES)
    return {f"{name}.txt": _text(boxes, "%.2f") for name in ("ddd", "-e_0")}, f"trackingnet:{root}"


def lasot(root):
    made.lasot(root, FRAMES)
    boxes = _moved(made.whole(1)[0], FRAMES)
    files = {f"grm_tracking_result/{name}.txt": _text(boxes) for name in ("monkey-17", "tiger-6")}
    return files, f"lasot:{root}"


def vot(root):
    made.vot(root, FRAMES)
    run = "1\n" + _text(_moved([10, 8, 14, 12], FRAMES - 1))
    files = {"manifest.yml": "identifier: grm\nstack: tests/basic\ntimestamp: now\ntoolkit: null\n"}
    for sequence, names in (
        ("ants1", ("ants1_001", "ants1_00000000", "ants1_00000002")),
        ("bag2013", ("bag2013_001",)),
        ("cat-vots", ("cat-vots_1_001", "cat-vots_2_001")),
    ):
        for name in names:
            lines = run.splitlines(keepends=True)[: FRAMES - 2 if name.endswith("2") else FRAMES]
            files[f"baseline/{sequence}/{name}.txt"] = "".join(lines)
            files[f"baseline/{sequence}/{name}_time.value"] = "0.1\n" * len(lines)
    return files, f"vot:{root}"


def mot(root):
    for name in ("MOT17-01-FRCNN", "MOT17-03-FRCNN"):
        (root / name / "img1").mkdir(parents=True)
        (root / name / "seqinfo.ini").write_text(f"[Sequence]\nname={name}\nseqLength={FRAMES}\n")
    return {f"{name}.txt": _mot((1, 2), FRAMES) for name in ("MOT17-01-FRCNN", "MOT17-03-FRCNN")}, f"mot17:{root}"


def dancetrack(root):
    for name, seed in (("dancetrack0003", 0), ("dancetrack0009", 1)):
        layouts.write_frames(root / name / "img1", FRAMES, seed=seed)
    files = {f"tracker/{name}.txt": _mot((1, 2), FRAMES) for name in ("dancetrack0003", "dancetrack0009")}
    return files, f"dancetrack:{root}"


def rmot(root):
    layouts.refer_kitti(root, ("0005",), FRAMES)
    phrases = ("cars", "left-vehicles", "persons")
    files = {"seqmap.txt": "".join(f"0005+{phrase}\n" for phrase in phrases)}
    for phrase in phrases:
        files[f"0005/{phrase}/predict.txt"] = "" if phrase == "persons" else _mot((1,), FRAMES)
        files[f"0005/{phrase}/gt.txt"] = f"{FRAMES},1,4.00,3.00,10.00,13.00,1,1,1\n"
    return files, f"refer_kitti:{root}"


MADE = {
    "got10k": got10k,
    "trackingnet": trackingnet,
    "lasot": lasot,
    "vot": vot,
    "mot": mot,
    "dancetrack": dancetrack,
    "rmot": rmot,
}
assert set(MADE) == set(submission.CHECKS)
