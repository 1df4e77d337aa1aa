"""Small changes to a training pair: dict -> dict, nothing random in them, the numbers are given.

A pair before cropping holds whole frames: "template" list of K (H, W, 3) uint8, "template_box" (K, 4), "search"
(H, W, 3) uint8, "search_box" (4,), boxes x, y, w, h in pixels; after cropping "template" is (K, Hz, Wz, 3), "search"
(Hx, Wx, 3), both uint8, and the boxes are fractions of their crop. Whole frames can also be a Jpeg or a Context each.
"""

import numpy as np

from data_pipelines import contexts

_LEVELS = np.arange(256, dtype=np.uint8)


def grey(pair, apply):
    """All frames of the pair in grey (three equal channels) where `apply` is true; before cropping."""
    if not apply:
        return pair
    import cv2

    def convert(image):
        return cv2.cvtColor(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)

    template = [contexts.changed(image, convert) for image in pair["template"]]
    return pair | {"template": template, "search": contexts.changed(pair["search"], convert)}


def flip(pair, apply):
    """All frames and boxes mirrored left to right where `apply` is true; before cropping.

    An exact mirror, x' = W - x - w; the published programs put the box one pixel further left.
    """
    if not apply:
        return pair
    template_box = np.stack(
        [mirrored_boxes(box, image.shape[1]) for box, image in zip(pair["template_box"], pair["template"], strict=True)]
    )
    return pair | {
        "template": [contexts.mirrored(image) for image in pair["template"]],
        "template_box": template_box,
        "search": contexts.mirrored(pair["search"]),
        "search_box": mirrored_boxes(pair["search_box"], pair["search"].shape[1]),
    }


def flip_crops(pair, template, search):
    """Crops mirrored on their own, unlike `flip`: the K templates by the bools `template`, the search crop by `search`.

    After cropping. GRM's program does this (with probability 0.5 each) on top of the joint flip, so that a template can
    be the mirror image of its target.
    """
    import cv2

    pair = dict(pair)
    if any(template):
        pair["template"], boxes = pair["template"].copy(), pair["template_box"]
        for k in np.flatnonzero(template):
            pair["template"][k] = cv2.flip(pair["template"][k], 1)
        pair["template_box"] = np.where(np.array(template)[:, None], mirrored_boxes(boxes), boxes)
    if search:
        pair["search"] = cv2.flip(pair["search"], 1)
        pair["search_box"] = mirrored_boxes(pair["search_box"])
    return pair


def mirrored_boxes(boxes, extent=1):
    """Boxes (..., 4) x, y, w, h of an image mirrored left to right, which is `extent` wide."""
    mirrored = boxes.copy()
    mirrored[..., 0] = extent - boxes[..., 0] - boxes[..., 2]
    return mirrored


def brightness(pair, template, search):
    """Each crop multiplied by its own factor, rounded to whole grey levels and clipped to 255; after cropping.

    Args:
      pair: see above.
      template: (K,) factors.
      search: factor.
    """
    made = np.empty_like(pair["template"])
    for crop, factor, out in zip(pair["template"], template, made, strict=True):
        out[:] = _scale(crop, factor)
    return pair | {"template": made, "search": _scale(pair["search"], search)}


def _scale(image, factor):
    import cv2

    levels = np.rint(_LEVELS * float(factor))
    # OpenCV multiplies in float32, in a third of a table's time. Where that rounds another way, it is a table.
    if np.array_equal(np.rint(_LEVELS.astype(np.float32) * np.float32(factor)), levels):
        return cv2.convertScaleAbs(image, alpha=factor)
    return cv2.LUT(image, np.minimum(levels, 255).astype(np.uint8))
