"""Identity scores (Ristani et al., ECCV workshops 2016): IDF1, equal to the official TrackEval.

Every object is given one track for the whole sequence, every track at most one object, so that the boxes they share
(IoU 0.5 and more) are as many as possible.
"""

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment

from trackers.evaluation import hota

THRESHOLD = 0.5
FIELDS = ("IDF1", "IDR", "IDP")


@dataclasses.dataclass(frozen=True)
class Identity:
    """What can be pooled over sequences, by sums. tp: boxes shared by an object and its track. fn, fp: the others."""

    tp: int
    fn: int
    fp: int

    def values(self):
        """{field of FIELDS: float}, fractions."""
        return {
            "IDF1": self.tp / max(1, self.tp + 0.5 * self.fn + 0.5 * self.fp),
            "IDR": self.tp / max(1, self.tp + self.fn),
            "IDP": self.tp / max(1, self.tp + self.fp),
        }


def score(truth, tracks):
    """Identity of one sequence. Args: truth, tracks: Tracks, frames numbered alike; rows of truth with confidence 0 do
    not count."""
    truth = truth.select(truth.confidence != 0)
    objects, object_of = np.unique(truth.ids, return_inverse=True)
    track_ids, track_of = np.unique(tracks.ids, return_inverse=True)
    shared = np.zeros((len(objects), len(track_ids)), int)
    for rows, columns, overlaps in hota.common_frames(truth, tracks):
        shared[np.ix_(object_of[rows], track_of[columns])] += overlaps >= THRESHOLD
    tp = int(shared[linear_sum_assignment(-shared)].sum())
    return Identity(tp=tp, fn=len(truth) - tp, fp=len(tracks) - tp)


def combine(parts):
    """All sequences as one (TrackEval's COMBINED row). Args: parts: list of Identity."""
    return Identity(*(sum(getattr(part, field.name) for part in parts) for field in dataclasses.fields(Identity)))
