"""What packed shards hold of each frame: its target with what the crops of training pairs need around it, as JPEG.

The square around a target is `context` times sqrt(area) wide, the reach of nearly all search windows (pairs.reach), and
is scaled down to 512 pixels where it is wider. A frame whose target is hidden is packed around its middle, where such
frames are cut as negatives (config.data.positive_probability below 1).

Measured against pairs of whole frames, with GRM's jitter, context 9.6, quality 95: the boxes are equal; search crops of
256 have a PSNR of 43.9 dB on the mean (5 % are below 35.2), templates of 128 of 42.5 (36.0), black borders left out.
These are 400 pairs; targets of 20 to 300 pixels, anywhere in 64 frames of 1280 x 720, JPEG of quality 90, each put
together from six procedural views.
"""

import dataclasses
import zlib

import numpy as np

from data_pipelines import contexts, crops, jpeg_tiles, pairs
from trackers.errors import InputError
from trackers.io.image_files import read_image

# Windows that are drawn to try what is packed of each target.
WINDOWS_EACH = 8


@dataclasses.dataclass(frozen=True)
class Packing:
    """How frames are packed.

    windows: PairConfig, whose search windows are to fit. context: side of what is packed over sqrt(area); None = as
    pairs.reach says of the windows. largest: side in pixels, down to which a longer one is scaled (our choice).
    quality: of the JPEG, 1 to 100.
    """

    windows: pairs.PairConfig = pairs.PairConfig(template_size=128, search_size=256, patch_size=16)
    context: float | None = None
    largest: int = 512
    quality: int = 95

    def __post_init__(self):
        if self.context is None:
            object.__setattr__(self, "context", pairs.reach(self.windows))


@dataclasses.dataclass(frozen=True)
class Packed:
    """One target in one image: JPEG bytes, its Place, how many of the windows drawn to try it reach beyond what is
    packed but inside the image, and the sum of the shares of their area that do."""

    jpeg: bytes
    place: contexts.Place
    beyond: int
    area_beyond: float


def packed(path, boxes, visible, packing):
    """The targets of one image file -> list of Packed.

    Args: boxes: (N, 4) x, y, w, h in pixels. visible: (N,) bool.

    Raises: InputError naming the file where it cannot be read.
    """
    image = read_image(path)
    bgr, size = image[:, :, ::-1], image.shape[1::-1]
    found = []
    for box, is_visible in zip(boxes, visible, strict=True):
        if not (is_visible and np.isfinite(box).all() and box[2:].min() > 0):
            box = crops.hidden_box(size)
        place = contexts.place_around(box, packing.context, size, packing.largest)
        pixels = contexts.pack(bgr, place)
        found.append(Packed(_encoded(pixels, packing.quality), place, *_beyond(box, place, packing.windows)))
    return found


def _encoded(pixels, quality):
    """(h, w, 3) uint8 BGR as the bytes of a JPEG in tiles (jpeg_tiles.py)."""
    import cv2

    settings = {
        cv2.IMWRITE_JPEG_QUALITY: quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        cv2.IMWRITE_JPEG_RST_INTERVAL: jpeg_tiles.interval(pixels.shape[1]),
        # Tables of its own: 2 % fewer bytes.
        cv2.IMWRITE_JPEG_OPTIMIZE: 1,
    }
    flat = [number for setting in settings.items() for number in setting]
    return cv2.imencode(".jpg", np.ascontiguousarray(pixels), flat)[1].tobytes()


def _beyond(box, place, config):
    """(windows that reach beyond a place, sum of their shares of area there) of those drawn around a box."""
    # Each target's own numbers, in whatever order threads come to them.
    rng = np.random.default_rng(zlib.crc32(np.asarray(box, np.float64).tobytes()))
    start, size = np.array(place.region[:2]), np.array(place.size)
    stop = start + place.region[2:]
    jitter = config.search_center_jitter, config.search_scale_jitter
    count, area = 0, 0.0
    for _ in range(WINDOWS_EACH):
        around = crops.jittered_box(box, rng.standard_normal(2), rng.random(2), *jitter)
        *corner, width, height = crops.window(around, config.search_factor)
        first, last = np.maximum(corner, 0), np.minimum(np.add(corner, (width, height)), size)
        inside = np.prod(np.maximum(last - first, 0))
        known = np.prod(np.maximum(np.minimum(last, stop) - np.maximum(first, start), 0))
        if inside > known:
            count, area = count + 1, area + float(inside - known) / (width * height)
    return count, area


def check(sequences, name):
    """Raises: InputError where boxes are not published for all frames: nothing can be packed around."""
    for sequence in sequences:
        if sequence.truth_withheld:
            raise InputError(f"{name}: {sequence.name} has a box in its first frame only: write it without --packed")
