"""What a data set that was written as a few large files says of its sequences: the arrays of an annotation file (.npz).

    source, is_video             the data set's name, and whether its sequences are videos
    names, frames, annotated     (N,) of each sequence: its name, its number of frames, and of boxes
    records                      (F,) of each frame of each sequence: the record that holds it
    boxes, visible               (A, 4), (A,) of each annotated frame

Where two sequences show one image, both may name its record.
"""

import io

import numpy as np

from trackers.io import array_files, numbers, outputs, plain_text
from trackers.io.numbers import counted

AGAIN = "write the data set again"


def write(file, source, sequences, records, **more):
    """Writes an annotation file, whole or not at all.

    Args:
      file: path. source: the Source that was written. sequences: its Sequences that were. records: as above.
      more: further arrays.
    """
    arrays = {
        "source": np.array(source.name),
        "is_video": np.array(source.is_video),
        "names": np.array([sequence.name for sequence in sequences]),
        "frames": np.array([len(sequence) for sequence in sequences]),
        "records": records,
        "annotated": np.array([len(sequence.boxes) for sequence in sequences]),
        "boxes": np.concatenate([sequence.boxes for sequence in sequences]),
        "visible": np.concatenate([sequence.visible for sequence in sequences]),
    }
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays, **more)
    outputs.write_bytes(file, packed.getvalue())


def read(file, what):
    """The arrays of an annotation file, those of the sequences checked and split.

    Args: file: path that exists. what: the data set, for messages.

    Returns: dict of the file's arrays, but "records", "boxes" and "visible" as lists of an array for each sequence,
      "names" a list, "source" text.
    Raises: InputError where it is damaged.
    """
    with plain_text.naming(f"{what}: {file}", AGAIN):
        with file.open("rb") as opened:
            known = array_files.read_npz(opened, f"{what}: {file}")
        records, boxes, visible = _split(known)
        names = known["names"].tolist()
        if not len(names) == len(records) == len(boxes) == len(visible):
            raise ValueError(f"{counted(len(names), 'name')} for {counted(len(records), 'sequence')}")
        facts = {"source": str(known["source"]), "is_video": bool(known["is_video"]), "names": names}
        return known | facts | {"records": records, "boxes": boxes, "visible": visible}


def _split(known):
    """([records], [boxes], [visible]) of the sequences, from the arrays of an annotation file."""
    for name, kinds in {"frames": "iu", "annotated": "iu", "records": "iu", "visible": "b", "boxes": "f"}.items():
        if known[name].dtype.kind not in kinds or known[name].ndim != 1 + (name == "boxes"):
            raise ValueError(f"{name} is an array {known[name].shape} of {known[name].dtype}")
    if known["boxes"].shape[1] != 4 or (np.abs(known["boxes"]) > numbers.LARGEST_PIXEL).any():
        raise ValueError("boxes beyond what images have")
    if known["records"].min(initial=0) < 0:
        raise ValueError("records below 0")
    parts = (("records", "frames"), ("boxes", "annotated"), ("visible", "annotated"))
    for what, many in parts:
        if known[many].min(initial=0) < 0 or known[many].sum() != len(known[what]):
            raise ValueError(f"{many} does not add up to {what}")
    return [np.split(known[what], np.cumsum(known[many])[:-1]) for what, many in parts]
