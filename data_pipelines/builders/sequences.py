"""Videos with boxes as a TFDS data set (ArrayRecord): what data_pipelines/sources/shards.py reads.

    OUT/SPLIT/sequences/1.0.0/     TFDS data set of one record for each image file: {"image": its bytes, as published}
    OUT/SPLIT/annotations.npz      names, boxes and visible frames of the sequences, and the record of each frame

An image that several objects share (COCO) is one record. In packed shards (packing.py) each frame of each sequence, so
each object too, has a record of its own, a JPEG of what lies around the target; "regions", "sizes" and "largest" of the
annotations say where in the image that is, frame by frame (contexts.Place).
"""

import collections
import concurrent.futures
import contextlib
import io
import os
from typing import NamedTuple

import numpy as np
from etils import epath

from data_pipelines import record_files
from data_pipelines.builders import packing as packings
from trackers import progress
from trackers.errors import InputError
from trackers.io import ownership, plain_text

NAME, VERSION, ANNOTATIONS = "sequences", "1.0.0", "annotations.npz"
# TFDS orders records by keys below this, in buckets of equal ranges, each of which it holds in memory: keys counted
# from 0 would put the whole data set into the first.
KEYS = 2**128


class Written(NamedTuple):
    """What was written: numbers of sequences and records, and the records' bytes. Of packed shards also the share of
    search windows that reach beyond what is packed but inside the image, and the share of all their area there."""

    sequences: int
    records: int
    bytes: int
    beyond: float
    area_beyond: float


def write(source, out, split, packing=None, max_sequences=None):
    """Writes the sequences of a source.

    Args:
      source: sources.Source. out: folder (gs:// too). split: name of the folder in it, new or empty.
      packing: packing.Packing; None writes whole images, as published.
      max_sequences: how many sequences, the first ones; None = all.

    Returns: Written.

    Raises: InputError naming the file of a broken image or annotation; nothing usable is left then. InputError where
      the folder has something in it, or another program owns it.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from data_pipelines.builders import unpublished

    if not source.labelled:
        raise InputError(f"{source.name} has no boxes to write: train on its folder itself")
    folder = epath.Path(out) / split
    ownership.check_new(folder)
    sequences = [source[i] for i in range(len(source))[:max_sequences]]
    if packing is not None:
        packings.check(sequences, source.name)
    boxes = np.concatenate([sequence.boxes for sequence in sequences])
    visible = np.concatenate([sequence.visible for sequence in sequences])
    # The frames that show each image, so that it is read once.
    shown = collections.defaultdict(list)
    for frame, path in enumerate(path for sequence in sequences for path in sequence.frames):
        shown[path].append(frame)

    def read(path):
        """[(bytes, its frames, Packed or None)], the records of an image."""
        frames = shown[path]
        if packing is None:
            return [(_whole(path), frames, None)]
        parts = packings.packed(path, boxes[frames], visible[frames], packing)
        return [(part.jpeg, [frame], part) for part, frame in zip(parts, frames, strict=True)]

    most = sum(map(len, shown.values()))
    tally, step = _Tally(most), KEYS // max(most, 1)
    images = progress.bar(
        _in_order(read, shown), total=len(shown), desc=f"{source.name} {split}", unit="image", disable=None
    )
    records = ({"image": tally.add(*record)} for image in images for record in image)
    tfds.disable_progress_bar()
    with ownership.hold_new(folder):
        try:
            # TFDS tells at length what it downloads.
            with contextlib.redirect_stdout(io.StringIO()):
                builder = unpublished.Builder(
                    name=NAME,
                    version=VERSION,
                    features=tfds.features.FeaturesDict({"image": tfds.features.Tensor(shape=(), dtype=tf.string)}),
                    split_datasets={split: ((number * step, record) for number, record in enumerate(records))},
                    data_dir=folder,
                    # Shuffled, records would not be where the annotations say.
                    disable_shuffling=True,
                )
                builder.download_and_prepare(file_format="array_record")
        except (OSError, RuntimeError, tf.errors.OpError) as error:  # the last two: ArrayRecord, TensorFlow
            raise InputError(
                f"{folder} cannot be written ({plain_text.reason(error)}): remove it, free some space or name another"
                " --out"
            ) from None
        places = {}
        if packing is not None:
            places = {"regions": tally.regions, "sizes": tally.sizes}
            places |= {"largest": np.array(packing.largest), "context": np.array(packing.context)}
        # Last, so that a folder without it is one that was not finished.
        record_files.write(folder / ANNOTATIONS, source, sequences, tally.record, **places)
    windows = max(tally.records * packings.WINDOWS_EACH, 1)
    return Written(len(sequences), tally.records, tally.bytes, tally.beyond / windows, tally.area_beyond / windows)


class _Tally:
    """What is known of the records written so far. record, regions, sizes: a row for each frame."""

    def __init__(self, frames):
        self.record = np.zeros(frames, np.int64)
        self.regions, self.sizes = np.zeros((frames, 4), np.int32), np.zeros((frames, 2), np.int32)
        self.records = self.bytes = self.beyond = self.area_beyond = 0

    def add(self, data, frames, part):
        """Counts the next record, which `frames` show; its bytes again. part: Packed, or None."""
        self.record[frames] = self.records
        self.records, self.bytes = self.records + 1, self.bytes + len(data)
        if part is not None:
            self.regions[frames], self.sizes[frames] = part.place.region, part.place.size
            self.beyond, self.area_beyond = self.beyond + part.beyond, self.area_beyond + part.area_beyond
        return data


def _in_order(work, items):
    """work(item) of each item in order; threads work a few items ahead."""
    threads = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        ahead = collections.deque()
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > 4 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _whole(path):
    """An image file's bytes, once they were found good: not in the middle of a training."""
    from trackers.io.image_files import needs_folder, read_image

    read_image(path)
    data = path.read_bytes()
    if needs_folder(data):
        raise InputError(f"image {path} has 16 bits, and a record cannot say how to read these: write 8-bit images")
    return data
