"""What a tracker's score means: the IoU that boxes of a score have."""

import numpy as np

STEPS = 10


def reliability(said, overlap):
    """[(lower edge, frames, mean score, mean IoU, share of IoUs above 0.5)] of scores (n,) in STEPS equal steps.

    Steps that no frame has are left out; frames whose IoU is not known (NaN) do not count.
    """
    known = np.isfinite(overlap)
    said, overlap = said[known], overlap[known]
    step = np.clip((said * STEPS).astype(int), 0, STEPS - 1)
    groups = [(number / STEPS, said[step == number], overlap[step == number]) for number in range(STEPS)]
    return [(low, len(s), s.mean(), iou.mean(), (iou > 0.5).mean()) for low, s, iou in groups if len(s)]


def off(table):
    """Mean distance between a frame's score and the mean IoU of its step, of a table of `reliability`."""
    frames = np.array([row[1] for row in table])
    return float(np.sum(frames * [abs(row[2] - row[3]) for row in table]) / frames.sum())
