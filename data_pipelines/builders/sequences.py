"""Videos with boxes as a TFDS data set (ArrayRecord): what data_pipelines/sources/shards.py reads.

    OUT/SPLIT/sequences/1.0.0/     TFDS data set of one record for each image file: {"image": its bytes, as published}
    OUT/SPLIT/annotations.npz      names, boxes and visible frames of the sequences, and the record of each frame

An image that several objects share (COCO) is one record.
"""

import contextlib
import io

import numpy as np
from etils import epath

from trackers import progress
from trackers.errors import InputError
from trackers.io import outputs

NAME, VERSION, ANNOTATIONS = "sequences", "1.0.0", "annotations.npz"


def write(source, out, split):
    """Writes all sequences of a source.

    Args:
      source: sources.Source. out: folder (gs:// too). split: name of the folder in it, which must not exist.

    Returns: (number of sequences, number of images).

    Raises: InputError naming the file of a broken image or annotation; nothing usable is left then.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    if not source.labelled:
        raise InputError(f"{source.name} has no boxes to write: train on its folder itself")
    folder = epath.Path(out) / split
    if folder.exists():
        raise InputError(f"{folder} exists: name another --out, or remove it")
    sequences = [source[i] for i in range(len(source))]
    paths = dict.fromkeys(path for sequence in sequences for path in sequence.frames)
    number = {path: i for i, path in enumerate(paths)}
    paths_read = progress.bar(paths, desc=f"{source.name} {split}", unit="image", disable=None)
    tfds.disable_progress_bar()
    try:
        # TFDS tells at length what it downloads.
        with contextlib.redirect_stdout(io.StringIO()):
            tfds.dataset_builders.store_as_tfds_dataset(
                name=NAME,
                version=VERSION,
                features=tfds.features.FeaturesDict({"image": tfds.features.Tensor(shape=(), dtype=tf.string)}),
                split_datasets={split: enumerate(map(_record, paths_read))},
                data_dir=folder,
                file_format="array_record",
                # Shuffled, records would not be where the annotations say.
                disable_shuffling=True,
            )
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from None
    annotations = {
        "source": np.array(source.name),
        "is_video": np.array(source.is_video),
        "names": np.array([sequence.name for sequence in sequences]),
        "frames": np.array([len(sequence) for sequence in sequences]),
        "records": np.array([number[path] for sequence in sequences for path in sequence.frames]),
        "annotated": np.array([len(sequence.boxes) for sequence in sequences]),
        "boxes": np.concatenate([sequence.boxes for sequence in sequences]),
        "visible": np.concatenate([sequence.visible for sequence in sequences]),
    }
    # Last, so that a folder without it is one that was not finished.
    packed = io.BytesIO()
    np.savez_compressed(packed, **annotations)
    outputs.write_bytes(folder / ANNOTATIONS, packed.getvalue())
    return len(sequences), len(paths)


def _record(path):
    from trackers.io.image_files import needs_folder, read_image

    read_image(path)  # a broken one is found here, not in the middle of a training
    data = path.read_bytes()
    if needs_folder(data):
        raise InputError(f"image {path} has 16 bits, and a record cannot say how to read these: write 8-bit images")
    return {"image": data}
