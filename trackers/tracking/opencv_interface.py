"""OpenCV's interface around a VideoTracker, for programs that were written for cv2.TrackerCSRT and its kin."""

import numpy as np


class OpenCVTracker:
    """`init` and `update` as those of OpenCV's trackers of one object.

    Args: tracker: VideoTracker; it should be made with colors="bgr", as OpenCV's frames are.
    """

    def __init__(self, tracker):
        self._tracker, self._score = tracker, float("nan")

    def init(self, image, bounding_box):
        """Starts on a target, as VideoTracker.start. image: (H, W, 3) uint8. bounding_box: x, y, w, h in pixels."""
        self._tracker.start(image, tuple(bounding_box))
        self._score = float("nan")

    def update(self, image):
        """Finds it in the next frame.

        Returns: (found, (x, y, w, h)): bool, False while the target is lost; four whole numbers of pixels.
        """
        found = self._tracker.update(image)
        self._score = float(found.score)
        return not bool(found.lost), tuple(int(value) for value in np.rint(found.box))

    def getTrackingScore(self):  # noqa: N802, OpenCV's name
        """The score of the last frame, as OpenCV's newer trackers give it."""
        return self._score
