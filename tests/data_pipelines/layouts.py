"""Tiny data sets on disk in the published layouts."""

import json

import cv2
import numpy as np

# Frames of a tiny video, and their size.
LENGTH, HEIGHT, WIDTH = 24, 48, 64


def boxes(length=LENGTH):
    """(length, 4) boxes well inside the frame, each frame's its own."""
    return np.array([[10 + 0.5 * t, 8 + 0.25 * t, 14, 12] for t in range(length)])


def write_image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (WIDTH, HEIGHT)))


def write_frames(folder, length=LENGTH, name="{:08d}.jpg", first=1, seed=0):
    for t in range(length):
        write_image(folder / name.format(first + t), seed * 1000 + t)


def write_boxes(path, values, separator=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(f"{v:.4f}" for v in box) + "\n" for box in values))


def write_flags(path, values, separator="\n"):
    path.write_text(separator.join(str(int(v)) for v in values))


def got10k(root, split="train", names=("GOT-10k_Train_000001", "GOT-10k_Train_000002"), length=LENGTH):
    for seed, name in enumerate(names):
        folder = root / split / name
        write_frames(folder, length, seed=seed)
        write_boxes(folder / "groundtruth.txt", boxes(1 if split == "test" else length))
        if split != "test":
            write_flags(folder / "absence.label", [t == 3 for t in range(length)])
            write_flags(folder / "cover.label", [0 if t == 5 else 8 for t in range(length)])
    (root / split / "list.txt").write_text("\n".join(names) + "\n")
    return root


def lasot(root, names=("cat-2", "cat-4", "dog-10"), length=LENGTH):
    """Sequences of the training split."""
    for seed, name in enumerate(names):
        folder = root / name.split("-")[0] / name
        write_frames(folder / "img", length, seed=seed)
        write_boxes(folder / "groundtruth.txt", boxes(length))
        write_flags(folder / "full_occlusion.txt", [t == 2 for t in range(length)], ",")
        write_flags(folder / "out_of_view.txt", [t == 4 for t in range(length)], ",")
    return root


def trackingnet(root, length=LENGTH):
    for part, name, seed in (("TRAIN_0", "aaa", 0), ("TRAIN_10", "bbb", 1), ("TRAIN_2", "ccc", 2), ("TEST", "ddd", 3)):
        write_frames(root / part / "frames" / name, length, "{}.jpg", 0, seed)
        write_boxes(root / part / "anno" / f"{name}.txt", boxes(1 if part == "TEST" else length))
    return root


def coco(root, split="train2017", images="train2017"):
    objects = [
        {"id": 7, "image_id": 1, "iscrowd": 0, "bbox": [10.5, 8, 14, 12]},
        {"id": 3, "image_id": 2, "bbox": [20, 10, 9.25, 16]},  # as many programs write it
        {"id": 4, "image_id": 2, "iscrowd": 1, "bbox": [1, 1, 30, 30]},
        {"id": 5, "image_id": 1, "iscrowd": 0, "bbox": [5, 5, 0, 10]},
    ]
    files = [{"id": 1, "file_name": "000000000001.jpg"}, {"id": 2, "file_name": "000000000002.jpg"}]
    for seed, image in enumerate(files):
        write_image(root / images / image["file_name"], seed)
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    file = root / "annotations" / f"instances_{split}.json"
    file.write_text(json.dumps({"images": files, "annotations": objects}))
    return root


def frames(root, names=("first", "second"), length=LENGTH):
    for seed, name in enumerate(names):
        write_frames(root / name, length, seed=seed)
        write_boxes(root / name / "groundtruth.txt", boxes(length))
    return root


def otb(root, name="Bird", length=LENGTH, separator="\t", targets=("",)):
    write_frames(root / name / "img", length, "{:04d}.jpg")
    for target in targets:
        write_boxes(root / name / f"groundtruth_rect{target}.txt", boxes(length), separator)
    return root


def write_phrase(folder, name, label, sentence=None):
    folder.mkdir(parents=True, exist_ok=True)
    content = {"label": label, "ignore": [], "video_name": folder.name, "sentence": sentence or name.replace("-", " ")}
    (folder / f"{name}.json").write_text(json.dumps(content))


def walk(track, t):
    """Box x, y, w, h in pixels of track 1, 2, ... in its frame t from 0."""
    return 4 * track + t, 3 * track, 10, 12 + track


def refer_kitti(root, videos=("0001", "0005"), length=LENGTH, tracks=(1, 2)):
    """Everyone is "cars"; track 1 is "left-vehicles" in the first half; nobody is "persons"."""
    for seed, video in enumerate(videos):
        write_frames(root / "KITTI" / "training" / "image_02" / video, length, "{:06d}.png", first=0, seed=seed)
        labels = root / "KITTI" / "labels_with_ids" / "image_02" / video
        labels.mkdir(parents=True)
        scale = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
        for t in range(length):
            lines = [(0, track, *(walk(track, t) / scale)) for track in tracks]
            (labels / f"{t:06d}.txt").write_text(
                "".join("{:d} {:d} {:.8f} {:.8f} {:.8f} {:.8f}\n".format(*v) for v in lines)
            )
        folder = root / "expression" / video
        write_phrase(folder, "cars", {str(t): list(tracks) for t in range(length)})
        write_phrase(folder, "left-vehicles", {str(t): [tracks[0]] for t in range(length // 2)})
        write_phrase(folder, "persons", {})
    return root


def refer_dance(root, videos=(("train", "dancetrack0001"), ("val", "dancetrack0004")), length=LENGTH, tracks=(1, 2)):
    """Track 1 is the dancing person in red; track 2 stands."""
    for seed, (part, video) in enumerate(videos):
        write_frames(root / part / video / "img1", length, seed=seed)
        rows = [(t + 1, track, *walk(track, t), 1, 1, 1) for t in range(length) for track in tracks]
        (root / part / video / "gt").mkdir()
        (root / part / video / "gt" / "gt.txt").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
        folder = root / "expression" / video
        write_phrase(folder, "dancing-person-with-red-shirt", {str(t + 1): [tracks[0]] for t in range(length)})
        write_phrase(folder, "standing-person", {str(t + 1): list(tracks[1:]) for t in range(length)})
    return root
