"""A pair's frames with boxes: a region of the first template frame, and where it is in the others."""

import numpy as np

from data_pipelines.unlabelled import changes, following, regions
from trackers import errors

# Sides of a picture in pixels: the smaller at least, and the larger, to which larger pictures are reduced.
LEAST_SIDE, LARGEST_SIDE = 32, 960


def fitted(image, name):
    """The image, reduced to LARGEST_SIDE. Raises: InputError with `name` for one below LEAST_SIDE."""
    import cv2

    height, width = image.shape[:2]
    if min(height, width) < LEAST_SIDE:
        raise errors.InputError(
            f"{name} of {width}x{height} pixels is too small to pick regions from: leave out what is below {LEAST_SIDE}"
        )
    scale = LARGEST_SIDE / max(height, width)
    if scale >= 1:
        return image
    sides = max(LEAST_SIDE, round(width * scale)), max(LEAST_SIDE, round(height * scale))
    return cv2.resize(image, sides, interpolation=cv2.INTER_AREA)


def read_frame(path):
    """The image file as `fitted` gives it: (H, W, 3) uint8 RGB. Raises: InputError naming the file."""
    from trackers.io.image_files import read_image

    return fitted(read_image(path), f"image {path}")


def with_regions(frames, positive, settings, rng):
    """Gives frames their boxes, and changes the search frame.

    Where the region cannot be followed reliably into a frame, the first template frame takes its place.

    Args:
      frames: dict as augment.py has it before cropping; its boxes are not looked at.
      positive: False where the search frame is of something else: then any region of it.
      settings: UnlabelledConfig. rng: from sampling.generator; advanced.

    Returns: such a dict with boxes; None where the first template or another video's frame has no region with texture.
    """
    first = frames["template"][0]
    box = regions.choose(first, settings, rng)
    if box is None:
        return None

    def found(image):
        where = box if image is first else following.follow(first, box, image)
        return (first, box) if where is None else (image, where)

    templates = [found(image) for image in frames["template"]]
    if positive:
        search, search_box = found(frames["search"])
    else:
        search, search_box = frames["search"], regions.choose(frames["search"], settings, rng)
        if search_box is None:
            return None
    search, search_box = changes.change(search, search_box, settings, rng)
    return {
        "template": [image for image, _ in templates],
        "template_box": np.stack([where for _, where in templates]),
        "search": search,
        "search_box": search_box,
    }
