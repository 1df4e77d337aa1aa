"""Results drawn on RGB frames, one by one or as a video."""

import numpy as np

from trackers.io import outputs, video_files

BOX_COLOR = (255, 196, 0)
TRUTH_COLOR = (64, 224, 112)
LOST_COLOR = (170, 170, 170)
# Of several targets, by their order, around again.
_COLORS = (BOX_COLOR, (92, 184, 255), (255, 120, 120), (150, 225, 90), (230, 140, 255), (80, 220, 205), (255, 160, 70))
_TEXT_COLOR = (16, 16, 16)
_OUTLINE_COLOR = (24, 24, 24)
_WINDOW_COLOR = (235, 235, 235)
# Category of search-only tokens in Prediction.division, and the brightness they are shown at.
SEARCH_ONLY, _SHADE = 1, 0.4
# Small frames are enlarged by a whole factor to at least this height, so that lines and letters look the same on all.
_SMALLEST_SIDE = 480
# Fractional bits of the coordinates that OpenCV takes.
_SHIFT = 4


def annotate(
    frame, box=None, score=None, number=None, truth=None, division=None, window=None, lost=False, trail=(), note=None
):
    """Draws a tracker's output on a frame.

    Args:
      frame: (H, W, 3) uint8 RGB, left as it is.
      box: (4,) x, y, w, h in pixels, or None.
      score: written at the box; None or NaN: not written.
      number: the frame's number, written in the corner, or None.
      truth: (4,) ground truth x, y, w, h in pixels, in another color, or None (NaN or without area: not drawn).
      division: (rows, columns) int category of each search token (heads.Prediction), 1 = search only, or None:
        search-only tokens are darkened within the search window (as in GRM's Fig. 3).
      window: (3,) x1, y1, side of the search crop in pixels, or (4,) x1, y1, width, height; needed with `division`.
      lost: whether the box is a guess: drawn in gray.
      trail: (n, 2) x, y in pixels of the box's middles in the frames before, oldest first.
      note: text for the other corner, or None.

    Returns: (sH, sW, 3) uint8 RGB; s is 1 unless the frame is small.
    """
    image, scale, width = _canvas(frame if division is None else shade_search_only(frame, division, window))
    if division is not None:
        _rectangle(image, window_box(window), scale, _WINDOW_COLOR, max(1, width // 2))
    if _drawable(truth):
        _rectangle(image, truth, scale, TRUTH_COLOR, width)
    _trail(image, trail, scale, BOX_COLOR, width)
    if _drawable(box):
        color = LOST_COLOR if lost else BOX_COLOR
        _rectangle(image, box, scale, color, width)
        if score is not None and np.isfinite(score):
            _label_box(image, f"{'lost ' * lost}{float(score):.2f}", np.asarray(box, float) * scale, width, color)
    _corners(image, number, note, width)
    return image


def annotate_targets(frame, boxes, labels, lost, trails, number=None, note=None):
    """Draws several targets on a frame, each in a color of its own.

    Args:
      frame: (H, W, 3) uint8 RGB, left as it is.
      boxes: (N, 4) x, y, w, h in pixels.
      labels: N texts. lost: (N,) bool, whether a box is a guess: drawn in gray.
      trails: N arrays (n, 2), as `trail` of annotate. number, note: as there.

    Returns: as of annotate.
    """
    image, scale, width = _canvas(frame)
    # All trails first, so that none hides a label.
    for k, trail in enumerate(trails):
        _trail(image, trail, scale, _COLORS[k % len(_COLORS)], width)
    for k, (box, label, away) in enumerate(zip(boxes, labels, lost, strict=True)):
        if _drawable(box):
            color = LOST_COLOR if away else _COLORS[k % len(_COLORS)]
            _rectangle(image, box, scale, color, width)
            _label_box(image, label, np.asarray(box, float) * scale, width, color)
    _corners(image, number, note, width)
    return image


def _canvas(frame):
    """(copy of a frame, enlarged where it is small; by how much; width of its lines)."""
    import cv2

    scale = max(1, -(-_SMALLEST_SIDE // min(frame.shape[:2])))
    image = frame.copy()
    if scale > 1:
        image = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return image, scale, max(2, round(min(image.shape[:2]) / 240))


def _trail(image, trail, scale, color, width):
    """A line through the places where a target was, thin where it is old."""
    import cv2

    points = np.rint(np.reshape(trail, (-1, 2)) * scale * 2**_SHIFT).astype(int)
    for k in range(1, len(points)):
        thickness = max(1, round(width * k / len(points)))
        cv2.line(image, points[k - 1].tolist(), points[k].tolist(), color, thickness, cv2.LINE_AA, _SHIFT)


def _corners(image, number, note, width):
    """The frame's number in the left corner, a note in the right one; what is None is not written."""
    color = (245, 245, 245)
    if number is not None:
        _label(image, f"frame {number}", (2 * width, 2 * width), color)
    if note is not None:
        _label(image, note, (image.shape[1] - 2 * width - _label_size(image, note)[0], 2 * width), color)


def annotate_tracks(frame, boxes, labels=None, phrase=None, number=None):
    """Draws the boxes that a phrase means on a frame.

    Args:
      frame: (H, W, 3) uint8 RGB, left as it is.
      boxes: (n, 4) x, y, w, h in pixels; those not finite or without area are not drawn.
      labels: n texts written at the boxes, or None.
      phrase: written in the corner, or None.
      number: the frame's number, written before the phrase, or None.

    Returns: (sH, sW, 3) uint8 RGB; s is 1 unless the frame is small. Letters that the font lacks become "?".
    """
    image, scale, width = _canvas(frame)
    for k, box in enumerate(boxes):
        if _drawable(box):
            _rectangle(image, box, scale, BOX_COLOR, width)
            if labels is not None:
                _label_box(image, labels[k], np.asarray(box, float) * scale, width)
    words = [*([] if number is None else [f"frame {number}"]), *([] if phrase is None else [phrase])]
    if words:
        text = ": ".join(words).encode("ascii", "replace").decode()
        while len(text) > 4 and _label_size(image, text)[0] > image.shape[1] - 4 * width:
            text = text[:-4] + "..."
        _label(image, text, (2 * width, 2 * width), (245, 245, 245))
    return image


def shade_search_only(frame, division, window):
    """A copy of the frame whose search-only tokens are darkened; arguments as of annotate."""
    division = np.asarray(division)
    x1, y1, across, down = (int(v) for v in window_box(window))

    def span(first, side, extent, cells):
        """Pixels of the frame inside the window along one axis, and the token each of them lies in."""
        pixels = np.arange(max(first, 0), min(first + side, extent))
        return pixels, (pixels - first) * cells // side

    rows, row_tokens = span(y1, down, frame.shape[0], division.shape[0])
    columns, column_tokens = span(x1, across, frame.shape[1], division.shape[1])
    shaded = frame.copy()
    if len(rows) and len(columns):
        inside = shaded[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        dark = (division == SEARCH_ONLY)[row_tokens[:, None], column_tokens]
        inside[dark] = (inside[dark] * _SHADE).astype(np.uint8)
    return shaded


def window_box(window):
    """x1, y1, width, height, float32 (4,), of a window (3,) x1, y1, side or (4,)."""
    window = np.asarray(window, np.float32)
    return window if len(window) == 4 else window[[0, 1, 2, 2]]


def _drawable(box):
    return box is not None and bool(np.all(np.isfinite(box)) and box[2] > 0 and box[3] > 0)


def _rectangle(image, box, scale, color, width):
    import cv2

    x, y, w, h = np.asarray(box, float) * scale
    # The far corner's pixel is the last one that the box covers.
    corners = [tuple(int(round(v * 2**_SHIFT)) for v in corner) for corner in ((x, y), (x + w - 1, y + h - 1))]
    for line, shown in ((width + 2, _OUTLINE_COLOR), (width, color)):
        cv2.rectangle(image, *corners, shown, line, cv2.LINE_AA, _SHIFT)


def _font(image):
    """Scale and thickness of letters: about 1/28 of the frame's smaller side high."""
    scale = min(image.shape[:2]) / 28 / 22
    return scale, max(1, round(1.6 * scale))


def _label_size(image, text):
    import cv2

    scale, thickness = _font(image)
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    pad = max(3, height // 3)
    return width + 2 * pad, height + baseline + pad, pad


def _label_box(image, text, box, line, color=BOX_COLOR):
    """Writes above the box, or inside its upper edge where there is no room."""
    width, height, _ = _label_size(image, text)
    x, y = box[0] - line / 2, box[1] - line / 2 - height
    if y < 0:
        y = box[1] + line
    x = min(max(0, x), image.shape[1] - width)
    _label(image, text, (round(x), round(min(max(0, y), image.shape[0] - height))), color)


def _label(image, text, corner, color):
    import cv2

    width, height, pad = _label_size(image, text)
    scale, thickness = _font(image)
    x, y = corner
    cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), color, cv2.FILLED)
    (_, letter_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    origin = (x + pad, y + (height + letter_height) // 2)
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, _TEXT_COLOR, thickness, cv2.LINE_AA)


def write_filmstrip(path, rows, side=320):
    """Writes pictures side by side as a PNG, a row a video.

    Args:
      path: the .png file.
      rows: list of lists of (H, W, 3) uint8 RGB frames, equally many in each.
      side: a picture's width in pixels; all have the height that fits the first picture's shape.

    Raises: InputError where the file cannot be written.
    """
    import cv2

    height, width = rows[0][0].shape[:2]
    size = (side, round(side * height / width))
    strip = np.vstack([np.hstack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in row]) for row in rows])
    outputs.write_bytes(path, cv2.imencode(".png", strip[:, :, ::-1])[1].tobytes())


def write_tracks(path, frames, tracks, phrase=None, first_frame=1):
    """Writes a video of boxes with their ids.

    Args:
      path: the MP4 file.
      frames: Images, Video or an iterable of frames.
      tracks: mot_files.Tracks.
      phrase: as in annotate_tracks.
      first_frame: the number that the tracks give to the first frame.
    """
    with video_files.VideoWriter(path, getattr(frames, "rate", 25.0)) as writer:
        for number, frame in enumerate(frames, start=first_frame):
            rows = tracks.frames == number
            labels = [str(number) for number in tracks.ids[rows]]
            writer.write(annotate_tracks(frame, tracks.boxes[rows], labels, phrase, number))
