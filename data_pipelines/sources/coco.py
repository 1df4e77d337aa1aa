"""COCO 2017 (Lin et al., ECCV 2014): every object is a one-image sequence.

ROOT/annotations/instances_{train2017,val2017}.json
ROOT/{train2017,val2017}/000000000009.jpg          (or under ROOT/images/)
"""

import json

import numpy as np

from data_pipelines import annotations
from data_pipelines.sources import Facts, Sequence, Source
from trackers import errors

FACTS = Facts(validation="val")
SPLITS = {"train": "train2017", "val": "val2017"}
_LAYOUT = "COCO's annotations/instances_train2017.json and train2017/000000000009.jpg"


def open(root, split="train"):
    """COCO 2017 at `root` -> Source of images.

    Objects: not crowds, box width and height above 0, ordered by annotation id. The annotation file is parsed at
    once (training split: some 860,000 objects, about 20 seconds); images are not looked for until they are read.
    """
    if split not in SPLITS:
        raise errors.InputError(f"coco has no split {split!r}: use one of {', '.join(SPLITS)}")
    path = annotations.folder(root, "coco", _LAYOUT)
    folder = SPLITS[split]
    images = next((p for p in (path / folder, path / "images" / folder) if p.is_dir()), None)
    if images is None:
        raise errors.InputError(f"coco: {path / folder} is not a folder; expected {_LAYOUT}")
    file = path / "annotations" / f"instances_{folder}.json"
    files, image_ids, ids, boxes = _parse(file, annotations.read_text(file, "COCO's instance annotations"))
    if not len(ids):
        raise errors.InputError(f"coco: no objects in {file}; expected COCO's instance annotations")

    def load(index):
        name = f"{image_ids[index]}-{ids[index]}"
        return Sequence(name, [images / files[image_ids[index]]], boxes[index : index + 1], np.ones(1, bool))

    return Source("coco", range(len(ids)), load, is_video=False, keep=False)


def _parse(file, text):
    """({image id: file name}, (N,) image ids, (N,) annotation ids, (N, 4) boxes) of the usable objects."""
    try:
        content = json.loads(text)
        files = {image["id"]: image["file_name"] for image in content["images"]}
        usable = [
            (a["id"], a["image_id"], *a["bbox"])
            for a in content["annotations"]
            if not a["iscrowd"] and a["bbox"][2] > 0 and a["bbox"][3] > 0
        ]
        table = np.array(sorted(usable), np.float64).reshape(-1, 6)
    except json.JSONDecodeError as error:
        raise errors.InputError(f"{file}:{error.lineno}: not JSON ({error.msg}); download it again") from None
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise errors.InputError(
            f"{file}: not COCO's instance annotations ({type(error).__name__}: {error}); expected images with id and"
            " file_name, annotations with id, image_id, iscrowd and bbox"
        ) from None
    image_ids = table[:, 1].astype(np.int64)
    unknown = next((i for i in image_ids.tolist() if i not in files), None)
    if unknown is not None:
        raise errors.InputError(f"{file}: an object names image {unknown}, which is not listed; download it again")
    return files, image_ids, table[:, 0].astype(np.int64), table[:, 2:]
