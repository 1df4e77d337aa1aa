"""Smoothing and re-prediction of tracks with the neural Kalman filter (trackers/models/neural_kalman.py)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from trackers.io import limits, mot_files
from trackers.ops import kalman_filter


def smooth(model, variables, tracks, largest_gap=0):
    """Tracks with filtered boxes.

    Args:
      model, variables: the filter's.
      tracks: mot_files.Tracks; confidences from 0 to 1 (others are taken as the nearer end). Boxes without an area are
        left out: a filter over the aspect cannot start from them.
      largest_gap: gaps of up to so many frames are filled with predicted boxes, whose confidence is 0; beyond a larger
        one the track starts anew, as an id that was given a second time does.

    Returns: Tracks, the ids as they were.
    Raises: InputError where tracks by frames are more than limits.TABLE.
    """
    tracks = tracks.select((tracks.boxes[:, 2:] > 0).all(axis=1))
    parts = []
    for number in np.unique(tracks.ids):
        rows = np.flatnonzero(tracks.ids == number)
        breaks = np.flatnonzero(np.diff(tracks.frames[rows]) > largest_gap + 1) + 1
        parts += np.split(rows, breaks)
    if not parts:
        return tracks
    spans = [int(tracks.frames[rows[-1]] - tracks.frames[rows[0]]) + 1 for rows in parts]
    # Powers of two, so that few lengths are compiled.
    length = max(2, 1 << (max(spans) - 1).bit_length())
    limits.TABLE.check(f"the table of {len(parts)} tracks by {length} frames", len(parts) * length)
    observed = np.ones((len(parts), length, 4), np.float32)
    confidence, seen = np.zeros((len(parts), length), np.float32), np.zeros((len(parts), length), bool)
    for k, rows in enumerate(parts):
        at = tracks.frames[rows] - tracks.frames[rows[0]]
        observed[k, at] = kalman_filter.to_observation(tracks.boxes[rows])
        confidence[k, at], seen[k, at] = np.clip(tracks.confidence[rows], 0, 1), True
    filtered = np.asarray(_filter(model, variables, observed, confidence, seen))
    frames, ids, boxes, sure = [], [], [], []
    for k, (rows, span) in enumerate(zip(parts, spans, strict=True)):
        frames.append(tracks.frames[rows[0]] + np.arange(span))
        ids.append(np.full(span, tracks.ids[rows[0]]))
        boxes.append(filtered[k, :span])
        sure.append(np.zeros(span))
        sure[-1][tracks.frames[rows] - tracks.frames[rows[0]]] = tracks.confidence[rows]
    return mot_files.from_rows(*(np.concatenate(column) for column in (frames, ids, boxes, sure)))


@functools.partial(jax.jit, static_argnums=0)
def _filter(model, variables, observed, confidence, seen):
    track = model.apply(variables, observed, jnp.asarray(confidence), seen)
    return kalman_filter.to_boxes(track.filtered)
