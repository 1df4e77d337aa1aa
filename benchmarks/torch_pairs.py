"""Training pairs as the published programs load them, in PyTorch and OpenCV, for benchmarks/data.py.

    python -m benchmarks.torch_pairs --folder DIR --pairs 400 --workers 2

Written after what pytracking, OSTrack and GRM do: two frames of a video are read whole, grey and flip are applied to
whole frames, a jittered box is cut from each (black outside, and a mask of what is outside) and resized, then each crop
becomes a float tensor, changes its brightness, is flipped by itself and normalized; torch's DataLoader makes batches.
Masks of the target, which these programs carry along and do not use for boxes, are left out, to PyTorch's advantage.
Prints the seconds of processor time of all processes, from a first batch on.
"""

import functools
import json
import math
import pathlib
import resource

import numpy as np
from absl import flags

from trackers import errors

FLAGS = flags.FLAGS
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_GAP, _GREY, _FLIP, _BRIGHTNESS = 200, 0.05, 0.5, 0.2
# Of a crop: factor, side in pixels, center jitter, scale jitter; GRM's and OSTrack's at 256 pixels.
CROPS = {"template": (2.0, 128, 0.0, 0.0), "search": (4.0, 256, 3.0, 0.25)}


def sequences(folder):
    """[([paths of frames], (T, 4) boxes)] of the sequences in a folder."""
    found = []
    for place in sorted(pathlib.Path(folder).iterdir()):
        boxes = np.loadtxt(place / "groundtruth.txt", delimiter=",", ndmin=2)
        found.append((sorted(place.glob("*.jpg")), boxes))
    return found


def pair(videos, number):
    """The pair of an index: dict of tensors template (3, 128, 128), search (3, 256, 256), and their boxes (4,)."""
    import cv2

    rng = np.random.default_rng(number)
    while True:
        paths, boxes = videos[rng.integers(len(videos))]
        first = int(rng.integers(len(paths) - 1))
        second = int(rng.integers(first + 1, min(first + _GAP, len(paths))))
        images, moved = [], []
        grey, flip = rng.random() < _GREY, rng.random() < _FLIP
        for frame in (first, second):
            image, box = cv2.cvtColor(cv2.imread(str(paths[frame])), cv2.COLOR_BGR2RGB), boxes[frame].copy()
            if grey:
                image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            if flip:
                image, box[0] = np.fliplr(image).copy(), image.shape[1] - box[0] - box[2]
            images.append(image)
            moved.append(box)
        sample = {}
        for (name, settings), image, box in zip(CROPS.items(), images, moved, strict=True):
            cut = _crop(image, box, rng, *settings)
            if cut is None:
                break
            sample[name], sample[f"{name}_box"] = cut
        else:
            return sample


def _crop(image, box, rng, factor, size, center, scale):
    """(tensor, box in it), None where a crop shows nothing but what is outside the image."""
    import cv2
    import torch

    extent = box[2:] * np.exp(rng.standard_normal(2) * scale)
    middle = box[:2] + box[2:] / 2 + math.sqrt(extent.prod()) * center * (rng.random(2) - 0.5)
    side = math.ceil(math.sqrt(extent.prod()) * factor)
    left, top = (round(value - side / 2) for value in middle)
    height, width = image.shape[:2]
    before = max(0, -top), max(0, -left)
    after = max(0, top + side - height + 1), max(0, left + side - width + 1)
    if side < 1 or before[0] + after[0] >= side or before[1] + after[1] >= side:
        return None
    seen = image[top + before[0] : top + side - after[0], left + before[1] : left + side - after[1]]
    padded = cv2.copyMakeBorder(seen, before[0], after[0], before[1], after[1], cv2.BORDER_CONSTANT)
    mask = np.ones((side, side))
    mask[before[0] : side - after[0], before[1] : side - after[1]] = 0
    mask = cv2.resize(mask, (size, size)).astype(np.bool_)
    if mask[:: size // 16, :: size // 16].all():
        return None
    crop = cv2.resize(padded, (size, size))
    tensor = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))).float()
    tensor = tensor.mul(rng.uniform(1 - _BRIGHTNESS, 1 + _BRIGHTNESS) / 255.0).clamp(0.0, 1.0)
    inside = np.concatenate([(box[:2] - middle + extent / 2) / side, box[2:] / side])
    if rng.random() < _FLIP:
        tensor, inside[0] = tensor.flip((2,)), 1 - inside[0] - inside[2]
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    return (tensor - mean) / std, torch.from_numpy(inside.astype(np.float32))


class _Pairs:
    """The data set of torch's DataLoader, whose interface this is."""

    def __init__(self, videos, count):
        self._make, self._count = functools.partial(pair, videos), count

    def __len__(self):
        return self._count

    def __getitem__(self, number):
        return self._make(number)


def processor_seconds(folder, count, workers, batch):
    """Processor time of this process and its workers for `count` pairs, their start included."""
    import cv2
    import torch

    # As these programs do: the workers are the parallel ones.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)

    def used():
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, whose))

    start = used()
    loader = torch.utils.data.DataLoader(_Pairs(sequences(folder), count), batch, num_workers=workers, drop_last=True)
    for _ in loader:
        pass
    del loader
    return used() - start


def define_flags():
    flags.DEFINE_string("folder", None, "Sequences in the layout of data_pipelines/sources/frames.py.")
    flags.DEFINE_integer("pairs", 400, "Pairs to time.", lower_bound=1)
    flags.DEFINE_integer("workers", 2, "Processes of the DataLoader.", lower_bound=1)
    flags.DEFINE_integer("batch", 16, "Pairs in a batch.", lower_bound=1)
    flags.mark_flags_as_required(["folder"])


def main(argv):
    del argv
    given = FLAGS.folder, FLAGS.workers, FLAGS.batch
    processor_seconds(given[0], FLAGS.batch, *given[1:])  # libraries load on first use
    short, long = (processor_seconds(given[0], count, *given[1:]) for count in (FLAGS.batch, FLAGS.batch + FLAGS.pairs))
    print(json.dumps({"pairs": FLAGS.pairs, "seconds": long - short}))


if __name__ == "__main__":
    define_flags()
    errors.run(main)
