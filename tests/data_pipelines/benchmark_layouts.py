"""Tiny trees of the single-object benchmarks in their published layouts, with the odd cases each is known for.

Every function writes below `root` and returns it. Boxes are those of layouts.boxes, whole numbers where the set has
whole numbers; sequences have T frames.
"""

import cv2
import numpy as np

from tests.data_pipelines import layouts

T = 4


def whole(length=T):
    """(length, 4) whole boxes well inside the frame."""
    return np.array([[10 + 2 * t, 8 + t, 14, 12] for t in range(length)])


def lines(path, rows, separator=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))


def lasot(root, length=T):
    """monkey-17 has two images more than boxes; tiger-6 a box of negative height; both are test sequences."""
    for seed, (name, surplus) in enumerate((("monkey-17", 2), ("tiger-6", 0), ("tiger-5", 0))):
        folder, boxes = root / name.split("-")[0] / name, whole(length)
        boxes[2] = (12, 9, 14, -3) if name == "tiger-6" else 0
        layouts.write_frames(folder / "img", length + surplus, seed=seed)
        lines(folder / "groundtruth.txt", boxes)
        layouts.write_flags(folder / "full_occlusion.txt", [t == 1 for t in range(length)], ",")
        layouts.write_flags(folder / "out_of_view.txt", [t == 2 for t in range(length)], ",")
        (folder / "nlp.txt").write_text("an animal\n")
    return root


def lasot_ext(root, length=T):
    folder = root / "jianzi" / "jianzi-3"
    layouts.write_frames(folder / "img", length)
    lines(folder / "groundtruth.txt", whole(length))
    for name in ("full_occlusion", "out_of_view"):
        layouts.write_flags(folder / f"{name}.txt", [t == 1 for t in range(length)], ",")
    return root


def tnl2k(root, length=T):
    """A space in a name, PNG and JPEG, the frame that is damaged in the download, the sequence that lacks an image."""
    kinds = {
        "Arrow Video_ZZ04_done": ("{:05d}.png", 1),
        "INF_run1": ("{:06d}.jpg", 1),
        "test_015_Sord_video_Q01_done": ("{:08d}.png", 490),
        "Fight_video_6-Done": ("{:05d}.png", 1),
    }
    for seed, (name, (pattern, first)) in enumerate(kinds.items()):
        layouts.write_frames(root / name / "imgs", length, pattern, first, seed)
        lines(root / name / "groundtruth.txt", whole(length))
        (root / name / "language.txt").write_text("" if name == "INF_run1" else "the runner\n")
    (root / "test_015_Sord_video_Q01_done" / "imgs" / "00000492.png").write_bytes(b"\x89PNG broken")
    (root / "Fight_video_6-Done" / "imgs" / "00002.png").unlink()
    return root


def uav123(root, length=T):
    """bird1_2 is bird1 from 775 on; the images before and after are of other sequences; the target leaves."""
    layouts.write_frames(root / "data_seq" / "UAV123" / "bird1", length + 3, "{:06d}.jpg", 774)
    layouts.write_frames(root / "data_seq" / "UAV123" / "bike1", length, "{:06d}.jpg", 1, seed=1)
    for part, names in (("UAV123", ("bird1_2", "bike1")), ("UAV20L", ("bike1",))):
        for name in names:
            rows = whole(length).tolist()
            rows[2] = ["NaN"] * 4
            lines(root / "anno" / part / f"{name}.txt", rows)
            lines(root / "anno" / part / "att" / f"{name}.txt", [[0] * 12])
    return root


def nfs(root, length=T):
    """At 30 frames a second the file has eight lines for each image; the target is lost in frame 2."""
    for fps, step in ((30, 8), (240, 1)):
        folder = root / "airboard_1" / str(fps)
        layouts.write_frames(folder / "airboard_1", length, "{:05d}.jpg", seed=fps)
        rows = []
        for t in range(length * step):
            x, y, w, h = whole(length)[t // step] if t % step == 0 else (1, 1, 2, 2)
            rows.append((0, x, y, x + w, y + h, t, int(t // step == 2), 0, 1, '"ball"'))
        lines(folder / "airboard_1.txt", rows, " ")
    return root


def nfs_repacked(root, length=T):
    layouts.write_frames(root / "sequences" / "Skiing_red", length, "{:05d}.jpg")
    lines(root / "anno" / "nfs_Skiing_red.txt", whole(length), "\t")
    return root


def otb(root, length=T):
    """Human4's first file is empty, Jogging has two targets, David's boxes are of images 300 on, every separator."""
    layouts.write_frames(root / "Board" / "img", length, "{:05d}.jpg")
    lines(root / "Board" / "groundtruth_rect.txt", whole(length), "\t")
    for seed, name in enumerate(("Human4", "Jogging"), 1):
        layouts.write_frames(root / name / "img", length, "{:04d}.jpg", seed=seed)
        for target in (1, 2):
            lines(root / name / f"groundtruth_rect.{target}.txt", whole(length), " ")
    (root / "Human4" / "groundtruth_rect.1.txt").write_text("")
    layouts.write_frames(root / "David" / "img", length + 2, "{:04d}.jpg", 298, seed=3)
    lines(root / "David" / "groundtruth_rect.txt", whole(length))
    layouts.write_frames(root / "BlurCar1" / "img", length, "{:04d}.jpg", 247, seed=4)
    lines(root / "BlurCar1" / "groundtruth_rect.txt", whole(length))
    layouts.write_frames(root / "Tiger1" / "img", length + 5, "{:04d}.jpg", seed=5)
    lines(root / "Tiger1" / "groundtruth_rect.txt", whole(length + 5))
    return root


def avist(root, length=T):
    name = "animals_in_grass"
    layouts.write_frames(root / "sequences" / name, length, "img_{:05d}.jpg")
    lines(root / "anno" / f"{name}.txt", whole(length), " ")
    for kind, frame in (("full_occlusion", 1), ("out_of_view", 2)):
        file = root / kind / f"{name}_{kind}.txt"
        file.parent.mkdir()
        layouts.write_flags(file, [t == frame for t in range(length)], ",")
    return root


def vasttrack(root, length=T):
    """Classes with a space and a hyphen, two names of the folder of images, a copy's own spelling of the box file."""
    kinds = (("Crossbody Backpack-31", "imgs", "Groundtruth.txt"), ("T-shirt-2", "img", "groundtruth.txt"))
    for seed, (name, images, boxes) in enumerate(kinds):
        folder, rows = root / name.rpartition("-")[0] / name, whole(length)
        rows[1] = 0
        layouts.write_frames(folder / images, length, seed=seed)
        lines(folder / boxes, rows)
    return root


def trek150(root, length=T):
    folder, rows = root / "P01-P01_03-188", whole(length)
    rows[3] = -1
    layouts.write_frames(folder / "img", length, "frame_{:010d}.jpg", 5641)
    lines(folder / "groundtruth_rect.txt", rows)
    lines(folder / "anchors.txt", [(0, 0), (length - 1, 1)])
    return root


def vot(root, length=T):
    """Rectangles and a rotated polygon in one sequence, masks of two targets in another, the first years' layout."""
    sequences = root / "sequences"
    for seed, name in enumerate(("ants1", "cat-vots")):
        layouts.write_frames(sequences / name / "color", length, seed=seed)
        (sequences / name / "sequence").write_text(f"name={name}\nfps=30\nchannels.color=color/%08d.jpg\n")
    rows = [",".join(map(str, row)) for row in whole(length)]
    rows[1], rows[2] = "20,10,30,20,20,30,10,20", "nan,nan,nan,nan"
    (sequences / "ants1" / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    # A mask of 4 x 3 pixels at (10, 8): two ones in the first row from its second pixel on, two in the second.
    mask = "m10,8,4,3,1,2,2,2,5"
    for target, first in ((1, mask), (2, "0")):
        (sequences / "cat-vots" / f"groundtruth_{target}.txt").write_text(
            "\n".join([first, mask, "0", *[mask] * (length - 3)])
        )
    layouts.write_frames(sequences / "bag2013", length, seed=2)
    lines(sequences / "bag2013" / "groundtruth.txt", whole(length))
    (sequences / "list.txt").write_text("ants1\ncat-vots\nbag2013\n")
    return root


def videos(root, length=T, name="walk", head=None):
    """One video with a line for each frame; head: a first line, below which frame 2 has no line."""
    root.mkdir(parents=True, exist_ok=True)
    size = (layouts.WIDTH, layouts.HEIGHT)
    writer = cv2.VideoWriter(str(root / f"{name}.avi"), cv2.VideoWriter_fourcc(*"FFV1"), 25, size)
    for t in range(length):
        writer.write(np.full((layouts.HEIGHT, layouts.WIDTH, 3), (20 * t, 40, 200 - 20 * t), np.uint8))
    writer.release()
    rows = whole(length).tolist()
    if head:
        rows = [[t, *row] for t, row in enumerate(rows, 1) if t != 2]
    lines(root / f"{name}.csv", [head.split(","), *rows] if head else rows)
    return root


def _mot(folder, rows, length, pattern, seed=0):
    layouts.write_frames(folder / "img1", length, pattern, seed=seed)
    lines(folder / "gt" / "gt.txt", rows)


def mot17(root, length=T):
    """Two copies of a video: a pedestrian with a hidden frame, one that comes later, a car, an ignored row."""
    rows = [(t + 1, 7, *whole(length)[t], 1, 1, 0.0 if t == 1 else 0.8) for t in range(length)]
    rows += [(t + 1, 9, *whole(length)[t], 1, 1, 1.0) for t in range(2, length)]
    rows += [(1, 3, 5, 5, 6, 6, 1, 3, 1.0), (1, 4, 5, 5, 6, 6, 0, 1, 1.0)]
    for copy in ("DPM", "FRCNN"):
        _mot(root / "train" / f"MOT17-02-{copy}", rows, length, "{:06d}.jpg")
    layouts.write_frames(root / "test" / "MOT17-01-FRCNN" / "img1", 1, "{:06d}.jpg")
    return root


def dancetrack(root, length=T):
    """A dancer who is away in frame 2."""
    for seed, (split, name) in enumerate((("train", "dancetrack0001"), ("val", "dancetrack0004"))):
        rows = [(t + 1, 0, *whole(length)[t], 1, 1, 1) for t in range(length) if t != 1]
        _mot(root / split / name, rows, length, "{:08d}.jpg", seed)
    return root


# The trees of the benchmarks that eval.py reads, beside those of layouts.py.
BENCHMARKS = {
    "lasot": lasot,
    "lasot_ext": lasot_ext,
    "tnl2k": tnl2k,
    "uav": uav123,
    "uav123": uav123,
    "uav20l": uav123,
    "nfs": nfs,
    "otb": otb,
    "avist": avist,
    "vasttrack": vasttrack,
    "trek150": trek150,
    "vot": vot,
    "vots": vot,
    "vot20": vot,
    "vot20lt": vot,
    "vot22stb": vot,
    "videos": videos,
}
