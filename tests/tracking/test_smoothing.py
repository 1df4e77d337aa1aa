"""Smoothing: what it does not begin."""

import numpy as np
import pytest

from trackers.errors import InputError
from trackers.io import mot_files
from trackers.tracking import smoothing


def test_tracks_by_frames_that_no_machine_holds_are_refused():
    """One long track and many short ones: a file of some MB, a table of 100 GB."""
    frames = np.concatenate([np.arange(1, 40_001), np.ones(2_000)])
    ids = np.concatenate([np.zeros(40_000), np.arange(1, 2_001)])
    tracks = mot_files.from_rows(frames, ids, np.ones((len(ids), 4)))
    with pytest.raises(InputError, match="2001 tracks by 65536 frames .* set TRACKERS_MAX_TABLE_MILLIONS"):
        smoothing.smooth(None, None, tracks)
