"""Training examples as one picture, to be looked at before a training."""

import numpy as np

from data_pipelines import clips

# Pixels of the gaps and of a line of text; pairs in a row.
_GAP, _LINE, _COLUMNS = 4, 14, 8
_BOX_COLOR = (0, 255, 0)
# Phrases that mean the object, and the others.
_MEANT_COLOR, _OTHER_COLOR = (0, 130, 0), (190, 0, 0)


def draw_pairs(batch):
    """A batch of pairs (see pairs.batches) as one (H, W, 3) uint8 RGB picture with its boxes drawn in."""
    b, k, z = batch["template"].shape[:3]
    x = batch["search"].shape[1]
    width, height = max(x, k * z + (k - 1) * _GAP), z + _GAP + x
    columns = min(b, _COLUMNS)
    rows = -(-b // columns)
    picture = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), 255, np.uint8)
    for i in range(b):
        top, left = (_GAP + n * (side + _GAP) for n, side in zip(divmod(i, columns), (height, width), strict=True))
        for j in range(k):
            at = left + j * (z + _GAP)
            picture[top : top + z, at : at + z] = _boxed(batch["template"][i, j], batch["template_box"][i, j])
        below = top + z + _GAP
        picture[below : below + x, left : left + x] = _boxed(batch["search"][i], batch["search_box"][i])
    return picture


def _boxed(crop, box):
    import cv2

    x, y, w, h = box * len(crop)
    corners = [(round(float(a)), round(float(b))) for a, b in ((x, y), (x + w, y + h))]
    return cv2.rectangle(np.array(crop), *corners, _BOX_COLOR, 1)


def draw_clips(batch, texts):
    """A batch of clips as one (H, W, 3) uint8 RGB picture.

    Args:
      batch: see clips.batches.
      texts: {token ids as a tuple: phrase}.
    """
    import cv2

    b, t, small = batch["local"].shape[:3]
    large = batch["global"].shape[2]
    length = batch["tokens"].shape[-1]
    tokens, targets = batch["tokens"].reshape(b, -1, length), batch["target"].reshape(b, -1)
    head = _LINE * tokens.shape[1]
    width, height = t * (large + _GAP), head + small + large + 3 * _GAP
    columns = max(1, min(b, 1600 // width))
    picture = np.full((-(-b // columns) * height + _GAP, columns * width + _GAP, 3), 255, np.uint8)
    for i in range(b):
        top, left = i // columns * height + _GAP, i % columns * width + _GAP
        strip = np.full((head, width - _GAP, 3), 255, np.uint8)
        for k, (ids, target) in enumerate(zip(tokens[i].tolist(), targets[i], strict=True), 1):
            color = _MEANT_COLOR if target > 0 else _OTHER_COLOR
            cv2.putText(
                strip, texts[tuple(ids)], (0, k * _LINE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.33, color, 1, cv2.LINE_AA
            )
        picture[top : top + head, left : left + width - _GAP] = strip
        for j in range(t):
            x, y = left + j * (large + _GAP), top + head
            picture[y : y + small, x : x + small] = batch["local"][i, j]
            y += small + _GAP
            picture[y : y + large, x : x + large] = batch["global"][i, j]
    return picture


# Data kind -> function of (batch, config, split) that draws it.
DRAWN = {
    "pairs": lambda batch, config, split: draw_pairs(batch),
    "clips": lambda batch, config, split: draw_clips(batch, clips.phrases_by_tokens(config, split)),
}
