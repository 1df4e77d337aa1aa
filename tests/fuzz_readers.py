"""Every reader with a small valid input of it, and what must hold where it accepts a damaged one."""

import dataclasses
import gzip
import json
import re
from collections.abc import Callable

import cv2
import numpy as np

import plan
import refer
import trackers
from configs import grm
from data_pipelines import annotations, phrase_annotations, regions, sources, text
from data_pipelines.sources import nfs, videos
from tests import fuzz_shards
from tests.convert import torch_files
from tests.data_pipelines import benchmark_layouts, layouts
from trackers.convert import reader as checkpoints
from trackers.errors import InputError
from trackers.evaluation import compare, exports, hota, phrase_results, records, result_folders, scores
from trackers.io import digests, image_files, mot_files, ownership, plain_text, video_files
from trackers.training import checkpoints as run_checkpoints
from trackers.training import identity, metrics

LARGEST = 2**24
_FRAMES = 6
_IMAGES = ("jpg", "png", "bmp")
_CELL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?[nN][aA][nN]")


@dataclasses.dataclass(frozen=True)
class Reader:
    """make: function of a folder -> (file to damage, function that reads it). kind: as fuzz_mutations.mutate takes it.

    wrong: function of (result, bytes of the file) -> what is wrong with a result, None where nothing is.
    named: text in a refusal that names the file; None: the file's own name.
    """

    make: Callable
    kind: str = "text"
    wrong: Callable = lambda result, data: None
    named: str | None = None


def _decoded(data):
    return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _rows(data, columns):
    """Rows of numbers by a second, strict reading. Raises: AssertionError where a cell is no number."""
    rows = []
    for line in _decoded(data).rstrip().splitlines():
        between = "[ \t]*[,;][ \t]*" if re.search("[,;]", line) else "[ \t]+"
        cells = re.split(between, re.sub("[,;]?[ \t]*$", "", line).lstrip(" \t"))[:columns] if line.strip() else []
        assert all(_CELL.fullmatch(cell) for cell in cells), f"{line[:60]!r} was taken for numbers"
        rows.append([float(cell) for cell in cells])
    return rows


def _check(test, words):
    return None if test else words


def _boxes(folder):
    file = folder / "groundtruth.txt"
    layouts.write_boxes(file, layouts.boxes(_FRAMES))
    return file, lambda: annotations.read_boxes(file)


def _wrong_boxes(boxes, data):
    if np.isinf(boxes).any() or (np.abs(boxes) > LARGEST).any():
        return "a box that no image has"
    return _check(np.array_equal(boxes, _rows(data, 9), equal_nan=True), "other boxes than the file's")


def _flags(folder):
    file = folder / "absence.label"
    layouts.write_flags(file, [0, 1, 0, 8, 8, 10])
    return file, lambda: annotations.read_flags(file, _FRAMES)


def _wrong_flags(flags, data):
    cells = _decoded(data).replace(",", " ").split()
    return _check(all(re.fullmatch("[+-]?[0-9]+", cell) for cell in cells), "flags that are no whole numbers")


def _names(folder):
    layouts.got10k(folder, length=3)
    return folder / "train" / "list.txt", lambda: [s.name for s in sources.open_source("got10k", folder)]


def _tracks(folder):
    file = folder / "tracks.txt"
    rows = [f"{t},{i},{10 + t},{20 + i},30.5,40,0.9,1,1" for t in range(1, _FRAMES) for i in (1, 2)]
    file.write_text("\n".join(rows) + "\n")
    return file, lambda: mot_files.read(file)


def _wrong_tracks(tracks, data):
    rows = [row for row in _rows(data, 8) if row]
    numbers = [tracks.boxes, tracks.confidence]
    if not all(np.isfinite(array).all() for array in numbers) or (np.abs(tracks.boxes) > LARGEST).any():
        return "a box or a confidence that is not finite"
    if len(rows) != len(tracks):
        return f"{len(tracks)} rows of {len(rows)}"
    rows.sort(key=lambda row: row[0])
    return _check(np.array_equal(tracks.boxes, [row[2:6] for row in rows]), "other boxes than the file's")


def _labels(folder):
    file = folder / "000001.txt"
    file.write_text("0 1 0.1 0.2 0.3 0.4\n0 2 0.5 0.25 0.125 0.0625\n")
    return file, lambda: phrase_annotations.read_label_folder(folder, {1: 1}, (100, 200))


def _wrong_labels(tracks, data):
    _rows(data, 6)
    return _check(np.isfinite(tracks.boxes).all() and (np.abs(tracks.boxes) <= 400).all(), "a box outside")


def _phrase(folder):
    file = folder / "red-cars.json"
    file.write_text(json.dumps({"label": {"1": [3, 12], "2": [3]}, "sentence": "red cars", "ignore": []}, indent=1))
    return file, lambda: phrase_annotations.read_phrases(folder, {1: 1, 2: 2})


def _loads(data):
    """JSON as Python reads it, and whether an object has a key twice."""
    twice = []

    def pairs(items):
        twice.append(len(dict(items)) != len(items))
        return dict(items)

    return json.loads(_decoded(data), object_pairs_hook=pairs), any(twice)


def _wrong_phrase(phrases, data):
    content, twice = _loads(data)
    ids = [track for tracks in content["label"].values() for track in tracks]
    if twice or not all(type(track) is int for track in ids) or not isinstance(content["sentence"], str):
        return "an id that is no whole number, or a key twice"
    return _check(all(re.fullmatch("[+-]?[0-9]+", key) for key in content["label"]), "a frame that is no number")


def _coco(folder):
    layouts.coco(folder)
    file = folder / "annotations" / "instances_train2017.json"
    return file, lambda: [(s.name, str(s.frames[0]), s.boxes.tolist()) for s in sources.open_source("coco", folder)]


def _wrong_coco(objects, data):
    content, twice = _loads(data)
    numbers = [a[key] for a in content["annotations"] if not a.get("iscrowd") for key in ("id", "image_id")]
    numbers += [image["id"] for image in content["images"]]
    if twice or not all(type(number) is int for number in numbers):
        return "an id that is no whole number, or a key twice"
    boxes = np.array([box for _, _, (box,) in objects])
    return _check(np.isfinite(boxes).all() and (np.abs(boxes) <= LARGEST).all(), "a box that no image has")


def _score(name):
    def make(folder):
        place = folder / "v" / "a-car"
        place.mkdir(parents=True)
        rows = "".join(f"{t},7,{60 + t},80,48,40,1,1,1\n" for t in range(1, _FRAMES))
        for file in ("gt.txt", "predict.txt"):
            (place / file).write_text(rows)
        (folder / "seqmap.txt").write_text("v+a-car\n")
        file = next(folder.rglob(name))
        return file, lambda: phrase_results.score(folder).combined

    return make


def _wrong_score(values, data):
    """MOTA has no least value, and counts have no largest."""
    fractions = (*hota.FIELDS, "IDF1", "IDR", "IDP")
    return _check(all(0 <= values[field] <= 1 for field in fractions), "a score outside 0..1")


def _merges(packed):
    def make(folder):
        file = folder / "merges.txt"
        lines = b"#version\nr e\nre d</w>\nc a\nca r</w>\nt h\n"
        file.write_bytes(gzip.compress(lines) if packed else lines)
        return file, lambda: text.Tokenizer(file)(["red car"], length=16)

    return make


def _phrases(folder):
    file = folder / "phrases.txt"
    file.write_text("a man in red\npeople walking left\nvoitures à côté\n")
    return file, lambda: refer._parse_phrases(f"@{file}")


def _checkpoint(write):
    def make(folder):
        file = folder / "weights.bin"
        write(file, {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float32)})
        return file, lambda: checkpoints.read_checkpoint(file)

    return make


def _write_npz(file, arrays):
    with file.open("wb") as opened:
        np.savez_compressed(opened, **arrays)


def _write_safetensors(file, arrays):
    from safetensors import numpy as safetensors

    file.write_bytes(safetensors.save(arrays))


def _write_torch(write):
    def written(file, arrays):
        storages = torch_files.Storages()
        write(file, {"net": {name: storages.tensor(array) for name, array in arrays.items()}}, storages)

    return written


def _wrong_weights(weights, data):
    # Views may be of any shape; what they view has to be in the file.
    return _check(all(isinstance(array, np.ndarray) for array in weights.values()), "something that is no array")


def _opening(name, folder):
    return lambda: [(s.name, len(s), s.boxes, s.visible) for s in sources.open_source(name, folder)]


def _similarities(folder):
    tracks = mot_files.from_rows([1, 2], [1, 1], np.ones((2, 4)))
    phrase_results.write_similarities(folder, tracks, ["a car"], np.zeros((2, 1), np.float32), run="r")
    return folder / "similarity.npz", lambda: phrase_results.read_similarities(folder, "r", 2)


def _compared(name):
    """A folder as eval.py leaves it, of one tracker and one sequence."""

    def make(folder):
        truth, kept = layouts.boxes(_FRAMES), folder / "kept"
        got10k, pytracking = scores.got10k(truth + 2, truth, (64, 48)), scores.pytracking(truth + 2, truth)
        found = {
            part.toolkit: {"sequences": {"one": {"frames": part.frames, **part.values}}}
            for part in (got10k, pytracking)
        }
        tracker = {"speed": {"tracker_fps": 50.0, "end_to_end_fps": 40.0}, "scores": found}
        records.write_json(kept / "results.json", {"trackers": {"grm": tracker}})
        result_folders.write_curves(kept, {"grm": {"pytracking": {"sequences": {"one": pytracking}}}})
        return kept / name, lambda: exports.sequences_csv(compare.gather([kept])[0])

    return make


def _finished(name):
    def make(folder):
        kept = records.Records(folder, "frames", "grm", "run")
        kept.write("one", layouts.boxes(_FRAMES), np.ones(_FRAMES), size=[4, 4])
        return next(folder.rglob(name)), lambda: kept.finished("one", _FRAMES)

    return make


def _wrong_finished(found, data):
    return _check(np.isfinite(found[0]).all() and np.isfinite(found[1]).all(), "numbers that are not finite")


def _json(folder):
    file = folder / "config.json"
    file.write_text(json.dumps({"seed": 0, "model": {"name": "grm", "sizes": [1, 2.5, None, True]}}, indent=1))
    return file, lambda: plain_text.read_json(file, "a config")


def _run_config(folder):
    """A run's config.json as a start in its workdir reads it, with another config."""
    config = trackers.to_plain(grm.get_config("tiny"))
    file = folder / "config.json"
    file.write_text(json.dumps(config, indent=1))

    def read():
        former = run_checkpoints._former(file, config)
        return identity.changes(former, config), identity.harmless_changes(former, config)

    return file, read


def _metrics(folder):
    file = folder / "metrics.jsonl"
    file.write_text("".join(json.dumps({"step": step, "loss": 1 / step}) + "\n" for step in (1, 2, 3)))
    return file, lambda: metrics._lines_until(file, 2)


def _wrong_metrics(lines, data):
    steps = [json.loads(line)["step"] for line in lines]
    return _check(all(type(step) is int and step <= 2 for step in steps), "lines of later steps")


def _digests(folder):
    (folder / "data").write_bytes(b"numbers")
    digests.write(folder)

    def read():
        try:
            return digests.verify(folder)
        except digests.Damaged as error:  # which the callers say together with the folder
            raise InputError(f"{digests.FILE}: {error}") from None

    return folder / digests.FILE, read


def _wrong_digests(verified, data):
    content, twice = _loads(data)
    return _check(not twice and set(content["sha256"]) <= {"data"}, "digests of other files")


def _lock(folder):
    file = folder / ownership.FILE
    file.write_text(json.dumps({"host": "elsewhere", "pid": 12, "started": "x", "token": "y"}))
    return file, lambda: ownership._Lock(file)._read()


def _sweep(folder):
    times = dict.fromkeys(("compute", "memory", "links", "step", "compiler"), 0.5)
    row = {"config": "grm.py:tiny", "topology": "cpu:1", "chip": "cpu", "mesh": {"data": 1, "fsdp": 1, "tensor": 1}}
    row |= {"chips": 1, "batch": 8, "limit": 2**30, "memory": 2**20, "fits": True, "times": times}
    file = folder / "sweep.json"
    file.write_text(json.dumps({"a": row | {"rate": 4.0, "mfu": 0.5, "hours": 2.5}}, indent=1))
    return file, lambda: plan.sweep(None, "grm.py:tiny", [], "", 8, 0, folder)


def _image(suffix):
    def make(folder):
        file = folder / f"00000001{suffix}"
        layouts.write_image(file)
        return file, lambda: image_files.read_image(file)

    return make


def _wrong_image(image, data):
    return _check(image.dtype == np.uint8 and image.ndim == 3 and image.size < 3e8, "no RGB image")


def _video(folder):
    file = folder / "video.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 25, (32, 24))
    for t in range(4):
        writer.write(np.full((24, 32, 3), 40 * t, np.uint8))
    writer.release()
    return file, lambda: [frame.shape for frame in video_files.Video(file)]


def _regions(folder):
    file = folder / "groundtruth.txt"
    file.write_text("1,2,30,40\n20,10,30,20,20,30,10,20\nm10,8,4,3,1,2,2,2,5\n0\nnan,nan,nan,nan\n5.5,6\n")
    return file, lambda: regions.read(file)


def _wrong_regions(boxes, data):
    if not np.isfinite(boxes).all() or (np.abs(boxes) > 2 * LARGEST).any():
        return "a box that no image has"
    return _check(len(boxes) == len(_decoded(data).rstrip().split("\n")), "another number of boxes than of lines")


def _vatic(folder):
    file = folder / "airboard_1.txt"
    file.write_text("".join(f'0 {10 + t} 8 {24 + t} 20 {t} {int(t == 2)} 0 1 "ball"\n' for t in range(_FRAMES)))
    return file, lambda: nfs.read_vatic(file)[0]


def _csv(folder):
    file = folder / "walk.csv"
    file.write_text("frame,x,y,w,h\n" + "".join(f"{t},{10 + t},8,14,12.5\n" for t in range(1, _FRAMES) if t != 3))
    return file, lambda: videos.read_csv(file, _FRAMES)[0]


def _wrong_size(boxes, data):
    return _check(not (np.abs(boxes) > 2 * LARGEST).any(), "a box that no image has")


def _mot_truth(folder):
    file = benchmark_layouts.mot17(folder) / "train" / "MOT17-02-FRCNN" / "gt" / "gt.txt"
    return file, _opening("mot17", folder)


READERS = {
    "box file": Reader(_boxes, wrong=_wrong_boxes),
    "flag file": Reader(_flags, wrong=_wrong_flags),
    "list of sequences": Reader(_names, named="train"),
    "MOT file": Reader(_tracks, wrong=_wrong_tracks),
    "VOT regions": Reader(_regions, wrong=_wrong_regions),
    "NfS boxes": Reader(_vatic, wrong=_wrong_size),
    "CSV of a video": Reader(_csv, wrong=_wrong_size),
    "MOT17 truth": Reader(_mot_truth, named="MOT17-02"),
    "label folder": Reader(_labels, wrong=_wrong_labels),
    "phrase JSON": Reader(_phrase, wrong=_wrong_phrase),
    "COCO JSON": Reader(_coco, wrong=_wrong_coco),
    "config JSON": Reader(_json),
    "results: seqmap": Reader(_score("seqmap.txt"), wrong=_wrong_score, named="/"),
    **{f"results: {s}": Reader(_score(s), wrong=_wrong_score, named="a-car") for s in ("gt.txt", "predict.txt")},
    "phrases @FILE": Reader(_phrases, named="--phrases"),
    "vocabulary": Reader(_merges(False)),
    "vocabulary, gzip": Reader(_merges(True), "gzip"),
    "weights .npz": Reader(_checkpoint(_write_npz), "zip", _wrong_weights),
    "weights .safetensors": Reader(_checkpoint(_write_safetensors), "safetensors", _wrong_weights),
    "weights .pth": Reader(_checkpoint(_write_torch(torch_files.write_zip)), "zip", _wrong_weights),
    "weights .pth, legacy": Reader(_checkpoint(_write_torch(torch_files.write_legacy)), "binary", _wrong_weights),
    "shards": Reader(fuzz_shards.whole, "zip", fuzz_shards.wrong),
    "shards, packed": Reader(fuzz_shards.packed, "zip", fuzz_shards.wrong),
    "shards: records": Reader(fuzz_shards.records("*array_record*"), "binary", fuzz_shards.other, "train record"),
    "shards: dataset_info.json": Reader(fuzz_shards.records("dataset_info.json"), "binary", fuzz_shards.other, "train"),
    "shards: features.json": Reader(fuzz_shards.records("features.json"), "binary", fuzz_shards.other, "train"),
    "TFDS set: annotations": Reader(fuzz_shards.tfds_set("annotations-*"), "zip", fuzz_shards.other),
    "TFDS set: records": Reader(fuzz_shards.tfds_set("*array_record*"), "binary", fuzz_shards.other, "train record"),
    "TFDS set: dataset_info.json": Reader(
        fuzz_shards.tfds_set("dataset_info.json"), "binary", fuzz_shards.other, "1.0.0"
    ),
    "similarities": Reader(_similarities, "zip"),
    **{f"compared: {s}": Reader(_compared(s), named="kept") for s in ("results.json", "curves.json")},
    "finished: progress": Reader(_finished("one.json"), wrong=_wrong_finished),
    "finished: boxes": Reader(_finished("one.txt"), wrong=_wrong_finished),
    "run: config.json": Reader(_run_config),
    "run: metrics.jsonl": Reader(_metrics, wrong=_wrong_metrics),
    "run: digests.json": Reader(_digests, wrong=_wrong_digests),
    "run: owner.lock": Reader(_lock),
    "sweep of plans": Reader(_sweep),
    **{f"image .{s}": Reader(_image(f".{s}"), "png" if s == "png" else "binary", _wrong_image) for s in _IMAGES},
    "video": Reader(_video, "binary"),
}
