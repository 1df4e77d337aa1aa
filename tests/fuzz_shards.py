"""Shards for the fuzz driver: see fuzz_readers.Reader, whose fields these are."""

import numpy as np

from data_pipelines import sources, tfds_sets
from data_pipelines.builders import datasets
from data_pipelines.builders import sequences as builder
from data_pipelines.sources import shards
from tests.data_pipelines import layouts

_FRAMES = 6


def whole(folder, more=()):
    """The annotations of shards; more: arrays beside them."""
    file = folder / "train" / "annotations.npz"
    file.parent.mkdir()
    known = {"source": np.array("frames"), "is_video": np.array(True), "names": np.array(["a", "b"])}
    counts = {"frames": np.array([3, 2]), "annotated": np.array([3, 2]), "records": np.arange(5)}
    known |= {"boxes": layouts.boxes(5), "visible": np.ones(5, bool)}
    np.savez_compressed(file, **known, **counts, **dict(more))

    def read():
        source = sources.open_source("shards", folder)
        return [(s.name, len(s), s.boxes, s.visible, [frame.place for frame in s.frames]) for s in source]

    return file, read


def packed(folder):
    """The annotations of packed shards."""
    places = {"regions": np.tile([16, 0, 40, 32], (5, 1)), "sizes": np.tile([64, 48], (5, 1))}
    return whole(folder, places | {"largest": np.array(512), "context": np.array(9.5)})


def wrong(sequences, data):
    """What is wrong with what `whole` or `packed` read."""
    if not all(len(boxes) == len(visible) and not np.isinf(boxes).any() for _, _, boxes, visible, _ in sequences):
        return "boxes that do not fit the frames"
    places = [place for *_, found in sequences for place in found if place is not None]
    inside = all(
        start >= 0 and side >= 1 and start + side <= size and pixels >= 1
        for place in places
        for start, side, size, pixels in zip(
            place.region[:2], place.region[2:], place.size, place.packed_size, strict=True
        )
    )
    return None if inside else "a region outside its image"


def records(name):
    """A file beside the annotations: the images themselves, or what TFDS says of them."""

    def make(folder):
        layouts.write_frames(folder / "frames" / "a", _FRAMES)
        layouts.write_boxes(folder / "frames" / "a" / "groundtruth.txt", layouts.boxes(_FRAMES))
        builder.write(sources.open_source("frames", folder / "frames"), folder, "train")
        images = [file.read_bytes() for file in sorted((folder / "frames" / "a").glob("*.jpg"))]

        def read():
            shards._records.cache_clear()
            kept = [shards.Record(str(folder / "train"), number).read_bytes() for number in range(_FRAMES)]
            return [image == found for image, found in zip(images, kept, strict=True)]

        return next(folder.rglob(name)), read

    return make


def tfds_set(name):
    """A file of a TFDS data set that is read in place of its folder: what its sequences are, or its records."""

    def make(folder):
        layouts.frames(folder / "frames", ("a",), _FRAMES)
        datasets.write("frames", folder / "frames", folder / "out", record_mib=1)
        (place,) = (folder / "out" / "sot_frames").glob("*/1.0.0")
        images = [file.read_bytes() for file in sorted((folder / "frames" / "a").glob("*.jpg"))]

        def read():
            tfds_sets._records.cache_clear()
            tfds_sets._last.which = None
            (sequence,) = sources.open_source("frames", place)
            found = [frame.read_bytes() for frame in sequence.frames]
            right = sequence.boxes.shape == (_FRAMES, 4) and len(found) == _FRAMES
            return [image == kept for image, kept in zip(images, found, strict=True)] if right else [False]

        return next(place.glob(name)), read

    return make


def other(same, data):
    return None if all(same) else "another image than was written"
