"""COCO 2017 (Lin et al., ECCV 2014): every object is a one-image sequence.

    ROOT/annotations/instances_{train2017,val2017}.json
    ROOT/{train2017,val2017}/000000000009.jpg           or under ROOT/images/

Boxes are x, y, w, h in pixels from 0.
"""

import numpy as np

from data_pipelines import trees
from data_pipelines.sources import Facts, Sequence, Source
from trackers import errors
from trackers.io import limits, numbers, plain_text

FACTS = Facts(validation="val")
SPLITS = {"train": "train2017", "val": "val2017"}
_COLUMNS = 6
_LAYOUT = "COCO's annotations/instances_train2017.json and train2017/000000000009.jpg"


def open(root, split="train"):
    """COCO 2017 at `root` -> Source of images.

    Objects: not crowds, box width and height above 0, ordered by annotation id. The annotation file is parsed at
    once (training split: some 860,000 objects, about 20 seconds); images are not looked for until they are read.
    """
    path = trees.root(root, "coco", split, SPLITS, _LAYOUT)
    folder = SPLITS[split]
    images = next((p for p in (path / folder, path / "images" / folder) if p.is_dir()), None)
    if images is None:
        raise errors.InputError(f"coco: {path / folder} is not a folder; expected {_LAYOUT}")
    file = path / "annotations" / f"instances_{folder}.json"
    files, image_ids, ids, boxes = _parse(file)
    if not len(ids):
        raise errors.InputError(f"coco: no objects in {file}; expected COCO's instance annotations")

    def load(index):
        name = f"{image_ids[index]}-{ids[index]}"
        return Sequence(name, [images / files[image_ids[index]]], boxes[index : index + 1], np.ones(1, bool))

    return Source("coco", range(len(ids)), load, is_video=False, keep=False)


def _parse(file):
    """({image id: file name}, (N,) image ids, (N,) annotation ids, (N, 4) boxes) of the usable objects."""
    content = plain_text.read_json(file, "COCO's instance annotations", limits.JSON)
    try:
        files = {image["id"]: image["file_name"] for image in content["images"]}
        if len(files) != len(content["images"]):
            raise ValueError("two images have one id")
        objects = [(a["id"], a["image_id"], *a["bbox"]) for a in content["annotations"] if not _is_crowd(a)]
        _check(files, objects)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise errors.InputError(
            f"{file}: not COCO's instance annotations ({plain_text.reason(error)}); expected images"
            " with id and file_name, annotations with id, image_id and bbox"
        ) from None
    table = np.array(sorted(row for row in objects if row[4] > 0 and row[5] > 0), np.float64).reshape(-1, _COLUMNS)
    image_ids = table[:, 1].astype(np.int64)
    unknown = next((i for i in image_ids.tolist() if i not in files), None)
    if unknown is not None:
        raise errors.InputError(f"{file}: an object names image {unknown}, which is not listed; download it again")
    return files, image_ids, table[:, 0].astype(np.int64), table[:, 2:]


def _is_crowd(annotation):
    flag = annotation.get("iscrowd", 0)  # many programs that write COCO's format leave it out
    if flag not in (0, 1) or isinstance(flag, float):
        raise ValueError(f"annotation {annotation['id']} has iscrowd {str(flag)[:40]!r}, not 0 or 1")
    return flag


def _check(files, objects):
    """Raises: ValueError where an id is not a whole number, a file name not text, or a box not four numbers."""
    for number, name in files.items():
        if not (numbers.is_whole(number) and isinstance(name, str) and name):
            raise ValueError(f"image {str(number)[:40]!r} with file_name {str(name)[:40]!r}")
    for number, image, *box in objects:
        if not (numbers.is_whole(number) and numbers.is_whole(image)):
            raise ValueError(f"annotation {str(number)[:40]!r} of image {str(image)[:40]!r}: ids are whole numbers")
        if len(box) != 4 or not all(map(numbers.is_pixel, box)):
            raise ValueError(f"annotation {number} has the bbox {str(box)[:60]}: give four finite numbers of pixels")
