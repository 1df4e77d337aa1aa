"""The few sizes that frames are padded to, so that a program is compiled for each of these and not for each video."""

import jax
import numpy as np

# (height, width), from small to large; upright ones for upright video.
CANVASES = (
    *((384, 384), (384, 640), (640, 384), (512, 896), (896, 512), (768, 1280), (1280, 768)),
    *((1088, 1920), (1920, 1088), (1920, 1920), (2176, 4096), (4096, 2176)),
)
# A larger frame's sides go up to the next of these, or to the next multiple of the last.
_SIDES = (384, 1088, 2176, 4096)


def canvas_for(sizes):
    """(height, width) of the smallest canvas that holds frames of all these sizes, (N, 2) heights and widths."""
    height, width = (int(extent) for extent in np.max(sizes, axis=0))
    fitting = (canvas for canvas in CANVASES if canvas[0] >= height and canvas[1] >= width)
    return next(fitting, (_side_for(height), _side_for(width)))


def pad(frame):
    """A frame in the top left corner of its canvas.

    Args: frame: (H, W, 3) uint8.

    Returns: (NumPy array (canvas height, canvas width, 3) uint8, its height and width (2,) int32).
    """
    frame = np.asarray(frame)
    size = np.array(frame.shape[:2], np.int32)
    canvas = canvas_for([size])
    if canvas == frame.shape[:2]:
        return frame, size
    padded = np.zeros((*canvas, 3), frame.dtype)
    padded[: size[0], : size[1]] = frame
    return padded, size


def pad_if_known(frame, frame_size):
    """(frame, frame_size), the frame padded where the caller has not done it and it is not traced."""
    if frame_size is not None or isinstance(frame, jax.core.Tracer):
        return frame, frame_size
    return pad(frame)


def _side_for(extent):
    return next((side for side in _SIDES if side >= extent), -(-extent // _SIDES[-1]) * _SIDES[-1])
